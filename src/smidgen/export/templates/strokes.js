// From pen strokes to ink. A stroke is a list of [x, y] on a paper of 280 × 280.

export const PAPER = 280;
export const PEN = 20; // its width on the paper
const BOX = 200; // ten units a pixel of the frame's box
const THICKNESS = 25; // MNIST's median stroke is 2.5 pixels of the frame wide
const SMALLEST = 12; // what is drawn within fewer units counts as a dot of this size

// The ink of a drawing, {data, width, height}, with a pen in proportion to the drawing, so that a
// digit looks alike to a network at whatever size and place it was drawn.
export function inkOf(strokes) {
  const box = extent(strokes);
  const scale = (BOX - THICKNESS) / Math.max(box.width, box.height, SMALLEST);
  const margin = THICKNESS / 2 + 1;
  const place = ([x, y]) => [(x - box.left) * scale + margin, (y - box.top) * scale + margin];
  const width = Math.ceil(box.width * scale + 2 * margin);
  const height = Math.ceil(box.height * scale + 2 * margin);
  const ink = {data: new Float64Array(width * height), width, height};
  for (const stroke of strokes) {
    const points = stroke.map(place);
    points.forEach((point, i) => drawSegment(ink, points[Math.max(0, i - 1)], point));
  }
  return ink;
}

// The box around the pen's path, {left, top, width, height}.
export function extent(strokes) {
  const points = strokes.flat();
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return {left, top, width: Math.max(...xs) - left, height: Math.max(...ys) - top};
}

// A line with round ends; a pixel that it covers in part gets a part of the ink.
function drawSegment({data, width, height}, [x0, y0], [x1, y1]) {
  const reach = THICKNESS / 2 + 1;
  const [dx, dy] = [x1 - x0, y1 - y0];
  const squared = dx * dx + dy * dy;
  const [left, right] = span(x0, x1, reach, width);
  const [top, bottom] = span(y0, y1, reach, height);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const [px, py] = [x + 0.5 - x0, y + 0.5 - y0];
      const along = squared ? Math.min(Math.max((px * dx + py * dy) / squared, 0), 1) : 0;
      const distance = Math.hypot(px - along * dx, py - along * dy);
      const cover = Math.min(Math.max(THICKNESS / 2 - distance + 0.5, 0), 1);
      const at = y * width + x;
      data[at] = Math.max(data[at], Math.round(255 * cover));
    }
  }
}

function span(from, to, reach, size) {
  const [low, high] = from < to ? [from, to] : [to, from];
  return [Math.max(0, Math.floor(low - reach)), Math.min(size, Math.ceil(high + reach))];
}
