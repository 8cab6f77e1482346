// Opens a picture file without trusting it: its type and size are checked before it is decoded.

const MAX_PIXELS = 50_000_000;
const MAX_SIDE = 1024; // a larger picture is averaged down while it is decoded

/** A message for the user, not a bug. */
export class PictureError extends Error {}

/** The pixels {data, width, height} of a PNG, JPEG or WebP file. Throws PictureError. */
export async function openPicture(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const { type, width, height } = pictureHeader(bytes);
  if (width * height > MAX_PIXELS) {
    throw new PictureError("This picture has more than 50 million pixels; scale it down first.");
  }
  const scale = MAX_SIDE / Math.max(width, height);
  const size = { resizeWidth: Math.max(1, Math.round(width * scale)), resizeQuality: "high" };
  const options = { colorSpaceConversion: "none", ...(scale < 1 ? size : {}) };
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes], { type }), options);
  } catch {
    throw new PictureError("This picture is damaged; save it again as PNG.");
  }
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** The type and the size that the file's first bytes claim. Throws PictureError. */
export function pictureHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (from, to) => String.fromCharCode(...bytes.subarray(from, to));
  try {
    if (text(0, 8) === "\x89PNG\r\n\x1a\n") {
      return { type: "image/png", width: view.getUint32(16), height: view.getUint32(20) };
    }
    if (text(0, 3) === "\xff\xd8\xff") return { type: "image/jpeg", ...jpegSize(view) };
    if (text(0, 4) === "RIFF" && text(8, 12) === "WEBP") {
      return { type: "image/webp", ...webpSize(view, text(12, 16)) };
    }
  } catch (problem) {
    if (!(problem instanceof RangeError)) throw problem; // a read past the end
    throw new PictureError("This picture is cut off; save it again as PNG.");
  }
  if (/<svg/i.test(text(0, 1024))) {
    throw new PictureError("This is an SVG drawing, not pixels; save it as PNG.");
  }
  throw new PictureError("This is no PNG, JPEG or WebP picture.");
}

/** Reads the segments one after the other until one starts a frame, which has the size. */
function jpegSize(view) {
  let at = 2;
  for (;;) {
    const marker = view.getUint8(at + 1);
    const startsFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (startsFrame) return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    at += 2 + Math.max(2, view.getUint16(at + 2));
  }
}

function webpSize(view, kind) {
  if (kind === "VP8X") {
    const three = (at) => view.getUint16(at, true) + (view.getUint8(at + 2) << 16) + 1;
    return { width: three(24), height: three(27) };
  }
  if (kind === "VP8L") {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 };
  }
  return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}
