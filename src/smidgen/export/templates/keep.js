// Keeps the drawing while the page is left, so that Back and Reload find it again. It stays in the
// tab, in its session storage; where there is none, the drawing is lost as on any page.

import { EMPTY } from "./scene.js";

const KEY = `smidgen ${globalThis.location?.pathname}`;

/** Saves the scene that `scene()` gives when the page is left. */
export function keep(scene) {
  addEventListener("pagehide", () => {
    const { picture, strokes } = scene();
    try {
      if (scene() === EMPTY) sessionStorage.removeItem(KEY);
      else sessionStorage.setItem(KEY, JSON.stringify({ picture: picture && pack(picture), strokes }));
    } catch {
      // no storage here, or the picture is too large for it
    }
  });
}

/** The scene that was kept, for a page that is shown again by Back or Reload; else null. */
export function kept() {
  const [navigation] = performance.getEntriesByType("navigation");
  if (!["back_forward", "reload"].includes(navigation?.type)) return null;
  try {
    const { picture, strokes } = JSON.parse(sessionStorage.getItem(KEY));
    return { picture: picture && unpack(picture), strokes };
  } catch {
    return null;
  }
}

function pack({ image, images, ink, box }) {
  return { image: toBase64(image), images: images?.map(toBase64), ink: { ...ink, data: toBase64(ink.data) }, box };
}

function unpack({ image, images, ink, box }) {
  return { image: fromBase64(image), images: images?.map(fromBase64), ink: { ...ink, data: fromBase64(ink.data) }, box };
}

/** Bytes as text. */
export function toBase64(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

/** The bytes of a text. */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
