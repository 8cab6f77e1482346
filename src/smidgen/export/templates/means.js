// A nearest-mean head: new classes for a network that stays as it is, from a few images of each
// (Mensink et al. 2013, https://doi.org/10.1109/TPAMI.2013.83).

const REACH = 1.9; // of a new class: times the distance of the furthest of its images from their mean

/** What the last convolution of a network reads of an image, given the image's tensors: all of it
 * where the convolution covers it whole, else the mean of each channel. In steps of its grid. */
export function featuresOf(network, tensors) {
  const last = network.nodes.findLast(({ op }) => op === "conv");
  const { shape: [height, width, channels], data } = tensors[last.inputs[0]];
  if (last.shape[0] * last.shape[1] === 1) return Float64Array.from(data);
  const means = new Float64Array(channels);
  data.forEach((value, i) => (means[i % channels] += value / (height * width)));
  return means;
}

/** The head of classes [{name, features: [of each image]}]; `known` are those that the network knows. */
export function fitHead(classes, known) {
  const added = classes.map(({ name, features }) => {
    const mean = meanOf(features);
    return { name, mean, reach: REACH * Math.max(...features.map((each) => distance(each, mean))) };
  });
  return [...known.map(({ features }) => ({ name: null, mean: meanOf(features), reach: Infinity })), ...added];
}

/** The name of the new class whose mean is nearest to features and within its reach; null where the
 * nearest is of a class that the network knows. */
export function nearest(head, features) {
  let best = { name: null, away: Infinity };
  for (const { name, mean, reach } of head) {
    const away = distance(mean, features);
    if (away <= reach && away < best.away) best = { name, away };
  }
  return best.name;
}

function meanOf(rows) {
  return rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length);
}

function distance(one, other) {
  return Math.sqrt(one.reduce((sum, value, i) => sum + (value - other[i]) ** 2, 0));
}
