import assert from "node:assert/strict";
import { test } from "node:test";
import { boundingBox, scaleAndCentre } from "../../src/smidgen/export/templates/preprocess.js";
import { readFileSync } from "node:fs";
import { clip, digitsOf, extent, inkOf, inkOnPaper, PAPER, PEN } from "../../src/smidgen/export/templates/strokes.js";

const line = [[[40, 100], [140, 100]]];
const hook = [[[60, 60], [150, 55], [110, 180]], [[80, 120], [140, 118]]];
const moved = (strokes, size, [dx, dy]) =>
  strokes.map((stroke) => stroke.map(([x, y]) => [x * size + dx, y * size + dy]));

test("the extent is of the pen's path, by hand", () => {
  assert.deepEqual(extent(hook), { left: 60, top: 55, width: 90, height: 125 });
});

test("a line of its own is 200 long with a pen of 25", () => {
  const box = boundingBox(inkOf(line));
  assert.ok(Math.abs(box.width - 200) <= 1, `${box.width}`);
  assert.ok(Math.abs(box.height - 25) <= 1, `${box.height}`);
});

test("a line on the paper stays where it was drawn", () => {
  const ink = inkOnPaper(line);
  assert.deepEqual([ink.width, ink.height], [PAPER, PAPER]);
  const column = Array.from({ length: PAPER }, (_, y) => ink.data[y * PAPER + 90]);
  assert.deepEqual([...column.keys()].filter((y) => column[y] === 255).length, PEN);
  assert.equal(column[100 - PEN / 2], 255);
  assert.equal(column[100 - PEN / 2 - 1], 0);
});

test("a drawing looks the same at every size and place", () => {
  const expected = scaleAndCentre(inkOf(hook));
  for (const [size, place] of [[0.2, [0, 0]], [0.5, [150, 20]], [1.4, [-40, 10]]]) {
    const actual = scaleAndCentre(inkOf(moved(hook, size, place)));
    const furthest = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
    assert.ok(furthest <= 12, `${furthest} of 255 at size ${size}`);
  }
});

test("a tap is a dot, not a division by zero", () => {
  const ink = inkOf([[[70, 80]]]);
  const box = boundingBox(ink);
  assert.ok(ink.data.every(Number.isFinite));
  assert.ok(Math.abs(box.width - 25) <= 1 && Math.abs(box.height - 25) <= 1);
});

test("a segment is cut off at the paper's edges, by hand", () => {
  assert.deepEqual(clip([10, 20], [30, 40]), [[10, 20], [30, 40]]);
  assert.deepEqual(clip([180, 100], [380, 200]), [[180, 100], [280, 150]]); // half of it lies inside
  assert.deepEqual(clip([-100, 140], [380, 140]), [[0, 140], [280, 140]]);
  assert.deepEqual(clip([140, 290], [140, 270]), [[140, 280], [140, 270]]);
  assert.equal(clip([-10, 50], [-10, 90]), null);
  assert.equal(clip([200, -150], [380, 100]), null); // past the corner
  assert.deepEqual(clip([280, 0], [280, 0]), [[280, 0], [280, 0]]);
});

test("strokes that reach beyond the paper are ink by themselves, and cut off on it", () => {
  assert.ok(boundingBox(inkOf([[[-30, 50], [300, 60]]])).width >= 199);
  assert.ok(boundingBox(inkOnPaper([[[-30, 50], [300, 60]]])).width === PAPER);
});

test("digits with white paper between them are told apart, from left to right", () => {
  const one = [[40, 40], [40, 240]];
  const [upper, lower] = [[[150, 40], [200, 40]], [[150, 240], [200, 60]]];
  assert.deepEqual(digitsOf([upper, one, lower]), [[one], [upper, lower]]);
  const near = [[69, 40], [69, 240]]; // 29 from the other
  assert.deepEqual(digitsOf([one, near]), [[one, near]]);
  assert.equal(digitsOf([one, [[70, 40], [70, 240]]]).length, 2);
  const dot = [[200, 240], [200, 246]];
  assert.deepEqual(digitsOf([dot, one]), [[dot, one]]); // too low to be a digit
  assert.deepEqual(digitsOf([]), []);
});

test("no digit of the drawn ones is taken for two", () => {
  for (const { strokes } of JSON.parse(readFileSync(new URL("../strokes.json", import.meta.url)))) {
    const large = strokes.map((stroke) => stroke.map((point) => point.map((place) => 270 * place)));
    assert.equal(digitsOf(large).length, 1);
  }
});
