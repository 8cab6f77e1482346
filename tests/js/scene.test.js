import assert from "node:assert/strict";
import { test } from "node:test";
import { preprocess, scaleAndCentre } from "../../src/smidgen/export/templates/preprocess.js";
import { createHistory, EMPTY, fromImage, fromPixels, seen } from "../../src/smidgen/export/templates/scene.js";
import { inkOf } from "../../src/smidgen/export/templates/strokes.js";

const stroke = [[100, 40], [100, 240]];

/** A dark bar of 10 × 60 on white, 100 × 80. */
function barPixels(ink = 0) {
  const data = new Uint8ClampedArray(100 * 80 * 4).fill(255);
  for (let y = 10; y < 70; y++) {
    for (let x = 20; x < 30; x++) data.set([ink, ink, ink, 255], 4 * (y * 100 + x));
  }
  return { data, width: 100, height: 80 };
}

test("nothing is seen of an empty scene", () => {
  assert.equal(seen(EMPTY), null);
});

test("strokes are seen scaled and centred", () => {
  assert.deepEqual(seen({ picture: null, strokes: [stroke] }), scaleAndCentre(inkOf([stroke])));
});

test("a picture is seen preprocessed, and shown with its ink 200 high in the middle", () => {
  const picture = fromPixels(barPixels());
  assert.deepEqual(seen({ picture, strokes: [] }), preprocess(barPixels()));
  assert.equal(picture.box.height, 200);
  assert.deepEqual([picture.box.top, picture.box.left + picture.box.width / 2], [40, 140]);
  assert.ok(picture.ink.data.every((value) => value === 255));
});

test("a blank picture is none", () => {
  assert.equal(fromPixels(barPixels(250)), null);
});

test("strokes over a picture are seen with it", () => {
  const image = new Uint8Array(784);
  for (let y = 4; y < 24; y++) image[y * 28 + 7] = 255; // upright, on the paper at 70 to 80
  const across = [[75, 140], [205, 140]];
  const both = seen({ picture: fromImage(image), strokes: [across] });
  const columns = Array.from({ length: 28 }, (_, x) => both.filter((value, i) => value > 0 && i % 28 === x).length);
  assert.equal(Math.max(...columns), 20); // the upright is still twenty high,
  assert.ok(columns.filter((count) => count > 0).length >= 13); // and the stroke goes out from it
});

test("history goes back step by step, and not beyond the empty paper", () => {
  const history = createHistory();
  assert.equal(history.canUndo(), false);
  const first = { picture: null, strokes: [stroke] };
  history.push(first);
  history.push(EMPTY);
  history.undo();
  assert.equal(history.now(), first);
  history.undo();
  history.undo();
  assert.equal(history.now(), EMPTY);
});
