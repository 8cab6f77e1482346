import assert from "node:assert/strict";
import { test } from "node:test";
import { MOST, partsOf, signsOf } from "../../src/smidgen/export/templates/segment.js";
import { fromPixels, seenApart } from "../../src/smidgen/export/templates/scene.js";
import { scaleAndCentre } from "../../src/smidgen/export/templates/preprocess.js";

/** A picture in which `level(x, y)` is the paper, and the ink of bars [left, top, width, height] half as much. */
function paper(width, height, bars, level, ink = (paperLevel) => paperLevel / 2) {
  const data = new Float64Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const isInk = bars.some(([left, top, wide, high]) => x >= left && x < left + wide && y >= top && y < top + high);
      data[y * width + x] = Math.round(isInk ? ink(level(x, y)) : level(x, y));
    }
  }
  return { data, width, height };
}

const places = (signs) => signs.map(({ left, top, width, height }) => [left, top, width, height]);
const slope = (x, y) => 240 - 0.5 * x - 0.2 * y; // the ink on the left is lighter than the paper on the right
const BARS = [[200, 30, 20, 60], [40, 20, 20, 70], [120, 25, 20, 60]];
const SORTED = [BARS[1], BARS[2], BARS[0]];

test("bars in uneven light are found from left to right, and nothing else is", () => {
  assert.deepEqual(places(signsOf(paper(280, 120, BARS, slope))), SORTED);
});

test("light ink on a dark ground is found as well", () => {
  const board = (x, y) => 20 + 0.2 * x + 0.1 * y;
  assert.deepEqual(places(signsOf(paper(280, 120, BARS, board, () => 250))), SORTED);
});

test("an even paper has no signs", () => {
  assert.deepEqual(signsOf(paper(100, 80, [], () => 200)), []);
  assert.deepEqual(signsOf(paper(100, 80, [], slope)), []);
});

/** Ink of bars {left, top, width, height, level}. */
function ink(bars) {
  const data = new Float64Array(200 * 100);
  for (const [left, top, width, height, level = 200] of bars) {
    for (let y = top; y < top + height; y++) data.fill(level, y * 200 + left, y * 200 + left + width);
  }
  return { data, width: 200, height: 100 };
}

test("what lies over a part belongs to it, and so does what is low beside it", () => {
  const five = [[20, 40, 20, 50], [25, 20, 30, 8]]; // the bar of a 5 apart from its body
  assert.deepEqual(places(partsOf(ink([...five, [100, 20, 10, 70]]))), [[20, 20, 35, 70], [100, 20, 10, 70]]);
  const low = [[140, 60, 10, 15]]; // nearer to the second sign
  assert.deepEqual(places(partsOf(ink([[20, 20, 20, 70], [100, 20, 10, 70], ...low]))), [[20, 20, 20, 70], [100, 20, 50, 70]]);
});

test("specks and pale trails are dirt", () => {
  const dirt = [[60, 50, 5, 5], [80, 10, 1, 60, 60]];
  assert.deepEqual(places(partsOf(ink([[20, 20, 20, 70], ...dirt, [100, 20, 10, 70]]))), [[20, 20, 20, 70], [100, 20, 10, 70]]);
});

test("slanted neighbours that hang over each other a little stay apart, each with its own ink", () => {
  const leaning = (left) => Array.from({ length: 60 }, (_, i) => [left + Math.floor(i / 4), 80 - i, 6, 1]);
  const signs = partsOf(ink([...leaning(20), ...leaning(36)])); // columns 20 to 40, and 36 to 56
  assert.deepEqual(places(signs), [[20, 21, 20, 60], [36, 21, 20, 60]]);
  for (const { data } of signs) assert.equal(data.filter((value) => value > 0).length, 360);
});

const rgba = ({ data, width, height }) => ({ data: Uint8ClampedArray.from({ length: 4 * data.length }, (_, i) => (i % 4 === 3 ? 255 : data[i >> 2])), width, height });

test("a picture of a line has the images of its signs, and one more with a stroke between them", () => {
  const picture = fromPixels(rgba(paper(280, 120, BARS, slope)), true);
  assert.equal(picture.images.length, 3);
  assert.deepEqual(seenApart({ picture, strokes: [] }), picture.images);
  assert.deepEqual(picture.images, signsOf(paper(280, 120, BARS, slope)).map(scaleAndCentre));
  assert.equal(picture.image, picture.images[2]);
  const stroke = [[100, 120], [100, 160]]; // on the paper, between the first and the second
  assert.equal(seenApart({ picture, strokes: [stroke] }).length, 4);
});

test("a picture of one sign is what it was, and one of too many is refused", () => {
  const one = rgba(paper(100, 120, [[40, 20, 20, 70]], () => 220));
  assert.deepEqual(fromPixels(one, true), fromPixels(one));
  const many = Array.from({ length: MOST + 1 }, (_, i) => [20 + 25 * i, 30, 8, 40]);
  assert.throws(() => fromPixels(rgba(paper(560, 100, many, () => 220)), true), { message: /^More than 20 signs stand in this picture/ });
  assert.equal(fromPixels(rgba(paper(560, 100, many.slice(1), () => 220)), true).images.length, 20);
});

test("a large picture is looked at in half its size", () => {
  const double = BARS.map((bar) => bar.map((place) => 4 * place));
  const signs = signsOf(paper(1120, 480, double, (x, y) => slope(x / 4, y / 4)));
  assert.deepEqual(places(signs), SORTED.map((bar) => bar.map((place) => 2 * place)));
});

test("a picture of any size and any noise has signs that lie in it", () => {
  let seed = 1;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (const [width, height] of [[1, 1], [1, 900], [900, 1], [2, 2], [3, 700], [29, 31], [64, 40], [120, 90]]) {
    for (const most of [0, 3, 255]) {
      const data = Float64Array.from({ length: width * height }, () => Math.round(random() * most));
      for (const sign of signsOf({ data, width, height })) {
        assert.ok(sign.left >= 0 && sign.top >= 0 && sign.left + sign.width <= width && sign.top + sign.height <= height);
        assert.ok(sign.data.some((value) => value > 0));
      }
    }
  }
});
