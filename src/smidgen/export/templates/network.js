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
  return resume(network, [], { name: "image", op: "image", shape: network.input, data: Int32Array.from(image) });
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
    const patch = new Float64Array(rows * columns * input.shape[2]);
    const isDepthwise = node.groups === outputs && node.groups === input.shape[2];
    let at = 0;
    for (let y = 0; y < node.shape[0]; y++) {
      for (let x = 0; x < node.shape[1]; x++) {
        const top = y * node.stride[0] - node.padding[0];
        const left = x * node.stride[1] - node.padding[1];
        gather(patch, input, top, left, rows, columns, node.outside);
        if (node.groups === 1) multiplyDense(output, at, patch, values, outputs);
        else if (isDepthwise) multiplyDepthwise(output, at, patch, values, outputs);
        else multiplyGrouped(output, at, patch, values, outputs, node.groups, input.shape[2]);
        at += outputs;
      }
    }
  },

  max_pool(node, [input], output) {
    output.fill(-(2 ** 31));
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

/** Copies the window with this first row and column; what lies outside the input is `outside`. */
function gather(patch, { shape: [height, width, depth], data }, top, left, rows, columns, outside) {
  const begin = left * depth;
  const end = begin + columns * depth;
  const row = width * depth;
  let at = 0;
  for (let y = top; y < top + rows; y++) {
    const hasRow = y >= 0 && y < height;
    if (hasRow && begin >= 0 && end <= row) {
      for (let i = y * row + begin; i < y * row + end; i++) patch[at++] = data[i];
    } else {
      for (let i = begin; i < end; i++) patch[at++] = hasRow && i >= 0 && i < row ? data[y * row + i] : outside;
    }
  }
}

/** The sums of all outputs at one place, from `at` on; four at a time, as each needs the whole patch. */
function multiplyDense(output, at, patch, values, outputs) {
  const size = patch.length;
  let o = 0;
  for (; o + 4 <= outputs; o += 4) {
    let a = 0, b = 0, c = 0, d = 0;
    for (let k = 0, w = o * size; k < size; k++, w++) {
      const value = patch[k];
      a += value * values[w];
      b += value * values[w + size];
      c += value * values[w + 2 * size];
      d += value * values[w + 3 * size];
    }
    output[at + o] = a;
    output[at + o + 1] = b;
    output[at + o + 2] = c;
    output[at + o + 3] = d;
  }
  for (; o < outputs; o++) {
    let acc = 0;
    for (let k = 0, w = o * size; k < size; k++, w++) acc += patch[k] * values[w];
    output[at + o] = acc;
  }
}

/** The same where each channel has one output, which reads no other channel. */
function multiplyDepthwise(output, at, patch, values, channels) {
  const taps = patch.length / channels;
  let o = 0;
  for (; o + 4 <= channels; o += 4) {
    let a = 0, b = 0, c = 0, d = 0;
    for (let k = o, w = o * taps; k < patch.length; k += channels, w++) {
      a += patch[k] * values[w];
      b += patch[k + 1] * values[w + taps];
      c += patch[k + 2] * values[w + 2 * taps];
      d += patch[k + 3] * values[w + 3 * taps];
    }
    output[at + o] = a;
    output[at + o + 1] = b;
    output[at + o + 2] = c;
    output[at + o + 3] = d;
  }
  for (; o < channels; o++) {
    let acc = 0;
    for (let k = o, w = o * taps; k < patch.length; k += channels, w++) acc += patch[k] * values[w];
    output[at + o] = acc;
  }
}

/** The same where each output reads the channels of its own group only. */
function multiplyGrouped(output, at, patch, values, outputs, groups, channels) {
  const depth = channels / groups;
  for (let o = 0, w = 0; o < outputs; o++) {
    const group = Math.floor((o * groups) / outputs);
    let acc = 0;
    for (let first = group * depth; first < patch.length; first += channels) {
      for (let k = first; k < first + depth; k++, w++) acc += patch[k] * values[w];
    }
    output[at + o] = acc;
  }
}

/** The largest number of each window, or the sum, joined to what `output` holds. */
function pool(node, { shape: [, width, depth], data }, output, isMax) {
  let at = 0;
  for (let y = 0; y < node.shape[0]; y++) {
    for (let x = 0; x < node.shape[1]; x++, at += depth) {
      const first = y * node.stride[0] * width + x * node.stride[1];
      for (let i = 0; i < node.kernel[0] * node.kernel[1]; i++) {
        const from = (first + Math.floor(i / node.kernel[1]) * width + (i % node.kernel[1])) * depth;
        for (let c = 0; c < depth; c++) {
          const value = data[from + c];
          const before = output[at + c];
          output[at + c] = !isMax ? before + value : value > before ? value : before;
        }
      }
    }
  }
}
