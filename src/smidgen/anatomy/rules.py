"""How receptive fields spread through the operations of a recorded forward pass.

One rule per kind of operation; what has no rule is taken to see everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import assert_never

from smidgen.anatomy.field import Field, gather, resized, transposed_window, upsampled, window
from smidgen.anatomy.layout import (
    Layout,
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

Layouts = dict[Value, Layout]
Shape = tuple[int, ...]


def layouts(record: Record) -> Layouts:
    """What each value that flows from the images (N, C, H, W) sees of them."""
    assert record.images is not None
    seen = {record.images: of_images(record.images.shape)}
    for op in record.flowing:
        for place, output in enumerate(op.outputs):
            layout = _rule(op, place, seen)
            # Side results, such as a normalisation's statistics, have shapes of their own.
            fits = layout.shape == output.shape
            seen[output] = layout if fits else everything(_flowing(op, seen), output.shape)
    return seen


def _flowing(op: Operation, seen: Layouts) -> list[Layout]:
    return [seen[value] for value in op.inputs if value.flows]


def _rule(op: Operation, place: int, seen: Layouts) -> Layout:
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
        case ops.Activation() | ops.Add() | ops.Multiply() | ops.Pointwise():
            return join(_flowing(op, seen), output)
        case ops.Dropout() | ops.Random() | ops.Identity():
            return join(_flowing(op, seen), output)
        case ops.Pool():
            return _windows(first, _sizes(op), output)
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
        case ops.Reshape() | ops.Permutation() | ops.Slice() | ops.Select() | ops.Pad():
            return _moved(op, place, first)
        case ops.Unfold():
            return _unfold(op, first, output)
        case ops.PixelShuffle():
            return _shuffle(op, first, output)
        case ops.PartlyOverwritten():
            return _partly_overwritten(op, seen, output)
        case ops.Attention() | ops.Recurrent() | ops.Unknown():
            return everything(_flowing(op, seen), output)
        case _:
            assert_never(op)


def _moved(
    op: ops.Reshape | ops.Permutation | ops.Slice | ops.Select | ops.Pad, place: int, layout: Layout
) -> Layout:
    """After what moves or leaves out units and changes none."""
    output = op.outputs[place].shape
    match op:
        case ops.Reshape():
            return reshape(layout, output)
        case ops.Permutation():
            return replace(layout, dims=tuple(layout.dims[dim] for dim in op.dims))
        case ops.Slice():
            return _cut(layout, op.dim, op.starts[place], op.step, output[op.dim])
        case ops.Select():
            layout = _cut(layout, op.dim, op.indices[place], 1, 1)
            return replace(layout, dims=layout.dims[: op.dim] + layout.dims[op.dim + 1 :])
        case ops.Pad():
            return _pad(layout, op.before, output)
        case _:
            assert_never(op)


def _convolution(op: ops.Convolution, seen: Layouts) -> Layout:
    output = op.outputs[0].shape
    if not op.input.flows:
        return everything([seen[op.weight]], output)
    spread = transposed_window if op.transposed else window
    layout = with_dim(mix(seen[op.input], [1]), 1, free(output[1]))
    settings = zip(op.weight.shape[2:], op.stride, op.padding, op.dilation, strict=True)
    layout = _windows(layout, list(settings), output, spread)
    return widen(layout, [mix(seen[op.weight])]) if op.weight.flows else layout


def _sizes(op: ops.Pool | ops.Unfold) -> list[Shape]:
    """Kernel, stride, padding and dilation along each dimension."""
    return list(zip(op.kernel, op.stride, op.padding, op.dilation, strict=True))


def _windows(
    layout: Layout, settings: list[Shape], output: Shape, spread: Callable[..., Field] = window
) -> Layout:
    """Windows of (kernel, stride, padding, dilation) along each of the last dimensions."""
    for dim, setting in enumerate(settings, start=len(output) - len(settings)):
        layout = along(layout, dim, partial(_apply, spread, setting), output[dim])
    return layout


def _apply(change: Callable[..., Field], setting: Shape, field: Field) -> Field:
    return change(field, *setting)


def _resized(layout: Layout, output: Shape, count: int, resize: Callable[..., Field]) -> Layout:
    for dim in range(len(output) - count, len(output)):
        before, after = length(layout.dims[dim]), output[dim]
        layout = along(layout, dim, partial(resize, before=before, after=after), after)
    return layout


def _product(op: ops.MatrixProduct, seen: Layouts) -> Layout:
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


def _reduction(op: ops.Reduction, layout: Layout) -> Layout:
    mixed = mix(layout, op.dims)
    kept = [
        free(1) if dim in op.dims else mixed.dims[dim]
        for dim in range(len(layout.dims))
        if op.keepdim or dim not in op.dims
    ]
    return replace(mixed, dims=tuple(kept))


def _concatenation(op: ops.Concatenation, seen: Layouts) -> Layout:
    parts, output, dim = _flowing(op, seen), op.outputs[0].shape, op.dim
    if op.is_new:
        parts = [replace(s, dims=(*s.dims[:dim], free(1), *s.dims[dim:])) for s in parts]
    parts = [with_dim(mix(layout, [dim]), dim, free(output[dim])) for layout in parts]
    return join(parts, output)


def _pad(layout: Layout, before: Shape, output: Shape) -> Layout:
    for at, count in enumerate(before):
        layout = _cut(layout, len(output) - 1 - at, -count, 1, output[-1 - at])
    return layout


def _cut(layout: Layout, dim: int, start: int, step: int, count: int) -> Layout:
    """Unit o of a dimension now stands where unit start + o · step stood."""

    def shift(field: Field) -> Field:
        return gather(field, lambda unit: [start + unit * step], advance=step)

    return along(layout, dim, shift, count)


def _unfold(op: ops.Unfold, layout: Layout, output: Shape) -> Layout:
    for dim, (size, stride, padding, dilation) in enumerate(_sizes(op), start=2):
        count = (length(layout.dims[dim]) + 2 * padding - dilation * (size - 1) - 1) // stride + 1
        setting = (size, stride, padding, dilation)
        layout = along(layout, dim, partial(_apply, window, setting), count)
    return replace(layout, dims=(layout.dims[0], free(output[1]), layout.dims[2] + layout.dims[3]))


def _shuffle(op: ops.PixelShuffle, layout: Layout, output: Shape) -> Layout:
    """Channels to pixels, and back."""
    layout = with_dim(layout, -3, free(output[-3]))
    if op.upwards:
        return _resized(layout, output, 2, partial(upsampled, taps=1))
    return _windows(layout, [(op.factor, op.factor)] * 2, output)


def _partly_overwritten(op: ops.PartlyOverwritten, seen: Layouts, output: Shape) -> Layout:
    """A tensor after a part of its memory was written through another one: the wider of both."""
    source = seen[op.source]
    if op.before.flows:
        before = seen[op.before]
        wider = max(before, source, key=lambda layout: [field.size for field in layout.fields])
        return replace(before, fields=wider.fields)
    if len(source.dims) != len(output):
        return everything([source], output)
    sizes = zip(source.dims, output, strict=True)
    dims = [((size, dim[0][1]),) if len(dim) == 1 else free(size) for dim, size in sizes]
    return replace(source, dims=tuple(dims))
