// A link that carries a drawing in its fragment, which browsers send to nobody.
//
// `#d=` and the strokes, a `~` between them; a point is two numbers of two digits in base 36, quarters
// of the paper's unit.

import { PAPER } from "./strokes.js";

const UNIT = 4; // parts of the paper's unit
const TOLERANCE = 0.5; // how far a line may leave the points that are left out
const MOST = 4000; // points of a link
const FORM = /^#d=(?:(?:[0-9a-z]{4})+)(?:~(?:[0-9a-z]{4})+)*$/;

/** The fragment of a link that carries strokes. */
export function toFragment(strokes) {
  const digits = (place) => Math.round(place * UNIT).toString(36).padStart(2, "0");
  return `#d=${strokes.map((stroke) => thin(stroke).flat().map(digits).join("")).join("~")}`;
}

/** The strokes of a fragment; null where it carries none that lie on the paper. */
export function fromFragment(fragment) {
  if (!FORM.test(fragment) || fragment.length > 4 * MOST) return null;
  const strokes = fragment.slice(3).split("~").map((text) => text.match(/.{4}/g).map((point) =>
    [point.slice(0, 2), point.slice(2)].map((digits) => Number.parseInt(digits, 36) / UNIT)));
  return strokes.flat(2).every((place) => place <= PAPER) ? strokes : null;
}

/** The line without the points that it passes near anyway (Ramer, 1972; Douglas and Peucker, 1973). */
function thin(points) {
  if (points.length < 3) return points;
  const [from, to] = [points[0], points.at(-1)];
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const squared = dx * dx + dy * dy;
  const away = points.map(([x, y]) => {
    const along = squared ? Math.min(Math.max(((x - from[0]) * dx + (y - from[1]) * dy) / squared, 0), 1) : 0;
    return Math.hypot(x - from[0] - along * dx, y - from[1] - along * dy);
  });
  const furthest = away.indexOf(Math.max(...away));
  if (away[furthest] <= TOLERANCE) return [from, to];
  return [...thin(points.slice(0, furthest + 1)).slice(0, -1), ...thin(points.slice(furthest))];
}
