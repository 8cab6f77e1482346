"""Receptive fields along one axis, exactly: which input pixels each unit of a map sees.

The units of a map repeat with a period: after `len(low)` units everything is the same again,
`step` input pixels further on. A convolution of stride 2 has period 1 and step 2; a transposed
one of stride 2 has period 2 and step 1. As usual (Araujo et al. 2019,
https://distill.pub/2019/computing-receptive-fields) the map is taken to be endless: a field
counts the pixels beyond the border that padding stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

_FAR = 1 << 60  # the bounds of a unit that sees nothing: (_FAR, -_FAR)


@dataclass(frozen=True)
class Field:
    """Unit i sees the input pixels low[i]..high[i], for one period of units."""

    low: tuple[int, ...] = (0,)
    high: tuple[int, ...] = (0,)
    step: int = 1

    @property
    def size(self) -> int:
        """The receptive field in pixels: the most that any unit sees from end to end."""
        return max(0, *(high - low + 1 for low, high in zip(self.low, self.high, strict=True)))

    @property
    def jump(self) -> Fraction:
        """The input pixels from one unit to the next, on average."""
        return Fraction(self.step, len(self.low))

    def of(self, unit: int) -> tuple[int, int]:
        """The first and the last pixel that a unit sees."""
        turns, phase = divmod(unit, len(self.low))
        return self.low[phase] + turns * self.step, self.high[phase] + turns * self.step


def gather(
    field: Field, inputs: Callable[[int], Iterable[int]], units: int = 1, advance: int = 1
) -> Field:
    """The field of a map whose unit o reads the units inputs(o) of the one before.

    `units` outputs further on, inputs are `advance` units further on.
    """
    period = len(field.low)
    turns = period // gcd(period, advance) if advance else 1
    low, high = [], []
    for unit in range(units * turns):
        seen = [field.of(i) for i in inputs(unit)]
        low.append(min((first for first, _ in seen), default=_FAR))
        high.append(max((last for _, last in seen), default=-_FAR))
    return Field(tuple(low), tuple(high), field.step * advance * turns // period)


def window(field: Field, size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Field:
    """After a convolution or a pool."""

    def inputs(unit: int) -> Iterable[int]:
        first = unit * stride - padding
        return range(first, first + size * dilation, dilation)

    return gather(field, inputs, advance=stride)


def transposed_window(
    field: Field, size: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Field:
    """After a transposed convolution: input i adds to the outputs i · stride − padding + taps."""

    def inputs(unit: int) -> Iterable[int]:
        reached = [unit + padding - tap * dilation for tap in range(size)]
        return [place // stride for place in reached if place % stride == 0]

    return gather(field, inputs, units=stride)


def resized(field: Field, before: int, after: int) -> Field:
    """After an adaptive pool from `before` units to `after`.

    Output o reads the inputs from ⌊o · before / after⌋ to ⌈(o + 1) · before / after⌉ − 1.
    """
    shared = gcd(before, after)

    def inputs(unit: int) -> Iterable[int]:
        return range(unit * before // after, -(-(unit + 1) * before // after))

    return gather(field, inputs, after // shared, before // shared)


def upsampled(field: Field, before: int, after: int, taps: int) -> Field:
    """After interpolation over 1 (nearest), 2 (bilinear) or 4 (bicubic) neighbours."""
    shared = gcd(before, after)

    def inputs(unit: int) -> Iterable[int]:
        # The middle of unit o lies at (2o + 1) · before / (2 · after) − 1/2 of the units before.
        nearest = unit * before // after
        middle = ((2 * unit + 1) * before - after) // (2 * after)
        return range(middle + 1 - taps // 2, middle + 1 + taps // 2) if taps > 1 else [nearest]

    return gather(field, inputs, after // shared, before // shared)


def union(one: Field, other: Field) -> Field:
    """Where two branches meet, each unit sees what either branch sees.

    Where their jumps differ, `one` is widened by all that the other sees from its first units.
    """
    if one.jump == other.jump:
        period = lcm(len(one.low), len(other.low))
        pairs = [(one.of(unit), other.of(unit)) for unit in range(period)]
        low = tuple(min(a[0], b[0]) for a, b in pairs)
        high = tuple(max(a[1], b[1]) for a, b in pairs)
        return Field(low, high, one.step * period // len(one.low))
    first, last = min(other.low), max(other.high)
    return Field(
        tuple(min(low, first) for low in one.low),
        tuple(max(high, last) for high in one.high),
        one.step,
    )
