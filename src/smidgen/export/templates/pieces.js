// What the answer rests on: the image with one piece of it taken away, for every piece.
//
// A piece is {path, closed, image}: points [x, y] in pixels of the image, a line or the corners of a
// cell, and the image without it.

import { frameOf, place } from "./preprocess.js";
import { frameOfStrokes, inkOfPart } from "./strokes.js";

const PIECES = 8; // of a drawing, about
const CELLS = 4; // of an image, in each direction

/** The pieces of a drawing: its strokes, the long ones in parts of about the same length. */
export function piecesOfStrokes(strokes) {
  const whole = frameOfStrokes(strokes);
  const frame = frameOf(inkOfPart(strokes, whole));
  const parts = cutStrokes(strokes);
  const toImage = (point) => {
    const [x, y] = whole.place(point);
    return [
      frame.left + ((x - frame.box.left) * frame.width) / frame.box.width,
      frame.top + ((y - frame.box.top) * frame.height) / frame.box.height,
    ];
  };
  return parts.map((part) => ({
    path: part.map(toImage),
    closed: false,
    image: place(inkOfPart(parts.filter((other) => other !== part), whole), frame),
  }));
}

/** Strokes in parts that are no longer than an eighth of all; neighbours share a point. */
export function cutStrokes(strokes) {
  const total = strokes.reduce((sum, stroke) => sum + lengthOf(stroke), 0);
  return strokes.flatMap((stroke) => cut(stroke, Math.max(1, Math.round((PIECES * lengthOf(stroke)) / (total || 1)))));
}

function cut(stroke, count) {
  const each = lengthOf(stroke) / count;
  const parts = [[stroke[0]]];
  let gone = 0; // of the length of the last part
  for (let i = 1; i < stroke.length; i++) {
    let from = stroke[i - 1];
    let rest = Math.hypot(stroke[i][0] - from[0], stroke[i][1] - from[1]);
    while (gone + rest > each && parts.length < count) {
      const share = (each - gone) / rest;
      const border = from.map((start, axis) => start + share * (stroke[i][axis] - start));
      parts.at(-1).push(border);
      parts.push([border]);
      rest -= each - gone;
      [from, gone] = [border, 0];
    }
    parts.at(-1).push(stroke[i]);
    gone += rest;
  }
  return parts;
}

function lengthOf(stroke) {
  return stroke.reduce((sum, [x, y], i) => (i ? sum + Math.hypot(x - stroke[i - 1][0], y - stroke[i - 1][1]) : 0), 0);
}

/** The pieces of an image [height, width, channels]: the cells of a grid. A cell is taken away by
 * giving it the level `paper`, and cells that have no other are left out; without paper, where it is
 * null, all are there, and are taken away by giving them the image's mean. */
export function piecesOfImage(image, [height, width, channels], paper) {
  const mean = image.reduce((sum, level) => sum + level, 0) / image.length;
  const pieces = [];
  for (let row = 0; row < CELLS; row++) {
    for (let column = 0; column < CELLS; column++) {
      const [top, bottom] = [row, row + 1].map((edge) => Math.round((edge * height) / CELLS));
      const [left, right] = [column, column + 1].map((edge) => Math.round((edge * width) / CELLS));
      const without = Uint8Array.from(image);
      for (let y = top; y < bottom; y++) {
        without.fill(paper ?? mean, (y * width + left) * channels, (y * width + right) * channels);
      }
      if (paper !== null && without.every((level, i) => level === image[i])) continue;
      const path = [[left, top], [right, top], [right, bottom], [left, bottom]];
      pieces.push({ path, closed: true, image: without });
    }
  }
  return pieces;
}
