// Which pixels of the image a number inside the network depends on: its receptive field.

/** The part {top, left, bottom, right} of the image, its last row and column included, that lies
 * behind the number at row y and column x of a tensor of a network; tensor 0 is the image. What a
 * gate looks at is left out. */
export function receptiveField(network, tensor, y, x) {
  const boxes = [];
  boxes[tensor] = { top: y, left: x, bottom: y, right: x };
  for (let at = tensor; at > 0; at--) {
    if (!boxes[at]) continue;
    const node = network.nodes[at - 1];
    const behind = node.stride ? window(network, node, boxes[at]) : boxes[at];
    const inputs = node.op === "multiply" ? node.inputs.slice(0, 1) : node.inputs;
    for (const input of inputs) boxes[input] = boxes[input] ? around(boxes[input], behind) : behind;
  }
  const [height, width] = network.input;
  const { top, left, bottom, right } = boxes[0];
  return {
    top: Math.max(0, top),
    left: Math.max(0, left),
    bottom: Math.min(height - 1, bottom),
    right: Math.min(width - 1, right),
  };
}

/** What a convolution or a pool reads for a box of its outputs. */
function window(network, { kernel, weights, stride, padding = [0, 0] }, { top, left, bottom, right }) {
  const [height, width] = kernel ?? network.weights[weights].shape.slice(1, 3);
  return {
    top: top * stride[0] - padding[0],
    left: left * stride[1] - padding[1],
    bottom: bottom * stride[0] - padding[0] + height - 1,
    right: right * stride[1] - padding[1] + width - 1,
  };
}

function around(one, other) {
  return {
    top: Math.min(one.top, other.top),
    left: Math.min(one.left, other.left),
    bottom: Math.max(one.bottom, other.bottom),
    right: Math.max(one.right, other.right),
  };
}
