"""The front of a search as a picture, for a README."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from smidgen.escape import plain
from smidgen.report.plots import BLUE, GREEN, GREY, RED
from smidgen.search import axes as scales
from smidgen.search.page import NAMES, Report
from smidgen.search.table import Row


def draw_front(report: Report) -> Figure:
    """Validation errors against the quantity that the budget limits first."""
    name, last = report.settings.limits.quantity, report.settings.rungs[-1]
    limit = getattr(report.settings.limits, name)
    figure = Figure((8, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()

    def plot(rows: list[Row], style: str, **more: Any) -> None:
        axes.plot([r.weight[name] for r in rows], [r.shown_error for r in rows], style, **more)

    early = [row for row in report.rows if row.epochs < last]
    plot(early, "o", color=GREY, alpha=0.35, markersize=3.5, label="fewer epochs")
    late = [row for row in report.rows if row.epochs == last]
    plot(late, "o", color=BLUE, markersize=4.5, label=f"after {last:,} epochs")
    plot(list(report.best), "D-", color=GREEN, drawstyle="steps-post", label="the front")
    axes.axvline(limit, color=RED, linestyle="--", linewidth=1, label=f"limit {limit:,}")
    _scale(axes, [row.weight[name] for row in report.rows] + [limit], "x")
    _scale(axes, [row.shown_error for row in report.rows], "y")
    axes.set_xlabel(NAMES[name])
    axes.set_ylabel("validation error")
    axes.set_title(plain(report.settings.space.title), loc="left", fontsize=12, parse_math=False)
    axes.grid(color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return figure


def _scale(axes: Axes, values: list[float] | list[int], which: str) -> None:
    """The scale and the ticks that the page has, too."""
    scale, write = scales.axis_of(values), scales.percent if which == "y" else scales.whole
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log" if scale.is_log else "linear"})
    axes.set(**{f"{which}lim": (scale.low, scale.high)})
    axis.set_ticks(scale.marks, [write(mark) for mark in scale.marks])
    axis.set_minor_locator(NullLocator())
