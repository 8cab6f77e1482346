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
function createClock(place) {
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

/** Names the layers of a network in the select. */
export function listLayers(select, graph) {
  const options = graph.nodes.map((node, i) => {
    const [height, width, channels] = node.shape;
    const size = height * width === 1 ? `${channels} numbers` : `${channels} maps of ${height} × ${width}`;
    return new Option(`${i + 1} · ${node.op.replace("_", " ")} · ${size}`, i + 1);
  });
  select.replaceChildren(...options);
}

/** Draws every channel of a tensor {shape, data} as a map; the largest number is the brightest. */
export function showMaps(container, tensor) {
  const [height, width, channels] = tensor.shape;
  while (container.children.length > channels) container.lastChild.remove();
  while (container.children.length < channels) container.append(document.createElement("canvas"));
  const low = tensor.data.reduce((a, b) => Math.min(a, b));
  const high = tensor.data.reduce((a, b) => Math.max(a, b));
  const [red, green, blue] = getComputedStyle(container).color.match(/\d+/g).map(Number);
  [...container.children].forEach((canvas, channel) => {
    canvas.width = width;
    canvas.height = height;
    const pixels = new ImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      const share = (tensor.data[i * channels + channel] - low) / (high - low || 1);
      pixels.data.set([red, green, blue, share * 255], 4 * i);
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  });
  container.setAttribute("aria-label", `${channels} feature maps of ${height} by ${width}`);
}

/** Fills the gallery with a model's mistakes; `pick` is called with a mistake's image. */
export function showMistakes(list, model, images, pick) {
  const { classes, input } = model.graph;
  list.replaceChildren(...model.mistakes.map(({ image, label, predicted, probability }) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const canvas = document.createElement("canvas");
    const levels = unpackImage(images[image], input);
    button.type = "button";
    showImage(canvas, levels, input);
    button.append(canvas, `${classes[label]} read as ${classes[predicted]}, ${percent(probability)}`);
    button.addEventListener("click", () => pick(levels, classes[label]));
    item.append(button);
    return item;
  }));
}
