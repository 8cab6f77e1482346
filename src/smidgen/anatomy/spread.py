"""How receptive fields spread through the operations of a recorded forward pass.

One rule per kind of operation; what has no rule is taken to see everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

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
from smidgen.anatomy.trace import Op, Trace, Value

Seen = dict[Value, Sight]
Rule = Callable[[Op, int, Seen], Sight]  # of an operation's output number so and so


def sights(trace: Trace) -> Seen:
    """What each value that flows from the images (N, C, H, W) sees of them."""
    assert trace.images is not None
    seen = {trace.images: of_images(trace.images.shape)}
    for op in trace.ops:
        if op.flows:
            for place, output in enumerate(op.outputs):
                sight = _rule_for(op)(op, place, seen)
                # Side results, such as a normalisation's statistics, have shapes of their own.
                fits = sight.shape == output.shape
                seen[output] = sight if fits else everything(_flowing(op, seen), output.shape)
    return seen


def _rule_for(op: Op) -> Rule:
    if op.name in _RULES:
        return _RULES[op.name]
    if op.pointwise:
        return _elementwise
    return _reduction if {"dim", "keepdim"} <= op.arguments.keys() else _unknown


def _flowing(op: Op, seen: Seen) -> list[Sight]:
    return [seen[value] for value in op.inputs if value.flows]


def _operand(op: Op, name: str, seen: Seen) -> Sight | None:
    """What an operand sees, or None where it does not depend on the images."""
    value = op.arguments.get(name)
    return seen[value] if isinstance(value, Value) and value.flows else None


def _first(op: Op, seen: Seen) -> Sight:
    return _flowing(op, seen)[0]


def _dims(dim: Any, rank: int) -> list[int]:
    """A dim argument (none, one, several) as non-negative numbers; none means all."""
    given = [dim] if isinstance(dim, int) else list(dim or range(rank))
    return [d % rank for d in given]


def _each(argument: Any, count: int) -> list[int]:
    """An int[2] argument, which may come as one number or as a list of one."""
    numbers = [argument] if isinstance(argument, int) else list(argument)
    return numbers * count if len(numbers) == 1 else numbers


def _unknown(op: Op, place: int, seen: Seen) -> Sight:
    return everything(_flowing(op, seen), op.outputs[place].shape)


def _elementwise(op: Op, place: int, seen: Seen) -> Sight:
    return join(_flowing(op, seen), op.outputs[place].shape)


def _reduction(op: Op, place: int, seen: Seen) -> Sight:
    sight = _first(op, seen)
    rank = len(sight.dims)
    dims = _dims(op.arguments["dim"], rank)
    mixed = mix(sight, dims)
    kept = [
        free(1) if dim in dims else mixed.dims[dim]
        for dim in range(rank)
        if op.arguments["keepdim"] or dim not in dims
    ]
    return replace(mixed, dims=tuple(kept))


def _convolution(op: Op, place: int, seen: Seen) -> Sight:
    sight, output = _operand(op, "input", seen), op.outputs[0].shape
    if sight is None:
        return _unknown(op, place, seen)
    kernel = op.arguments["weight"].shape[2:]
    spread = transposed_window if op.arguments["transposed"] else window
    sight = with_dim(mix(sight, [1]), 1, free(output[1]))
    options = [_each(op.arguments[name], len(kernel)) for name in ("stride", "padding", "dilation")]
    for dim, setting in enumerate(zip(kernel, *options, strict=True), start=2):
        sight = along(sight, dim, partial(_apply, spread, setting), output[dim])
    dynamic = _operand(op, "weight", seen)
    return sight if dynamic is None else widen(sight, [mix(dynamic)])


def _apply(change: Callable[..., Field], setting: tuple[int, ...], field: Field) -> Field:
    return change(field, *setting)


def _pool(op: Op, place: int, seen: Seen) -> Sight:
    sight, output = _first(op, seen), op.outputs[0].shape
    count = 3 if "3d" in op.name else 2
    kernel = _each(op.arguments["kernel_size"], count)
    stride = _each(op.arguments["stride"] or kernel, count)
    padding = _each(op.arguments["padding"], count)
    dilation = _each(op.arguments.get("dilation", 1), count)
    settings = zip(kernel, stride, padding, dilation, strict=True)
    for dim, setting in enumerate(settings, start=len(output) - count):
        sight = along(sight, dim, partial(_apply, window, setting), output[dim])
    return sight


def _resize(taps: int | None) -> Rule:
    """Interpolation over so many neighbours, or an adaptive pool (None)."""

    def rule(op: Op, place: int, seen: Seen) -> Sight:
        sight, output = _first(op, seen), op.outputs[0].shape
        for dim in (len(output) - 2, len(output) - 1):
            before, after = length(sight.dims[dim]), output[dim]
            change: Callable[[Field], Field] = (
                partial(resized, before=before, after=after)
                if taps is None
                else partial(upsampled, before=before, after=after, taps=taps)
            )
            sight = along(sight, dim, change, after)
        return sight

    return rule


def _pad(op: Op, place: int, seen: Seen) -> Sight:
    sight, output = _first(op, seen), op.outputs[0].shape
    pad = op.arguments.get("pad") or op.arguments["padding"]
    for at, before in enumerate(pad[::2]):
        dim = len(output) - 1 - at
        sight = along(sight, dim, partial(_shift, -before, 1), output[dim])
    return sight


def _shift(first: int, step: int, field: Field) -> Field:
    """Unit o now stands where unit first + o · step stood."""
    return gather(field, lambda unit: [first + unit * step], advance=step)


def _slice(op: Op, place: int, seen: Seen) -> Sight:
    sight, dim = _first(op, seen), op.arguments["dim"] % len(op.outputs[0].shape)
    start, step = op.arguments["start"] or 0, op.arguments["step"]
    start = max(start + length(sight.dims[dim]) if start < 0 else start, 0)
    return _cut(sight, dim, start, step, op.outputs[0].shape[dim])


def _cut(sight: Sight, dim: int, start: int, step: int, count: int) -> Sight:
    return along(sight, dim, partial(_shift, start, step), count)


def _select(op: Op, place: int, seen: Seen) -> Sight:
    sight = _first(op, seen)
    dim = op.arguments["dim"] % len(sight.dims)
    index = op.arguments["index"] if op.name == "select" else place
    sight = _cut(sight, dim, index % length(sight.dims[dim]), 1, 1)
    return replace(sight, dims=sight.dims[:dim] + sight.dims[dim + 1 :])


def _split(op: Op, place: int, seen: Seen) -> Sight:
    dim = op.arguments["dim"] % len(op.outputs[0].shape)
    start = sum(output.shape[dim] for output in op.outputs[:place])
    return _cut(_first(op, seen), dim, start, 1, op.outputs[place].shape[dim])


def _concatenation(op: Op, place: int, seen: Seen) -> Sight:
    parts, output = _flowing(op, seen), op.outputs[0].shape
    dim = op.arguments["dim"] % len(output)
    if op.name == "stack":
        parts = [replace(s, dims=(*s.dims[:dim], free(1), *s.dims[dim:])) for s in parts]
    parts = [with_dim(mix(sight, [dim]), dim, free(output[dim])) for sight in parts]
    return join(parts, output)


def _permutation(op: Op, place: int, seen: Seen) -> Sight:
    sight = _first(op, seen)
    rank = len(sight.dims)
    order = list(range(rank))
    match op.name:
        case "permute":
            order = _dims(op.arguments["dims"], rank)
        case "t":
            order.reverse()
        case _:
            a, b = op.arguments["dim0"] % rank, op.arguments["dim1"] % rank
            order[a], order[b] = order[b], order[a]
    return replace(sight, dims=tuple(sight.dims[dim] for dim in order))


def _view(op: Op, place: int, seen: Seen) -> Sight:
    return reshape(_first(op, seen), op.outputs[0].shape)


def _product(left: str, right: str, added: str = "") -> Rule:
    """A matrix product of the last two dimensions, plus what is added to it."""

    def rule(op: Op, place: int, seen: Seen) -> Sight:
        a, b = _operand(op, left, seen), _operand(op, right, seen)
        output = op.outputs[0].shape
        if a is not None and b is None and len(a.dims) == len(output):
            product = with_dim(mix(a, [-1]), -1, free(output[-1]))
        elif b is not None and a is None and len(b.dims) == len(output) >= 2:
            product = with_dim(mix(b, [-2]), -2, free(output[-2]))
        else:
            return _unknown(op, place, seen)
        bias = _operand(op, added, seen)
        return product if bias is None else join([product, bias], output)

    return rule


def _same(op: Op, place: int, seen: Seen) -> Sight:
    """A normalisation: its statistics rescale a unit, and are not counted as what it sees."""
    return _first(op, seen)


def _mixing(op: Op, place: int, seen: Seen) -> Sight:
    """The shape stays, and the positions along `dim` are mixed."""
    sight = _first(op, seen)
    return mix(sight, _dims(op.arguments["dim"], len(sight.dims)))


def _unfold(op: Op, place: int, seen: Seen) -> Sight:
    sight, output = _first(op, seen), op.outputs[0].shape
    options = [_each(op.arguments[n], 2) for n in ("kernel_size", "stride", "padding", "dilation")]
    for dim, (size, stride, padding, dilation) in enumerate(zip(*options, strict=True), start=2):
        count = (length(sight.dims[dim]) + 2 * padding - dilation * (size - 1) - 1) // stride + 1
        setting = (size, stride, padding, dilation)
        sight = along(sight, dim, partial(_apply, window, setting), count)
    return replace(sight, dims=(sight.dims[0], free(output[1]), sight.dims[2] + sight.dims[3]))


def _shuffle(op: Op, place: int, seen: Seen) -> Sight:
    """Channels to pixels, r × r of them, and back."""
    sight, output = _first(op, seen), op.outputs[0].shape
    sight = with_dim(sight, -3, free(output[-3]))
    for dim in (len(output) - 2, len(output) - 1):
        if op.name == "pixel_shuffle":
            before = length(sight.dims[dim])
            change = partial(upsampled, before=before, after=output[dim], taps=1)
            sight = along(sight, dim, change, output[dim])
        else:
            factor = op.arguments["downscale_factor"]
            sight = along(sight, dim, partial(_apply, window, (factor, factor)), output[dim])
    return sight


def _copy(op: Op, place: int, seen: Seen) -> Sight:
    """What is copied over a tensor takes the place of what was there."""
    source = _operand(op, "src", seen) or _first(op, seen)
    return join([source], op.outputs[0].shape)


def _write(op: Op, place: int, seen: Seen) -> Sight:
    """A tensor after a part of its memory was written through another one: the wider of both."""
    source, output = seen[op.arguments["source"]], op.outputs[0].shape
    before = _operand(op, "self", seen)
    if before is not None:
        wider = max(before, source, key=lambda sight: [field.size for field in sight.fields])
        return replace(before, fields=wider.fields)
    if len(source.dims) != len(output):
        return everything([source], output)
    sizes = zip(source.dims, output, strict=True)
    dims = [((size, dim[0][1]),) if len(dim) == 1 else free(size) for dim, size in sizes]
    return replace(source, dims=tuple(dims))


def _table(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


_RULES: dict[str, Rule] = (
    _table("convolution", _convolution)
    | _table("max_pool2d_with_indices max_pool3d_with_indices avg_pool2d avg_pool3d", _pool)
    | _table("_adaptive_avg_pool2d adaptive_max_pool2d", _resize(None))
    | _table("upsample_nearest2d _upsample_nearest_exact2d", _resize(1))
    | _table("upsample_bilinear2d", _resize(2))
    | _table("upsample_bicubic2d", _resize(4))
    | _table("constant_pad_nd reflection_pad2d replication_pad2d", _pad)
    | _table("slice", _slice)
    | _table("select unbind", _select)
    | _table("split split_with_sizes unsafe_split", _split)
    | _table("cat stack", _concatenation)
    | _table("permute transpose t", _permutation)
    | _table("view _unsafe_view _reshape_alias unsqueeze squeeze", _view)
    | _table("mm bmm", _product("self", "mat2"))
    | _table("addmm", _product("mat1", "mat2", "self"))
    | _table("baddbmm", _product("batch1", "batch2", "self"))
    | _table("mv", _product("self", "vec"))
    | _table("_softmax _log_softmax cumsum sort flip", _mixing)
    | _table("native_layer_norm native_group_norm native_batch_norm", _same)
    | _table("im2col", _unfold)
    | _table("pixel_shuffle pixel_unshuffle", _shuffle)
    | _table("channel_shuffle hardswish _prelu_kernel log_sigmoid_forward", _elementwise)
    | _table("rrelu_with_noise native_dropout bernoulli _to_copy", _elementwise)
    | _table("expand alias fill zero", _elementwise)
    | _table("copy", _copy)
    | _table("write", _write)
)
