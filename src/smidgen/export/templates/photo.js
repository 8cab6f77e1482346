// Preprocessing of photos: the largest centred part of the right shape, scaled by area averaging.
// smidgen/preprocess/photo.py does the same in Python; the tests compare both on
// tests/preprocess_vectors.json.

import { weights } from "./resampling.js";

/** The image, bytes with the channels last, of a picture {data, width, height} with four bytes a
 * pixel, for an input [height, width, channels]. */
export function photo(picture, [height, width, channels]) {
  const part = crop(picture, [height, width]);
  const down = padded(part.height, height);
  const across = padded(part.width, width);
  const read = channels === 1 ? luma : flat;
  const row = new Float64Array(width * channels);
  const sums = new Float64Array(height * width * channels);
  for (let y = 0; y < part.height; y++) {
    row.fill(0);
    across.rows.forEach((taps, o) => {
      for (const [x, weight] of taps) {
        const at = 4 * ((part.top + y) * picture.width + part.left + x);
        for (let c = 0; c < channels; c++) row[o * channels + c] += weight * read(picture.data, at, c);
      }
    });
    for (const [o, weight] of down.readers[y]) {
      for (let i = 0; i < row.length; i++) sums[o * row.length + i] += weight * row[i];
    }
  }
  const total = down.total * across.total;
  return Uint8Array.from(sums, (sum) => Math.floor((2 * sum + total) / (2 * total)));
}

/** The largest centred part {left, top, width, height} of a picture with the aspect ratio of sides. */
export function crop(picture, [height, width]) {
  const fitted = (other, side, otherSide) => Math.max(1, Math.floor((2 * other * side + otherSide) / (2 * otherSide)));
  const wide = Math.min(picture.width, fitted(picture.height, width, height));
  const high = Math.min(picture.height, fitted(picture.width, height, width));
  const [left, top] = [(picture.width - wide) >> 1, (picture.height - high) >> 1];
  return { left, top, width: wide, height: high };
}

/** Weights whose outermost inputs go on outside, by output (`rows`) and by input (`readers`). */
function padded(inputs, outputs) {
  const rows = weights(inputs, outputs);
  const sum = (row) => row.reduce((part, [, weight]) => part + weight, 0);
  const total = Math.max(...rows.map(sum));
  const readers = Array.from({ length: inputs }, () => []);
  rows.forEach((row, o) => {
    const missing = total - sum(row);
    if (missing) row.push([o < outputs / 2 ? 0 : inputs - 1, missing]);
    for (const [i, weight] of row) readers[i].push([o, weight]);
  });
  return { rows, readers, total };
}

/** A level of red, green or blue, laid on white. */
function flat(data, at, channel) {
  const alpha = data[at + 3];
  return Math.floor((2 * (data[at + channel] * alpha + 255 * (255 - alpha)) + 255) / 510);
}

/** Luma as in ITU-R BT.601. */
function luma(data, at) {
  const [red, green, blue] = [0, 1, 2].map((channel) => flat(data, at, channel));
  return Math.floor((299 * red + 587 * green + 114 * blue) / 1000 + 0.5);
}
