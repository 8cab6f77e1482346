// What is hidden or overlaps: texts and controls whose boxes meet though neither holds the other, that
// reach beyond the window's sides, or that are cut off.
(() => {
  const shown = (element) =>
    element.checkVisibility({ visibilityProperty: true })
    && !element.closest(".unseen, svg, #hint") && !element.matches("option, input");
  const boxesOf = (element) => { // of a text, one for each line
    if (element.matches("button, canvas, label")) return [element.getBoundingClientRect()];
    const range = document.createRange();
    range.selectNodeContents(element);
    return [...range.getClientRects()].filter((box) => box.width && box.height);
  };
  const meet = (one, other) =>
    Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1
    && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1;
  const own = (element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  const name = (element) => `${element.tagName} ${element.id || element.className} ${element.textContent.trim().slice(0, 30)}`;
  const items = [...document.querySelectorAll("body *")]
    .filter((element) => (own(element) || element.matches("button, canvas, label")) && shown(element))
    .map((element) => ({ element, boxes: boxesOf(element) }));
  const found = [];
  items.forEach(({ element, boxes }, i) => {
    if (boxes.some((box) => box.left < -0.5 || box.right > innerWidth + 0.5)) found.push(`${name(element)} leaves the window`);
    const style = getComputedStyle(element);
    const cut = style.overflowX !== "visible" && style.textOverflow !== "ellipsis";
    if (cut && element.scrollWidth > element.clientWidth + 1) found.push(`${name(element)} is cut off`);
    for (const other of items.slice(i + 1)) {
      if (element.contains(other.element) || other.element.contains(element)) continue;
      if (boxes.some((box) => other.boxes.some((each) => meet(box, each)))) found.push(`${name(element)} meets ${name(other.element)}`);
    }
  });
  return found;
})()
