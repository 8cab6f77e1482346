// From logits to probabilities and an answer.

/** The probabilities of logits that are integers times `scale`. */
export function softmax(logits, scale) {
  const highest = logits.reduce((a, b) => Math.max(a, b));
  const powers = Array.from(logits, (logit) => Math.exp((logit - highest) * scale));
  const total = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / total);
}

/** The position of the largest value, the first of several. */
export function argmax(values) {
  return values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
}

/** A probability for people: never 100 % and never 0 %, for no network is certain. */
export function percent(probability) {
  if (probability > 0.9994) return "> 99.9 %";
  if (probability > 0.9895) return `${(probability * 100).toFixed(1)} %`;
  if (probability < 0.005) return "< 1 %";
  return `${Math.round(probability * 100)} %`;
}

/** Whether a verdict has a class in it that the reader has added. */
export function isAdded(verdict) {
  return Boolean(verdict?.added.some(Boolean));
}
