// The game: draw a digit that the chosen network gets wrong. The other networks are the jury.

const REST_MS = 1000; // without a change, and the drawing is judged
const WAIT_MS = 100; // until it is looked at again, while the pen is down or a network has not answered
export const JURY = 2; // other networks, at least

/** What a drawing of the digit `asked` is to its readers: "fooled" or "right" where it counts; where
 * it does not, "refused" as none of the classes, or "unread" by most of the others. */
export function judge(asked, chosen, others) {
  if (chosen.none) return "refused";
  if (2 * readersOf(asked, others) <= others.length) return "unread";
  return chosen.label === asked ? "right" : "fooled";
}

function readersOf(asked, others) {
  return others.filter(({ label }) => label === asked).length;
}

/** The game on a pad for digits with these names. `show(state)` is called with {asked, name, fooled,
 * tries} whenever that changes, and with null when the game ends; `say(sentence)` tells the outcome. */
export function createGame(pad, classes, { show, say }) {
  let asked = null; // the digit; null while nobody plays
  let score = { name: "", fooled: 0, tries: 0 }; // of the chosen network
  let answers = { verdicts: [], chosen: null };
  let counted = false; // the drawing on the paper
  let timer = 0;

  const tell = () => show(asked === null ? null : { asked, ...score });

  function ask() {
    const others = classes.filter((name) => name !== asked);
    asked = others[Math.floor(Math.random() * others.length)];
    counted = false;
    tell();
  }

  function look() {
    const { verdicts, chosen } = answers;
    const { picture, strokes } = pad.drawn();
    if (asked === null || counted || picture || !strokes.length) return;
    if (pad.drawing() || verdicts.includes(null)) {
      timer = setTimeout(look, WAIT_MS);
      return;
    }
    const others = verdicts.filter((verdict) => verdict !== chosen.verdict);
    const outcome = judge(asked, chosen.verdict, others);
    counted = outcome === "fooled" || outcome === "right";
    if (counted) {
      score.tries += 1;
      score.fooled += outcome === "fooled";
      tell();
    }
    say(sentence(outcome, chosen, others));
  }

  function sentence(outcome, { name, verdict }, others) {
    const jury = `${readersOf(asked, others)} of ${others.length} others read a ${asked}`;
    return {
      fooled: `Fooled: ${name} says ${verdict.label}, and ${jury}.`,
      right: `${name} says ${verdict.label}, as it should.`,
      refused: "Not counted: refused as none of these.",
      unread: `Not counted: ${jury}.`,
    }[outcome];
  }

  return {
    isOn: () => asked !== null,
    start() {
      pad.clear();
      score = { ...score, fooled: 0, tries: 0 };
      ask();
    },
    stop() {
      asked = null;
      clearTimeout(timer);
      tell();
    },
    /** Asks for another digit, on an empty paper. */
    next() {
      ask();
      pad.clear();
    },
    /** Is to be called when the paper has changed. */
    changed() {
      clearTimeout(timer);
      if (asked === null) return;
      const { picture, strokes } = pad.drawn();
      if (counted && !picture && !strokes.length) ask();
      timer = setTimeout(look, REST_MS);
    },
    /** Is to be called with the networks' verdicts, null for one that has not answered yet. */
    answered(verdicts, chosen) {
      answers = { verdicts, chosen };
      if (chosen.name === score.name) return;
      score = { name: chosen.name, fooled: 0, tries: 0 };
      if (asked !== null) tell();
    },
  };
}
