// The view inside: the ink, every layer of the chosen network and the likeliest classes, linked. What
// is pointed at, focused or touched is taken away, and the bars show what the answer would be then.

import { createEnds } from "./ends.js";
import { receptiveField } from "./field.js";
import { soon } from "./idle.js";
import { createInk } from "./ink.js";
import { link, rove } from "./linking.js";
import { coloursOf, columnsOf, drawMaps, reach, strongest, withoutChannel } from "./maps.js";
import { resume, run } from "./network.js";
import { layerName } from "./panels.js";
import { argmax, percent, softmax } from "./verdict.js";

const NO_INK = "Here the image passes through the layers of the network, once there is one.";
const HINT = "Point at a piece of the image, at a map or at a class.";

/** The view of networks with these classes. */
export function createFlow(classes) {
  const find = (id) => document.getElementById(id);
  const [list, maps] = [find("flow"), find("maps")];
  const ink = createInk(find("ink"), find("pieces"));
  const ends = createEnds(find("ends"), classes, { enter: showClass, leave: relax });
  let network = null;
  let shown = null; // {image, tensors, probabilities} of the last answer
  let layer = 1; // the tensor whose maps are shown
  let wanted = 1; // the one that was chosen; it stays when the network changes
  let pieces = []; // with the probabilities without each
  let last = ""; // what was taken away last

  function setNetwork(next) {
    network = next;
    shown = null;
    for (const step of list.querySelectorAll(".layer")) step.parentElement.remove();
    const steps = layers().map((node, i) => createStep(node, i + 1));
    list.firstElementChild.after(...steps);
    choose(Math.min(wanted, steps.length));
  }

  /** All but the last, whose numbers are the classes'. */
  const layers = () => network.nodes.slice(0, -1);

  function createStep(node, tensor) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "layer";
    button.append(document.createElement("canvas"), layerName(network, node, tensor));
    button.addEventListener("click", () => {
      wanted = tensor;
      choose(tensor);
    });
    link(button, (event) => showMap(tensor, ...pointed(button.firstChild, tensor, event)), relax);
    item.append(button);
    return item;
  }

  function choose(tensor) {
    layer = tensor;
    const buttons = [...list.querySelectorAll(".layer")];
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", i + 1 === layer));
    const { shape: [height, width, channels] } = network.nodes[layer - 1];
    find("layer-title").textContent = `Layer ${layer}: `
      + (height * width === 1 ? `${channels} numbers` : `${channels} maps of ${height} × ${width}`);
    maps.classList.toggle("numbers", height * width === 1);
    while (maps.children.length > channels) maps.lastChild.remove();
    while (maps.children.length < channels) maps.append(createMap(maps.children.length));
    rove([...maps.querySelectorAll("button")]);
    if (shown) draw();
    else clear();
  }

  function createMap(channel) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `map ${channel + 1}`);
    button.append(document.createElement("canvas"));
    link(button, (event) => showMap(layer, channel, pixelAt(button.firstChild, event)), relax);
    item.append(button);
    return item;
  }

  function show(next) {
    shown = next;
    pieces = [];
    last = "";
    ink.show(shown?.image ?? null, network.input);
    ends.show(shown?.probabilities ?? null, null);
    if (shown) draw();
    else clear();
    find("effect").textContent = shown ? HINT : NO_INK;
  }

  function draw() {
    const colours = coloursOf(list);
    layers().forEach((node, i) => {
      const canvas = list.querySelectorAll(".layer")[i].firstChild;
      const [tensor, zero] = [shown.tensors[i + 1], network.zeros[i + 1]];
      const most = reach(tensor, zero);
      drawMaps(canvas, tensor, zero, most, colours, [0, node.shape[2]]);
      if (i + 1 !== layer) return;
      [...maps.querySelectorAll("canvas")].forEach((map, channel) => {
        drawMaps(map, tensor, zero, most, colours, [channel, channel + 1]);
      });
    });
  }

  function clear() {
    for (const canvas of [...list.querySelectorAll(".layer canvas"), ...maps.querySelectorAll("canvas")]) {
      canvas.width = canvas.width; // blank
    }
  }

  /** The map and its pixel under the pointer in a layer's picture; the first map without one. */
  function pointed(canvas, tensor, event) {
    const { shape: [height, width, channels] } = network.nodes[tensor - 1];
    if (event.type === "focus") return [0, null];
    const [y, x] = pixelAt(canvas, event) ?? [0, 0];
    const channel = Math.floor(y / (height + 1)) * columnsOf(channels) + Math.floor(x / (width + 1));
    if (channel >= channels) return [channels - 1, null];
    return [channel, [Math.min(y % (height + 1), height - 1), Math.min(x % (width + 1), width - 1)]];
  }

  /** Takes a map away, and shows what one of its pixels sees; without one, its strongest. */
  function showMap(tensor, channel, pixel) {
    if (!shown || channel >= network.nodes[tensor - 1].shape[2]) return;
    const [values, zero] = [shown.tensors[tensor], network.zeros[tensor]];
    const [y, x] = pixel ?? strongest(values, zero, channel);
    const [, width, channels] = values.shape;
    const number = values.data[(y * width + x) * channels + channel] - zero;
    const field = receptiveField(network, tensor, y, x);
    ink.frame(field);
    const seen = `${field.bottom - field.top + 1} × ${field.right - field.left + 1}`;
    takeAway("this map", `${tensor}/${channel}`, () =>
      resume(network, shown.tensors.slice(0, tensor), withoutChannel(values, zero, channel)),
      `Layer ${tensor}, map ${channel + 1}: ${number > 0 ? "+" : ""}${number} here, from ${seen} pixels. `);
  }

  let without = null; // the probabilities without what was taken away last
  function takeAway(what, key, compute, before = "") {
    if (key !== last) without = softmax(compute().at(-1).data, network.logit_scale);
    last = key;
    ends.show(shown.probabilities, without);
    find("effect").textContent = before + sentence(what, without);
  }

  function sentence(what, without) {
    const [now, then] = [argmax(shown.probabilities), argmax(without)];
    return now === then
      ? `Without ${what} it is still ${a(classes[now])}: ${percent(without[now])}, not ${percent(shown.probabilities[now])}.`
      : `Without ${what} it becomes ${a(classes[then])}, ${percent(without[then])}.`;
  }

  /** Takes away one piece of the image after the other, when the browser is idle. */
  function weigh(next) {
    const [of, all] = [shown, next.map((piece) => ({ ...piece, without: null }))];
    const step = () => {
      if (shown !== of || !shown) return;
      const piece = all.find((each) => !each.without);
      if (piece) {
        piece.without = softmax(run(network, piece.image).at(-1).data, network.logit_scale);
        soon(step);
      } else {
        pieces = all;
        showPieces();
      }
    };
    if (shown && all.length) soon(step);
  }

  function showPieces() {
    const label = argmax(shown.probabilities);
    ink.setPieces(pieces, {
      name: (piece) => sentence("this piece", piece.without),
      enter: (piece) => takeAway("this piece", `piece ${pieces.indexOf(piece)}`, () => run(network, piece.image)),
      leave: relax,
    });
    colour(label);
    if (last === "") relax();
  }

  /** Colours the pieces by how much less likely a class is without them. */
  function colour(label) {
    ink.colour(pieces.map(({ without }) => Math.max(0, shown.probabilities[label] - without[label])));
  }

  function showClass(label) {
    if (!pieces.length) return;
    last = `class ${label}`;
    colour(label);
    find("effect").textContent = `Coloured pieces speak for ${a(classes[label])}: without them it is less likely.`;
  }

  /** What is shown while nothing is pointed at: the piece on which the answer rests most. */
  function relax() {
    if (!shown) return;
    last = "";
    ink.frame(null);
    ends.show(shown.probabilities, null);
    const label = argmax(shown.probabilities);
    find("effect").textContent = HINT;
    if (!pieces.length) return;
    colour(label);
    const most = pieces.reduce((best, piece) => (piece.without[label] < best.without[label] ? piece : best));
    ink.mark(pieces.indexOf(most));
    find("effect").textContent = sentence("the marked piece", most.without);
  }

  return { setNetwork, show, weigh };
}

/** The pixel [row, column] of a canvas under the pointer; null for a key. */
function pixelAt(canvas, event) {
  if (event.type === "focus") return null;
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const along = (at, size, pixels) => Math.min(Math.max(Math.floor((at / size) * pixels), 0), pixels - 1);
  return [along(event.clientY - top, height, canvas.height), along(event.clientX - left, width, canvas.width)];
}

/** A class with its article: a 7, an 8. */
function a(name) {
  return `${/^[8aeiou]/i.test(name) ? "an" : "a"} ${name}`;
}
