// Signs of one's own: a network answers with their names once it has seen five drawings of each.
//
// A sign is {name, drawings}; a drawing is the image that the networks see. They stay in the tab, in
// its session storage.

import { soon } from "./idle.js";
import { fromBase64, toBase64 } from "./keep.js";
import { featuresOf, fitHead, nearest } from "./means.js";
import { run } from "./network.js";

export const DRAWINGS = 5;
const MOST = 10; // signs
const LONGEST = 12; // characters of a name
const KEY = `smidgen signs ${globalThis.location?.pathname}`;

/** The signs, beside classes with these names; `known` are images of each class. `changed()` is called
 * when a network has learned them, which it does when the browser is idle, and when they are forgotten. */
export function createSigns(classes, known, changed) {
  const features = new Map(); // by network, of each image
  const heads = new Map(); // by network, of the signs as they are; null while it learns
  let signs = read(known[0][0]?.length);

  const learned = () => signs.filter(({ drawings }) => drawings.length === DRAWINGS);

  /** One image after the other. */
  function learn(network) {
    if (!features.has(network)) features.set(network, new Map());
    const done = features.get(network);
    const groups = [...known, ...learned().map(({ drawings }) => drawings)];
    const image = groups.flat().find((each) => !done.has(each));
    if (image) {
      done.set(image, featuresOf(network, run(network, image)));
      soon(() => learn(network));
      return;
    }
    const rows = (images) => ({ features: images.map((each) => done.get(each)) });
    heads.set(network, fitHead(learned().map(({ name, drawings }) => ({ name, ...rows(drawings) })), known.map(rows)));
    changed();
  }

  function save() {
    heads.clear();
    try {
      if (!signs.length) return sessionStorage.removeItem(KEY);
      const packed = signs.map(({ name, drawings }) => ({ name, drawings: drawings.map(toBase64) }));
      sessionStorage.setItem(KEY, JSON.stringify(packed));
    } catch {
      // no storage here, or it is full
    }
  }

  return {
    all: () => signs,
    /** The name of the sign that an image's tensors are of; null where it is none. */
    recognise(network, tensors) {
      if (!learned().length) return null;
      if (!heads.has(network)) {
        heads.set(network, null);
        soon(() => learn(network));
      }
      const head = heads.get(network);
      return head && nearest(head, featuresOf(network, tensors));
    },
    /** Why a name cannot get one more drawing, as a sentence; null where it can. */
    problem(name) {
      if (!name) return "Give the sign a name first.";
      if (name.length > LONGEST) return `A name has at most ${LONGEST} characters.`;
      if (classes.includes(name)) return `They know ${name} already; choose another name.`;
      const sign = signs.find((each) => each.name === name);
      if (sign?.drawings.length === DRAWINGS) return `${name} has its five drawings; choose another name.`;
      return !sign && signs.length === MOST ? "There are ten signs, and room for no more; forget them to begin anew." : null;
    },
    /** Adds a drawing to the sign of a name, and returns how many it has. */
    add(name, image) {
      const sign = signs.find((each) => each.name === name) ?? { name, drawings: [] };
      if (!signs.includes(sign)) signs.push(sign);
      sign.drawings.push(image);
      save();
      return sign.drawings.length;
    },
    forget() {
      signs = [];
      save();
      changed();
    },
  };
}

/** The signs that this tab keeps, of drawings with so many pixels. */
function read(pixels) {
  try {
    const signs = JSON.parse(sessionStorage.getItem(KEY)) ?? [];
    const unpacked = signs.map(({ name, drawings }) => ({ name: String(name), drawings: drawings.map(fromBase64) }));
    return unpacked.every(({ drawings }) => drawings.every(({ length }) => length === pixels)) ? unpacked : [];
  } catch {
    return []; // no storage here, or something else in it
  }
}
