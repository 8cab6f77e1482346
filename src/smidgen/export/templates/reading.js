// What pages have in common: the chosen network answers at once, the others and the view inside when
// the browser is idle.

import { createFlow } from "./flow.js";
import { soon, watchWork } from "./idle.js";
import { decode, run } from "./network.js";
import { count, showImage, showMistakes } from "./panels.js";
import { PictureError } from "./picture.js";
import { argmax, isAdded, percent, softmax } from "./verdict.js";

export const element = (id) => document.getElementById(id);
export const page = JSON.parse(element("data").textContent);

const REST_MS = 350; // without a change, and the answer is spoken and its pieces are weighed

const UNREAD = "?"; // for an image that belongs to no class, among others that do
const WORD = 8; // characters of a long answer, at least

/** Puts the page's networks into its list. `see()` gives the images that they read, from left to
 * right, and none where there is no ink; the last is shown inside, and `pieces(image)` are its pieces.
 * `isFar(image)` says that it belongs to no class; `recognise(network, tensors)` gives the name of a
 * class that the reader has added, or null; `pick(image, label)` shows a test image;
 * `answered(verdicts, chosen)` is called after each answer, with null for a network that has not
 * answered yet; `invite()` says what to do while there is no image; `noun` and `place` are the
 * reader's words. `createRows(models, list)` shows the networks. */
export function createReading(options) {
  const { noun, invite, place, see, pieces, isFar, recognise, pick, answered, createRows } = options;
  const bySize = [...page.models].sort((a, b) => a.params - b.params);
  const rows = createRows(bySize, element("models"));
  const models = bySize.map((model, i) => ({ ...model, network: null, row: rows[i], verdict: null, stale: true }));
  const flow = createFlow(page.models[0].graph.classes);
  let chosen = models.find(({ name }) => name === page.models[0].name);
  let images = [];
  let first = null; // the verdict on these images of the network that was chosen then
  let scheduled = false;
  let rest = 0;

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
    images = see();
    const image = images.at(-1) ?? null;
    chosen.verdict = first = judge(chosen, images, recognise, isFar);
    performance.clearMeasures("answer");
    performance.measure("answer", { start });
    for (const model of models) model.stale = model !== chosen;
    showImage(element("seen"), image, chosen.network.input);
    showAnswer(chosen.verdict);
    showRows();
    soon(showOthers);
    soon(showFlow);
    clearTimeout(rest);
    rest = setTimeout(() => {
      if (scheduled) return; // what lies on the paper is not what was answered
      element("spoken").textContent = chosen.verdict ? `${element("answer").textContent}: ${element("sure").textContent}` : "";
      if (chosen.verdict) flow.weigh(pieces(image));
    }, REST_MS);
  }

  /** One network after the other, the one that waited longest first. */
  function showOthers() {
    const at = models.findIndex((model) => model.stale);
    if (at >= 0) {
      const model = models[at];
      model.stale = false;
      model.verdict = judge(ready(model), images, () => null, (_, i) => first.far[i]);
      if (isAdded(first)) model.verdict.none = true;
      if (models.some(({ stale }) => stale)) soon(showOthers);
    }
    showRows();
  }

  function showRows() {
    for (const { row, verdict, stale } of models) if (!stale) row.show(verdict, chosen.verdict);
    answered(models.map(({ verdict, stale }) => (stale ? null : verdict)), chosen);
  }

  function showFlow() {
    flow.show(chosen.verdict && { ...chosen.verdict, image: images.at(-1) });
  }

  function showAnswer(verdict) {
    const [word, sure] = verdict === null
      ? ["", invite()]
      : verdict.none
        ? ["none of these", `Far from every ${noun} they learned. Best guess: ${verdict.label}.`]
        : isAdded(verdict)
          ? [verdict.label, `You taught this, by the features of ${chosen.name}.`]
          : [verdict.label, `${percent(verdict.probability)} sure${ofWhich(verdict.far)}, says ${chosen.name}`];
    element("answer").textContent = word;
    element("answer").classList.toggle("word", word.length > 2);
    element("answer").classList.toggle("long", word.length > WORD && !verdict.none);
    element("sure").textContent = sure;
  }

  function choose(model) {
    chosen = ready(model);
    model.row.radio.checked = true;
    for (const name of document.querySelectorAll(".chosen")) name.textContent = model.name;
    flow.setNetwork(model.network);
    element("mistakes").hidden = model.mistakes.length === 0;
    element("mistakes-lead").textContent = `The ${model.mistakes.length} of ${count(model.tested)} test images `
      + `that it got wrong with most confidence. Choose one to see it ${place}.`;
    showMistakes(element("gallery"), model, page.images, (image, label) => {
      pick(image, label);
      element("paper").scrollIntoView({ block: "nearest" });
    });
    schedule();
  }

  watchWork((isBusy) => element("models").setAttribute("aria-busy", isBusy));
  for (const model of models) model.row.radio.addEventListener("change", () => choose(model));
  choose(chosen);
  const blank = new Uint8Array(chosen.network.input.reduce((product, side) => product * side, 1));
  for (let i = 0; i < 3; i++) run(chosen.network, blank); // warm
  performance.mark("ready");
  return { schedule };
}

/** Of which images a network is sure, given which of them belong to no class. */
function ofWhich(far) {
  if (far.length === 1) return "";
  return far.includes(true) ? " of the others" : " of all";
}

/** The model with its weights unpacked, which takes a moment. */
function ready(model) {
  model.network ??= decode(model.graph);
  return model;
}

/** What a network says of images, one after the other, with the tensors and the probabilities of the
 * last, the names of added classes in `added`, and in `far` which images belong to no class; `none`
 * where that are half of them, or more. Null without images. */
function judge({ network }, images, recognise, isFar) {
  if (!images.length) return null;
  const verdict = { label: "", probability: 1, added: [], far: [] };
  const guesses = [];
  images.forEach((image, i) => {
    const start = performance.now();
    const tensors = run(network, image);
    const time = performance.now() - start;
    const probabilities = softmax(tensors.at(-1).data, network.logit_scale);
    const best = argmax(probabilities);
    Object.assign(verdict, { tensors, time, probabilities });
    const added = recognise(network, tensors);
    const far = added === null && isFar(image, i);
    verdict.added.push(added);
    verdict.far.push(far);
    guesses.push(added ?? network.classes[best]);
    if (!far) verdict.probability *= probabilities[best];
  });
  verdict.none = 2 * verdict.far.filter(Boolean).length >= images.length;
  const labels = guesses.map((guess, i) => (verdict.far[i] && !verdict.none ? UNREAD : guess));
  verdict.label = labels.join(labels.some((label) => label.length > 1) ? " " : "");
  return verdict;
}

/** Writes a sentence under the paper. */
export function say(message, problem = false) {
  element("status").textContent = message;
  element("status").classList.toggle("problem", problem);
}

/** Shows the title and two sentences: what this is, `read handwriting`, and what to do. */
export function introduce(title, what, todo) {
  document.title = `${title} · smidgen`;
  element("title").textContent = title;
  const sizes = page.models.map((model) => model.weight_bytes).sort((a, b) => a - b);
  const [least, most] = [sizes[0], sizes.at(-1)].map((bytes) => Math.max(1, Math.round(bytes / 1000)));
  const who = page.models.length > 1
    ? `${NUMBERS[page.models.length] ?? page.models.length} neural networks of ${least} to ${most} kB ${what}`
    : `A neural network of ${most} kB ${what.replace(/^(\w+)/, "$1s")}`;
  element("lead").textContent = `${who} inside this page; nothing leaves it.`;
  element("todo").textContent = todo;
}

const NUMBERS = [, , "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"];

/** Calls `show(file)` for a picture that is chosen, pasted or dropped. Says a PictureError and
 * calls `refuse()`. */
export function listenToPictures(show, refuse) {
  const open = async (files) => {
    if (!files.length) return;
    try {
      await show(files[0]);
      say(files[0].name ? `Showing ${files[0].name}.` : "Showing the pasted picture.");
    } catch (problem) {
      if (!(problem instanceof PictureError)) throw problem;
      refuse();
      say(problem.message, true);
    }
  };
  element("open").addEventListener("click", () => {
    element("file").removeAttribute("capture");
    element("file").click();
  });
  element("file").addEventListener("change", (event) => {
    open([...event.target.files]);
    event.target.value = "";
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
}
