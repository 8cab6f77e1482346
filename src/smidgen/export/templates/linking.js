// Elements that answer to being pointed at, focused or touched, alone and as a group.

/** Calls `enter(event)` while an element is pointed at, focused or touched, and `leave()` after. */
export function link(element, enter, leave) {
  for (const type of ["pointerenter", "pointermove", "focus"]) element.addEventListener(type, enter);
  element.addEventListener("blur", leave);
  element.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && leave());
}

/** Makes elements one stop of the Tab key; the arrow keys go from one to the next. */
export function rove(elements) {
  elements.forEach((element, i) => {
    element.setAttribute("tabindex", i ? -1 : 0);
    element.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const next = step && elements[i + step];
      if (!next) return;
      event.preventDefault();
      element.setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus();
    };
  });
}
