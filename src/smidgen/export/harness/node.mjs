// node node.mjs network.js graph.json images.bin logits.bin: answers every image.

import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [code, graph, images, answers] = process.argv.slice(2);
const { decode, predict } = await import(pathToFileURL(code));
const network = decode(JSON.parse(readFileSync(graph, "utf8")));
const pixels = network.input.reduce((product, side) => product * side, 1);
const bytes = readFileSync(images);
const classes = network.classes.length;
const logits = new Int32Array((bytes.length / pixels) * classes);
for (let i = 0; i < bytes.length / pixels; i++) {
  logits.set(predict(network, bytes.subarray(i * pixels, (i + 1) * pixels)), i * classes);
}
writeFileSync(answers, logits);
