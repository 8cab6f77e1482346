import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { createSigns } from "../../src/smidgen/export/templates/signs.js";

const DIGITS = [..."0123456789"];
const image = (level) => Uint8Array.of(level, 0, 0);
const known = DIGITS.map(() => [image(1)]);
const create = () => createSigns(DIGITS, known, () => {});

beforeEach(() => {
  const kept = new Map();
  globalThis.sessionStorage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
    first: () => [...kept.keys()][0],
  };
});

test("a sign is kept in the tab until it is forgotten", () => {
  const signs = create();
  for (let i = 1; i <= 3; i++) assert.equal(signs.add("heart", image(i)), i);
  assert.deepEqual(create().all(), [{ name: "heart", drawings: [image(1), image(2), image(3)] }]);
  signs.forget();
  assert.deepEqual(create().all(), []);
});

test("a name is refused in a sentence, a sign that lacks drawings is not", () => {
  const signs = create();
  assert.equal(signs.problem(""), "Give the sign a name first.");
  assert.equal(signs.problem("7"), "They know 7 already; choose another name.");
  assert.equal(signs.problem("thirteen let."), "A name has at most 12 characters.");
  assert.equal(signs.problem("heart"), null);
  for (let i = 0; i < 4; i++) signs.add("heart", image(i));
  assert.equal(signs.problem("heart"), null);
  signs.add("heart", image(4));
  assert.match(signs.problem("heart"), /has its five drawings/);
  for (let i = 0; i < 9; i++) signs.add(`sign ${i}`, image(i));
  assert.match(signs.problem("one more"), /There are ten signs/);
  assert.equal(signs.problem("sign 8"), null);
});

test("what else lies in the storage is no sign", () => {
  create().add("heart", image(1));
  const key = sessionStorage.first();
  for (const text of ["", "nonsense", "7", "null", '[{"name": "a"}]', '[{"name": "a", "drawings": ["AAAA", "AA=="]}]', '[{"name": "a", "drawings": ["!"]}]']) {
    sessionStorage.setItem(key, text);
    assert.deepEqual(create().all(), [], text);
  }
  globalThis.sessionStorage = { getItem() { throw new Error("denied"); }, setItem() { throw new Error("full"); } };
  const signs = create();
  assert.equal(signs.add("heart", image(1)), 1);
});

test("without five drawings there is nothing to recognise", () => {
  const signs = create();
  signs.add("heart", image(1));
  assert.equal(signs.recognise({}, []), null);
});
