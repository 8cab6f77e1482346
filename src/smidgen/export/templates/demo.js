// A drawing that draws itself when the page opens, until the first touch.

import { PAPER } from "./strokes.js";

const SPEED = 0.3; // of the paper, in a millisecond: half a second for a side
const START = PAPER / 4; // what is there at once: a dot, framed, is read as something that it is not
const FRAME_MS = 30;
const PAUSE_MS = 2600; // between two drawings

// Digits as strokes of points x, y in hundredths of the paper.
const DRAWINGS = [
  ["30 27 38 21 50 19 61 23 65 31 61 40 52 46 44 48 54 49 64 55 68 65 64 75 54 81 41 80 31 74"],
  ["64 24 52 20 41 23 35 31 37 41 46 46 57 44 64 37 66 27 65 22 65 40 63 60 60 80"],
  ["31 23 44 22 57 21 69 19 62 34 55 50 49 66 45 82", "40 52 52 50 65 49"],
].map((strokes) => strokes.map((stroke) => toPoints(stroke.split(" ").map((n) => (n * PAPER) / 100))));

function toPoints(numbers) {
  return Array.from({ length: numbers.length / 2 }, (_, i) => [numbers[2 * i], numbers[2 * i + 1]]);
}

/** Draws on the pad one drawing after the other, until a key or a pointer is pressed anywhere; the
 * drawing then stays until the paper is touched. Motionless where less motion is asked for. */
export function play(pad) {
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let drawing = 0;
  let begun = null; // when the drawing was

  function frame(now) {
    if (!pad.isPreview()) return stop();
    begun ??= now;
    const part = partOf(DRAWINGS[drawing], START + (now - begun) * SPEED);
    if (part) pad.preview({ picture: null, strokes: part });
    else drawing = (drawing + 1) % DRAWINGS.length;
    if (!part) begun = null;
    timer = setTimeout(() => requestAnimationFrame(frame), part ? FRAME_MS : PAUSE_MS);
  }

  function stop() {
    clearTimeout(timer);
    for (const type of ["pointerdown", "keydown"]) removeEventListener(type, finish, true);
  }

  function finish() {
    stop();
    if (pad.isPreview()) pad.preview({ picture: null, strokes: DRAWINGS[drawing] });
  }

  pad.preview({ picture: null, strokes: isStill ? DRAWINGS[0] : partOf(DRAWINGS[0], START) });
  if (isStill) return;
  let timer = setTimeout(() => requestAnimationFrame(frame), FRAME_MS);
  for (const type of ["pointerdown", "keydown"]) addEventListener(type, finish, true);
}

/** What is drawn of strokes once the pen has gone so far; null some way after all of them. */
function partOf(strokes, way) {
  const part = [];
  for (const stroke of strokes) {
    part.push([stroke[0]]);
    for (let i = 1; i < stroke.length; i++) {
      const [from, to] = [stroke[i - 1], stroke[i]];
      const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
      const share = Math.min(1, way / length);
      part.at(-1).push(from.map((start, axis) => start + share * (to[axis] - start)));
      way -= length;
      if (way <= 0) return part;
    }
  }
  return way < PAPER / 10 ? part : null;
}
