"""What the units of one tensor see of the image, and the few ways in which that changes.

A `Layout` keeps a receptive field per image axis and, for each dimension of the tensor, which
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
class Layout:
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


def of_images(shape: tuple[int, ...]) -> Layout:
    """Each pixel of images (N, C, H, W) sees itself."""
    batch, channels, height, width = shape
    return Layout((Field(), Field()), (free(batch), free(channels), ((height, 0),), ((width, 1),)))


def free(count: int) -> Dim:
    """A dimension that runs along no axis of the image."""
    return ((count, None),)


def length(dim: Dim) -> int:
    return prod(count for count, _ in dim)


def axes(dim: Dim) -> tuple[int, ...]:
    return tuple(axis for _, axis in dim if axis is not None)


def mix(layout: Layout, dims: Iterable[int] | None = None) -> Layout:
    """Every unit now sees what all positions of those dimensions saw (None: of every one)."""
    fields, changed = list(layout.fields), list(layout.dims)
    for dim in range(len(changed)) if dims is None else dims:
        for count, axis in changed[dim]:
            if axis is not None:
                fields[axis] = window(fields[axis], count, stride=count)
        changed[dim] = free(length(changed[dim]))
    return Layout((fields[0], fields[1]), tuple(changed))


def everything(layouts: Sequence[Layout], shape: tuple[int, ...]) -> Layout:
    """Each unit of the result sees all that the operands see."""
    return Layout(_meet([mix(layout) for layout in layouts]), tuple(free(count) for count in shape))


def join(layouts: Sequence[Layout], shape: tuple[int, ...]) -> Layout:
    """Element by element, with broadcasting: each unit sees what its operands saw."""
    dims = []
    for place in range(-len(shape), 0):
        fitting = [
            layout.dims[place]
            for layout in layouts
            if len(layout.dims) >= -place and length(layout.dims[place]) == shape[place]
        ]
        mapped = [dim for dim in fitting if axes(dim)]
        if len({axes(dim) for dim in mapped}) > 1:
            return everything(layouts, shape)
        dims.append((mapped or fitting or [free(shape[place])])[0])
    return Layout(_meet(layouts), tuple(dims))


def widen(layout: Layout, others: Sequence[Layout]) -> Layout:
    """The same units, which now see what the others see as well."""
    return replace(layout, fields=_meet([layout, *others]))


def along(layout: Layout, dim: int, change: Callable[[Field], Field], count: int) -> Layout:
    """The positions of one dimension replaced by `count` others, and their field changed."""
    match layout.dims[dim]:
        case ((_, int(axis)),):
            fields = list(layout.fields)
            fields[axis] = change(fields[axis])
            layout = replace(layout, fields=(fields[0], fields[1]))
            return with_dim(layout, dim, ((count, axis),))
        case _:
            return with_dim(mix(layout, [dim]), dim, free(count))


def with_dim(layout: Layout, dim: int, new: Dim) -> Layout:
    dims = list(layout.dims)
    dims[dim] = new
    return replace(layout, dims=tuple(dims))


def reshape(layout: Layout, shape: tuple[int, ...]) -> Layout:
    """The same numbers in another shape; positions keep their axis through merging and splitting.

    Split rows or columns go on as blocks: each position of the outer factor sees its block.
    """
    waiting = [factor for dim in layout.dims for factor in dim if factor[0] != 1][::-1]
    dims: list[Dim] = []
    for wanted in shape:
        taken: list[Factor] = []
        while waiting and length(tuple(taken)) < wanted:
            count, axis = waiting.pop()
            missing, rest = divmod(wanted, length(tuple(taken)))
            if rest:
                return everything([layout], shape)
            if count > missing and count % missing == 0:
                block = count // missing
                waiting.append((block, None))
                if axis is not None:
                    fields = list(layout.fields)
                    fields[axis] = window(fields[axis], block, stride=block)
                    layout = replace(layout, fields=(fields[0], fields[1]))
                count = missing
            taken.append((count, axis))
        if length(tuple(taken)) != wanted:
            return everything([layout], shape)
        dims.append(tuple(taken) or free(1))
    return replace(layout, dims=tuple(dims))


def _meet(layouts: Sequence[Layout]) -> tuple[Field, Field]:
    """What any of them sees; where jumps differ, those that still have positions lead."""
    met = []
    for axis in (0, 1):
        leading = sorted(layouts, key=lambda layout: layout.map_shape[axis] == 1)
        met.append(reduce(union, [layout.fields[axis] for layout in leading]))
    return met[0], met[1]
