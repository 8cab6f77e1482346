// Out-of-distribution detection: how far an image is from every class of the training data.
// smidgen/detector.py fits the detector and explains it.

import { SIDE } from "./preprocess.js";

const CELL = 10;
const STARTS = [0, 9, 18];
const ORIENTATIONS = 4;

/** The detector of a parsed document; null where the page has none. */
export function decodeDetector(document) {
  if (!document) return null;
  const bytes = Uint8Array.from(atob(document.data), (character) => character.charCodeAt(0));
  const numbers = Float64Array.from(new Int16Array(bytes.buffer), (n) => n * document.scale);
  const { features } = document;
  const size = features + (features * (features + 1)) / 2;
  const classes = [];
  for (let at = 0; at < numbers.length; at += size) {
    const [mean, root] = [numbers.subarray(at, at + features), numbers.subarray(at + features, at + size)];
    classes.push({ mean, root });
  }
  return classes;
}

/** The distance of an image from the nearest class; above 1 it belongs to none of them. */
export function distance(classes, image) {
  const features = describe(image);
  let nearest = Infinity;
  for (const { mean, root } of classes) {
    let squared = 0;
    for (let row = 0, at = 0; row < features.length; row++) {
      let sum = 0;
      for (let column = 0; column <= row; column++, at++) sum += root[at] * (features[column] - mean[column]);
      squared += sum * sum;
    }
    nearest = Math.min(nearest, squared);
  }
  return Math.sqrt(nearest);
}

/** Edges in four orientations over 3 × 3 cells, the share of ink, and of half-tones. */
export function describe(image) {
  const edges = Array.from({ length: ORIENTATIONS }, () => new Float64Array(SIDE * SIDE));
  const at = (y, x) => (y < 0 || x < 0 || y >= SIDE || x >= SIDE ? 0 : image[y * SIDE + x]);
  let ink = 0;
  let halves = 0;
  for (let y = 0, i = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++, i++) {
      const across = at(y, x + 1) - at(y, x - 1);
      const down = at(y + 1, x) - at(y - 1, x);
      for (let o = 0; o < ORIENTATIONS; o++) {
        const angle = (Math.PI * o) / ORIENTATIONS;
        edges[o][i] = Math.abs(across * Math.cos(angle) + down * Math.sin(angle));
      }
      ink += image[i] / 255;
      halves += (image[i] / 255) * (1 - image[i] / 255);
    }
  }
  const features = edges.flatMap((plane) => STARTS.flatMap((top) => STARTS.map((left) => {
    let sum = 0;
    for (let y = top; y < top + CELL; y++) {
      for (let x = left; x < left + CELL; x++) sum += plane[y * SIDE + x];
    }
    return Math.sqrt(sum / (CELL * CELL * 255));
  })));
  return [...features, Math.sqrt(ink / SIDE / SIDE), Math.sqrt(halves / SIDE / SIDE)];
}
