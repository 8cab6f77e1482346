// Out-of-distribution detection: whether an image is like those of any class.
// smidgen/detector.py fits the detector and explains it.

import { decode, run } from "./network.js";
import { SIDE } from "./preprocess.js";

const CELL = 10;
const STARTS = [0, 9, 18];
const ORIENTATIONS = 4;

/** The detector of a page's parsed data; null where it has none. */
export function decodeDetector({ detector, models }) {
  if (!detector) return null;
  const { components, step, network: judge } = detector;
  const projection = new Float32Array(bytesOf(detector.projection));
  const numbers = Float64Array.from(new Int16Array(bytesOf(detector.gaussians)), (n) => n * step);
  const size = 1 + components + (components * (components + 1)) / 2;
  const gaussians = [];
  for (let at = 0; at < numbers.length; at += size) {
    const [shift, root] = [at + 1, at + 1 + components];
    gaussians.push({ offset: numbers[at], shift: numbers.subarray(shift, root), root: numbers.subarray(root, at + size) });
  }
  const network = decode(detector.graph ?? models.find(({ name }) => name === judge).graph);
  const [classes, others] = [gaussians.slice(0, detector.classes), gaussians.slice(detector.classes)];
  return { network, projection, classes, others };
}

/** How far an image is beyond the limit; above 0 it belongs to none of the classes. */
export function excess({ network, projection, classes, others }, image) {
  const features = [...edgesOf(image), ...meansOf(network, image)];
  const components = [];
  for (let at = 0; at < projection.length; at += features.length) {
    components.push(features.reduce((sum, feature, i) => sum + projection[at + i] * feature, 0));
  }
  const best = (gaussians) => Math.min(...gaussians.map((gaussian) => unlikely(gaussian, components)));
  return best(classes) - (others.length ? best(others) : 0);
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
}

/** Minus twice the logarithm of the likelihood. */
function unlikely({ offset, shift, root }, components) {
  let total = offset;
  for (let row = 0, at = 0; row < components.length; row++) {
    let sum = -shift[row];
    for (let column = 0; column <= row; column++, at++) sum += root[at] * components[column];
    total += sum * sum;
  }
  return total;
}

/** The means of the channels that the last convolution of a network reads. */
function meansOf(network, image) {
  const last = network.nodes.findLast(({ op }) => op === "conv");
  const { shape: [height, width, depth], data } = run(network, image)[last.inputs[0]];
  const means = new Array(depth).fill(0);
  data.forEach((value, i) => {
    means[i % depth] += value / (255 * height * width);
  });
  return means;
}

/** Edges in four orientations over 3 × 3 cells, the share of ink, and of half-tones. */
export function edgesOf(image) {
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
