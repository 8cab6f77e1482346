// The page itself: passes the drawing to every network, and their answers to the panels.

import { decodeDetector, distance } from "./detector.js";
import { unpackImage } from "./images.js";
import { decode, run } from "./network.js";
import { createPad } from "./pad.js";
import { count, createRow, listLayers, showImage, showMaps, showMistakes } from "./panels.js";
import { openPicture, PictureError } from "./picture.js";
import { PIXELS } from "./preprocess.js";
import { EMPTY, fromImage, fromPixels, seen } from "./scene.js";
import { argmax, percent, softmax } from "./verdict.js";

const page = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const detector = decodeDetector(page.detector);
const models = page.models.map((model) => ({
  ...model,
  network: decode(model.graph),
  row: createRow(model, element("models")),
}));
const { classes } = models[0].network;
const noun = classes.join("") === "0123456789" ? "digit" : "picture";
let chosen = models[0];
let scheduled = false;
let speech = 0;

const pad = createPad(element("paper"), schedule);

/** At most one answer for each frame of the screen, however many points arrive. */
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    answer();
  });
}

function answer() {
  const start = performance.now();
  const image = seen(pad.scene());
  const none = image !== null && detector !== null && distance(detector, image) > 1;
  const verdicts = models.map((model) => image && judge(model, image, none));
  performance.clearMeasures("answer");
  performance.measure("answer", { start });
  models.forEach((model, i) => model.row.show(verdicts[i]));
  showImage(element("seen"), image);
  showAnswer(verdicts[models.indexOf(chosen)]);
  const tensors = verdicts[models.indexOf(chosen)]?.tensors ?? run(chosen.network, new Uint8Array(PIXELS));
  showMaps(element("maps"), tensors[element("layer").value]);
  document.body.classList.toggle("drawn", pad.scene() !== EMPTY);
  element("undo").disabled = !pad.canUndo();
  element("clear").disabled = pad.scene() === EMPTY;
}

function judge({ network }, image, none) {
  const start = performance.now();
  const tensors = run(network, image);
  const time = performance.now() - start;
  const probabilities = softmax(tensors.at(-1).data, network.logit_scale);
  const best = argmax(probabilities);
  const [label, probability] = [network.classes[best], probabilities[best]];
  return { tensors, time, probabilities, none, label, probability };
}

function showAnswer(verdict) {
  const [word, sure] = verdict === null
    ? ["", `Draw a ${noun}, or take a sample.`]
    : verdict.none
      ? ["none of these", `It is far from every ${noun} they learned.`]
      : [verdict.label, `${percent(verdict.probability)} sure, says ${chosen.name}`];
  element("answer").textContent = word;
  element("answer").classList.toggle("word", word.length > 2);
  element("sure").textContent = sure;
  clearTimeout(speech); // spoken once the drawing rests
  speech = setTimeout(() => {
    element("spoken").textContent = verdict ? `${word}: ${sure}` : "";
  }, 600);
}

function choose(model) {
  chosen = model;
  model.row.radio.checked = true;
  for (const name of document.querySelectorAll(".chosen")) name.textContent = model.name;
  listLayers(element("layer"), model.network);
  element("mistakes").hidden = model.mistakes.length === 0;
  element("mistakes-lead").textContent = `The ${model.mistakes.length} of ${count(model.tested)} test images `
    + "that it got wrong with most confidence. Choose one to see it on the paper.";
  showMistakes(element("gallery"), model, page.images, (image, label) => {
    place(fromImage(image), `A test image of ${label}.`);
    element("paper").scrollIntoView({ block: "nearest" });
  });
  schedule();
}

function place(picture, message) {
  pad.put({ picture, strokes: [] });
  say(message);
}

function say(message, problem = false) {
  element("status").textContent = message;
  element("status").classList.toggle("problem", problem);
}

function showSample() {
  const { image, label } = page.samples[Math.floor(Math.random() * page.samples.length)];
  place(fromImage(unpackImage(page.images[image])), `A test image of ${classes[label]}.`);
}

async function open(files) {
  if (!files.length) return;
  try {
    const picture = fromPixels(await openPicture(files[0]));
    if (!picture) throw new PictureError("This picture is blank: nothing stands out from its background.");
    place(picture, files[0].name ? `Showing ${files[0].name}.` : "Showing the pasted picture.");
  } catch (problem) {
    if (!(problem instanceof PictureError)) throw problem;
    say(problem.message, true);
  }
}

function listen() {
  element("undo").addEventListener("click", () => pad.undo());
  element("clear").addEventListener("click", () => {
    pad.clear();
    say("");
  });
  element("sample").hidden = page.samples.length === 0;
  element("sample").addEventListener("click", showSample);
  element("open").addEventListener("click", () => element("file").click());
  element("file").addEventListener("change", (event) => {
    open([...event.target.files]);
    event.target.value = "";
  });
  element("layer").addEventListener("change", schedule);
  for (const model of models) model.row.radio.addEventListener("change", () => choose(model));
  element("paper").addEventListener("pointerdown", () => say(""));
  element("paper").addEventListener("keydown", (event) => {
    if (event.key === "s" && page.samples.length) showSample();
  });
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") pad.undo();
  });
  addEventListener("paste", (event) => open([...event.clipboardData.files]));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    open([...event.dataTransfer.files]);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => pad.repaint());
}

function introduce() {
  document.title = `Draw a ${noun} · smidgen`;
  element("title").textContent = `Draw a ${noun}`;
  const sizes = models.map((model) => model.params).sort((a, b) => a - b);
  const [least, most] = [sizes[0], sizes.at(-1)].map(count);
  const who = models.length > 1
    ? `Networks of ${least} to ${most} parameters read`
    : `A network of ${most} parameters reads`;
  element("lead").textContent = `${who} it as you draw. Nothing leaves this page.`;
  if (!window.PointerEvent) {
    say("This browser does not report pens, fingers and mice; draw with the keys, or open a picture.", true);
  }
}

listen();
introduce();
choose(chosen);
for (let i = 0; i < 3; i++) models.forEach((model) => run(model.network, new Uint8Array(PIXELS))); // warm
performance.mark("ready");
