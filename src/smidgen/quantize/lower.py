"""A network's record as a list of float nodes that can be quantised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from smidgen.errors import ExportError, ModelError
from smidgen.inputs import InputShape
from smidgen.network import Operation, Record, Value, keeps_order, private_copy, read_network
from smidgen.network import operations as ops
from smidgen.quantize import float_graph as FG

SUPPORTED = (
    "convolutions, linear layers, batch norm, max and average pools, sums and products of two "
    "maps, concatenations, products with learned scalars, dropout, flattening, and functions of "
    "one number such as ReLU"
)
ENDINGS = ("softmax", "log_softmax")  # they leave the answer as it is; what is exported is logits


def lower(model: nn.Module, input_shape: InputShape) -> list[FG.Node]:
    """The nodes of a module in eval mode, simplified, the image first and the logits last.

    Raises ExportError for an operation that the integer graph cannot express, with its module's
    path, and for weights that are not finite or all zero.
    """
    try:
        record = read_network(model, input_shape, images=2)
    except ModelError as problem:
        raise ExportError(str(problem)) from problem
    if record.numbers_read:
        raise ExportError(f"{record.numbers_read[0]} reads numbers out of the image")
    lowering = _Lowering(record)
    for op in record.needed:
        lowering.add(op)
    example = torch.rand(2, *input_shape, generator=torch.Generator().manual_seed(0))
    lowered = _end_in_sums(FG.simplify(lowering.nodes), example)
    _check_equal(private_copy(model, input_shape).eval(), lowered, example)
    return lowered


@dataclass
class _Lowering:
    record: Record
    nodes: list[FG.Node] = field(default_factory=list)
    node_of: dict[Value, FG.Node] = field(default_factory=dict)
    sides: dict[FG.Node, tuple[int, ...]] = field(default_factory=dict)  # height and width

    def __post_init__(self) -> None:
        assert self.record.images is not None
        self._keep(FG.Image("image", []), self.record.images)

    def add(self, op: Operation) -> None:
        """Appends the operation's node, or lets its output be its input's node."""
        node = self._lowered(op)
        if node in self.sides:
            self.node_of[op.outputs[0]] = node
        else:
            self._keep(node, op.outputs[0])

    def _keep(self, node: FG.Node, value: Value) -> None:
        self.nodes.append(node)
        self.node_of[value] = node
        is_pointwise = isinstance(node, FG.Function | FG.Add | FG.Concat) and len(value.shape) == 2
        self.sides[node] = self.sides[node.inputs[0]] if is_pointwise else value.shape[2:] or (1, 1)

    def _lowered(self, op: Operation) -> FG.Node:
        """The node of an operation, in eval mode."""
        match op:
            case ops.Convolution():
                return self._convolution(op)
            case ops.Linear():
                return self._linear(op)
            case ops.BatchNorm():
                return self._batch_norm(op)
            case ops.Activation():
                return self._activation(op)
            case ops.Pool() | ops.AdaptivePool() | ops.Reduction():
                return self._pool(op)
            case ops.Add():
                return self._sum(op)
            case ops.Multiply():
                return self._product(op)
            case ops.Concatenation():
                if op.dim != 1 or op.is_new or len(op.operands[0].shape) != 4:
                    raise _unsupported(op, "along another dimension than the channels")
                return FG.Concat(op.place, [self._node(op, value) for value in op.operands])
            case ops.Reshape() | ops.Identity():
                if not keeps_order(op.input.shape, op.outputs[0].shape):
                    raise _unsupported(
                        op, f"from {op.input.shape[1:]} to {op.outputs[0].shape[1:]}"
                    )
                return self._node(op, op.input)
            case ops.AlongDimensions():
                if op.name not in ENDINGS or op.outputs[0] is not self.record.output:
                    raise _unsupported(op)
                return self._node(op, op.input)
            case (
                ops.MatrixProduct() | ops.Attention() | ops.Recurrent() | ops.Normalisation()
                | ops.Pointwise() | ops.Dropout() | ops.Random() | ops.Permutation() | ops.Slice()
                | ops.Select() | ops.Pad() | ops.Upsample() | ops.Unfold() | ops.PixelShuffle()
                | ops.PartlyOverwritten() | ops.Unknown()
            ):  # fmt: skip
                raise _unsupported(op)
            case _:
                assert_never(op)

    def _node(self, op: Operation, value: Value) -> FG.Node:
        """The node that makes an operand, which must depend on the image."""
        if value not in self.node_of:
            raise _unsupported(op, "with an operand that does not depend on the image")
        return self.node_of[value]

    def _convolution(self, op: ops.Convolution) -> FG.Node:
        if op.transposed or len(op.stride) != 2:
            raise _unsupported(op, "that is transposed or not of two dimensions")
        weight = _numbers(op.weight)
        if max(op.dilation) > 1:  # the same convolution with zeros between the taps
            sides = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], op.dilation, strict=True)]
            spread = weight.new_zeros(*weight.shape[:2], *sides)
            spread[:, :, :: op.dilation[0], :: op.dilation[1]] = weight
            weight = spread
        pairs = (op.stride[0], op.stride[1]), (op.padding[0], op.padding[1])
        return self._conv(op, op.input, weight, op.bias, *pairs, op.groups)

    def _linear(self, op: ops.Linear) -> FG.Node:
        """A convolution over the whole input, whose height and width the flattening has hidden."""
        sides = self.sides[self._node(op, op.input)]
        if len(op.input.shape) != 2:
            raise _unsupported(op, "with an input that is not (N, features)")
        weight = _numbers(op.weight)
        return self._conv(op, op.input, weight.reshape(len(weight), -1, *sides), op.bias)

    def _conv(
        self, op: Operation, source: Value, weight: Tensor, bias: Value | None, *options: Any
    ) -> FG.Conv:
        offset = torch.zeros(len(weight)) if bias is None else _numbers(bias)
        if not all(bool(t.isfinite().all()) for t in (weight, offset)):
            raise ExportError(
                f"{op.place}: the weights hold NaN or infinity; train the network again"
            )
        if not weight.any():
            raise ExportError(f"{op.place}: the weights are all zero; train the network first")
        inputs = [self._node(op, source)]
        return FG.Conv(op.place, inputs, weight, torch.ones(len(weight)), offset, *options)

    def _batch_norm(self, op: ops.BatchNorm) -> FG.Node:
        if op.training or op.mean is None or op.var is None:
            raise _unsupported(op, "with the batch's own statistics")
        gain = (_numbers(op.var) + op.eps).rsqrt()
        gain = gain * (1 if op.weight is None else _numbers(op.weight))
        offset = (0 if op.bias is None else _numbers(op.bias)) - _numbers(op.mean) * gain
        return FG.Concat(op.place, [self._node(op, op.input)], gain, offset)

    def _activation(self, op: ops.Activation) -> FG.Node:
        """A clamp where it is one; else any function of one number becomes a table."""
        source = [self._node(op, op.input)]
        match op.name, [value for _, value in op.settings]:
            case "relu", _:
                return FG.Concat(op.place, source, low=0)
            case "hardtanh", [low, high]:
                return FG.Concat(op.place, source, low=low, high=high)
        return FG.Function(op.place, source, op.function)

    def _pool(self, op: ops.Pool | ops.AdaptivePool | ops.Reduction) -> FG.Node:
        """A pool of whole windows, or of a map into equal parts."""
        sides = op.input.shape[2:]
        match op:
            case ops.Pool(kind=kind, kernel=kernel, stride=stride):
                if any(op.padding) or op.ceil_mode or max(op.dilation) > 1 or op.divisor:
                    raise _unsupported(op, "of windows that are padded, dilated or not whole")
            case ops.AdaptivePool(kind=kind, size=parts):
                if any(side % part for side, part in zip(sides, parts, strict=True)):
                    raise _unsupported(op, "into unequal parts")
                kernel = stride = tuple(s // p for s, p in zip(sides, parts, strict=True))
            case ops.Reduction(name=kind):
                if kind not in ("amax", "mean") or sorted(op.dims) != [2, 3] or len(sides) != 2:
                    raise _unsupported(op, f"over the dimensions {op.dims}")
                kernel = stride = sides
            case _:
                assert_never(op)
        if len(kernel) != 2:
            raise _unsupported(op, "of other than two dimensions")
        node = self._node(op, op.input)
        window = (kernel[0], kernel[1]), (stride[0], stride[1])
        if kind in ("max", "amax"):
            return FG.MaxPool(op.place, [node], *window)
        return FG.AveragePool(op.place, [node], *window)

    def _sum(self, op: ops.Add) -> FG.Node:
        """A sum of two maps, or of one and a constant per channel or for all."""
        if op.left.flows and op.right.flows:
            if op.left.shape != op.right.shape:
                raise _unsupported(op, "of maps of different shapes")
            inputs = [self._node(op, op.left), self._node(op, op.right)]
            if self.sides[inputs[0]] != self.sides[inputs[1]]:
                raise _unsupported(op, "of a flattened map and another")
            return FG.Add(op.place, inputs, [1.0, float(op.factor)])
        flowing, other = (op.left, op.right) if op.left.flows else (op.right, op.left)
        own, factor = (1, op.factor) if op.left.flows else (op.factor, 1)
        gain, offset = torch.full((1,), float(own)), _by_channel(op, other) * factor
        return FG.Concat(op.place, [self._node(op, flowing)], gain, offset)

    def _product(self, op: ops.Multiply) -> FG.Node:
        """A map times another, or times a constant per channel or for all."""
        if op.left.flows and op.right.flows:
            return self._product_of_maps(op, *sorted((op.left, op.right), key=lambda v: -v.size))
        flowing, other = (op.left, op.right) if op.left.flows else (op.right, op.left)
        gain = _by_channel(op, other)
        return FG.Concat(op.place, [self._node(op, flowing)], gain, torch.zeros(1))

    def _product_of_maps(self, op: Operation, large: Value, small: Value) -> FG.Node:
        """A map times another of its shape, or times one factor for each of its channels."""
        is_gate = small.shape[1:] == (large.shape[1], 1, 1)
        if op.outputs[0].shape != large.shape or not (is_gate or small.shape == large.shape):
            raise _unsupported(op, f"of shapes {large.shape[1:]} and {small.shape[1:]}")
        nodes = [self._node(op, large), self._node(op, small)]
        if not is_gate and self.sides[nodes[0]] != self.sides[nodes[1]]:
            raise _unsupported(op, "of a flattened map and another")
        return FG.Multiply(op.place, [self._on_a_grid(node) for node in nodes])

    def _on_a_grid(self, node: FG.Node) -> FG.Node:
        """The node; the image, whose zero is no whole number, on a grid of its own."""
        if not isinstance(node, FG.Image):
            return node
        copy = FG.Concat("image", [node])
        self.nodes.append(copy)
        self.sides[copy] = self.sides[node]
        return copy


def _unsupported(op: Operation, how: str = "") -> ExportError:
    name = " ".join(filter(None, [repr(op.name), how]))
    return ExportError(f"{op.place}: the integer graph has no {name}; it knows {SUPPORTED}")


def _numbers(value: Value) -> Tensor:
    """A constant's numbers."""
    if value.tensor is None:
        raise ExportError("weights that depend on the image cannot be exported")
    return value.tensor.float()


def _by_channel(op: Operation, value: Value) -> Tensor:
    """A constant for each channel (C,), or for all (1,)."""
    constant = _numbers(value)
    if constant.numel() != 1 and not (
        constant.dim() >= 3 and constant.numel() == constant.shape[-3]
    ):
        raise _unsupported(op, "with a constant that is not one for each channel")
    return constant.reshape(-1)


def _end_in_sums(nodes: list[FG.Node], images: Tensor) -> list[FG.Node]:
    """The nodes, ending in a convolution or an average of everything: only sums have 32 bits.

    Where they end in something else, a 1 × 1 convolution that changes nothing follows.
    """
    last = nodes[-1]
    if isinstance(last, FG.Conv):
        return nodes
    with torch.no_grad():
        outputs = FG.forward(nodes, images)
    if isinstance(last, FG.AveragePool) and last.kernel == outputs[last.inputs[0]].shape[2:]:
        return nodes
    channels = outputs[last].shape[1]
    same = torch.eye(channels).reshape(channels, channels, 1, 1)
    return [*nodes, FG.Conv("logits", [last], same, torch.ones(channels), torch.zeros(channels))]


def _check_equal(model: nn.Module, nodes: Sequence[FG.Node], images: Tensor) -> None:
    """Raises ExportError unless the nodes compute what the module does."""
    with torch.no_grad():
        expected = model(images).reshape(len(images), -1)
        try:
            made = FG.forward(nodes, images)[nodes[-1]].reshape(len(images), -1)
        except RuntimeError as problem:
            raise ExportError(f"the network's shapes cannot be exported: {problem}") from problem
    if made.shape != expected.shape:
        raise ExportError(f"the network returns {tuple(expected.shape)}; logits are (N, classes)")
    gap = (made - made.mean(1, keepdim=True)) - (expected - expected.mean(1, keepdim=True))
    if not gap.abs().max() <= 1e-3 * expected.abs().max().clamp(min=1):
        raise ExportError(
            f"traced, the network differs from the module by {gap.abs().max():.2g}; an operation "
            "in place on a tensor that is read again cannot be exported"
        )
