// The likeliest classes at the end of the view inside: ten bars with names.

import { link, rove } from "./linking.js";
import { percent } from "./verdict.js";

const SHOWN = 10;

/** The bars; `enter(label)` and `leave()` are called as one is pointed at or focused. */
export function createEnds(list, classes, { enter, leave }) {
  const bars = classes.slice(0, SHOWN).map((_, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...["span", "i", "b"].map((tag) => document.createElement(tag)));
    const bar = { button, label: i };
    link(button, () => enter(bar.label), leave);
    const item = document.createElement("li");
    item.append(button);
    list.append(item);
    return bar;
  });
  rove(bars.map(({ button }) => button));

  /** Shows probabilities, or none; and, as an outline, those without what is taken away. */
  function show(probabilities, without) {
    const order = classes.map((_, i) => i);
    if (probabilities && classes.length > SHOWN) order.sort((a, b) => probabilities[b] - probabilities[a]);
    const most = probabilities && Math.max(...probabilities);
    bars.forEach((bar, i) => {
      bar.label = order[i];
      const [name, now] = [classes[bar.label], probabilities?.[bar.label] ?? 0];
      const [text, track, share] = bar.button.children;
      const then = (without ?? probabilities)?.[bar.label] ?? 0;
      text.textContent = text.title = name;
      share.textContent = probabilities ? percent(then) : "";
      track.style.setProperty("--now", now);
      track.style.setProperty("--then", then);
      bar.button.classList.toggle("top", Boolean(probabilities) && now === most);
      bar.button.setAttribute("aria-label", probabilities ? `${name}: ${percent(then)}` : `${name}: no answer yet`);
    });
    list.classList.toggle("without", Boolean(without));
  }

  show(null, null);
  return { show };
}
