// Runs an integer graph, format "smidgen-graph-1", bit for bit as smidgen's numpy interpreter does.
//
//   const network = decode(document);             // the parsed JSON
//   const logits = predict(network, image);       // image: Uint8Array of H × W grey levels
//   const tensors = run(network, image);          // the image and every node's output
//
// A tensor is {name, op, shape: [H, W, C], data: Int32Array}, channels last. Every number stays
// within int32, so that Math.imul, `|` and `>>` are exact.

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
    tensors.push({ name: node.name, op: node.op, shape: node.shape, data });
  }
  return tensors;
}

function unpack({ shape, bits, data }) {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const values = new Int32Array(shape.reduce((product, side) => product * side, 1));
  const perByte = 8 / bits;
  for (let i = 0; i < values.length; i++) {
    const low = bytes[Math.floor(i / perByte)] >> ((i % perByte) * bits);
    values[i] = (low << (32 - bits)) >> (32 - bits); // two's complement of `bits` bits
  }
  return { shape, values };
}

function rescale({ multiplier, bias, shift, clamp }, acc, channel) {
  const factor = multiplier[multiplier.length === 1 ? 0 : channel];
  const offset = bias[bias.length === 1 ? 0 : channel];
  const scaled = (Math.imul(acc, factor) + offset) >> shift;
  return !clamp ? scaled : scaled < 0 ? 0 : scaled > 255 ? 255 : scaled;
}

const operations = {
  conv(node, [input], output, network) {
    const { shape: [outputs, kernelHeight, kernelWidth, depth], values } = network.weights[node.weights];
    const patch = new Int32Array(kernelHeight * kernelWidth * depth);
    const perGroup = outputs / node.groups;
    let at = 0;
    for (let y = 0; y < node.shape[0]; y++) {
      for (let x = 0; x < node.shape[1]; x++) {
        for (let group = 0; group < node.groups; group++) {
          const top = y * node.stride[0] - node.padding[0];
          const left = x * node.stride[1] - node.padding[1];
          gather(patch, input, [top, left, group * depth], [kernelHeight, kernelWidth, depth], node.outside);
          for (let o = group * perGroup; o < (group + 1) * perGroup; o++) {
            let acc = 0;
            for (let k = 0, w = o * patch.length; k < patch.length; k++, w++) acc += patch[k] * values[w];
            output[at++] = rescale(node.rescale, acc, o);
          }
        }
      }
    }
  },

  max_pool(node, [input], output) {
    pool(node, input, output, (a, b) => (a > b ? a : b), (largest) => largest);
  },

  average_pool(node, [input], output) {
    pool(node, input, output, (a, b) => a + b, (sum, channel) => rescale(node.rescale, sum, channel));
  },

  add(node, inputs, output) {
    const depth = node.shape[2];
    for (let i = 0; i < output.length; i++) {
      let acc = 0;
      inputs.forEach((input, n) => (acc += input.data[i] * node.factors[n]));
      output[i] = rescale(node.rescale, acc, i % depth);
    }
  },

  multiply(node, [input, other], output) {
    const depth = node.shape[2];
    const isGate = other.data.length < output.length; // one factor for each channel
    for (let i = 0; i < output.length; i++) {
      const factor = other.data[isGate ? i % depth : i] - node.zeros[1];
      output[i] = rescale(node.rescale, (input.data[i] - node.zeros[0]) * factor, i % depth);
    }
  },

  concat(node, inputs, output) {
    const depth = node.shape[2];
    let first = 0;
    for (const { shape, data } of inputs) {
      for (let i = 0; i < data.length; i++) {
        const channel = first + (i % shape[2]);
        output[Math.floor(i / shape[2]) * depth + channel] = rescale(node.rescale, data[i], channel);
      }
      first += shape[2];
    }
  },

  table(node, [input], output) {
    for (let i = 0; i < output.length; i++) output[i] = node.values[input.data[i]];
  },
};

/** Copies the window that starts at [top, left, channel]; what lies outside the input is `outside`. */
function gather(patch, { shape: [height, width, channels], data }, [top, left, channel], [h, w, depth], outside) {
  let at = 0;
  for (let y = top; y < top + h; y++) {
    for (let x = left; x < left + w; x++) {
      const inside = y >= 0 && y < height && x >= 0 && x < width;
      const from = (y * width + x) * channels + channel;
      for (let c = 0; c < depth; c++) patch[at++] = inside ? data[from + c] : outside;
    }
  }
}

function pool(node, input, output, combine, finish) {
  const [, width, depth] = input.shape;
  let at = 0;
  for (let y = 0; y < node.shape[0]; y++) {
    for (let x = 0; x < node.shape[1]; x++) {
      for (let c = 0; c < depth; c++) {
        const first = (y * node.stride[0] * width + x * node.stride[1]) * depth + c;
        let value = input.data[first];
        for (let i = 1; i < node.kernel[0] * node.kernel[1]; i++) {
          const row = Math.floor(i / node.kernel[1]);
          value = combine(value, input.data[first + (row * width + (i % node.kernel[1])) * depth]);
        }
        output[at++] = finish(value, c);
      }
    }
  }
}
