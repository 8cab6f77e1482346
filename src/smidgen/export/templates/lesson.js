// The lesson: a form in which a sign of one's own gets its name and its five drawings.

import { DRAWINGS } from "./signs.js";

const INVITE = "Name a sign of your own, draw it and add it, five times.";

/** The lesson of signs in a form. `image()` is that of the one drawing on the paper, null without one
 * and undefined of several; `added()` is called after each, `closed()` when the form closes. */
export function createLesson(form, signs, { image, added, closed }) {
  const { name: field, forget } = form.elements;
  const taught = form.querySelector("p");

  function tell(sentence = "") {
    const names = signs.all().map(({ name, drawings }) =>
      drawings.length === DRAWINGS ? name : `${name} (${drawings.length} of ${DRAWINGS})`);
    taught.textContent = `${sentence || (names.length ? "" : INVITE)} ${names.length ? `Your signs: ${names.join(", ")}.` : ""}`.trim();
    forget.disabled = !names.length;
  }

  function add() {
    const name = field.value.trim();
    const drawing = image();
    const problem = signs.problem(name)
      ?? (drawing === null ? "Draw the sign first." : drawing === undefined ? "Its parts stand so far apart that they are read as several." : null);
    if (problem) {
      tell(problem);
      if (signs.problem(name)) field.focus();
      return;
    }
    if (signs.add(name, drawing) === DRAWINGS) {
      field.value = "";
      tell(`${name} is learned: draw it once more.`);
    } else {
      tell();
    }
    added();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    add();
  });
  forget.addEventListener("click", () => {
    signs.forget();
    tell();
  });
  form.addEventListener("keydown", (event) => event.key === "Escape" && closed());
  tell();
  return { add };
}
