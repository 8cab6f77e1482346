// Runs an integer graph, format "smidgen-graph-1", bit for bit as smidgen's numpy interpreter does.
//
//   const network = decode(document);             // the parsed JSON
//   const logits = predict(network, image);       // image: Uint8Array of H × W grey levels
//   const tensors = run(network, image);          // the image and every node's output
//
// A tensor is {name, op, shape: [H, W, C], data: Int32Array}, channels last. Every number stays
// within int32, so that Math.imul and `>>` are exact, and so are sums in doubles.

/** The network of a parsed document, its weights unpacked. Throws an Error for another format. */
export function decode(document) {
  if (document.format !== "smidgen-graph-1") {
    throw new Error(`unknown format ${document.format}; this page reads smidgen-graph-1`);
  }
  return { ...document, weights: document.weights.map(unpack) };
}

/** The int32 logits of an image; times network.logit_scale they are the float network's. */
export function predict(network, image) {
  return run(network, image).at(-1).data;
}

/** Tensor 0, the image, and the output of every node. */
export function run(network, image) {
  return resume(network, [], { name: "image", op: "image", shape: network.input, data: new Int32Array(image) });
}

/** The tensors where the one after `before`, of a run, is `changed`, and what follows is computed again. */
export function resume(network, before, changed) {
  const tensors = [...before, changed];
  for (const node of network.nodes.slice(before.length)) {
    const inputs = node.inputs.map((index) => tensors[index]);
    const data = new Int32Array(node.shape[0] * node.shape[1] * node.shape[2]);
    operations[node.op](node, inputs, data, network);
    if (node.rescale) rescale(node, data);
    tensors.push({ name: node.name, op: node.op, shape: node.shape, data });
  }
  return tensors;
}

function unpack({ shape, bits, data }) {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const values = new Float64Array(shape.reduce((product, side) => product * side, 1));
  const perByte = 8 / bits;
  for (let i = 0; i < values.length; i++) {
    const low = bytes[Math.floor(i / perByte)] >> ((i % perByte) * bits);
    values[i] = (low << (32 - bits)) >> (32 - bits); // two's complement of `bits` bits
  }
  return { shape, values };
}

/** Rescales the sums that a node made, in place. */
function rescale({ rescale: { multiplier, bias, shift, clamp }, shape: [, , depth] }, sums) {
  for (let c = 0; c < depth; c++) {
    const factor = multiplier[multiplier.length === 1 ? 0 : c];
    const offset = bias[bias.length === 1 ? 0 : c];
    for (let i = c; i < sums.length; i += depth) {
      const scaled = (Math.imul(sums[i], factor) + offset) >> shift;
      sums[i] = !clamp ? scaled : scaled < 0 ? 0 : scaled > 255 ? 255 : scaled;
    }
  }
}

// Each fills `output`, which is all zeros, with what is rescaled afterwards.
const operations = {
  conv(node, [input], output, network) {
    const { shape: [outputs, rows, columns], values } = network.weights[node.weights];
    const depth = input.shape[2];
    const { data, row } = pad(input, node);
    const width = node.shape[1];
    const isDepthwise = node.groups === outputs && node.groups === depth;
    const multiply = node.groups === 1 ? multiplyDense : isDepthwise ? multiplyDepthwise : multiplyGrouped;
    const sizes = { width, outputs, rows, columns, depth, row, step: node.stride[1] * depth, groups: node.groups };
    for (let y = 0; y < node.shape[0]; y++) {
      multiply(output, y * width * outputs, data, y * node.stride[0] * row, values, sizes);
    }
  },

  max_pool(node, [input], output) {
    pool(node, input, output, true);
  },

  average_pool(node, [input], output) {
    pool(node, input, output, false);
  },

  add(node, inputs, output) {
    inputs.forEach(({ data }, n) => {
      const factor = node.factors[n];
      for (let i = 0; i < output.length; i++) output[i] += data[i] * factor;
    });
  },

  multiply(node, [input, other], output) {
    const depth = node.shape[2];
    const isGate = other.data.length < output.length; // one factor for each channel
    for (let i = 0; i < output.length; i++) {
      const factor = other.data[isGate ? i % depth : i] - node.zeros[1];
      output[i] = (input.data[i] - node.zeros[0]) * factor;
    }
  },

  concat(node, inputs, output) {
    const depth = node.shape[2];
    let first = 0;
    for (const { shape, data } of inputs) {
      const places = data.length / shape[2];
      for (let place = 0; place < places; place++) {
        for (let c = 0; c < shape[2]; c++) output[place * depth + first + c] = data[place * shape[2] + c];
      }
      first += shape[2];
    }
  },

  table(node, [input], output) {
    for (let i = 0; i < output.length; i++) output[i] = node.values[input.data[i]];
  },
};

/** The input in doubles, with the places around it that a convolution reads, and the length of a row. */
function pad({ shape: [height, width, depth], data }, { padding: [above, left], outside }) {
  const row = (width + 2 * left) * depth;
  if (above === 0 && left === 0) return { data: new Float64Array(data), row };
  const padded = new Float64Array((height + 2 * above) * row).fill(outside);
  for (let y = 0; y < height; y++) {
    const from = y * width * depth;
    const to = (above + y) * row + left * depth;
    for (let i = 0; i < width * depth; i++) padded[to + i] = data[from + i];
  }
  return { data: padded, row };
}

// The three fill a row of the output, from `at` on; the windows that they read begin at `from` and
// lie `step` apart.

/** Every output reads all channels. Two places and four outputs at once share what is read; the last are done
 *  twice where there are fewer. */
function multiplyDense(output, at, data, from, values, { width, outputs, rows, columns, depth, row, step }) {
  const span = columns * depth;
  const size = rows * span;
  for (let x = 0; x < width; x += 2) {
    const isLast = x + 1 === width;
    const left = from + x * step;
    const right = isLast ? 0 : step; // from a value of the left window to that of the right one
    for (let o = 0; o < outputs; o += 4) {
      const o1 = Math.min(1, outputs - 1 - o), o2 = Math.min(2, outputs - 1 - o), o3 = Math.min(3, outputs - 1 - o);
      const w1 = o1 * size, w2 = o2 * size, w3 = o3 * size;
      let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
      let w = o * size;
      for (let y = 0, begin = left; y < rows; y++, begin += row) {
        for (let k = begin; k < begin + span; k++, w++) {
          const value = data[k], other = data[k + right];
          const p = values[w], q = values[w + w1], r = values[w + w2], s = values[w + w3];
          a += value * p; e += other * p;
          b += value * q; f += other * q;
          c += value * r; g += other * r;
          d += value * s; h += other * s;
        }
      }
      const i = at + x * outputs + o, j = isLast ? i : i + outputs;
      output[i] = a; output[i + o1] = b; output[i + o2] = c; output[i + o3] = d;
      output[j] = e; output[j + o1] = f; output[j + o2] = g; output[j + o3] = h;
    }
  }
}

/** Each channel has one output, which reads no other channel. Two places and two channels at once. */
function multiplyDepthwise(output, at, data, from, values, { width, outputs, rows, columns, row, step }) {
  const size = rows * columns;
  for (let x = 0; x < width; x += 2) {
    const isLast = x + 1 === width;
    const left = from + x * step;
    const right = isLast ? 0 : step;
    for (let o = 0; o < outputs; o += 2) {
      const o1 = Math.min(1, outputs - 1 - o);
      const w1 = o1 * size;
      let a = 0, b = 0, c = 0, d = 0;
      let w = o * size;
      for (let y = 0, begin = left + o; y < rows; y++, begin += row) {
        for (let n = 0, k = begin; n < columns; n++, k += outputs, w++) {
          const p = values[w], q = values[w + w1];
          a += data[k] * p; c += data[k + right] * p;
          b += data[k + o1] * q; d += data[k + o1 + right] * q;
        }
      }
      const i = at + x * outputs + o, j = isLast ? i : i + outputs;
      output[i] = a; output[i + o1] = b;
      output[j] = c; output[j + o1] = d;
    }
  }
}

/** Each output reads the channels of its own group only. */
function multiplyGrouped(output, at, data, from, values, { width, outputs, rows, columns, depth, row, step, groups }) {
  const span = depth / groups;
  for (let x = 0; x < width; x++) {
    for (let o = 0, w = 0; o < outputs; o++) {
      const first = from + x * step + Math.floor((o * groups) / outputs) * span;
      let acc = 0;
      for (let y = 0; y < rows; y++) {
        for (let n = 0; n < columns; n++) {
          const begin = first + y * row + n * depth;
          for (let k = begin; k < begin + span; k++, w++) acc += data[k] * values[w];
        }
      }
      output[at + x * outputs + o] = acc;
    }
  }
}

/** The largest number of each window, or the sum. */
function pool(node, { shape: [, width, depth], data }, output, isMax) {
  const [rows, columns] = node.kernel;
  const taps = [];
  for (let r = 0; r < rows; r++) for (let n = 0; n < columns; n++) taps.push((r * width + n) * depth);
  let at = 0;
  for (let y = 0; y < node.shape[0]; y++) {
    for (let x = 0; x < node.shape[1]; x++, at += depth) {
      const first = (y * node.stride[0] * width + x * node.stride[1]) * depth;
      for (let c = 0; c < depth; c++) output[at + c] = data[first + c];
      for (let n = 1; n < taps.length; n++) {
        const from = first + taps[n];
        if (isMax) for (let c = 0; c < depth; c++) output[at + c] = Math.max(output[at + c], data[from + c]);
        else for (let c = 0; c < depth; c++) output[at + c] += data[from + c];
      }
    }
  }
}
