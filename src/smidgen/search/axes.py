"""Axes of the charts: where a value lies, from 0 to 100 %, and the ticks that a person reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from smidgen.search.space import Value

FEW = 6  # values at most that have a tick each
APART = 16.0  # percent of an axis, between two ticks side by side
NOT_DRAWN = 6.0  # percent of an axis that are left to what was not drawn


@dataclass(frozen=True)
class Tick:
    """A label at a place, in percent of the axis."""

    place: float
    label: str


@dataclass(frozen=True)
class Axis:
    """An axis of numbers from `low` to `high`, and the numbers that have ticks."""

    low: float
    high: float
    is_log: bool
    marks: tuple[float, ...]

    def place(self, value: float) -> float:
        """The place of a value, from 0 for the lowest to 100 for the highest."""
        low, high, at = self.low, self.high, value
        if self.is_log:
            low, high, at = math.log(low), math.log(high), math.log(max(value, self.low))
        return round(100 * min(max((at - low) / (high - low), 0), 1), 2)

    def ticks(self, write: Callable[[float], str], apart: float = APART) -> list[Tick]:
        """The ticks from low to high, without those nearer than `apart` to the one before."""
        found: list[Tick] = []
        for mark in self.marks:
            place = self.place(mark)
            if not found or place - found[-1].place >= apart:
                found.append(Tick(place, write(mark)))
        return found


def axis_of(values: Sequence[float], log: bool = True) -> Axis:
    """An axis around the values: logarithmic if they are above 0 and the largest is 4 times the
    smallest, unless `log` is off.
    """
    low, high = min(values), max(values)
    if log and low > 0 and high / low >= 4:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        digits = (1,) if len(powers) > 4 else (1, 2, 5)
        marks = [digit * 10.0**power for power in powers for digit in digits]
        inside = tuple(mark for mark in marks if low <= mark <= high)
        return Axis(low / 1.08, high * 1.08, True, inside)
    if low == high:
        spread = abs(low) / 10 or 1.0
        return Axis(low - spread, high + spread, False, (low,))
    margin = (high - low) / 20
    even = map(float, MaxNLocator(4).tick_values(low, high))
    return Axis(low - margin, high + margin, False, tuple(m for m in even if low <= m <= high))


def whole(value: float) -> str:
    """A count on an axis: 800, 15,000, 200 k, 1.5 M."""
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if value >= 1e5 else f"{value:,.0f}"


def plain(number: float) -> str:
    """A number on an axis, without an exponent: 0.00005, 12, 0.5."""
    return f"{number:.9f}".rstrip("0").rstrip(".")


def percent(fraction: float) -> str:
    """A share on an axis: 0.5 %, 20 %."""
    return f"{100 * fraction:.4g} %"


@dataclass(frozen=True)
class Line:
    """One axis of the parallel coordinates: its name, its ticks, and the place of each trial."""

    name: str
    ticks: list[Tick]
    places: list[float]


def line_of_numbers(
    name: str, values: Sequence[float], write: Callable[[float], str], log: bool = True
) -> Line:
    axis = axis_of(values, log)
    return Line(name, axis.ticks(write), [axis.place(value) for value in values])


def line_of_values(name: str, values: Sequence[Value | None], log: bool) -> Line:
    """The axis of a range's values; None where it was not drawn."""
    drawn = [value for value in values if value is not None]
    missing = len(drawn) < len(values)
    begin = 2 * NOT_DRAWN if missing else 0.0
    ticks = [Tick(0.0, "–")] if missing else []
    distinct = sorted(set(drawn), key=lambda value: (isinstance(value, str), value))
    if len(distinct) <= FEW or any(isinstance(value, str) for value in distinct):
        step = 1 / max(len(distinct) - 1, 1)
        where = {value: 100 * number * step for number, value in enumerate(distinct)}
        if len(distinct) == 1:
            where = dict.fromkeys(distinct, 50.0)
        labels = [(where[value], str(value)) for value in distinct]
    else:
        axis = axis_of([float(value) for value in distinct], log)
        where = {value: axis.place(float(value)) for value in distinct}
        labels = [(tick.place, tick.label) for tick in axis.ticks(plain)]

    def moved(place: float) -> float:
        return round(begin + place * (100 - begin) / 100, 2)

    ticks += [Tick(moved(place), label) for place, label in labels]
    return Line(name, ticks, [0.0 if v is None else moved(where[v]) for v in values])
