import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeDetector, edgesOf, excess } from "../../src/smidgen/export/templates/detector.js";

const near = (actual, expected) => assert.ok(Math.abs(actual - expected) < 1e-9, `${actual}`);
const encode = (numbers) => Buffer.from(numbers.buffer).toString("base64");

test("a blank image has no features", () => {
  assert.deepEqual(edgesOf(new Uint8Array(784)), Array(38).fill(0));
});

test("an upright edge is seen by the cells that it crosses", () => {
  const image = new Uint8Array(784);
  for (let y = 0; y < 28; y++) image.fill(255, y * 28 + 14, y * 28 + 28);
  const features = edgesOf(image);
  // Across: columns 13 and 14 hold 1, column 27 falls to the background. Of ten columns in the
  // middle cells two, in the right cells one.
  assert.ok(Math.abs(features[4] - Math.sqrt(0.2)) < 1e-12);
  assert.ok(Math.abs(features[5] - Math.sqrt(0.1)) < 1e-12);
  assert.ok(Math.abs(features[36] - Math.sqrt(0.5)) < 1e-12);
  assert.equal(features[37], 0);
});

/** A detector of two components: the share of ink squared away to 0, and the judge's one mean. */
function page(others) {
  const graph = {
    format: "smidgen-graph-1",
    input: [28, 28, 1],
    weights: [{ shape: [1, 28, 28, 1], bits: 8, data: Buffer.alloc(784).toString("base64") }],
    nodes: [{
      op: "conv", inputs: [0], shape: [1, 1, 1], weights: 0, stride: [1, 1], padding: [0, 0], groups: 1, outside: 0,
      rescale: { multiplier: [1], bias: [0], shift: 0, clamp: false },
    }],
  };
  const projection = [...Array(39).fill(0), ...Array(38).fill(0), 8]; // the second is 8 times the mean
  // offset, shift (2), root (3) of each, in halves
  const classes = [1, 3, 4, 1, 0, 1, 20, 0, 0, 1, 0, 1];
  const gaussians = [...classes, ...(others ? [2, 1, 0, 1, 0, 0.5, 90, 0, 0, 1, 0, 1] : [])].map((n) => 2 * n);
  const detector = {
    network: "judge",
    components: 2,
    classes: 2,
    step: 0.5,
    projection: encode(Float32Array.from(projection)),
    gaussians: encode(Int16Array.from(gaussians)),
  };
  return { models: [{ name: "judge", graph }], detector };
}

test("the excess is the best class's, less that of others, by hand", () => {
  const image = new Uint8Array(784).fill(255, 0, 392); // a mean of 1/2: components 0 and 4
  // The first class: 1 + 3² + 0; the second: 20 + 4².
  near(excess(decodeDetector(page(false)), image), 10);
  // Others: 2 + 1² + 2², and 90 + 4².
  near(excess(decodeDetector(page(true)), image), 3);
});

test("a judge that is not on the page comes with the detector", () => {
  const { models: [{ graph }], detector } = page(true);
  const image = new Uint8Array(784).fill(255, 0, 392);
  near(excess(decodeDetector({ models: [], detector: { ...detector, graph } }), image), 3);
});

test("a page without a detector has none", () => {
  assert.equal(decodeDetector({ detector: null, models: [] }), null);
});
