"""What the units of one tensor see of the image, and the few ways in which that changes.

A `Sight` keeps a receptive field per image axis and, for each dimension of the tensor, which
axes its positions run along: rows and columns at first, both in one dimension after a flatten,
neither after a global pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import prod

from smidgen.anatomy.field import Field, union, window

Factor = tuple[int, int | None]  # how many positions, and along which image axis if any
Dim = tuple[Factor, ...]  # the outermost first; their product is the size of the dimension


@dataclass(frozen=True)
class Sight:
    fields: tuple[Field, Field]  # along rows and columns
    dims: tuple[Dim, ...]

    @property
    def map_shape(self) -> tuple[int, int]:
        """The positions along each image axis: (1, 1) after a global pool."""
        sizes = [1, 1]
        for count, axis in (factor for dim in self.dims for factor in dim):
            if axis is not None:
                sizes[axis] = count
        return sizes[0], sizes[1]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(length(dim) for dim in self.dims)


def of_images(shape: tuple[int, ...]) -> Sight:
    """Each pixel of images (N, C, H, W) sees itself."""
    batch, channels, height, width = shape
    return Sight((Field(), Field()), (free(batch), free(channels), ((height, 0),), ((width, 1),)))


def free(count: int) -> Dim:
    """A dimension that runs along no axis of the image."""
    return ((count, None),)


def length(dim: Dim) -> int:
    return prod(count for count, _ in dim)


def axes(dim: Dim) -> tuple[int, ...]:
    return tuple(axis for _, axis in dim if axis is not None)


def mix(sight: Sight, dims: Iterable[int] | None = None) -> Sight:
    """Every unit now sees what all positions of those dimensions saw (None: of every one)."""
    fields, layout = list(sight.fields), list(sight.dims)
    for dim in range(len(layout)) if dims is None else dims:
        for count, axis in layout[dim]:
            if axis is not None:
                fields[axis] = window(fields[axis], count, stride=count)
        layout[dim] = free(length(layout[dim]))
    return Sight((fields[0], fields[1]), tuple(layout))


def everything(sights: Sequence[Sight], shape: tuple[int, ...]) -> Sight:
    """Each unit of the result sees all that the operands see."""
    return Sight(_meet([mix(sight) for sight in sights]), tuple(free(count) for count in shape))


def join(sights: Sequence[Sight], shape: tuple[int, ...]) -> Sight:
    """Element by element, with broadcasting: each unit sees what its operands saw."""
    dims = []
    for place in range(-len(shape), 0):
        fitting = [
            sight.dims[place]
            for sight in sights
            if len(sight.dims) >= -place and length(sight.dims[place]) == shape[place]
        ]
        mapped = [dim for dim in fitting if axes(dim)]
        if len({axes(dim) for dim in mapped}) > 1:
            return everything(sights, shape)
        dims.append((mapped or fitting or [free(shape[place])])[0])
    return Sight(_meet(sights), tuple(dims))


def widen(sight: Sight, others: Sequence[Sight]) -> Sight:
    """The same units, which now see what the others see as well."""
    return replace(sight, fields=_meet([sight, *others]))


def along(sight: Sight, dim: int, change: Callable[[Field], Field], count: int) -> Sight:
    """The positions of one dimension replaced by `count` others, and their field changed."""
    match sight.dims[dim]:
        case ((_, int(axis)),):
            fields = list(sight.fields)
            fields[axis] = change(fields[axis])
            sight = replace(sight, fields=(fields[0], fields[1]))
            return with_dim(sight, dim, ((count, axis),))
        case _:
            return with_dim(mix(sight, [dim]), dim, free(count))


def with_dim(sight: Sight, dim: int, new: Dim) -> Sight:
    dims = list(sight.dims)
    dims[dim] = new
    return replace(sight, dims=tuple(dims))


def reshape(sight: Sight, shape: tuple[int, ...]) -> Sight:
    """The same numbers in another shape; positions keep their axis through merging and splitting.

    Split rows or columns go on as blocks: each position of the outer factor sees its block.
    """
    waiting = [factor for dim in sight.dims for factor in dim if factor[0] != 1][::-1]
    dims: list[Dim] = []
    for wanted in shape:
        taken: list[Factor] = []
        while waiting and length(tuple(taken)) < wanted:
            count, axis = waiting.pop()
            missing, rest = divmod(wanted, length(tuple(taken)))
            if rest:
                return everything([sight], shape)
            if count > missing and count % missing == 0:
                block = count // missing
                waiting.append((block, None))
                if axis is not None:
                    fields = list(sight.fields)
                    fields[axis] = window(fields[axis], block, stride=block)
                    sight = replace(sight, fields=(fields[0], fields[1]))
                count = missing
            taken.append((count, axis))
        if length(tuple(taken)) != wanted:
            return everything([sight], shape)
        dims.append(tuple(taken) or free(1))
    return replace(sight, dims=tuple(dims))


def _meet(sights: Sequence[Sight]) -> tuple[Field, Field]:
    """What any of them sees; where jumps differ, those that still have positions lead."""
    met = []
    for axis in (0, 1):
        leading = sorted(sights, key=lambda sight: sight.map_shape[axis] == 1)
        met.append(reduce(union, [sight.fields[axis] for sight in leading]))
    return met[0], met[1]
