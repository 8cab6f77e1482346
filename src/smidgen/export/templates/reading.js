// What pages have in common: every network reads the image, and the panels show the answers.

import { decode, run } from "./network.js";
import { count, createRow, listLayers, showImage, showMaps, showMistakes } from "./panels.js";
import { PictureError } from "./picture.js";
import { argmax, percent, softmax } from "./verdict.js";

export const element = (id) => document.getElementById(id);
export const page = JSON.parse(element("data").textContent);

/** Puts the page's networks into its list. `see()` gives the image that they read, or null;
 * `isFar(image)` says that it belongs to no class; `pick(image, label)` shows a test image;
 * `answered()` is called after each answer; `invite()` says what to do while there is none; `noun` and `place` are
 * the reader's words. */
export function createReading({ noun, invite, place, see, isFar, pick, answered, createBars }) {
  const models = page.models.map((model) => ({
    ...model,
    network: decode(model.graph),
    row: createRow(model, element("models"), createBars),
  }));
  const blank = new Uint8Array(models[0].network.input.reduce((product, side) => product * side, 1));
  let chosen = models[0];
  let scheduled = false;
  let speech = 0;

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
    const image = see();
    const none = image !== null && isFar(image);
    const verdicts = models.map((model) => image && judge(model, image, none));
    performance.clearMeasures("answer");
    performance.measure("answer", { start });
    models.forEach((model, i) => model.row.show(verdicts[i]));
    showImage(element("seen"), image, chosen.network.input);
    const verdict = verdicts[models.indexOf(chosen)];
    showAnswer(verdict);
    showMaps(element("maps"), (verdict?.tensors ?? run(chosen.network, blank))[element("layer").value]);
    answered();
  }

  function showAnswer(verdict) {
    const [word, sure] = verdict === null
      ? ["", invite()]
      : verdict.none
        ? ["none of these", `Far from every ${noun} they learned. Best guess: ${verdict.label}.`]
        : [verdict.label, `${percent(verdict.probability)} sure, says ${chosen.name}`];
    element("answer").textContent = word;
    element("answer").classList.toggle("word", word.length > 2);
    element("sure").textContent = sure;
    clearTimeout(speech); // spoken once the image rests
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
      + `that it got wrong with most confidence. Choose one to see it ${place}.`;
    showMistakes(element("gallery"), model, page.images, (image, label) => {
      pick(image, label);
      element("paper").scrollIntoView({ block: "nearest" });
    });
    schedule();
  }

  element("layer").addEventListener("change", schedule);
  for (const model of models) model.row.radio.addEventListener("change", () => choose(model));
  choose(chosen);
  for (let i = 0; i < 3; i++) models.forEach((model) => run(model.network, blank)); // warm
  performance.mark("ready");
  return { schedule };
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

/** Writes a sentence under the paper. */
export function say(message, problem = false) {
  element("status").textContent = message;
  element("status").classList.toggle("problem", problem);
}

/** Shows the title and, in a sentence, the networks and what they do, `read it as you draw`. */
export function introduce(title, what) {
  document.title = `${title} · smidgen`;
  element("title").textContent = title;
  const sizes = page.models.map((model) => model.params).sort((a, b) => a - b);
  const [least, most] = [sizes[0], sizes.at(-1)].map(count);
  const who = page.models.length > 1 ? `Networks of ${least} to ${most} parameters` : `A network of ${most} parameters`;
  element("lead").textContent = `${who} ${what}. Nothing leaves this page.`;
}

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
  element("open").addEventListener("click", () => element("file").click());
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
