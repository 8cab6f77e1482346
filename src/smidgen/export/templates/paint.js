// Draws what is on the paper, in the colour of the page's ink.

import { PAPER, PEN } from "./strokes.js";

const sheets = new WeakMap(); // of the pictures' inks, each tinted once a colour

/** Draws a scene, and the keyboard's pen {at, down} where there is one. */
export function paint(canvas, { picture, strokes }, pen) {
  const context = canvas.getContext("2d");
  const { color } = getComputedStyle(canvas);
  context.setTransform(canvas.width / PAPER, 0, 0, canvas.height / PAPER, 0, 0);
  context.clearRect(0, 0, PAPER, PAPER);
  if (picture) paintPicture(context, picture, color);
  Object.assign(context, { strokeStyle: color, lineWidth: PEN, lineCap: "round", lineJoin: "round" });
  for (const stroke of strokes) paintStroke(context, stroke);
  if (pen) paintPen(context, pen);
}

function paintPicture(context, { ink, box }, color) {
  if (sheets.get(ink)?.color !== color) sheets.set(ink, { color, sheet: tint(ink, color) });
  context.imageSmoothingQuality = "high";
  context.drawImage(sheets.get(ink).sheet, box.left, box.top, box.width, box.height);
}

/** A canvas with the ink in a colour, see-through where there is none. */
function tint({ data, width, height }, color) {
  const sheet = new OffscreenCanvas(width, height);
  const context = sheet.getContext("2d");
  const pixels = context.createImageData(width, height);
  const [red, green, blue] = color.match(/\d+/g).map(Number);
  for (let i = 0, at = 0; i < data.length; i++) {
    pixels.data[at++] = red;
    pixels.data[at++] = green;
    pixels.data[at++] = blue;
    pixels.data[at++] = data[i];
  }
  context.putImageData(pixels, 0, 0);
  return sheet;
}

/** A curve through the midpoints of the line's segments, so that it has no visible corners. */
function paintStroke(context, points) {
  context.beginPath();
  context.moveTo(...points[0]);
  for (let i = 1; i < points.length - 1; i++) {
    const [[x, y], [nextX, nextY]] = [points[i], points[i + 1]];
    context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
  }
  context.lineTo(...points.at(-1));
  context.stroke();
}

function paintPen(context, { at: [x, y], down }) {
  context.beginPath();
  context.arc(x, y, PEN / 2 + 3, 0, 2 * Math.PI);
  context.lineWidth = down ? 3 : 1.5;
  context.stroke();
}
