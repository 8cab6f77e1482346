import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { crop, photo } from "../../src/smidgen/export/templates/photo.js";

const vectors = JSON.parse(readFileSync(new URL("../photo_vectors.json", import.meta.url)));
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));

for (const { name, data, image, shape: [channels, high, wide], ...size } of vectors) {
  test(`makes ${ name } as Python does`, () => {
    assert.deepEqual(photo({ data: bytes(data), ...size }, [high, wide, channels]), bytes(image));
  });
}

test("the table holds pictures that shrink and grow", () => {
  assert.ok(vectors.length >= 50);
  assert.ok(vectors.some(({ width, shape }) => width < shape[2]));
});

test("the part in the middle is by hand", () => {
  assert.deepEqual(crop({ width: 640, height: 480 }, [32, 32]), { left: 80, top: 0, width: 480, height: 480 });
  assert.deepEqual(crop({ width: 20, height: 30 }, [8, 12]), { left: 0, top: 8, width: 20, height: 13 });
});
