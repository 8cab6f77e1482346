"""A network's record as instructions for the kernels, or the reason why there can be none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

from torch import Tensor, nn

from smidgen.errors import ModelError
from smidgen.inputs import InputShape
from smidgen.network import Operation, Record, Value, keeps_order, read_network
from smidgen.network import operations as ops
from smidgen.train.native.instructions import (
    ACTIVATION,
    ADD,
    AVERAGE_POOL,
    BATCH_NORM,
    CONCATENATION,
    CONVOLUTION,
    DROPOUT,
    LINEAR,
    MAX_POOL,
    MULTIPLY,
    FeatureMap,
    Instruction,
)
from smidgen.train.native.library import library
from smidgen.train.native.rewrites import accumulate, pad, share_gradients, with_relu, with_sum

POOLS = {"max": MAX_POOL, "average": AVERAGE_POOL}
KEEPS_SHAPE = (ACTIVATION, ADD, DROPOUT)


class UnsupportedError(Exception):
    """The kernels have no such operation."""


@dataclass
class Program:
    """What is computed for an image, in order; maps[0] is the image, the last output the logits.

    `gradients[i]` is the map whose memory holds the gradient of map i: its own, or that of a later
    map whose gradient nobody needs any more.
    """

    maps: list[FeatureMap]
    instructions: list[Instruction]
    gradients: list[int]


def compile_network(module: nn.Module, shape: InputShape) -> Program:
    """The module's program in train mode, for images of that shape; the module is left as it is.

    Raises UnsupportedError, with the path of the layer, for what the kernels do not know.
    """
    try:
        record = read_network(module, shape, images=2, training=True)
    except ModelError as problem:
        raise UnsupportedError(str(problem)) from problem
    if record.numbers_read:
        raise UnsupportedError(f"{record.numbers_read[0]} reads numbers out of the image")
    if not all(parameter.requires_grad for parameter in module.parameters()):
        raise UnsupportedError("some of its parameters are frozen")
    compiler = _Compiler(module, record)
    needed = record.needed
    for op in record.flowing:
        if op in needed:
            compiler.add(op)
        elif isinstance(op, ops.BatchNorm):
            raise _unsupported(op, "whose output nothing reads, though its statistics move")
    maps, instructions = compiler.maps, with_relu(with_sum(compiler.instructions))
    output = record.output
    if output not in compiler.maps_of or output.shape[1:] != (
        maps[compiler.maps_of[output]].channels,
    ):
        raise UnsupportedError("it does not end in logits (N, classes)")
    pad(maps, instructions)
    instructions = accumulate(instructions)
    return Program(maps, instructions, share_gradients(maps, instructions))


@dataclass
class _Compiler:
    module: nn.Module
    record: Record
    maps: list[FeatureMap] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    maps_of: dict[Value, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        buffers = ((name, b) for name, b in self.module.named_buffers() if b.is_floating_point())
        self.places = _places(self.module.named_parameters()) | _places(buffers)
        assert self.record.images is not None
        self._new_map(self.record.images)

    def add(self, op: Operation) -> None:
        """Appends the operation's instructions, or lets its output be its input's map."""
        match op:
            case ops.Convolution():
                self._convolution(op)
            case ops.Linear():
                self._linear(op)
            case ops.BatchNorm():
                self._batch_norm(op)
            case ops.Activation():
                self._activation(op)
            case ops.Pool():
                self._pool(op)
            case ops.Reduction(name="mean", input=source) if sorted(op.dims) == [2, 3]:
                self._windows(op, "average", source, source.shape[2:])
            case ops.Add():
                if op.factor != 1 or op.left.shape != op.right.shape:
                    raise _unsupported(op, "of different shapes, or with a factor")
                self._append(op, ADD, op.left, op.right)
            case ops.Multiply():
                self._append(op, MULTIPLY, op.left, op.right)
            case ops.Concatenation():
                self._concatenation(op)
            case ops.Dropout():
                if op.p >= 1 or (op.mask is not None and op.mask.shape != op.input.shape):
                    raise _unsupported(op, "of whole maps, or of everything")
                self._append(op, DROPOUT, op.input, p=op.p)
            case ops.Reshape() | ops.Identity():
                self._same(op)
            case (
                ops.MatrixProduct() | ops.Attention() | ops.Recurrent() | ops.Normalisation()
                | ops.Pointwise() | ops.Random()
                | ops.AdaptivePool() | ops.Reduction() | ops.AlongDimensions() | ops.Permutation()
                | ops.Slice() | ops.Select() | ops.Pad() | ops.Upsample() | ops.Unfold()
                | ops.PixelShuffle() | ops.PartlyOverwritten() | ops.Unknown()
            ):  # fmt: skip
                raise _unsupported(op)
            case _:
                assert_never(op)

    def _new_map(self, value: Value, shape: Sequence[int] | None = None) -> int:
        shape = value.shape[1:] if shape is None else shape
        if len(shape) not in (1, 3):
            raise UnsupportedError(f"a tensor of the shape {tuple(shape)}")
        self.maps.append(FeatureMap(*shape))
        self.maps_of[value] = len(self.maps) - 1
        return self.maps_of[value]

    def _append(self, op: Operation, operation: int, *sources: Value, **settings: Any) -> None:
        """Appends an instruction whose operands all depend on the image."""
        if any(source not in self.maps_of for source in sources):
            raise _unsupported(op, "with an operand that does not depend on the image")
        maps = [self.maps_of[source] for source in sources]
        shapes = {self.maps[map].shape for map in maps}
        shape = None
        if operation in KEEPS_SHAPE and len(shapes) == 1:
            (shape,) = shapes
        elif operation != LINEAR and any(self._is_flattened(source) for source in sources):
            raise _unsupported(op, "of a flattened map")
        output = self._new_map(op.outputs[0], shape)
        operands: dict[str, Any] = dict(zip(("source", "other"), maps, strict=False))
        self.instructions.append(Instruction(operation, output=output, **operands, **settings))

    def _is_flattened(self, value: Value) -> bool:
        """Whether a value has lost the height and width that its map has."""
        return math.prod(self.maps[self.maps_of[value]].shape[1:]) > 1 and len(value.shape) == 2

    def _convolution(self, op: ops.Convolution) -> None:
        if op.transposed or set(op.dilation) != {1} or len(op.stride) != 2:
            raise _unsupported(op, "that is transposed, dilated or not of two dimensions")
        height, width = op.weight.shape[2:]
        self._append(
            op, CONVOLUTION, op.input, **self._weights(op.weight, op.bias),
            kernel_height=height, kernel_width=width, groups=op.groups,
            stride_height=op.stride[0], stride_width=op.stride[1],
            pad_height=op.padding[0], pad_width=op.padding[1],
        )  # fmt: skip

    def _batch_norm(self, op: ops.BatchNorm) -> None:
        if not op.training or op.mean is None:
            raise _unsupported(op, "without statistics of the batch and running ones")
        places = self._weights(op.weight, op.bias) | {"statistics": self._place(op.mean)}
        self._append(op, BATCH_NORM, op.input, **places, eps=op.eps, momentum=op.momentum)

    def _activation(self, op: ops.Activation) -> None:
        built = library()
        assert built is not None
        numbers = [value for _, value in op.settings if isinstance(value, int | float)]
        code = built.smidgen_activation(op.name.encode(), len(op.settings))
        if code < 0 or len(numbers) < len(op.settings) or any(v.state for v in op.others):
            raise _unsupported(op)
        self._append(op, ACTIVATION, op.input, function=code)
        settings = tuple(map(float, numbers))
        slope = {"relu": 0.0, "leaky_relu": settings[0] if settings else 0.0}.get(op.name, -1.0)
        self.instructions[-1] = replace(self.instructions[-1], setting=settings, slope=slope)

    def _linear(self, op: ops.Linear) -> None:
        if len(op.input.shape) != 2:
            raise _unsupported(op, "with an input that is not (N, features)")
        self._append(op, LINEAR, op.input, **self._weights(op.weight, op.bias))

    def _pool(self, op: ops.Pool) -> None:
        is_plain = op.kernel == op.stride and not any(op.padding) and not op.ceil_mode
        if not is_plain or set(op.dilation) != {1} or op.divisor or len(op.kernel) != 2:
            raise _unsupported(op, "of windows that overlap, are padded or dilated")
        self._windows(op, op.kind, op.input, op.kernel)

    def _windows(self, op: Operation, kind: str, source: Value, kernel: Sequence[int]) -> None:
        self._append(op, POOLS[kind], source, kernel_height=kernel[0], kernel_width=kernel[1])

    def _concatenation(self, op: ops.Concatenation) -> None:
        """One instruction for each operand after the first."""
        if op.dim != 1 or op.is_new or len(op.operands[0].shape) != 4:
            raise _unsupported(op, "along another dimension than the channels")
        done, *others = op.operands
        for other in others:
            channels = done.shape[1] + other.shape[1]
            made = replace(op.outputs[0], shape=(done.shape[0], channels, *done.shape[2:]))
            last = other is others[-1] and channels == op.outputs[0].shape[1]
            self._append(op if last else replace(op, outputs=(made,)), CONCATENATION, done, other)
            done = op.outputs[0] if last else made

    def _same(self, op: ops.Reshape | ops.Identity) -> None:
        """The output is the input's map, where it keeps its order or is flattened."""
        if op.input not in self.maps_of:
            raise _unsupported(op)
        before, after = op.input.shape, op.outputs[0].shape
        if not keeps_order(before, after):
            raise _unsupported(op, f"from {before[1:]} to {after[1:]}")
        self.maps_of[op.outputs[0]] = self.maps_of[op.input]

    def _weights(self, weight: Value | None, bias: Value | None) -> dict[str, int]:
        return {"weight": self._place(weight), "bias": self._place(bias)}

    def _place(self, value: Value | None) -> int:
        """Where a parameter or a buffer lies among all; -1 for none."""
        if value is None:
            return -1
        if value.name not in self.places:
            raise UnsupportedError("a weight that is computed from others, or is no parameter")
        return self.places[value.name]


def _unsupported(op: Operation, how: str = "") -> UnsupportedError:
    return UnsupportedError(" ".join(filter(None, [f"{op.place}: {op.name}", how])))


def _places(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, int]:
    places, start = {}, 0
    for name, tensor in tensors:
        places[name] = start
        start += tensor.numel()
    return places
