import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { boundingBox, preprocess, scaleAndCentre } from "../../src/smidgen/export/templates/preprocess.js";

const vectors = JSON.parse(readFileSync(new URL("../preprocess_vectors.json", import.meta.url)));
const bytes = (text) => (text === null ? null : new Uint8Array(Buffer.from(text, "base64")));

for (const { name, channels, data, image, ...size } of vectors) {
  test(`preprocesses ${ name } as Python does`, () => {
    const picture = { data: bytes(data), ...size };
    const actual = channels === 1 ? scaleAndCentre(picture) : preprocess(picture);
    assert.deepEqual(actual, bytes(image));
  });
}

test("the table holds enlarged, reduced, inverted and blank pictures", () => {
  assert.ok(vectors.length >= 15);
  assert.ok(vectors.some((vector) => vector.image === null));
});

test("an image is unchanged", () => {
  const data = new Uint8Array(784 * 4).fill(255);
  for (let i = 0; i < 784; i++) data.fill(i % 28 < 5 && i >= 84 && i < 224 ? 200 : 0, 4 * i, 4 * i + 3);
  const image = preprocess({ data, width: 28, height: 28 });
  assert.equal(image[85], 200);
  assert.equal(image.reduce((sum, value) => sum + value), 200 * 25);
});

test("the bounding box is by hand", () => {
  const data = [0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 3];
  assert.deepEqual(boundingBox({ data, width: 4, height: 3 }), { left: 2, top: 1, width: 2, height: 2 });
  assert.equal(boundingBox({ data: [0, -1], width: 2, height: 1 }), null);
});
