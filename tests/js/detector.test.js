import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeDetector, describe, distance } from "../../src/smidgen/export/templates/detector.js";

const encode = (numbers) => Buffer.from(Int16Array.from(numbers).buffer).toString("base64");

test("a blank image has no features", () => {
  assert.deepEqual(describe(new Uint8Array(784)), Array(38).fill(0));
});

test("an upright edge is seen by the cells that it crosses", () => {
  const image = new Uint8Array(784);
  for (let y = 0; y < 28; y++) image.fill(255, y * 28 + 14, y * 28 + 28);
  const features = describe(image);
  // Across: columns 13 and 14 hold 1, column 27 falls to the background. Of ten columns in the
  // middle cells two, in the right cells one.
  assert.ok(Math.abs(features[4] - Math.sqrt(0.2)) < 1e-12);
  assert.ok(Math.abs(features[5] - Math.sqrt(0.1)) < 1e-12);
  assert.ok(Math.abs(features[36] - Math.sqrt(0.5)) < 1e-12);
  assert.equal(features[37], 0);
});

test("the distance is from the nearest class, by hand", () => {
  // Two features; the second class lies 3 and 4 away and its root is the unit matrix.
  const document = { features: 2, scale: 0.5, data: encode([200, 200, 2, 0, 2, 6, 8, 2, 0, 2]) };
  const classes = decodeDetector(document);
  assert.deepEqual([...classes[1].mean], [3, 4]);
  const blank = new Uint8Array(784); // 38 features, all 0; a root of 38 is as good as one of 2
  const large = { mean: new Float64Array(38), root: new Float64Array(741) };
  large.mean.set([3, 4]);
  large.root.set([1, 0, 1]);
  assert.equal(distance([{ ...large, root: large.root.map((n) => 3 * n) }, large], blank), 5);
});

test("a page without a detector has none", () => {
  assert.equal(decodeDetector(null), null);
});
