import assert from "node:assert/strict";
import { test } from "node:test";
import { fromFragment, toFragment } from "../../src/smidgen/export/templates/share.js";

test("a fragment, by hand", () => {
  assert.equal(toFragment([[[0, 280], [10, 20]], [[1, 2]]]), "#d=00v41428~0408");
  assert.deepEqual(fromFragment("#d=00v41428~0408"), [[[0, 280], [10, 20]], [[1, 2]]]);
});

test("points that a line passes near are left out, corners are not", () => {
  const line = [[10, 10], [20, 10.2], [30, 10], [30, 20], [30, 40]];
  assert.deepEqual(fromFragment(toFragment([line])), [[[10, 10], [30, 10], [30, 40]]]);
  const loop = [[10, 10], [50, 10], [50, 50], [10, 10]];
  assert.deepEqual(fromFragment(toFragment([loop])), [loop]);
});

test("what is no drawing gives none", () => {
  for (const text of ["", "#", "#d=", "#d=000", "#d=0000~", "#d=0000~~0000", "#d=00V4", "#d=zzzz", "#e=0000", `#d=${"0".repeat(80000)}`]) {
    assert.equal(fromFragment(text), null, text.slice(0, 20));
  }
});
