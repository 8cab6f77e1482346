// What the page sees in drawings and says of them, by the page's own modules, without a browser.
//
//   node benchmarks/handwriting.mjs < input.json > output.json
//
// Input: {"drawings": [strokes, ...], "images": [base64 of 784 bytes, ...], "page": {"models": [...],
// "detector": ...}}, the page's data. Strokes are lists of points from 0 to 1 of the paper. Output:
// {"seen": [[base64 of an image, ...] for each drawing], "says": [[label of each model] for each
// drawing], "none": [is the drawing none of these?], "refused": [is the image?]}.

import { readFileSync } from "node:fs";
import { decodeDetector, excess } from "../src/smidgen/export/templates/detector.js";
import { decode, predict } from "../src/smidgen/export/templates/network.js";
import { seen } from "../src/smidgen/export/templates/scene.js";
import { digitsOf, PAPER } from "../src/smidgen/export/templates/strokes.js";
import { argmax } from "../src/smidgen/export/templates/verdict.js";

const { drawings, images, page } = JSON.parse(readFileSync(0));
const detector = decodeDetector(page);
const networks = page.models.map(({ graph }) => decode(graph));
const isFar = (image) => detector !== null && excess(detector, image) > 0;
const toText = (image) => Buffer.from(image).toString("base64");
const toImage = (text) => new Uint8Array(Buffer.from(text, "base64"));

/** The images of the digits on the paper, as main.js gives them to the networks. */
function see(strokes) {
  const onPaper = strokes.map((stroke) => stroke.map((point) => point.map((place) => place * PAPER)));
  return digitsOf(onPaper).map((digit) => seen({ picture: null, strokes: digit }));
}

/** The digits that a network reads, as reading.js puts them together. */
function read(network, parts) {
  return parts.map((image) => network.classes[argmax(predict(network, image))]).join("");
}

const pictures = drawings.map(see);
console.log(JSON.stringify({
  seen: pictures.map((parts) => parts.map(toText)),
  says: pictures.map((parts) => networks.map((network) => read(network, parts))),
  none: pictures.map((parts) => 2 * parts.filter(isFar).length >= parts.length),
  refused: images.map((text) => isFar(toImage(text))),
}));
