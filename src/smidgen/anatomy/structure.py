"""Which kinds of layers a recorded network is made of, and whether they are what they seem."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod

from smidgen.anatomy.cost import ELEMENTWISE, is_linear
from smidgen.anatomy.layout import Layout
from smidgen.network import Operation, Record, Value
from smidgen.network.operations import (
    AdaptivePool,
    Add,
    BatchNorm,
    Concatenation,
    Convolution,
    Dropout,
    PartlyOverwritten,
    Pool,
    Random,
    Reduction,
)

# A batch norm behind any of these still normalises the convolution before them.
_PASSING = (*ELEMENTWISE, Pool, AdaptivePool, Concatenation, PartlyOverwritten)


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
    evaluated: Record, trained: Record, seen: dict[Value, Layout], name_of: dict[Operation, str]
) -> Structure:
    """The structure of a network from its records in eval and in train mode."""
    flowing = evaluated.flowing
    convolutions = [op for op in flowing if isinstance(op, Convolution)]
    bare = [op for op in convolutions if not _reaches_batch_norm(op, flowing)]
    return Structure(
        convolutions=tuple(name_of[op] for op in convolutions),
        without_batch_norm=tuple(name_of[op] for op in bare),
        dropouts=tuple(_place(op) for op in trained.operations if _draws_mask(op)),
        random_in_eval=tuple(
            _place(op) for op in evaluated.operations if _draws_mask(op) or isinstance(op, Random)
        ),
        residuals=tuple(name_of[op] for op in flowing if _is_residual(op)),
        linears=tuple(name_of[op] for op in flowing if is_linear(op)),
        pool=_last_average(flowing, seen, name_of),
    )


def _place(op: Operation) -> str:
    return op.call.path or "forward"


def _draws_mask(op: Operation) -> bool:
    """Whether it draws the mask of a dropout."""
    return (isinstance(op, Random) and op.is_mask) or (isinstance(op, Dropout) and op.mask is None)


def _reaches_batch_norm(convolution: Operation, flowing: list[Operation]) -> bool:
    """Whether a batch norm follows, with nothing but activations, sums and pools between."""
    readers: dict[Value, list[Operation]] = defaultdict(list)
    for op in flowing:
        for value in op.inputs:
            readers[value].append(op)
    waiting = list(convolution.outputs)
    while waiting:
        for op in readers[waiting.pop()]:
            if isinstance(op, BatchNorm):
                return True
            if op.is_view or isinstance(op, _PASSING):
                waiting.append(op.outputs[0])
    return False


def _is_residual(op: Operation) -> bool:
    if not isinstance(op, Add) or op.factor < 0:
        return False
    one, other = op.left, op.right
    return one.flows and other.flows and one is not other and one.shape == other.shape


def _last_average(
    flowing: list[Operation], seen: dict[Value, Layout], name_of: dict[Operation, str]
) -> GlobalPool | None:
    """The last average over a whole map; failing that, the last that leaves one position."""
    found = []
    for op in flowing:
        if not isinstance(op, Pool | AdaptivePool | Reduction) or not _is_average(op):
            continue
        before = seen[op.input].map_shape
        if prod(before) > 1 and seen[op.outputs[0]].map_shape == (1, 1):
            kernel = before
            if isinstance(op, Pool):
                kernel = (min(op.kernel[0], before[0]), min(op.kernel[1], before[1]))
            found.append(GlobalPool(name_of[op], before, kernel))
    return max(found, key=lambda pool: pool.is_global, default=None) if found else None


def _is_average(op: Pool | AdaptivePool | Reduction) -> bool:
    return op.name == "mean" if isinstance(op, Reduction) else op.kind == "average"
