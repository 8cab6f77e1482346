import assert from "node:assert/strict";
import { test } from "node:test";
import { cutStrokes, piecesOfImage, piecesOfStrokes } from "../../src/smidgen/export/templates/pieces.js";
import { scaleAndCentre } from "../../src/smidgen/export/templates/preprocess.js";
import { inkOf } from "../../src/smidgen/export/templates/strokes.js";

test("a stroke is cut into eight parts of the same length that share their ends, by hand", () => {
  const parts = cutStrokes([[[0, 0], [60, 0], [60, 20]]]);
  assert.equal(parts.length, 8);
  assert.deepEqual(parts[0], [[0, 0], [10, 0]]);
  assert.deepEqual(parts[7], [[60, 10], [60, 20]]);
  for (let i = 1; i < 8; i++) assert.deepEqual(parts[i][0], parts[i - 1].at(-1));
});

test("short strokes stay whole, and a dot is a part", () => {
  assert.deepEqual(cutStrokes([[[5, 5]]]), [[[5, 5]]]);
  const parts = cutStrokes([[[0, 0], [70, 0]], [[0, 30], [10, 30]]]);
  assert.deepEqual(parts.at(-1), [[0, 30], [10, 30]]);
  assert.equal(parts.length, 8);
});

test("without a piece the rest of the image stays where it was", () => {
  const cross = [[[40, 140], [240, 140]], [[140, 40], [140, 240]]];
  const whole = scaleAndCentre(inkOf(cross));
  const pieces = piecesOfStrokes(cross);
  assert.equal(pieces.length, 8);
  for (const { image, path } of pieces) {
    assert.ok(image.every((level, i) => level <= whole[i]));
    assert.ok(image.some((level, i) => level < whole[i]));
    for (const [x, y] of path) assert.ok(x > 3 && x < 25 && y > 3 && y < 25);
  }
  const together = Uint8Array.from(whole, (_, i) => Math.max(...pieces.map(({ image }) => image[i])));
  assert.deepEqual(together, whole); // each pixel is in all images but for those without its piece
});

test("an image has the cells that hold ink, and on photos all sixteen", () => {
  const image = new Uint8Array(784);
  image[0] = 9; // the first cell, rows and columns 0 to 6
  image[7 * 28 + 20] = 5; // row 7, column 20: the third cell of the second row
  const pieces = piecesOfImage(image, [28, 28, 1], 0);
  assert.deepEqual(pieces.map(({ path }) => path[0]), [[0, 0], [14, 7]]);
  assert.equal(pieces[0].image[0], 0);
  assert.equal(pieces[0].image[7 * 28 + 20], 5);
  const photo = Uint8Array.from({ length: 8 * 8 * 3 }, (_, i) => (i < 96 ? 0 : 200));
  const cells = piecesOfImage(photo, [8, 8, 3], null);
  assert.equal(cells.length, 16);
  assert.deepEqual([...cells[0].image.subarray(0, 7)], [100, 100, 100, 100, 100, 100, 0]);
});
