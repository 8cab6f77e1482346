"""The vocabulary: every operation that a recorded network can hold, with its operands by name.

A `Value` stands for one state of one tensor; an operation reads values and makes others. What has
no class of its own is a `Pointwise`, if it works element by element, or an `Unknown`. A match over
`Operation` ends in `assert_never`, so that a type checker finds the reader that forgets one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import prod
from typing import Any

from torch import Tensor

Sizes = tuple[int, ...]  # one number for each dimension of the map: (rows, columns) of an image


@dataclass(frozen=True, eq=False)
class Value:
    """What one tensor holds between two operations.

    `name` is the parameter or buffer that it is; `state` are all those that it was computed from.
    `tensor` holds its numbers where they do not depend on the image.
    """

    shape: tuple[int, ...]
    memory: int  # values with the same number share their memory
    flows: bool  # whether it was computed from the images
    state: frozenset[str] = frozenset()
    name: str | None = None
    tensor: Tensor | None = field(default=None, repr=False)
    transposed: Value | None = None  # the matrix that this is the transpose of
    kept_share: float | None = None  # of a dropout's mask: the share of its elements that are not 0
    is_random: bool = False

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(eq=False)
class Call:
    """One call of one module."""

    path: str  # "" for the network itself
    kind: str
    builtin: bool  # one of torch's own layers, shown as one row whatever it executes
    start: int  # how many operations had run before it
    children: int = 0
    output: Value | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Executed:
    """What every operation has: its common name, the call that it ran in, and what it made."""

    name: str
    call: Call
    outputs: tuple[Value, ...]
    in_place: bool = False

    @cached_property
    def inputs(self) -> tuple[Value, ...]:
        """The values that it reads, in the order of the operands and as often."""
        own = (getattr(self, each.name) for each in fields(self) if each.name != "outputs")
        return tuple(value for item in own for value in _values(item))

    @property
    def flows(self) -> bool:
        return any(value.flows for value in self.outputs)

    @property
    def is_view(self) -> bool:
        """Whether it only looks at its input's memory in another shape."""
        shared = {value.memory for value in self.inputs if value.flows}
        return not self.in_place and bool(self.outputs) and self.outputs[0].memory in shared

    @property
    def matrices(self) -> tuple[Value, ...]:
        """The operands that it multiplies by as a whole: kernels and matrices of weights."""
        return ()

    @property
    def place(self) -> str:
        """Where it stands, as messages say it: the path of its module, or its own name."""
        return self.call.path or self.name


def _values(item: Any) -> Iterator[Value]:
    if isinstance(item, Value):
        yield item
    elif isinstance(item, tuple):
        for part in item:
            yield from _values(part)


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(Executed):
    """`weight` is (O, I / groups, *kernel); of a transposed one (I, O / groups, *kernel)."""

    input: Value
    weight: Value
    bias: Value | None
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    groups: int
    transposed: bool

    @property
    def matrices(self) -> tuple[Value, ...]:
        return (self.weight,)


@dataclass(frozen=True, eq=False, kw_only=True)
class Linear(Executed):
    """input (..., I) times the transpose of `weight` (O, I), which does not flow, plus `bias`."""

    input: Value
    weight: Value
    bias: Value | None

    @property
    def matrices(self) -> tuple[Value, ...]:
        return (self.weight,)


@dataclass(frozen=True, eq=False, kw_only=True)
class MatrixProduct(Executed):
    """Any other product of matrices or vectors, plus `added`."""

    left: Value
    right: Value
    added: Value | None

    @property
    def matrices(self) -> tuple[Value, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, eq=False, kw_only=True)
class Attention(Executed):
    """Scaled dot-product attention."""

    query: Value
    key: Value
    value: Value


@dataclass(frozen=True, eq=False, kw_only=True)
class Recurrent(Executed):
    """One layer of an LSTM, a GRU or a plain recurrence over a sequence (..., I)."""

    input: Value
    weights: tuple[Value, ...]  # the two matrices
    others: tuple[Value, ...]  # biases and states

    @property
    def matrices(self) -> tuple[Value, ...]:
        return self.weights


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchNorm(Executed):
    """Batch norm, by the batch's own statistics if `training`, by `mean` and `var` otherwise."""

    input: Value
    weight: Value | None
    bias: Value | None
    mean: Value | None
    var: Value | None
    training: bool
    momentum: float
    eps: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Normalisation(Executed):
    """Layer norm, group norm and their like, whose statistics are those of one image."""

    input: Value
    others: tuple[Value, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Activation(Executed):
    """A function of one number, applied to each; `settings` are its arguments by name."""

    input: Value
    others: tuple[Value, ...]  # tensors of one number among the settings
    settings: tuple[tuple[str, Any], ...]
    function: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False, kw_only=True)
class Add(Executed):
    """left + factor · right, with broadcasting."""

    left: Value
    right: Value
    factor: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Multiply(Executed):
    """left · right, with broadcasting."""

    left: Value
    right: Value


@dataclass(frozen=True, eq=False, kw_only=True)
class Pointwise(Executed):
    """Any other function of the elements in one place of its operands."""

    operands: tuple[Value, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Dropout(Executed):
    """Each element, or each map where the mask is smaller, becomes 0 with probability `p`."""

    input: Value
    mask: Value | None  # where it is an operation of its own
    p: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Random(Executed):
    """Random numbers, or a function of the operands with random numbers of its own."""

    operands: tuple[Value, ...]
    is_mask: bool  # of a kind that dropout is made of


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool(Executed):
    """The largest or the mean of each window, by `kind` ("max" or "average")."""

    kind: str
    input: Value
    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    ceil_mode: bool
    divisor: int | None


@dataclass(frozen=True, eq=False, kw_only=True)
class AdaptivePool(Executed):
    """The largest or the mean of each of `size` parts of a map."""

    kind: str
    input: Value
    size: Sizes


@dataclass(frozen=True, eq=False, kw_only=True)
class Reduction(Executed):
    """One number of all along `dims`: "mean", "sum", "amax" and so on, by `name`."""

    input: Value
    dims: tuple[int, ...]  # counted from 0
    keepdim: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class AlongDimensions(Executed):
    """A function of all the numbers along `dims` that keeps the shape: softmax, sort, flip."""

    input: Value
    dims: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Concatenation(Executed):
    """The operands one after the other along `dim`, or along a new one."""

    operands: tuple[Value, ...]
    dim: int
    is_new: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(Executed):
    """The same numbers in the same order, in the output's shape."""

    input: Value


@dataclass(frozen=True, eq=False, kw_only=True)
class Identity(Executed):
    """The same numbers: a copy, also over another tensor, an expansion of dimensions of one."""

    input: Value


@dataclass(frozen=True, eq=False, kw_only=True)
class Permutation(Executed):
    """The dimensions in the order `dims`."""

    input: Value
    dims: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice(Executed):
    """Every `step`-th position of `dim` from a start on; a split has a start for each output."""

    input: Value
    dim: int
    starts: tuple[int, ...]
    step: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Select(Executed):
    """One position of `dim`, which goes; an unbinding has an index for each output."""

    input: Value
    dim: int
    indices: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Executed):
    """Padding by `before` positions, for each dimension from the last one on."""

    input: Value
    before: Sizes


@dataclass(frozen=True, eq=False, kw_only=True)
class Upsample(Executed):
    """Interpolation over `taps` neighbours in rows and columns: 1, 2 or 4."""

    input: Value
    taps: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Unfold(Executed):
    """Every window of a map as a column."""

    input: Value
    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes


@dataclass(frozen=True, eq=False, kw_only=True)
class PixelShuffle(Executed):
    """Channels to pixels, `factor` × `factor` of them (`upwards`), or back."""

    input: Value
    upwards: bool
    factor: int


@dataclass(frozen=True, eq=False, kw_only=True)
class PartlyOverwritten(Executed):
    """A tensor that held `before`, after `source` was written to memory that both share."""

    before: Value
    source: Value


@dataclass(frozen=True, eq=False, kw_only=True)
class Unknown(Executed):
    """An operation that the vocabulary does not have."""

    operands: tuple[Value, ...]


Operation = (
    Convolution | Linear | MatrixProduct | Attention | Recurrent | BatchNorm | Normalisation
    | Activation | Add | Multiply | Pointwise | Dropout | Random
    | Pool | AdaptivePool | Reduction | AlongDimensions | Concatenation
    | Reshape | Identity | Permutation | Slice | Select | Pad | Upsample | Unfold | PixelShuffle
    | PartlyOverwritten | Unknown
)  # fmt: skip
