"""Which kinds of layers a recorded network is made of, and whether they are what they seem."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod

from smidgen.anatomy.cost import is_batch_norm, is_linear
from smidgen.anatomy.sight import Sight
from smidgen.anatomy.trace import Op, Trace, Value

_AVERAGES = ("mean", "avg_pool2d", "_adaptive_avg_pool2d")
_DROPOUTS = ("native_dropout", "bernoulli", "rand", "rand_like", "uniform")
_RANDOM = (*_DROPOUTS, "randn", "randn_like", "normal", "rrelu_with_noise")
# A batch norm behind any of these still normalises the convolution before them.
_POOLS = ("max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d")
_PASSING = (*_POOLS, "cat", "write", "native_dropout")


@dataclass(frozen=True)
class GlobalPool:
    """An average pool that leaves one position of a map, and how much of the map it reads."""

    name: str
    map_shape: tuple[int, int]
    read: tuple[int, int]

    @property
    def is_global(self) -> bool:
        return self.read == self.map_shape


@dataclass(frozen=True)
class Structure:
    """Layer names by kind, found in what was executed."""

    convolutions: tuple[str, ...]
    without_batch_norm: tuple[str, ...]  # convolutions that no batch norm follows
    dropouts: tuple[str, ...]  # modules that draw a mask in train mode
    random_in_eval: tuple[str, ...]  # modules that draw random numbers in eval mode, too
    residuals: tuple[str, ...]  # sums of two branches
    linears: tuple[str, ...]
    pool: GlobalPool | None


def examine(
    evaluated: Trace, trained: Trace, seen: dict[Value, Sight], name_of: dict[Op, str]
) -> Structure:
    """The structure of a network from its records in eval and in train mode."""
    flowing = [op for op in evaluated.ops if op.flows]
    convolutions = [op for op in flowing if op.name == "convolution"]
    bare = [op for op in convolutions if not _reaches_batch_norm(op, flowing)]
    return Structure(
        convolutions=tuple(name_of[op] for op in convolutions),
        without_batch_norm=tuple(name_of[op] for op in bare),
        dropouts=tuple(_place(op) for op in trained.ops if op.name in _DROPOUTS),
        random_in_eval=tuple(_place(op) for op in evaluated.ops if op.name in _RANDOM),
        residuals=tuple(name_of[op] for op in flowing if _is_residual(op)),
        linears=tuple(name_of[op] for op in flowing if is_linear(op)),
        pool=_last_average(flowing, seen, name_of),
    )


def _place(op: Op) -> str:
    return op.call.path or "forward"


def _reaches_batch_norm(convolution: Op, flowing: list[Op]) -> bool:
    """Whether a batch norm follows, with nothing but activations, sums and pools between."""
    readers: dict[Value, list[Op]] = defaultdict(list)
    for op in flowing:
        for value in op.inputs:
            readers[value].append(op)
    waiting = list(convolution.outputs)
    while waiting:
        for op in readers[waiting.pop()]:
            if is_batch_norm(op):
                return True
            if op.pointwise or op.is_view or op.name in _PASSING:
                waiting.append(op.outputs[0])
    return False


def _is_residual(op: Op) -> bool:
    if op.name != "add":
        return False
    one, other = op.arguments["self"], op.arguments["other"]
    both = isinstance(one, Value) and isinstance(other, Value) and one.flows and other.flows
    return both and one is not other and one.shape == other.shape


def _last_average(
    flowing: list[Op], seen: dict[Value, Sight], name_of: dict[Op, str]
) -> GlobalPool | None:
    """The last average over a whole map; failing that, the last that leaves one position."""
    found = []
    for op in flowing:
        if op.name not in _AVERAGES:
            continue
        before = seen[op.inputs[0]].map_shape
        if prod(before) > 1 and seen[op.outputs[0]].map_shape == (1, 1):
            kernel = before
            if op.name == "avg_pool2d":
                sides = list(op.arguments["kernel_size"]) * 2
                kernel = (min(sides[0], before[0]), min(sides[1], before[1]))
            found.append(GlobalPool(name_of[op], before, kernel))
    return max(found, key=lambda pool: pool.is_global, default=None) if found else None
