// The page of glyphs: what is drawn, or a picture of it, is read by every network.

import { decodeDetector, distance } from "./detector.js";
import { unpackImage } from "./images.js";
import { keep, kept } from "./keep.js";
import { createPad } from "./pad.js";
import { createBars } from "./panels.js";
import { openPicture, PictureError } from "./picture.js";
import { createReading, element, introduce, listenToPictures, page, say } from "./reading.js";
import { EMPTY, fromImage, fromPixels, seen } from "./scene.js";

const detector = decodeDetector(page.detector);
const { classes, input } = page.models[0].graph;
const NOT_READ = "The picture was not read. Your drawing is kept: draw on, or undo, to have it read.";
const noun = classes.join("") === "0123456789" ? "digit" : "picture";

function place(picture, message) {
  pad.put({ picture, strokes: [] });
  say(message);
}

function pick(image, label) {
  place(fromImage(image), `A test image of ${label}.`);
}

function showSample() {
  const { image, label } = page.samples[Math.floor(Math.random() * page.samples.length)];
  pick(unpackImage(page.images[image], input), classes[label]);
}

async function open(file) {
  const picture = fromPixels(await openPicture(file));
  if (!picture) throw new PictureError("This picture is blank: nothing stands out from its background.");
  pad.put({ picture, strokes: [] });
}

/** A picture that cannot be opened has no answer; what was drawn stays, its old answer does not. */
function refuse() {
  refused = pad.scene() !== EMPTY;
  reading.schedule();
}

/** Reads the paper. What was said of another scene goes with it. */
function look() {
  if (pad.scene() !== shown) {
    refused = false;
    say("");
  }
  shown = pad.scene();
  reading.schedule();
}

function showState() {
  document.body.classList.toggle("drawn", pad.scene() !== EMPTY);
  element("undo").disabled = !pad.canUndo();
  element("clear").disabled = pad.scene() === EMPTY;
}

function listen() {
  element("undo").addEventListener("click", () => pad.undo());
  element("clear").addEventListener("click", () => pad.clear());
  element("sample").hidden = page.samples.length === 0;
  element("sample").addEventListener("click", showSample);
  element("paper").addEventListener("keydown", (event) => {
    if (event.key === "s" && page.samples.length) showSample();
  });
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") pad.undo();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => pad.repaint());
}

let shown = EMPTY;
let refused = false;
const pad = createPad(element("paper"), look);
listen();
listenToPictures(open, refuse);
introduce(`Draw a ${noun}`, page.models.length > 1 ? "read it as you draw" : "reads it as you draw");
if (!window.PointerEvent) {
  say("This browser does not report pens, fingers and mice; draw with the keys, or open a picture.", true);
}
const reading = createReading({
  noun,
  invite: () => refused ? NOT_READ : `Draw a ${noun}, or take a sample.`,
  place: "on the paper",
  see: () => refused ? null : seen(pad.scene()),
  isFar: (image) => detector !== null && distance(detector, image) > 1,
  pick,
  answered: showState,
  createBars,
});
const before = kept();
if (before) pad.put(before);
keep(pad.scene);
