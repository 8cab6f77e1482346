import assert from "node:assert/strict";
import { test } from "node:test";
import { unpackImage } from "../../src/smidgen/export/templates/images.js";
import { argmax, isAdded, percent, softmax } from "../../src/smidgen/export/templates/verdict.js";

test("probabilities are by hand", () => {
  const [a, b] = softmax([5, 6], Math.log(2));
  assert.ok(Math.abs(a - 1 / 3) < 1e-12 && Math.abs(b - 2 / 3) < 1e-12);
});

test("large logits stay finite", () => {
  assert.deepEqual(softmax(Int32Array.of(2e9, -2e9), 1), [1, 0]);
});

test("the first of equals is the answer", () => {
  assert.equal(argmax([1, 3, 3]), 1);
});

test("no network is certain", () => {
  assert.deepEqual([1, 0.9989, 0.99, 0.42, 0.001].map(percent), ["> 99.9 %", "99.9 %", "99.0 %", "42 %", "< 1 %"]);
});

test("an image is unpacked", () => {
  const packed = btoa(String.fromCharCode(0, 2, 9, 8, 0, 255, 7));
  const image = unpackImage(packed, [28, 28, 1]);
  assert.equal(image.length, 784);
  assert.deepEqual([...image.subarray(0, 5)], [0, 0, 9, 8, 0]);
  assert.equal(image[259], 7);
});

test("a verdict has an added class where one of its images does", () => {
  assert.equal(isAdded(null), false);
  assert.equal(isAdded({ added: [null, null] }), false);
  assert.equal(isAdded({ added: [null, "heart"] }), true);
});
