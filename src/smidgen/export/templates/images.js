// Images as the page stores them: grey levels in base64, with runs of background shortened.

import { PIXELS } from "./preprocess.js";

/** The grey levels of a packed image: after a 0 comes the length of the run of zeros. */
export function unpackImage(text) {
  const image = new Uint8Array(PIXELS);
  let at = 0;
  const bytes = atob(text);
  for (let i = 0; i < bytes.length; i++) {
    const value = bytes.charCodeAt(i);
    if (value === 0) at += bytes.charCodeAt(++i);
    else image[at++] = value;
  }
  return image;
}
