// The likeliest classes of a network by name, for classes that have more than a letter.

import { percent } from "./verdict.js";

const SHOWN = 4;

/** Rows for the likeliest classes, and a function that fills them. */
export function createRanking(container, classes) {
  const rows = classes.slice(0, SHOWN).map(() => {
    const row = document.createElement("div");
    row.append(...["span", "i", "b"].map((tag) => document.createElement(tag)));
    return row;
  });
  container.append(...rows);
  return (probabilities) => {
    const order = classes.map((_, i) => i);
    if (probabilities) order.sort((a, b) => probabilities[b] - probabilities[a]);
    rows.forEach((row, place) => {
      const [name, bar, share] = row.children;
      const probability = probabilities ? probabilities[order[place]] : 0;
      name.textContent = name.title = probabilities ? classes[order[place]] : "";
      share.textContent = probabilities ? percent(probability) : "";
      bar.style.transform = `scaleX(${Math.max(probability, 0.01)})`;
    });
    container.setAttribute("aria-label", probabilities
      ? `most likely ${classes[order[0]]}, ${percent(probabilities[order[0]])}`
      : "no answer yet");
  };
}
