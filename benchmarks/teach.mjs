// How well the page learns signs from five drawings, by the page's own modules.
//
//   node benchmarks/teach.mjs < input.json > output.json
//
// Input: {"page": the page's data, "shapes": [[base64 of 784 bytes, ...] of each shape], "digits":
// [base64, ...], "trials": [[position of a shape, ...], ...]}. The first five images of each shape of a
// trial teach it. Output: {"named", "misnamed", "shown"}: how many of their other images got their own
// name and another sign's, and of how many; {"taken", "digits"}: how many of the digits got a sign's name.

import { readFileSync } from "node:fs";
import { unpackImage } from "../src/smidgen/export/templates/images.js";
import { featuresOf, fitHead, nearest } from "../src/smidgen/export/templates/means.js";
import { decode, run } from "../src/smidgen/export/templates/network.js";

const { page, shapes, digits, trials } = JSON.parse(readFileSync(0));
const network = decode(page.models[0].graph);
const features = (image) => featuresOf(network, run(network, image));
const ofText = (text) => features(new Uint8Array(Buffer.from(text, "base64")));

const known = network.classes.map((_, label) => ({
  features: page.samples.filter((sample) => sample.label === label)
    .map(({ image }) => features(unpackImage(page.images[image], network.input))),
}));
const ofShapes = shapes.map((images) => images.map(ofText));
const ofDigits = digits.map(ofText);
const result = { named: 0, misnamed: 0, shown: 0, taken: 0, digits: 0 };
for (const trial of trials) {
  const head = fitHead(trial.map((name) => ({ name, features: ofShapes[name].slice(0, 5) })), known);
  for (const name of trial) {
    for (const each of ofShapes[name].slice(5)) {
      const said = nearest(head, each);
      result.shown += 1;
      result.named += said === name;
      result.misnamed += said !== null && said !== name;
    }
  }
  result.taken += ofDigits.filter((each) => nearest(head, each) !== null).length;
  result.digits += ofDigits.length;
}
console.log(JSON.stringify(result));
