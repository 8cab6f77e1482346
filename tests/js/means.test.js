import assert from "node:assert/strict";
import { test } from "node:test";
import { featuresOf, fitHead, nearest } from "../../src/smidgen/export/templates/means.js";

/** A network whose last convolution reads tensor 1, and has so many places. */
const network = (places) => ({
  nodes: [{ op: "max_pool", inputs: [0], shape: [1, 2, 2] }, { op: "conv", inputs: [1], shape: [1, places, 10] }, { op: "average_pool", inputs: [2], shape: [1, 1, 10] }],
});
const tensors = [null, { shape: [1, 2, 2], data: Int32Array.from([1, 10, 3, 30]) }];

test("features are what a last layer reads, or the channels' means where it has several places", () => {
  assert.deepEqual([...featuresOf(network(1), tensors)], [1, 10, 3, 30]);
  assert.deepEqual([...featuresOf(network(2), tensors)], [2, 20]);
});

const points = (...rows) => ({ features: rows.map((row) => Float64Array.from(row)) });

test("a drawing takes the name of the nearest mean within its reach, by hand", () => {
  // Means (2, 0) and (0, 20); the furthest are 2 and 10 away, so the reaches are 3.8 and 19.
  const head = fitHead([{ name: "heart", ...points([0, 0], [4, 0]) }, { name: "star", ...points([0, 10], [0, 30]) }], []);
  assert.equal(nearest(head, [2, 3.7]), "heart");
  assert.equal(nearest(head, [-1.9, 0]), null);
  assert.equal(nearest(head, [0, 12]), "star");
  assert.equal(nearest(head, [2, 3.9]), "star"); // beyond the reach of the nearer
  assert.equal(nearest(head, [50, 50]), null);
});

test("what is nearer to a class that the network knows keeps its name", () => {
  const head = fitHead([{ name: "heart", ...points([0, 0], [4, 0]) }], [points([4, 1], [4, 3])]); // (2, 0), (4, 2)
  assert.equal(nearest(head, [2.9, 0.9]), "heart");
  assert.equal(nearest(head, [3.1, 1.1]), null);
});
