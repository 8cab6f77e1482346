"""What a recorded forward pass costs: multiply–accumulates, numbers to store, memory to run in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod
from typing import assert_never

from smidgen.network import Operation, Record, Value
from smidgen.network import operations as ops

# What works element by element, and may write over what it reads.
ELEMENTWISE = (ops.Activation, ops.Add, ops.Multiply, ops.Pointwise, ops.Dropout)


def is_linear(op: Operation) -> bool:
    """Whether it multiplies by a matrix that does not depend on the image."""
    is_product = isinstance(op, ops.MatrixProduct) and not (op.left.flows and op.right.flows)
    return is_product or isinstance(op, ops.Linear)


def macs(op: Operation) -> int:
    """The multiply–accumulates of a convolution or a matrix product; 0 for everything else.

    As torch.utils.flop_counter counts them, which is two FLOPs for each.
    """
    match op:
        case ops.Convolution():
            places = op.input if op.transposed else op.outputs[0]
            return places.size * prod(op.weight.shape[1:])
        case ops.Linear():
            return op.input.size * op.weight.shape[0]
        case ops.MatrixProduct():
            return op.left.size * (op.right.shape[-1] if len(op.right.shape) > 1 else 1)
        case ops.Attention(query=query, key=key, value=value):
            scores = query.size * key.shape[-2]
            return scores + query.size // query.shape[-1] * value.size // prod(value.shape[:-2])
        case ops.Recurrent():
            return prod(op.input.shape[:-1]) * sum(weight.size for weight in op.weights)
        case (
            ops.BatchNorm() | ops.Normalisation() | ops.Activation() | ops.Add() | ops.Multiply()
            | ops.Pointwise() | ops.Dropout() | ops.Random() | ops.Pool()
            | ops.AdaptivePool() | ops.Reduction() | ops.AlongDimensions() | ops.Concatenation()
            | ops.Reshape() | ops.Identity() | ops.Permutation() | ops.Slice() | ops.Select()
            | ops.Pad() | ops.Upsample() | ops.Unfold() | ops.PixelShuffle()
            | ops.PartlyOverwritten() | ops.Unknown()
        ):  # fmt: skip
            return 0
        case _:
            assert_never(op)


@dataclass(frozen=True)
class Stored:
    """The numbers to keep once batch norm is folded: weights, and all the rest."""

    weights: int
    others: int  # biases, and scales and shifts that could not be folded

    @property
    def numbers(self) -> int:
        return self.weights + self.others

    @property
    def bytes_float32(self) -> int:
        return 4 * self.numbers

    @property
    def bytes_int8(self) -> int:
        """One byte a weight and four a bias, as integer engines keep them."""
        return self.weights + 4 * self.others


def stored(record: Record) -> Stored:
    """What must be kept to run the network.

    A batch norm that alone reads the output of a convolution or a linear layer folds into it,
    which needs a bias then. Any other keeps a scale and a shift per channel; so do several that
    follow different calls of one shared layer.
    """
    norms: dict[frozenset[str], list[ops.BatchNorm]] = defaultdict(list)
    weights: set[str] = set()
    kept: set[str] = set()
    for op in record.flowing:
        if isinstance(op, ops.BatchNorm) and not op.training:
            norms[_state(op)].append(op)
        else:
            kept |= _state(op)
            weights |= {name for value in _matrices(op) for name in value.state}
    sizes = record.parameters | record.buffers
    heavy = sum(sizes.get(name, 0) for name in weights)
    light = sum(sizes.get(name, 0) for name in kept - weights)
    uses = _uses(record.flowing)
    makers = {value: op for op in record.flowing for value in op.outputs}
    layers = {op: _state(op) for op in record.flowing if macs(op)}
    for calls in norms.values():
        light += _left_by_norm(calls, {_folds_into(op, makers, uses) for op in calls}, layers)
    return Stored(heavy, light)


def _left_by_norm(
    calls: list[ops.BatchNorm],
    producers: set[Operation | None],
    layers: dict[Operation, frozenset[str]],
) -> int:
    """The numbers that one batch norm, called so often, leaves after folding into `producers`.

    `layers` are all operations that multiply, and what they read.
    """
    channels = calls[0].input.shape[1]
    into = {_state(op) for op in producers if op is not None}
    elsewhere = {state for op, state in layers.items() if op not in producers}
    if None in producers or into & elsewhere:
        return 2 * channels
    without_bias = {_state(op) for op in producers if op is not None and not _has_bias(op)}
    return channels * len(without_bias)


def _folds_into(
    norm: ops.BatchNorm, makers: dict[Value, Operation], uses: dict[Value, list[Operation]]
) -> Operation | None:
    """The layer whose output this batch norm alone reads, if there is one."""
    value = norm.input
    while len(uses[value]) == 1 and (maker := makers.get(value)) is not None:
        if _matrices(maker):
            return maker
        if not maker.is_view:
            return None
        value = next(v for v in maker.inputs if v.flows)
    return None


def _uses(flowing: list[Operation]) -> dict[Value, list[Operation]]:
    uses: dict[Value, list[Operation]] = defaultdict(list)
    for op in flowing:
        for value in set(op.inputs):
            uses[value].append(op)
    return uses


def _state(op: Operation) -> frozenset[str]:
    """The parameters and buffers that an operation reads."""
    return frozenset(name for value in op.inputs for name in value.state)


def _matrices(op: Operation) -> list[Value]:
    """The weights that a convolution or a matrix product multiplies by."""
    return [value for value in op.matrices if not value.flows]


def _has_bias(layer: Operation) -> bool:
    bias = layer.added if isinstance(layer, ops.MatrixProduct) else getattr(layer, "bias", None)
    return bias is not None


def peak_activations(record: Record) -> int:
    """The most activation numbers held at once while one image goes through, the image included.

    A tensor is held from the operation that makes it to the last one that reads it. Views take
    no memory. An element-wise operation, and a batch norm in eval mode, writes over its input if
    nothing else reads that later, as every inference engine lets it.
    """
    assert record.images is not None
    flowing, image = record.flowing, record.images.memory
    last = _last_reads(record, flowing)
    size = {image: record.images.size}
    place = {image: image}  # several memories may be one place
    end = {image: last.get(image, 0)}
    peak = 0
    for now, op in enumerate(flowing):
        for at, output in enumerate(op.outputs):
            memory = output.memory
            if memory in place or (at > 0 and memory not in last):
                continue  # a view, a write in place, or a side result that nothing reads
            place[memory] = _overwritten(op, output, place, end, now) or memory
            size.setdefault(place[memory], output.size)
            end[place[memory]] = last.get(memory, now)
        peak = max(peak, sum(size[spot] for spot in size if end[spot] >= now))
        for spot in [spot for spot in size if end[spot] <= now]:
            del size[spot]
    return peak


def _last_reads(record: Record, flowing: list[Operation]) -> dict[int, int]:
    """When each piece of memory is read for the last time; the output is read after the end."""
    last = {v.memory: now for now, op in enumerate(flowing) for v in op.inputs if v.flows}
    assert record.output is not None
    last[record.output.memory] = len(flowing)
    return last


def _overwritten(
    op: Operation, output: Value, place: dict[int, int], end: dict[int, int], now: int
) -> int | None:
    """The place of an input that this operation may write over, if there is one."""
    is_folded = isinstance(op, ops.BatchNorm) and not op.training
    if not isinstance(op, ELEMENTWISE) and not is_folded:
        return None
    for value in op.inputs:
        if value.flows and value.shape == output.shape and end[place[value.memory]] == now:
            return place[value.memory]
    return None
