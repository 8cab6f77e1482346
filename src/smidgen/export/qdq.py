"""The integer graph as ONNX of eight bits: QuantizeLinear and DequantizeLinear, "QDQ", around
float operations, the form from which runtimes choose their own integer kernels.

These kernels differ in their rounding, so this is the one export that is not equal to the graph to
the bit: a number may be one step of its grid away.
"""

from __future__ import annotations

from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from smidgen.escape import plain
from smidgen.export.onnx import require_onnx
from smidgen.inputs import Preprocess
from smidgen.quantize import graph as G

OPSET, IR_VERSION = 17, 9
Array = NDArray[Any]


def write_qdq(graph: G.Graph, preprocess: Preprocess, with_preprocessing: bool = False) -> bytes:
    """The graph as one ONNX file: normalised float images (batch, C, H, W) in, logits out.

    They are normalised by `preprocess`. With `with_preprocessing` uint8 images (batch, H, W, C) in,
    which are the graph's image as they are.
    Raises MissingExtraError without the extra `export`.
    """
    require_onnx()
    import onnx
    from onnx import TensorProto, helper

    writer = _Writer(graph)
    writer.add_image(preprocess, with_preprocessing)
    for number, node in enumerate(graph.nodes, start=1):
        writer.add_node(node, number)
    height, width, channels = graph.input
    sides = (height, width, channels) if with_preprocessing else (channels, height, width)
    image: list[str | int | None] = ["batch", *sides]
    kind = TensorProto.UINT8 if with_preprocessing else TensorProto.FLOAT
    logits: list[str | int | None] = ["batch", len(graph.classes)]
    document = helper.make_graph(
        writer.nodes,
        plain(graph.name),
        [helper.make_tensor_value_info("image", kind, image)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, logits)],
        writer.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(document, producer_name="smidgen", opset_imports=opsets)
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


class _Writer:
    """The nodes and constants so far. Tensor i is `q<i>`, of eight bits, and `x<i>`, its floats."""

    def __init__(self, graph: G.Graph) -> None:
        self.graph = graph
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add_image(self, preprocess: Preprocess, is_bytes: bool) -> None:
        """Appends what makes tensor 0 of the file's input."""
        if is_bytes:
            self._append("Transpose", ["image"], "q0", perm=[0, 3, 1, 2])
            self._dequantize(0)
            return
        mean, std = (np.array(each)[:, None, None] for each in (preprocess.mean, preprocess.std))
        if len({*preprocess.mean}) == len({*preprocess.std}) == 1:
            self.quantize("image", 0)
            return
        # The grid of tensor 0 is that of the first channel's mean and deviation.
        shift = (mean - round(self.graph.zeros[0]) / 255) / std[0]
        gain = self._constant("gain0", (std / std[0]).astype(np.float32))
        self._append("Mul", ["image", gain], "scaled0")
        self._append("Add", ["scaled0", self._constant("shift0", shift.astype(np.float32))], "y0")
        self.quantize("y0", 0)

    def add_node(self, node: G.Node, number: int) -> None:
        """Appends what computes tensor `number`, which is node `number - 1`'s."""
        is_last = number == len(self.graph.nodes)
        made = f"y{number}"
        inputs = [f"x{i}" for i in node.inputs]
        match node:
            case G.Conv():
                self._conv(node, number, made)
            case G.MaxPool():
                self._append("MaxPool", inputs, made, kernel_shape=node.kernel, strides=node.stride)
            case G.AveragePool():
                window = {"kernel_shape": node.kernel, "strides": node.stride}
                self._append("AveragePool", inputs, made, **window)
            case G.Add():
                self._append("Add", self._scaled(node, number), made)
            case G.Multiply():
                self._append("Mul", inputs, made)
            case G.Concat():
                self._concat(node, number, made)
            case G.Table():
                self._look_up(node, number)
                return
            case _:
                assert_never(node)
        if is_last:
            self._append("Flatten", [made], "logits")
        else:
            self.quantize(made, number)

    def quantize(self, name: str, number: int) -> None:
        """Quantises a float tensor to the grid of tensor `number`, and dequantises it."""
        self._append("QuantizeLinear", [name, *self._grid(number)], f"q{number}")
        self._dequantize(number)

    def _dequantize(self, number: int) -> None:
        self._append("DequantizeLinear", [f"q{number}", *self._grid(number)], f"x{number}")

    def _conv(self, node: G.Conv, number: int, made: str) -> None:
        """A convolution of integer weights and biases, dequantised by channel."""
        ratio = self._ratio(node, number)  # output grid steps a unit of the accumulator
        values = self.graph.weights[node.weights].values.astype(np.int64)
        negative = np.where(ratio < 0, -1, 1)
        weight = (values * negative[:, None, None, None]).clip(-127, 127).astype(np.int8)
        in_scale, out_scale = self.graph.scales[node.inputs[0]], self.graph.scales[number]
        scale = np.where(ratio == 0, 1.0, np.abs(ratio)) * out_scale / in_scale
        bias = self._offset(node, number) * out_scale
        bias += node.outside * in_scale * scale * weight.sum(axis=(1, 2, 3))
        steps = np.round(bias / (in_scale * scale)).astype(np.int32)
        parts: dict[str, tuple[Array, Array]] = {
            "w": (weight.transpose(0, 3, 1, 2), scale),
            "b": (steps, in_scale * scale),
        }
        for letter, (integers, unit) in parts.items():
            zero = np.zeros(len(unit), integers.dtype)
            names = [
                self._constant(f"{letter}{number}_integers", integers),
                self._constant(f"{letter}{number}_scale", unit.astype(np.float32)),
                self._constant(f"{letter}{number}_zero", zero),
            ]
            self._append("DequantizeLinear", names, f"{letter}{number}", axis=0)
        pads = [*node.padding, *node.padding]
        inputs = [f"x{node.inputs[0]}", f"w{number}", f"b{number}"]
        self._append("Conv", inputs, made, strides=node.stride, pads=pads, group=node.groups)

    def _scaled(self, node: G.Add, number: int) -> list[str]:
        """The inputs of a sum, times their factors where these are not one."""
        names = []
        for place, (tensor, factor) in enumerate(zip(node.inputs, node.factors, strict=True)):
            steps = factor / 2**node.rescale.shift
            real = steps * self.graph.scales[number] / self.graph.scales[tensor]
            names.append(self._times(f"x{tensor}", f"f{number}_{place}", np.array(real)))
        return names

    def _concat(self, node: G.Concat, number: int, made: str) -> None:
        """The inputs concatenated, times a gain and plus an offset for each channel."""
        out_scale = self.graph.scales[number]
        depths = [self._depth(tensor) for tensor in node.inputs]
        scales = np.repeat([self.graph.scales[tensor] for tensor in node.inputs], depths)
        zeros = np.repeat([round(self.graph.zeros[tensor]) for tensor in node.inputs], depths)
        ratio = self._ratio(node, number)
        gain = ratio * out_scale / scales
        offset = self._offset(node, number) * out_scale + ratio * out_scale * zeros
        self._append("Concat", [f"x{i}" for i in node.inputs], f"c{number}", axis=1)
        times = self._times(f"c{number}", f"g{number}", gain[:, None, None])
        if np.abs(offset).max() < 0.01 * out_scale:
            self._append("Identity", [times], made)
            return
        constant = offset[:, None, None].astype(np.float32)
        self._append("Add", [times, self._constant(f"o{number}", constant)], made)

    def _look_up(self, node: G.Table, number: int) -> None:
        from onnx import TensorProto

        table = self._constant(f"table{number}", np.array(node.values, np.uint8))
        self._append("Cast", [f"q{node.inputs[0]}"], f"i{number}", to=TensorProto.INT32)
        self._append("Gather", [table, f"i{number}"], f"q{number}")
        self._dequantize(number)

    def _ratio(self, node: G.Conv | G.Concat, number: int) -> Array:
        """How many steps of the output's grid a unit of the accumulator is, by channel."""
        multiplier = np.broadcast_to(node.rescale.multiplier, (self._depth(number),))
        ratio: Array = multiplier.astype(np.float64) / 2**node.rescale.shift
        return ratio

    def _offset(self, node: G.Conv | G.Concat, number: int) -> Array:
        """What is added to the accumulator, in steps of the output's grid above its zero."""
        bias = node.rescale.bias.astype(np.float64) / 2**node.rescale.shift
        rounding = 0.5 if node.rescale.shift else 0.0
        return np.broadcast_to(bias - rounding - self.graph.zeros[number], (self._depth(number),))

    def _depth(self, tensor: int) -> int:
        return (self.graph.nodes[tensor - 1].shape if tensor else self.graph.input)[2]

    def _times(self, name: str, factor: str, value: Array) -> str:
        """The product's name, or the tensor's own where the factor is one to within 0.1 %."""
        if np.abs(value - 1).max() < 1e-3:
            return name
        constant = self._constant(factor, value.astype(np.float32))
        self._append("Mul", [name, constant], f"{factor}_product")
        return f"{factor}_product"

    def _grid(self, number: int) -> tuple[str, str]:
        scale = np.array(self.graph.scales[number], np.float32)
        zero = np.array(round(self.graph.zeros[number]), np.uint8)
        return self._constant(f"scale{number}", scale), self._constant(f"zero{number}", zero)

    def _constant(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        if all(constant.name != name for constant in self.constants):
            self.constants.append(numpy_helper.from_array(value, name))
        return name

    def _append(self, operation: str, inputs: list[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(operation, inputs, [output], **attributes))
