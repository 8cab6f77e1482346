// Images as the page carries them: 784 grey levels, runs of background shortened, in base64.

/** The 784 grey levels of a packed image: after a 0 stands how many there are in the run. */
export function unpackImage(text) {
  const image = new Uint8Array(784);
  let at = 0;
  const bytes = atob(text);
  for (let i = 0; i < bytes.length; i++) {
    const value = bytes.charCodeAt(i);
    if (value === 0) at += bytes.charCodeAt(++i);
    else image[at++] = value;
  }
  return image;
}
