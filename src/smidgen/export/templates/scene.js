// What lies on the paper: a picture, strokes over it, or nothing.
//
// A scene is {picture, strokes}; a picture is {image, ink, box}: the image that the networks see, the
// ink {data, width, height}, and where on the paper that ink is shown. One of several signs has
// `images`, from left to right, and the last of them is its image.

import { boundingBox, extractInk, preprocess, scaleAndCentre, SIDE, toGrey } from "./preprocess.js";
import { PictureError } from "./picture.js";
import { MOST, partsOf, signsOf } from "./segment.js";
import { digitsOf, inkOf, inkOnPaper, PAPER } from "./strokes.js";

export const EMPTY = { picture: null, strokes: [] };
const UNIT = PAPER / SIDE;
const BOX = 20 * UNIT;

/** The image that the networks see of a scene; null of an empty one. */
export function seen({ picture, strokes }) {
  if (!strokes.length) return picture && picture.image;
  return scaleAndCentre(picture ? inkOfBoth({ picture, strokes }) : inkOf(strokes));
}

/** The images of a scene's signs, from left to right. */
export function seenApart(scene) {
  const { picture, strokes } = scene;
  if (!picture) return digitsOf(strokes).map((digit) => seen({ picture, strokes: digit }));
  if (!picture.images) return [seen(scene)];
  return strokes.length ? partsOf(inkOfBoth(scene)).map(scaleAndCentre) : picture.images;
}

function inkOfBoth({ picture, strokes }) {
  const ink = inkOnPaper(strokes);
  overlay(ink, picture);
  return ink;
}

/** The picture of an image that is preprocessed already; it fills the paper. */
export function fromImage(image) {
  const ink = { data: image, width: SIDE, height: SIDE };
  return { image, ink, box: { left: 0, top: 0, width: PAPER, height: PAPER } };
}

/** The picture of pixels {data, width, height}, four bytes each, null if they are blank; with `isLine`
 * it may show several signs. Throws a PictureError where these are too many. */
export function fromPixels(rgba, isLine = false) {
  const image = preprocess(rgba);
  if (!image) return null;
  const grey = toGrey(rgba);
  if (grey.width === SIDE && grey.height === SIDE) return fromImage(image);
  const signs = isLine ? signsOf(grey) : [];
  if (signs.length > MOST) throw new PictureError(`More than ${MOST} signs stand in this picture; cut out a part of it.`);
  if (signs.length < 2) return { image, ...shown(extractInk(grey)) };
  const images = signs.map(scaleAndCentre);
  return { image: images.at(-1), images, ...shown(together(signs, grey)) };
}

/** The ink of signs in one, of the picture's size. */
function together(signs, { width, height }) {
  const data = new Float64Array(width * height);
  for (const sign of signs) {
    sign.data.forEach((value, i) => {
      const at = (sign.top + Math.floor(i / sign.width)) * width + sign.left + (i % sign.width);
      data[at] = Math.max(data[at], value);
    });
  }
  return { data, width, height };
}

/** Ink in its box {ink, box}, at a size that fits the middle of the paper. */
function shown(ink) {
  const { left, top, width, height } = boundingBox(ink);
  const data = new Uint8Array(width * height);
  const strongest = ink.data.reduce((a, b) => Math.max(a, b));
  for (let i = 0; i < data.length; i++) {
    const at = (top + Math.floor(i / width)) * ink.width + left + (i % width);
    data[i] = (ink.data[at] * 255) / strongest;
  }
  const scale = BOX / Math.max(width, height);
  const box = { width: width * scale, height: height * scale };
  box.left = (PAPER - box.width) / 2;
  box.top = (PAPER - box.height) / 2;
  return { ink: { data, width, height }, box };
}

/** Puts the picture's ink under ink of the paper's size. */
function overlay({ data }, { ink, box }) {
  for (let y = 0; y < PAPER; y++) {
    const row = Math.floor(((y + 0.5 - box.top) / box.height) * ink.height);
    if (row < 0 || row >= ink.height) continue;
    for (let x = 0; x < PAPER; x++) {
      const column = Math.floor(((x + 0.5 - box.left) / box.width) * ink.width);
      if (column < 0 || column >= ink.width) continue;
      data[y * PAPER + x] = Math.max(data[y * PAPER + x], ink.data[row * ink.width + column]);
    }
  }
}

/** The scenes so far, the empty paper first; `undo` goes back by one. */
export function createHistory() {
  const scenes = [EMPTY];
  return {
    now: () => scenes.at(-1),
    push(scene) {
      scenes.push(scene);
    },
    undo() {
      if (scenes.length > 1) scenes.pop();
    },
    canUndo: () => scenes.length > 1,
  };
}
