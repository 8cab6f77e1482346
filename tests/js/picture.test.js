import assert from "node:assert/strict";
import { test } from "node:test";
import { pictureHeader } from "../../src/smidgen/export/templates/picture.js";

const ascii = (text) => [...text].map((character) => character.charCodeAt(0));
const bytes = (...parts) => Uint8Array.from(parts.flatMap((part) => (typeof part === "string" ? ascii(part) : part)));

test("a PNG's size stands in its first chunk", () => {
  const png = bytes("\x89PNG\r\n\x1a\n", [0, 0, 0, 13], "IHDR", [0, 0, 1, 44, 0, 0, 0, 7]);
  assert.deepEqual(pictureHeader(png), { type: "image/png", width: 300, height: 7 });
});

test("a JPEG's size stands in its frame, after other segments", () => {
  const table = [0xff, 0xc4, 0, 4, 0, 0];
  const jpeg = bytes([0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2], table, [0xff, 0xc2, 0, 17, 8, 0, 9, 2, 0]);
  assert.deepEqual(pictureHeader(jpeg), { type: "image/jpeg", width: 512, height: 9 });
});

test("a WebP's size stands where its kind says", () => {
  const riff = (kind, ...rest) => bytes("RIFF", [0, 0, 0, 0], "WEBP", kind, ...rest);
  const lossy = riff("VP8 ", Array(10).fill(0), [0x2c, 0x41, 7, 0]); // the upper two bits are a scale
  assert.deepEqual(pictureHeader(lossy), { type: "image/webp", width: 300, height: 7 });
  const lossless = riff("VP8L", [0, 0, 0, 0, 0x2f], [0x2b, 0x81, 0x01, 0x00]);
  assert.deepEqual(pictureHeader(lossless), { type: "image/webp", width: 300, height: 7 });
  const extended = riff("VP8X", Array(8).fill(0), [0x2b, 1, 0, 6, 0, 0]);
  assert.deepEqual(pictureHeader(extended), { type: "image/webp", width: 300, height: 7 });
});

for (const [name, file, message] of [
  ["an SVG", bytes("<?xml version='1.0'?>\n<svg xmlns='x'>"), /SVG drawing, not pixels/],
  ["text", bytes("hello"), /no PNG, JPEG or WebP/],
  ["nothing", bytes(), /no PNG, JPEG or WebP/],
  ["a GIF", bytes("GIF89a"), /no PNG, JPEG or WebP/],
  ["half a PNG", bytes("\x89PNG\r\n\x1a\n", [0, 0, 0, 13]), /cut off/],
  ["a JPEG without a frame", bytes([0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2]), /cut off/],
]) {
  test(`${name} is refused in a sentence`, () => {
    assert.throws(() => pictureHeader(file), { message });
  });
}
