// The image at the start of the view inside, and the pieces of it that can be taken away.

import { link, rove } from "./linking.js";
import { showImage } from "./panels.js";

const SVG = "http://www.w3.org/2000/svg";

/** The image on a canvas, its pieces in the svg over it. */
export function createInk(canvas, svg) {
  const frame = create("rect", "field");
  let paths = [];

  return {
    show(image, input) {
      showImage(canvas, image, input);
      svg.setAttribute("viewBox", `0 0 ${input[1]} ${input[0]}`);
      svg.style.aspectRatio = `${input[1]} / ${input[0]}`;
      svg.replaceChildren(frame);
      frame.style.display = "none";
      paths = [];
    },
    /** Puts the pieces over the image; `name(piece)` says what one is, `enter` and `leave` listen. */
    setPieces(pieces, { name, enter, leave }) {
      paths = pieces.map((piece) => {
        const path = create("path", piece.closed ? "cell" : "stroke");
        const points = piece.path.map((point) => point.map((place) => place.toFixed(2)).join(" "));
        path.setAttribute("d", `M${points.join("L")}${piece.closed ? "Z" : points.length === 1 ? "h.01" : ""}`);
        path.setAttribute("role", "button");
        path.setAttribute("aria-label", name(piece));
        link(path, () => {
          mark(path);
          enter(piece);
        }, leave);
        return path;
      });
      svg.replaceChildren(...paths, frame);
      rove(paths);
    },
    /** Colours the pieces by strengths from 0 to 1. */
    colour(strengths) {
      const most = Math.max(...strengths, 0.02);
      paths.forEach((path, i) => path.style.setProperty("--strength", strengths[i] / most));
    },
    mark: (position) => mark(paths[position]),
    /** Frames a part {top, left, bottom, right} of the image; null none. */
    frame(part) {
      frame.style.display = part ? "" : "none";
      if (!part) return;
      const { top, left, bottom, right } = part;
      const place = { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
      for (const [name, value] of Object.entries(place)) frame.setAttribute(name, value);
    },
  };

  function mark(marked) {
    for (const path of paths) path.classList.toggle("marked", path === marked);
  }
}

function create(tag, name) {
  const element = document.createElementNS(SVG, tag);
  element.setAttribute("class", name);
  return element;
}
