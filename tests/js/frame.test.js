import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { boundingBox, frame, readPixels } from "../../src/smidgen/export/templates/frame.js";

const vectors = JSON.parse(readFileSync(new URL("../frame_vectors.json", import.meta.url)));
const bytes = (text) => (text === null ? null : new Uint8Array(Buffer.from(text, "base64")));

for (const { name, channels, data, framed, ...size } of vectors) {
  test(`frames ${ name } as Python does`, () => {
    const picture = { data: bytes(data), ...size };
    const actual = channels === 1 ? frame(picture) : readPixels(picture);
    assert.deepEqual(actual, bytes(framed));
  });
}

test("the table holds enlarged, reduced, inverted and blank pictures", () => {
  assert.ok(vectors.length >= 15);
  assert.ok(vectors.some((vector) => vector.framed === null));
});

test("a picture in the frame already is unchanged", () => {
  const data = new Uint8Array(784 * 4).fill(255);
  for (let i = 0; i < 784; i++) data.fill(i % 28 < 5 && i >= 84 && i < 224 ? 200 : 0, 4 * i, 4 * i + 3);
  const framed = readPixels({ data, width: 28, height: 28 });
  assert.equal(framed[85], 200);
  assert.equal(framed.reduce((sum, value) => sum + value), 200 * 25);
});

test("the bounding box is by hand", () => {
  const data = [0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 3];
  assert.deepEqual(boundingBox({ data, width: 4, height: 3 }), { left: 2, top: 1, width: 2, height: 2 });
  assert.equal(boundingBox({ data: [0, -1], width: 2, height: 1 }), null);
});
