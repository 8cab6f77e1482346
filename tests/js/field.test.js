import assert from "node:assert/strict";
import { test } from "node:test";
import { receptiveField } from "../../src/smidgen/export/templates/field.js";

const conv = (inputs, padding) => ({ op: "conv", inputs, weights: 0, stride: [1, 1], padding: [padding, padding] });
const pool = (inputs) => ({ op: "max_pool", inputs, kernel: [2, 2], stride: [2, 2] });
const network = (...nodes) => ({ input: [28, 28, 1], weights: [{ shape: [1, 3, 3, 1] }], nodes });

test("a pixel of the image is its own field", () => {
  assert.deepEqual(receptiveField(network(), 0, 3, 5), { top: 3, left: 5, bottom: 3, right: 5 });
});

test("the field grows through convolutions and pools, by hand", () => {
  const chain = network(conv([0], 1), pool([1]), conv([2], 0));
  assert.deepEqual(receptiveField(chain, 1, 10, 12), { top: 9, left: 11, bottom: 11, right: 13 });
  assert.deepEqual(receptiveField(chain, 1, 0, 27), { top: 0, left: 26, bottom: 1, right: 27 });
  assert.deepEqual(receptiveField(chain, 2, 5, 6), { top: 9, left: 11, bottom: 12, right: 14 });
  // Rows 5 to 7 of the pool, 10 to 15 of the convolution, 9 to 16 of the image.
  assert.deepEqual(receptiveField(chain, 3, 5, 5), { top: 9, left: 9, bottom: 16, right: 16 });
});

test("a sum sees what either of its inputs sees", () => {
  const residual = network(conv([0], 1), conv([1], 1), { op: "add", inputs: [1, 2] });
  assert.deepEqual(receptiveField(residual, 3, 10, 10), { top: 8, left: 8, bottom: 12, right: 12 });
});
