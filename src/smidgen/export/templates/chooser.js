// The networks as a picture, size against accuracy: sorted by size, each a circle whose area is its
// number of parameters, as high as it is accurate, with what it says inside. One is chosen.

import { count } from "./panels.js";
import { isAdded } from "./verdict.js";

const SMALLEST = 1.9; // of the circles' diameters, in rem
const LARGEST = 3;
const FITS = 4; // characters in a circle

/** A network for people: 690 parameters, 98.70 %, 0.9 kB. */
export function describe({ params, accuracy, weight_bytes: bytes }) {
  return `${count(params)} parameters, ${percentage(accuracy)} %, ${(bytes / 1000).toFixed(1)} kB`;
}

/** A row for each model, {show(verdict, chosen), radio}, `show` filling its circle. */
export function createChooser(models, list) {
  const accuracies = models.map((model) => model.accuracy);
  const [low, high] = [Math.min(...accuracies), Math.max(...accuracies)];
  const most = Math.max(...models.map((model) => model.params));
  return models.map((model) => {
    const row = document.getElementById("model").content.firstElementChild.cloneNode(true);
    const find = (name) => row.querySelector(`.${name}`);
    find("accuracy").textContent = percentage(model.accuracy);
    find("params").textContent = count(model.params);
    find("weights").textContent = `${(model.weight_bytes / 1000).toFixed(1)} kB`;
    const size = Math.max(SMALLEST, LARGEST * Math.sqrt(model.params / most));
    row.style.setProperty("--size", `${size}rem`);
    row.style.setProperty("--height", high > low ? (model.accuracy - low) / (high - low) : 0.5);
    row.title = `${model.name}: ${describe(model)}`;
    const radio = row.querySelector("input");
    radio.setAttribute("aria-label", `${describe(model)}; ${model.name}`);
    list.append(row);
    return { radio, show: (verdict, chosen) => show(row, radio, verdict, chosen) };
  });
}

function show(row, radio, verdict, chosen) {
  const none = verdict?.none || isAdded(verdict); // those that the reader has added have no share
  const said = verdict ? (none ? "–" : verdict.label.length > FITS ? "…" : verdict.label) : "";
  row.querySelector(".prediction").textContent = said;
  row.querySelector(".prediction").classList.toggle("long", said.length > 1);
  row.classList.toggle("other", Boolean(verdict && chosen && !none && verdict.label !== chosen.label));
  row.dataset.says = verdict?.label ?? "";
  radio.setAttribute("aria-description", verdict && !none ? `says ${verdict.label}` : "");
}

/** What the networks agree on, in a sentence: who says something other than the chosen one. */
export function agreement(verdicts, chosen) {
  if (verdicts.length < 2 || !chosen || verdicts.includes(null)) return "";
  if (chosen.none || isAdded(chosen)) return "";
  const others = verdicts.filter(({ label }) => label !== chosen.label).map(({ label }) => label);
  if (!others.length) return `All ${verdicts.length} say ${chosen.label}.`;
  const said = [...new Set(others)].map((label) => {
    const times = others.filter((other) => other === label).length;
    return `${times} ${times === 1 ? "says" : "say"} ${label}`;
  });
  return `They disagree: ${verdicts.length - others.length} of ${verdicts.length} say ${chosen.label}, ${said.join(", ")}.`;
}

function percentage(accuracy) {
  return (accuracy * 100).toFixed(2);
}
