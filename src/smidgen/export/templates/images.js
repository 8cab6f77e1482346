// Images as the page stores them: levels in base64, with runs of zeros shortened.

/** The bytes of a packed image of an input [height, width, channels]: after a 0 comes the length
 * of the run of zeros. */
export function unpackImage(text, input) {
  const image = new Uint8Array(input.reduce((product, side) => product * side, 1));
  let at = 0;
  const bytes = atob(text);
  for (let i = 0; i < bytes.length; i++) {
    const value = bytes.charCodeAt(i);
    if (value === 0) at += bytes.charCodeAt(++i);
    else image[at++] = value;
  }
  return image;
}
