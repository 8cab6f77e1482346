// The parts of the page that show the networks' answers. They are created once and then only
// changed in place, so that nothing on the page moves.

import { argmax, percent } from "./verdict.js";
import { unpackImage } from "./images.js";

/** A number of things for people: 13,272. */
export function count(number) {
  return number.toLocaleString("en");
}

/** A network's row in the list: show(verdict) fills it, `radio` chooses it. `createBars` puts the
 * probabilities of classes into an element, and gives a function that sets them. */
export function createRow(model, list, createBars) {
  const row = document.getElementById("model").content.firstElementChild.cloneNode(true);
  const find = (name) => row.querySelector(`.${name}`);
  find("name").textContent = model.name;
  find("params").textContent = count(model.params);
  find("weights").textContent = `${(model.weight_bytes / 1000).toFixed(1)} kB`;
  find("accuracy").textContent = `${(model.accuracy * 100).toFixed(2)} %`;
  find("accuracy").title = `on ${count(model.tested)} test images`;
  const bars = createBars(row.querySelector("[role=img]"), model.graph.classes);
  const clock = createClock(find("latency"));
  const radio = row.querySelector("input");
  row.addEventListener("click", () => radio.click());
  radio.addEventListener("click", (event) => event.stopPropagation());
  list.append(row);

  const show = (verdict) => {
    bars(verdict && verdict.probabilities);
    row.classList.toggle("none", Boolean(verdict?.none));
    find("prediction").textContent = verdict ? (verdict.none ? "–" : verdict.label) : "";
    if (verdict) clock(verdict.time);
  };
  show(null);
  return { show, radio };
}

/** A column for each class, and a function that sets their heights. */
export function createBars(container, classes) {
  const columns = classes.map((name) => {
    const column = document.createElement("div");
    const [bar, label] = [document.createElement("i"), document.createElement("span")];
    label.textContent = name;
    label.title = name;
    column.append(bar, label);
    return column;
  });
  container.append(...columns);
  return (probabilities) => {
    const best = probabilities && argmax(probabilities);
    columns.forEach((column, i) => {
      const height = Math.max(probabilities ? probabilities[i] : 0, 0.03); // never quite invisible
      column.firstChild.style.transform = `scaleY(${height})`;
      column.classList.toggle("top", i === best);
    });
    container.setAttribute("aria-label", probabilities
      ? `most likely ${classes[best]}, ${percent(probabilities[best])}`
      : "no answer yet");
  };
}

/** A function that takes a time in milliseconds and shows the median of the last fifteen. */
export function createClock(place) {
  const times = [];
  place.textContent = "–";
  return (time) => {
    times.push(time);
    if (times.length > 15) times.shift();
    const median = [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)];
    place.textContent = `${median.toFixed(1)} ms`;
  };
}

/** Draws an image of an input [height, width, channels]; black without one. */
export function showImage(canvas, image, [height, width, channels]) {
  canvas.width = width;
  canvas.height = height;
  const pixels = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = image ? image[i * channels + (c % channels)] : 0;
    pixels.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** What a layer is, for people: its number, what it does, and its size. */
export function layerName(network, { op, shape: [height, width, channels], kernel, weights, groups }, number) {
  const sides = kernel ?? network.weights[weights]?.shape.slice(1, 3);
  const what = op === "conv" ? (groups > 1 ? "depthwise" : "conv") : { max_pool: "max pool", average_pool: "mean" }[op] ?? op;
  const name = document.createElement("span");
  const size = document.createElement("small");
  name.textContent = `${number} ${what}${sides ? ` ${sides[0]}\u00a0×\u00a0${sides[1]}` : ""}`;
  size.textContent = height * width === 1 ? `${channels} numbers` : `${channels} of ${height}\u00a0×\u00a0${width}`;
  name.append(size);
  return name;
}

/** Fills the gallery with a model's mistakes; `pick` is called with a mistake's image. */
export function showMistakes(list, model, images, pick) {
  const { classes, input } = model.graph;
  list.replaceChildren(...model.mistakes.map(({ image, label, predicted, probability }) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const canvas = document.createElement("canvas");
    const levels = unpackImage(images[image], input);
    const sure = percent(probability).replaceAll(" ", "\u00a0"); // stays on one line
    button.type = "button";
    showImage(canvas, levels, input);
    button.append(canvas, `${classes[label]} read as ${classes[predicted]}, ${sure}`);
    button.addEventListener("click", () => pick(levels, classes[label]));
    item.append(button);
    return item;
  }));
}
