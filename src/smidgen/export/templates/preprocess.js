// Preprocessing: how ink becomes 28 × 28 pixels, scaled and centred as in MNIST. smidgen/preprocess/glyph.py
// does the same in Python and explains it; the tests compare both on tests/preprocess_vectors.json.
//
// A grey picture is {data, width, height}: rows from the top, 0 to 255, any array of numbers.

import { weights } from "./resampling.js";

export const SIDE = 28;
export const PIXELS = SIDE * SIDE;
const BOX = 20;
const MIN_CONTRAST = 32;

/** The image, PIXELS bytes with 255 = ink, of a picture {data, width, height} with four bytes a
 * pixel; null if it is blank. A 28 × 28 picture with a dark border is taken for an image already. */
export function preprocess(rgba) {
  const grey = toGrey(rgba);
  const { low, high } = extremes(grey.data);
  if (high - low < MIN_CONTRAST) return null;
  if (grey.width === SIDE && grey.height === SIDE && median(border(grey)) < MIN_CONTRAST) {
    return Uint8Array.from(grey.data);
  }
  return scaleAndCentre(extractInk(grey));
}

/** The image of the ink, in which 0 or less is background; its strongest pixel is 255. */
export function scaleAndCentre(ink) {
  const frame = frameOf(ink);
  return frame ? place(ink, frame) : new Uint8Array(PIXELS);
}

/** How ink becomes an image: its box comes to lie at `top` and `left`, `width` × `height`, its
 * strongest pixel is `high`. Null without ink. */
export function frameOf(ink) {
  const box = boundingBox(ink);
  if (!box) return null;
  const longest = Math.max(box.width, box.height);
  const width = fitted(box.width, longest);
  const height = fitted(box.height, longest);
  const small = resample(cut(ink, box), width, height);
  const { high } = extremes(small);
  for (let i = 0; i < small.length; i++) small[i] = Math.floor((small[i] * 255) / high + 0.5);
  const rows = new Float64Array(height);
  const columns = new Float64Array(width);
  small.forEach((value, i) => {
    rows[Math.floor(i / width)] += value;
    columns[i % width] += value;
  });
  return { box, width, height, high, top: offset(rows), left: offset(columns) };
}

/** The image of ink in a frame, its own or that of ink which it is a part of. */
export function place(ink, { box, width, height, high, top, left }) {
  const image = new Uint8Array(PIXELS);
  resample(cut(ink, box), width, height).forEach((value, i) => {
    image[(top + Math.floor(i / width)) * SIDE + left + (i % width)] = Math.floor((value * 255) / high + 0.5);
  });
  return image;
}

/** What stands out from the background, which is the median of the picture's border. */
export function extractInk({ data, width, height }) {
  const edge = border({ data, width, height });
  const background = median(edge);
  const noise = median(edge.map((value) => Math.abs(value - background)));
  const { low, high } = extremes(data);
  const sign = high - background > background - low ? 1 : -1;
  const strongest = sign > 0 ? high - background : background - low;
  const floor = Math.min(Math.max(8 * noise, strongest / 16), strongest / 2);
  const ink = Float64Array.from(data, (value) => {
    const contrast = sign * (value - background);
    return contrast > floor ? contrast : 0;
  });
  return { data: ink, width, height };
}

/** Luma from 0 to 255; transparency lies on white, or on black where what is opaque is light. */
export function toGrey({ data, width, height }) {
  const luma = new Float64Array(width * height);
  let light = 0;
  let opaque = 0;
  for (let i = 0; i < luma.length; i++) {
    const at = 4 * i; // red, green, blue, alpha
    luma[i] = Math.floor((299 * data[at] + 587 * data[at + 1] + 114 * data[at + 2]) / 1000 + 0.5);
    light += luma[i] * data[at + 3];
    opaque += data[at + 3];
  }
  const background = light > 127.5 * opaque ? 0 : 255;
  for (let i = 0; i < luma.length; i++) {
    const alpha = data[4 * i + 3];
    luma[i] = Math.floor((luma[i] * alpha + background * (255 - alpha)) / 255 + 0.5);
  }
  return { data: luma, width, height };
}

/** The smallest box around all ink, or null without ink. */
export function boundingBox({ data, width, height }) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!(data[i] > 0)) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  if (right < 0) return null;
  return { left, top, width: right - left + 1, height: bottom - top + 1 };
}

function cut({ data, width }, box) {
  const part = new Float64Array(box.width * box.height);
  for (let y = 0; y < box.height; y++) {
    for (let x = 0; x < box.width; x++) {
      part[y * box.width + x] = Math.max(0, data[(box.top + y) * width + box.left + x]);
    }
  }
  return { data: part, width: box.width, height: box.height };
}

/** Half up, at least 1. */
function fitted(side, longest) {
  return Math.max(1, Math.floor((2 * BOX * side + longest) / (2 * longest)));
}

function resample({ data, width, height }, toWidth, toHeight) {
  const tall = new Float64Array(toHeight * width);
  weights(height, toHeight).forEach((row, o) => {
    for (const [i, weight] of row) {
      for (let x = 0; x < width; x++) tall[o * width + x] += weight * data[i * width + x];
    }
  });
  const small = new Float64Array(toHeight * toWidth);
  weights(width, toWidth).forEach((row, o) => {
    for (const [i, weight] of row) {
      for (let y = 0; y < toHeight; y++) small[y * toWidth + o] += weight * tall[y * width + i];
    }
  });
  return small;
}

/** Where the box begins so that its centre of mass lies in pixel 14, or as near as it fits. */
function offset(mass) {
  let total = 0;
  let moment = 0;
  mass.forEach((value, i) => {
    total += value;
    moment += value * i;
  });
  const centred = Math.ceil(((SIDE - 1) * total - 2 * moment) / (2 * total));
  return Math.min(Math.max(centred, 0), SIDE - mass.length);
}

function border({ data, width, height }) {
  const edge = [];
  for (let x = 0; x < width; x++) edge.push(data[x], data[(height - 1) * width + x]);
  for (let y = 0; y < height; y++) edge.push(data[y * width], data[y * width + width - 1]);
  return edge;
}

/** The lower of the two middle values where there are two. */
function median(values) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

function extremes(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return { low, high };
}
