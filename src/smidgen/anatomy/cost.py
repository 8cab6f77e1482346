"""What a recorded forward pass costs: multiply–accumulates, numbers to store, memory to run in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod

from smidgen.anatomy.trace import Op, Trace, Value

_ATTENTION = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention",
)
_BATCH_NORM = ("native_batch_norm", "cudnn_batch_norm")
# The two operands of a matrix product, by the operation's name.
_PRODUCTS: dict[str, tuple[str, ...]] = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "addmm": ("mat1", "mat2"),
    "baddbmm": ("batch1", "batch2"),
    "mv": ("self", "vec"),
    "addmv": ("mat", "vec"),
    "dot": ("self", "tensor"),
}


def is_batch_norm(op: Op) -> bool:
    return op.name in _BATCH_NORM


def is_linear(op: Op) -> bool:
    """Whether it multiplies by a matrix that does not depend on the image."""
    return op.name in _PRODUCTS and any(not op.arguments[name].flows for name in _PRODUCTS[op.name])


def macs(op: Op) -> int:
    """The multiply–accumulates of a convolution or a matrix product; 0 for everything else.

    As torch.utils.flop_counter counts them, which is two FLOPs for each.
    """
    arguments = op.arguments
    if op.name == "convolution":
        weight, images = arguments["weight"], arguments["input"]
        places = images if arguments["transposed"] else op.outputs[0]
        return int(places.size * prod(weight.shape[1:]))
    if op.name in _PRODUCTS:
        left, right = (arguments[name] for name in _PRODUCTS[op.name])
        return int(left.size * (right.shape[-1] if len(right.shape) > 1 else 1))
    if op.name in _ATTENTION:
        query, key, value = (arguments[name] for name in ("query", "key", "value"))
        return int(
            query.size * key.shape[-2]
            + query.size // query.shape[-1] * value.size // prod(value.shape[:-2])
        )
    if op.name == "mkldnn_rnn_layer":
        steps = prod(arguments["input"].shape[:-1])
        return int(steps * (arguments["weight0"].size + arguments["weight1"].size))
    return 0


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


def stored(trace: Trace) -> Stored:
    """What must be kept to run the network.

    A batch norm that alone reads the output of a convolution or a linear layer folds into it,
    which needs a bias then. Any other keeps a scale and a shift per channel; so do several that
    follow different calls of one shared layer.
    """
    flowing = [op for op in trace.ops if op.flows]
    norms: dict[frozenset[str], list[Op]] = defaultdict(list)
    weights: set[str] = set()
    kept: set[str] = set()
    for op in flowing:
        if is_batch_norm(op) and not op.arguments["training"]:
            norms[_state(op)].append(op)
        else:
            kept |= _state(op)
            weights |= {name for value in _matrices(op) for name in value.state}
    sizes = trace.parameters | trace.buffers
    heavy = sum(sizes.get(name, 0) for name in weights)
    light = sum(sizes.get(name, 0) for name in kept - weights)
    uses = _uses(flowing)
    for calls in norms.values():
        light += _left_by_norm(calls, flowing, uses)
    return Stored(heavy, light)


def _left_by_norm(calls: list[Op], flowing: list[Op], uses: dict[Value, list[Op]]) -> int:
    """The numbers that one batch norm, called so often, leaves after folding."""
    channels = int(calls[0].arguments["input"].shape[1])
    producers = {_folds_into(op, flowing, uses) for op in calls}
    layers = {_state(op) for op in producers if op is not None}
    elsewhere = {_state(op) for op in flowing if macs(op) and op not in producers}
    if None in producers or layers & elsewhere:
        return 2 * channels
    without_bias = {_state(op) for op in producers if op is not None and not _has_bias(op)}
    return channels * len(without_bias)


def _folds_into(norm: Op, flowing: list[Op], uses: dict[Value, list[Op]]) -> Op | None:
    """The layer whose output this batch norm alone reads, if there is one."""
    value, makers = norm.arguments["input"], {v: op for op in flowing for v in op.outputs}
    while len(uses[value]) == 1 and (maker := makers.get(value)) is not None:
        if _matrices(maker):
            return maker
        if not maker.is_view:
            return None
        value = next(v for v in maker.inputs if v.flows)
    return None


def _uses(flowing: list[Op]) -> dict[Value, list[Op]]:
    uses: dict[Value, list[Op]] = defaultdict(list)
    for op in flowing:
        for value in set(op.inputs):
            uses[value].append(op)
    return uses


def _state(op: Op) -> frozenset[str]:
    """The parameters and buffers that an operation reads."""
    return frozenset(name for value in op.inputs for name in value.state)


def _matrices(op: Op) -> list[Value]:
    """The weights that a convolution or a matrix product multiplies by."""
    weights = {"convolution": ("weight",), "mkldnn_rnn_layer": ("weight0", "weight1")}
    operands = [op.arguments[name] for name in (weights | _PRODUCTS).get(op.name, ())]
    return [value for value in operands if not value.flows]


def _has_bias(layer: Op) -> bool:
    return layer.name == "addmm" or layer.arguments.get("bias") is not None


def peak_activations(trace: Trace) -> int:
    """The most activation numbers held at once while one image goes through, the image included.

    A tensor is held from the operation that makes it to the last one that reads it. Views take
    no memory. An element-wise operation, and a batch norm in eval mode, writes over its input if
    nothing else reads that later, as every inference engine lets it.
    """
    assert trace.images is not None
    assert trace.output is not None
    flowing = [op for op in trace.ops if op.flows]
    last = _last_reads(trace, flowing)
    size = {trace.images.memory: trace.images.size}
    place = {trace.images.memory: trace.images.memory}  # several memories may be one place
    end = {trace.images.memory: last.get(trace.images.memory, 0)}
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


def _last_reads(trace: Trace, flowing: list[Op]) -> dict[int, int]:
    """When each piece of memory is read for the last time; the output is read after the end."""
    last = {v.memory: now for now, op in enumerate(flowing) for v in op.inputs if v.flows}
    assert trace.output is not None
    last[trace.output.memory] = len(flowing)
    return last


def _overwritten(
    op: Op, output: Value, place: dict[int, int], end: dict[int, int], now: int
) -> int | None:
    """The place of an input that this operation may write over, if there is one."""
    if not op.pointwise and not (is_batch_norm(op) and not op.arguments["training"]):
        return None
    for value in op.inputs:
        if value.flows and value.shape == output.shape and end[place[value.memory]] == now:
            return place[value.memory]
    return None
