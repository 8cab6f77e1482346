// The paper: pointers and keys become scenes, and scenes become pixels on the screen.

import { paint } from "./paint.js";
import { EMPTY, createHistory } from "./scene.js";
import { clip, PAPER } from "./strokes.js";

const STEP = 10; // of a key, on a paper of 280
const SMALL_STEP = 3;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The pad on a canvas; `changed` is called whenever its scene may have changed. */
export function createPad(canvas, changed) {
  const history = createHistory();
  let stroke = null; // the one being drawn, the last of the scene
  let pen = null; // where it is, on the paper or beside it
  let cursor = null; // the keyboard's pen, where it is shown
  let preview = null; // a scene that is shown until the first touch, and is no part of the history

  const pad = {
    scene: () => preview ?? history.now(),
    drawn: history.now,
    isPreview: () => preview !== null,
    canUndo: history.canUndo,
    drawing: () => stroke !== null,
    paint() {
      paint(canvas, pad.scene(), cursor && { at: cursor, down: stroke !== null });
    },
    repaint() {
      pad.paint();
      changed();
    },
    preview(scene) {
      preview = scene;
      pad.repaint();
    },
    put(scene) {
      stroke = preview = null;
      history.push(scene);
      pad.repaint();
    },
    begin(point) {
      const begun = [point];
      const { picture, strokes } = history.now();
      pad.put({ picture, strokes: [...strokes, begun] });
      stroke = begun;
      pen = point;
    },
    /** Beside the paper the pen leaves no ink; where it comes back it begins another line. */
    extend(points) {
      for (const point of points) {
        const part = clip(pen, point);
        if (part && part[0] !== pen) {
          stroke = [part[0]];
          history.now().strokes.push(stroke);
        }
        if (part) stroke.push(part[1]);
        pen = point;
      }
      pad.repaint();
    },
    lift() {
      stroke = null;
      pad.paint(); // the scene is what it was
    },
    undo() {
      history.undo();
      stroke = null;
      pad.repaint();
    },
    clear() {
      if (preview) pad.preview(null);
      else if (history.now() !== EMPTY) pad.put(EMPTY);
    },
    showCursor(point) {
      cursor = point;
    },
  };
  listenToPointers(canvas, pad);
  listenToKeys(canvas, pad);
  new ResizeObserver(() => {
    canvas.width = canvas.height = Math.round(canvas.clientWidth * devicePixelRatio);
    pad.paint();
  }).observe(canvas);
  return pad;
}

/** One pointer draws at a time: the first that comes down. */
function listenToPointers(canvas, pad) {
  let pointer = null;
  const onPaper = (event) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    return [((event.clientX - left) / width) * PAPER, ((event.clientY - top) / height) * PAPER];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (pad.drawing() || event.button !== 0) return;
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer);
    pad.showCursor(null);
    pad.begin(onPaper(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer || !pad.drawing()) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    pad.extend((passed.length ? passed : [event]).map(onPaper));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      if (event.pointerId !== pointer) return;
      pointer = null;
      pad.lift();
    });
  }
}

/** The arrow keys move a separate pen, Space and Enter put it down and lift it. */
function listenToKeys(canvas, pad) {
  let at = [PAPER / 2, PAPER / 2];
  const held = new Set();
  const move = (step) => {
    for (const arrow of held) {
      at = at.map((place, axis) => Math.min(Math.max(place + ARROWS[arrow][axis] * step, 0), PAPER));
    }
    pad.showCursor(at);
    if (pad.drawing()) pad.extend([at]);
    else pad.preview(null);
  };
  const toggle = () => {
    pad.showCursor(at);
    if (pad.drawing()) pad.lift();
    else pad.begin(at);
  };
  const actions = { " ": toggle, enter: toggle, z: pad.undo, c: pad.clear };

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) {
      held.add(event.key);
      move(event.shiftKey ? SMALL_STEP : STEP);
    } else {
      const action = actions[event.key.toLowerCase()];
      if (!action || event.repeat) return;
      action();
    }
    event.preventDefault();
  });
  canvas.addEventListener("keyup", (event) => held.delete(event.key));
  canvas.addEventListener("blur", () => {
    held.clear();
    pad.showCursor(null);
    pad.lift();
  });
}
