// The page of glyphs: what is drawn, or a picture of it, is read by every network.

import { agreement, createChooser, describe } from "./chooser.js";
import { play } from "./demo.js";
import { decodeDetector, excess } from "./detector.js";
import { createGame, JURY } from "./game.js";
import { unpackImage } from "./images.js";
import { keep, kept } from "./keep.js";
import { createLesson } from "./lesson.js";
import { createPad } from "./pad.js";
import { createBars, createClock } from "./panels.js";
import { openPicture, PictureError } from "./picture.js";
import { piecesOfImage, piecesOfStrokes } from "./pieces.js";
import { createReading, element, introduce, listenToPictures, page, say } from "./reading.js";
import { fromFragment, toFragment } from "./share.js";
import { EMPTY, fromImage, fromPixels, seen, seenApart } from "./scene.js";
import { createSigns } from "./signs.js";
import { digitsOf } from "./strokes.js";
import { isAdded } from "./verdict.js";

const NOT_READ = "The picture was not read. Your drawing is kept: draw on, or undo, to have it read.";
const detector = decodeDetector(page);
const { classes, input } = page.models[0].graph;
const isDigits = classes.join("") === "0123456789";
const noun = isDigits ? "digit" : "picture";
const todo = `Draw a ${noun} on the paper with a finger, a pen, a mouse or the arrow keys.`;

function pick(image, label) {
  pad.put({ picture: fromImage(image), strokes: [] });
  say(`A test image of ${label}.`);
}

function showSample() {
  const { image, label } = page.samples[Math.floor(Math.random() * page.samples.length)];
  pick(unpackImage(page.images[image], input), classes[label]);
}

async function open(file) {
  const picture = fromPixels(await openPicture(file), isDigits);
  if (!picture) throw new PictureError("This picture is blank: nothing stands out from its background.");
  pad.put({ picture, strokes: [] });
}

/** Puts a link that carries the strokes into the address and, where that is allowed, the clipboard. */
async function shareLink() {
  history.replaceState(null, "", toFragment(pad.scene().strokes));
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is copied. It carries the drawing and nothing else.");
  } catch {
    say("The link is in the address bar. It carries the drawing and nothing else.");
  }
}

/** Shows the drawing that the address carries; says where it cannot be read. */
function openLink() {
  if (!location.hash) return false;
  const strokes = fromFragment(location.hash);
  if (strokes) pad.put({ picture: null, strokes });
  else say("This link carries no drawing that can be read.", true);
  return strokes !== null;
}

/** A picture that cannot be opened has no answer; what was drawn stays, its old answer does not. */
function refuse() {
  refused = pad.scene() !== EMPTY;
  reading.schedule();
}

/** Reads the paper. What was said of another scene goes with it. */
function look() {
  if (pad.drawn() !== shown) {
    refused = false;
    say("");
    if (location.hash && !arriving) history.replaceState(null, "", location.pathname + location.search);
  }
  shown = pad.drawn();
  game.changed();
  reading.schedule();
}

/** The images of the digits on the paper from left to right, of anything else as one. */
function see() {
  if (refused || pad.scene() === EMPTY) return [];
  return isDigits ? seenApart(pad.scene()) : [seen(pad.scene())];
}

/** The last image's pieces: parts of strokes, or cells of it where there is a picture. */
function pieces(image) {
  const { picture, strokes } = pad.scene();
  if (picture) return piecesOfImage(image, input, 0);
  return piecesOfStrokes(isDigits ? digitsOf(strokes).at(-1) : strokes);
}

const clocks = new Map(); // of the networks, by name
let timed = null; // the verdict that the clock has counted

function showState(verdicts, chosen) {
  document.body.classList.toggle("drawn", pad.scene() !== EMPTY);
  document.body.classList.toggle("example", pad.isPreview());
  element("undo").disabled = pad.isPreview() || !pad.canUndo();
  element("clear").disabled = pad.scene() === EMPTY;
  element("link").disabled = pad.scene().picture !== null || pad.scene() === EMPTY || pad.isPreview();
  bars(chosen.verdict && chosen.verdict.probabilities);
  element("bars").classList.toggle("none", Boolean(chosen.verdict?.none || isAdded(chosen.verdict)));
  element("others").textContent = agreement(verdicts, chosen.verdict);
  element("facts").textContent = describe(chosen);
  element("name").textContent = chosen.name;
  if (!clocks.has(chosen.name)) clocks.set(chosen.name, createClock(element("latency")));
  if (chosen.verdict && chosen.verdict !== timed) clocks.get(chosen.name)(chosen.verdict.time);
  timed = chosen.verdict;
  game.answered(verdicts, chosen);
}

/** Shows what the game asks for and its score; without a state, that nobody plays. */
function showGame(state) {
  element("play").textContent = state ? "Stop" : "Play";
  element("play").setAttribute("aria-pressed", state !== null);
  element("score").hidden = element("next").hidden = state === null;
  element("teach").hidden = state !== null || !canTeach;
  element("todo").textContent = state ? `Draw a ${state.asked} that ${state.name} gets wrong and most others read.` : todo;
  element("score").textContent = state ? `fooled ${state.fooled} of ${state.tries}` : "";
}

function listenToGame() {
  element("play").hidden = element("rules").hidden = !isDigits || page.models.length <= JURY;
  element("play").addEventListener("click", () => {
    if (game.isOn()) return game.stop();
    openLesson(false);
    game.start();
    element("paper").focus();
  });
  element("next").addEventListener("click", () => {
    game.next();
    element("paper").focus();
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !game.isOn()) return;
    game.stop();
    element("play").focus();
  });
}

function listen() {
  element("undo").addEventListener("click", () => pad.undo());
  element("clear").addEventListener("click", () => pad.clear());
  element("link").addEventListener("click", shareLink);
  addEventListener("hashchange", openLink);
  element("photo").addEventListener("click", () => {
    element("file").setAttribute("capture", "environment");
    element("file").click();
  });
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

function openLesson(isOpen) {
  element("lesson").hidden = !isOpen;
  element("teach").setAttribute("aria-expanded", isOpen);
  element(isOpen ? "sign" : "teach").focus();
}

/** The image of the one drawing on the paper; null without one, undefined of several. */
function oneDrawing() {
  const images = pad.isPreview() ? [] : see();
  return images.length > 1 ? undefined : images[0] ?? null;
}

function listenToLesson() {
  const lesson = createLesson(element("lesson"), signs, {
    image: oneDrawing,
    added() {
      pad.clear();
      element("paper").focus();
    },
    closed: () => openLesson(false),
  });
  element("teach").hidden = element("teaching").hidden = !canTeach;
  element("teach").addEventListener("click", () => openLesson(element("lesson").hidden));
  element("paper").addEventListener("keydown", (event) => {
    if (event.key === "a" && !event.ctrlKey && !event.metaKey && !element("lesson").hidden) lesson.add();
  });
}

let shown = EMPTY;
let refused = false;
let arriving = true; // the address may still carry a drawing
const bars = createBars(element("bars"), classes);
const pad = createPad(element("paper"), look);
const samples = classes.map((_, label) => page.samples.filter((sample) => sample.label === label)
  .map(({ image }) => unpackImage(page.images[image], input)));
const canTeach = samples.every(({ length }) => length > 0);
const signs = createSigns(classes, samples, () => reading.schedule());
const game = createGame(pad, classes, { show: showGame, say });
listen();
listenToGame();
if (canTeach) listenToLesson();
listenToPictures(open, refuse);
introduce(`Draw a ${noun}`, isDigits ? "read handwriting" : "read drawings", todo);
if (!window.PointerEvent) {
  say("This browser does not report pens, fingers and mice; draw with the keys, or open a picture.", true);
}
const reading = createReading({
  noun,
  invite: () => refused ? NOT_READ : `Draw a ${noun}, or take a sample.`,
  place: "on the paper",
  see,
  pieces,
  // The beginning of an example is no digit yet, and nobody asked what it is.
  isFar: (image) => detector !== null && !pad.isPreview() && excess(detector, image) > 0,
  recognise: (network, tensors) => canTeach && !game.isOn() ? signs.recognise(network, tensors) : null,
  pick,
  answered: showState,
  createRows: createChooser,
});
const before = kept();
if (before) pad.put(before);
else if (!openLink() && isDigits) play(pad);
arriving = false;
keep(pad.drawn);
