import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { createGame, judge } from "../../src/smidgen/export/templates/game.js";

const says = (label, none = false) => ({ label, none });
const DIGITS = [..."0123456789"];

test("a drawing counts where most of the others read the digit, by hand", () => {
  const others = (text) => [...text].map((label) => says(label));
  assert.equal(judge("4", says("9"), others("4449")), "fooled");
  assert.equal(judge("4", says("4"), others("4449")), "right");
  assert.equal(judge("4", says("9"), others("4499")), "unread"); // two of four are not most
  assert.equal(judge("4", says("7"), others("7777")), "unread"); // a 7 is no 4
  assert.equal(judge("4", says("9", true), others("4444")), "refused");
  assert.equal(judge("4", says("44"), others("44").map(({ label }) => says(label + label))), "unread");
});

/** A game on a paper whose scene is set by hand; what it shows and says is kept. */
function play() {
  mock.timers.enable({ apis: ["setTimeout"] });
  const empty = { picture: null, strokes: [] };
  let [scene, isDown] = [empty, false];
  const heard = { states: [], sentences: [] };
  const pad = {
    drawn: () => scene,
    drawing: () => isDown,
    clear() {
      scene = empty;
      game.changed();
    },
  };
  const game = createGame(pad, DIGITS, {
    show: (state) => heard.states.push(state),
    say: (sentence) => heard.sentences.push(sentence),
  });
  const verdicts = (chosen, others) => {
    const verdict = says(chosen);
    game.answered([verdict, ...others], { name: "tiny", verdict });
  };
  verdicts("", []);
  game.start();
  const draw = (chosen, others) => {
    scene = { picture: null, strokes: [[[1, 1]]] };
    game.changed();
    verdicts(chosen, others);
  };
  return { game, heard, pad, draw, press: (down) => (isDown = down), asked: () => heard.states.at(-1)?.asked };
}

const other = (asked) => (asked === "9" ? "3" : "9");

test("a drawing is judged once it rests for a second, and the score says so", () => {
  const { heard, draw, asked } = play();
  const digit = asked();
  draw(other(digit), [says(digit), says(digit), says("0")]);
  mock.timers.tick(999);
  assert.deepEqual(heard.sentences, []);
  mock.timers.tick(1);
  assert.deepEqual(heard.states.at(-1), { asked: digit, name: "tiny", fooled: 1, tries: 1 });
  const read = digit === "0" ? 3 : 2;
  assert.deepEqual(heard.sentences, [`Fooled: tiny says ${other(digit)}, and ${read} of 3 others read a ${digit}.`]);
  mock.timers.reset();
});

test("the pen is waited for, and so is every network", () => {
  const { heard, draw, press, game, asked } = play();
  const digit = asked();
  press(true);
  draw(digit, [says(digit), null]);
  mock.timers.tick(3000);
  press(false);
  mock.timers.tick(3000);
  assert.deepEqual(heard.sentences, []);
  const verdict = says(digit);
  game.answered([verdict, says(digit), says(digit)], { name: "tiny", verdict });
  mock.timers.tick(100);
  assert.deepEqual(heard.sentences, [`tiny says ${digit}, as it should.`]);
  assert.deepEqual(heard.states.at(-1), { asked: digit, name: "tiny", fooled: 0, tries: 1 });
  mock.timers.reset();
});

test("what does not count can be drawn on, what counted is over until the paper is empty", () => {
  const { heard, draw, pad, asked } = play();
  const digit = asked();
  const all = (label) => [says(label), says(label)];
  draw(other(digit), all(other(digit)));
  mock.timers.tick(1000);
  assert.match(heard.sentences.at(-1), /Not counted: 0 of 2 others read/);
  draw(digit, all(digit));
  mock.timers.tick(1000);
  draw(other(digit), all(digit));
  mock.timers.tick(1000);
  assert.equal(heard.sentences.length, 2);
  pad.clear();
  assert.notEqual(asked(), digit);
  assert.equal(heard.states.at(-1).tries, 1);
  mock.timers.reset();
});

test("another network begins at nought, and the end is shown", () => {
  const { heard, draw, game, asked } = play();
  const digit = asked();
  draw(digit, [says(digit), says(digit)]);
  mock.timers.tick(1000);
  game.answered([], { name: "large", verdict: says(digit) });
  assert.deepEqual(heard.states.at(-1), { asked: digit, name: "large", fooled: 0, tries: 0 });
  game.stop();
  assert.equal(heard.states.at(-1), null);
  mock.timers.reset();
});
