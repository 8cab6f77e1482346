// From pen strokes to ink. A stroke is a list of points [x, y] on a paper of 280 × 280.

export const PAPER = 280;
export const PEN = 20; // its width on the paper
const BOX = 200; // of a drawing on its own: ten units for each pixel of the image's box
const STROKE = 25; // MNIST's median stroke is 2.5 pixels wide
const GAP = 30; // between the paths of two digits: more than the pen is wide
const TALL = 0.4; // of the tallest digit; what is lower is a part of its neighbour
const SMALLEST = 12; // a drawing within fewer units counts as a dot of that size

/** The ink of a drawing by itself, with a pen in proportion to it, so that a digit looks the same
 * to a network at any size and place. */
export function inkOf(strokes) {
  return inkOfPart(strokes, frameOfStrokes(strokes));
}

/** Where a drawing's points come to lie in its ink: {place(point), width, height}. */
export function frameOfStrokes(strokes) {
  const box = extent(strokes);
  const scale = (BOX - STROKE) / Math.max(box.width, box.height, SMALLEST);
  const margin = STROKE / 2 + 1;
  const place = ([x, y]) => [(x - box.left) * scale + margin, (y - box.top) * scale + margin];
  const width = Math.ceil(box.width * scale + 2 * margin);
  const height = Math.ceil(box.height * scale + 2 * margin);
  return { place, width, height };
}

/** The ink of some strokes of a drawing, where they lie in that of the whole. */
export function inkOfPart(strokes, { place, width, height }) {
  return rasterise(strokes.map((stroke) => stroke.map(place)), { width, height, pen: STROKE });
}

/** The ink of strokes where they lie on the paper, with the paper's pen. */
export function inkOnPaper(strokes) {
  return rasterise(strokes, { width: PAPER, height: PAPER, pen: PEN });
}

/** The strokes of each digit, from left to right, where white paper stands between them; all strokes
 * as one digit where it does not, or where a part is too low to be a digit of its own. */
export function digitsOf(strokes) {
  const groups = [];
  const edges = (stroke) => extent([stroke]);
  for (const stroke of [...strokes].sort((a, b) => edges(a).left - edges(b).left)) {
    const last = groups.length ? extent(groups.at(-1)) : null;
    if (last && edges(stroke).left - (last.left + last.width) < GAP) groups.at(-1).push(stroke);
    else groups.push([stroke]);
  }
  const heights = groups.map((group) => extent(group).height);
  return heights.every((height) => height >= TALL * Math.max(...heights)) ? groups : [strokes];
}

/** The part [from, to] of a segment that lies on the paper, or null (Liang and Barsky, 1984). */
export function clip(from, to) {
  let [enter, leave] = [0, 1]; // shares of the way
  for (const axis of [0, 1]) {
    const way = to[axis] - from[axis];
    const [toLow, toHigh] = [-from[axis], PAPER - from[axis]];
    if (way === 0 && (toLow > 0 || toHigh < 0)) return null;
    if (way === 0) continue;
    enter = Math.max(enter, Math.min(toLow / way, toHigh / way));
    leave = Math.min(leave, Math.max(toLow / way, toHigh / way));
  }
  if (enter > leave) return null;
  const at = (share) => from.map((start, axis) => start + share * (to[axis] - start));
  return [enter > 0 ? at(enter) : from, leave < 1 ? at(leave) : to];
}

/** The box around the pen's path, {left, top, width, height}. */
export function extent(strokes) {
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const [x, y] of strokes.flat()) {
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x);
    box.top = Math.min(box.top, y);
    box.bottom = Math.max(box.bottom, y);
  }
  return { left: box.left, top: box.top, width: box.right - box.left, height: box.bottom - box.top };
}

function rasterise(strokes, { width, height, pen }) {
  const ink = { data: new Float64Array(width * height), width, height };
  for (const stroke of strokes) {
    stroke.forEach((point, i) => drawSegment(ink, stroke[Math.max(0, i - 1)], point, pen / 2));
  }
  return ink;
}

/** A line with round ends; a pixel that it covers in part gets a part of 255. */
function drawSegment({ data, width, height }, [x0, y0], [x1, y1], radius) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const squared = dx * dx + dy * dy;
  const [left, right] = span(x0, x1, radius + 1, width);
  const [top, bottom] = span(y0, y1, radius + 1, height);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const [px, py] = [x + 0.5 - x0, y + 0.5 - y0];
      const along = squared ? Math.min(Math.max((px * dx + py * dy) / squared, 0), 1) : 0;
      const distance = Math.hypot(px - along * dx, py - along * dy);
      const cover = Math.min(Math.max(radius - distance + 0.5, 0), 1);
      const at = y * width + x;
      data[at] = Math.max(data[at], Math.round(255 * cover));
    }
  }
}

function span(from, to, reach, size) {
  const [low, high] = from < to ? [from, to] : [to, from];
  return [Math.max(0, Math.floor(low - reach)), Math.min(size, Math.ceil(high + reach))];
}
