// The page of photos: a picture, a file or the camera is read by every network.

import { createCamera } from "./camera.js";
import { unpackImage } from "./images.js";
import { crop, photo } from "./photo.js";
import { openPicture, PictureError } from "./picture.js";
import { createRow } from "./panels.js";
import { piecesOfImage } from "./pieces.js";
import { createRanking } from "./ranking.js";
import { createReading, element, introduce, listenToPictures, page, say } from "./reading.js";

const SMALL = 200; // pixels of a side; a smaller picture is shown with its pixels
const { classes, input } = page.models[0].graph;
const paper = element("paper");
let image = null;
let refused = false; // the last picture could not be opened

/** Shows the part of a picture that the networks see, and has them read it. */
function show(picture) {
  const part = crop(picture, input);
  paper.width = part.width;
  paper.height = part.height;
  paper.getContext("2d").putImageData(picture, -part.left, -part.top);
  paper.classList.toggle("small", Math.max(part.width, part.height) < SMALL);
  paper.setAttribute("aria-label", `The part of the picture that is read, ${part.width} by ${part.height} pixels`);
  document.body.classList.add("drawn");
  image = photo(picture, input);
  refused = false;
  reading.schedule();
}

/** A test image as a picture. */
function toPicture(levels, [height, width, channels]) {
  const picture = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) picture.data[4 * i + c] = levels[i * channels + (c % channels)];
    picture.data[4 * i + 3] = 255;
  }
  return picture;
}

function pick(levels, label) {
  camera.stop();
  show(toPicture(levels, input));
  say(`A test image of ${label}.`);
}

async function open(file) {
  const picture = await openPicture(file);
  camera.stop();
  show(picture);
}

function refuse() {
  refused = true;
  reading.schedule();
}

async function toggleCamera() {
  if (camera.runs()) {
    camera.stop();
    say("");
    return;
  }
  try {
    await camera.start();
    say("Showing what the camera sees.");
  } catch (problem) {
    if (!(problem instanceof PictureError)) throw problem;
    say(problem.message, true);
  }
}

function listen() {
  element("sample").disabled = page.samples.length === 0;
  element("sample").addEventListener("click", () => {
    const sample = page.samples[Math.floor(Math.random() * page.samples.length)];
    pick(unpackImage(page.images[sample.image], input), classes[sample.label]);
  });
  element("camera").addEventListener("click", toggleCamera);
  listenToPictures(open, refuse);
}

for (const place of [element("frame"), element("seen")]) place.style.aspectRatio = `${input[1]} / ${input[0]}`;
const camera = createCamera(show, (runs) => {
  element("camera").textContent = runs ? "Stop" : "Camera";
});
const reading = createReading({
  noun: "class",
  invite: () => refused ? "The picture was not read." : "Open a picture, or take a sample.",
  place: "above",
  see: () => refused || !image ? [] : [image],
  pieces: (seen) => piecesOfImage(seen, input, null),
  isFar: () => false,
  recognise: () => null,
  pick,
  answered: () => {},
  createRows: (models, list) => models.map((model) => createRow(model, list, createRanking)),
});
listen();
introduce("Show a picture", "name pictures", "Open a picture, drop or paste one, take a sample, or start the camera.");
element("classes").textContent = `${classes.length} classes: ${classes.slice(0, 40).join(", ")}${classes.length > 40 ? " …" : "."}`;
element("sides").textContent = `${input[0]} × ${input[1]}`;
