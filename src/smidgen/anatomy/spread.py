"""How receptive fields spread through the operations of a recorded forward pass.

One rule per kind of operation; what has no rule is taken to see everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import assert_never

from smidgen.anatomy.field import Field, gather, resized, transposed_window, upsampled, window
from smidgen.anatomy.sight import (
    Sight,
    along,
    everything,
    free,
    join,
    length,
    mix,
    of_images,
    reshape,
    widen,
    with_dim,
)
from smidgen.network import Operation, Record, Value
from smidgen.network import operations as ops

Seen = dict[Value, Sight]
Shape = tuple[int, ...]


def sights(record: Record) -> Seen:
    """What each value that flows from the images (N, C, H, W) sees of them."""
    assert record.images is not None
    seen = {record.images: of_images(record.images.shape)}
    for op in record.flowing:
        for place, output in enumerate(op.outputs):
            sight = _rule(op, place, seen)
            # Side results, such as a normalisation's statistics, have shapes of their own.
            fits = sight.shape == output.shape
            seen[output] = sight if fits else everything(_flowing(op, seen), output.shape)
    return seen


def _flowing(op: Operation, seen: Seen) -> list[Sight]:
    return [seen[value] for value in op.inputs if value.flows]


def _rule(op: Operation, place: int, seen: Seen) -> Sight:
    """What output number `place` of an operation sees."""
    first, output = _flowing(op, seen)[0], op.outputs[place].shape
    match op:
        case ops.Convolution():
            return _convolution(op, seen)
        case ops.Linear():
            return with_dim(mix(first, [-1]), -1, free(output[-1]))
        case ops.MatrixProduct():
            return _product(op, seen)
        case ops.BatchNorm() | ops.Normalisation():
            return first  # its statistics rescale a unit, and are not counted as what it sees
        case ops.Activation() | ops.Add() | ops.Multiply() | ops.Divide() | ops.Pointwise():
            return join(_flowing(op, seen), output)
        case ops.Dropout() | ops.Random() | ops.Identity():
            return join(_flowing(op, seen), output)
        case ops.Pool():
            settings = zip(op.kernel, op.stride, op.padding, op.dilation, strict=True)
            return _windows(first, list(settings), output)
        case ops.AdaptivePool():
            return _resized(first, output, len(op.size), resized)
        case ops.Upsample():
            return _resized(first, output, 2, partial(upsampled, taps=op.taps))
        case ops.Reduction():
            return _reduction(op, first)
        case ops.AlongDimensions():
            return mix(first, op.dims)
        case ops.Concatenation():
            return _concatenation(op, seen)
        case ops.Reshape():
            return reshape(first, output)
        case ops.Permutation():
            return replace(first, dims=tuple(first.dims[dim] for dim in op.dims))
        case ops.Slice():
            return _cut(first, op.dim, op.starts[place], op.step, output[op.dim])
        case ops.Select():
            sight = _cut(first, op.dim, op.indices[place], 1, 1)
            return replace(sight, dims=sight.dims[: op.dim] + sight.dims[op.dim + 1 :])
        case ops.Pad():
            return _pad(first, op.before, output)
        case ops.Unfold():
            return _unfold(op, first, output)
        case ops.PixelShuffle():
            return _shuffle(op, first, output)
        case ops.Overwrite():
            return join([seen[op.source] if op.source.flows else first], output)
        case ops.PartlyOverwritten():
            return _partly_overwritten(op, seen, output)
        case ops.Attention() | ops.Recurrent() | ops.Unknown():
            return everything(_flowing(op, seen), output)
        case _:
            assert_never(op)


def _convolution(op: ops.Convolution, seen: Seen) -> Sight:
    output = op.outputs[0].shape
    if not op.input.flows:
        return everything([seen[op.weight]], output)
    spread = transposed_window if op.transposed else window
    sight = with_dim(mix(seen[op.input], [1]), 1, free(output[1]))
    settings = zip(op.weight.shape[2:], op.stride, op.padding, op.dilation, strict=True)
    sight = _windows(sight, list(settings), output, spread)
    return widen(sight, [mix(seen[op.weight])]) if op.weight.flows else sight


def _windows(
    sight: Sight, settings: list[Shape], output: Shape, spread: Callable[..., Field] = window
) -> Sight:
    """Windows of (kernel, stride, padding, dilation) along each of the last dimensions."""
    for dim, setting in enumerate(settings, start=len(output) - len(settings)):
        sight = along(sight, dim, partial(_apply, spread, setting), output[dim])
    return sight


def _apply(change: Callable[..., Field], setting: Shape, field: Field) -> Field:
    return change(field, *setting)


def _resized(sight: Sight, output: Shape, count: int, resize: Callable[..., Field]) -> Sight:
    for dim in range(len(output) - count, len(output)):
        before, after = length(sight.dims[dim]), output[dim]
        sight = along(sight, dim, partial(resize, before=before, after=after), after)
    return sight


def _product(op: ops.MatrixProduct, seen: Seen) -> Sight:
    """A matrix product of the last two dimensions, plus what is added to it."""
    output = op.outputs[0].shape
    if not op.right.flows and op.left.flows and len(op.left.shape) == len(output):
        product = with_dim(mix(seen[op.left], [-1]), -1, free(output[-1]))
    elif not op.left.flows and op.right.flows and len(op.right.shape) == len(output) >= 2:
        product = with_dim(mix(seen[op.right], [-2]), -2, free(output[-2]))
    else:
        return everything(_flowing(op, seen), output)
    has_added = op.added is not None and op.added.flows
    return join([product, seen[op.added]], output) if has_added and op.added else product


def _reduction(op: ops.Reduction, sight: Sight) -> Sight:
    mixed = mix(sight, op.dims)
    kept = [
        free(1) if dim in op.dims else mixed.dims[dim]
        for dim in range(len(sight.dims))
        if op.keepdim or dim not in op.dims
    ]
    return replace(mixed, dims=tuple(kept))


def _concatenation(op: ops.Concatenation, seen: Seen) -> Sight:
    parts, output, dim = _flowing(op, seen), op.outputs[0].shape, op.dim
    if op.is_new:
        parts = [replace(s, dims=(*s.dims[:dim], free(1), *s.dims[dim:])) for s in parts]
    parts = [with_dim(mix(sight, [dim]), dim, free(output[dim])) for sight in parts]
    return join(parts, output)


def _pad(sight: Sight, before: Shape, output: Shape) -> Sight:
    for at, count in enumerate(before):
        sight = _cut(sight, len(output) - 1 - at, -count, 1, output[-1 - at])
    return sight


def _cut(sight: Sight, dim: int, start: int, step: int, count: int) -> Sight:
    """Unit o of a dimension now stands where unit start + o · step stood."""

    def shift(field: Field) -> Field:
        return gather(field, lambda unit: [start + unit * step], advance=step)

    return along(sight, dim, shift, count)


def _unfold(op: ops.Unfold, sight: Sight, output: Shape) -> Sight:
    options = zip(op.kernel, op.stride, op.padding, op.dilation, strict=True)
    for dim, (size, stride, padding, dilation) in enumerate(options, start=2):
        count = (length(sight.dims[dim]) + 2 * padding - dilation * (size - 1) - 1) // stride + 1
        setting = (size, stride, padding, dilation)
        sight = along(sight, dim, partial(_apply, window, setting), count)
    return replace(sight, dims=(sight.dims[0], free(output[1]), sight.dims[2] + sight.dims[3]))


def _shuffle(op: ops.PixelShuffle, sight: Sight, output: Shape) -> Sight:
    """Channels to pixels, and back."""
    sight = with_dim(sight, -3, free(output[-3]))
    if op.upwards:
        return _resized(sight, output, 2, partial(upsampled, taps=1))
    return _windows(sight, [(op.factor, op.factor)] * 2, output)


def _partly_overwritten(op: ops.PartlyOverwritten, seen: Seen, output: Shape) -> Sight:
    """A tensor after a part of its memory was written through another one: the wider of both."""
    source = seen[op.source]
    if op.before.flows:
        before = seen[op.before]
        wider = max(before, source, key=lambda sight: [field.size for field in sight.fields])
        return replace(before, fields=wider.fields)
    if len(source.dims) != len(output):
        return everything([source], output)
    sizes = zip(source.dims, output, strict=True)
    dims = [((size, dim[0][1]),) if len(dim) == 1 else free(size) for dim, size in sizes]
    return replace(source, dims=tuple(dims))
