"""Comparisons of runs: do they differ by more than the chance of images and seeds?

The first trial is the reference, with which every other one is compared on the same test images.
Two trials count as different only if two conditions hold. For the images: the paired bootstrap
interval of the difference must not contain zero. For the seeds: a test must reject that they are
equal. With one seed each it is McNemar's exact test, which is about these weights alone; with more
seeds it is a t-test, Student's for one against many and Welch's for many against many. Of k
comparisons each is made at the level 5 % / k (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from smidgen import metrics
from smidgen.data import Data, load_data
from smidgen.errors import RunError
from smidgen.report.plots import BLUE, GREY, RED
from smidgen.report.trial import Answers, Trial, open_trial, read_answers

LEVEL = 0.05
SEED = 1947  # of the bootstrap, so that a comparison gives the same result every time


@dataclass(frozen=True)
class Comparison:
    """One trial against the reference; `difference` is its accuracy less the reference's."""

    reference: str
    other: str
    difference: float
    interval: metrics.Interval
    confidence: float
    test: str
    p_value: float
    differs: bool

    @property
    def verdict(self) -> str:
        """What the comparison says of `other`: better, worse, or that nothing can be said."""
        if not self.differs:
            return "cannot be told apart"
        return "better" if self.difference > 0 else "worse"


def open_trials(paths: Sequence[Path], directory: Path | None) -> tuple[list[Trial], Data]:
    """The trials in these folders and the data they share.

    Raises RunError for fewer than two, and for trials on different data.
    """
    if len(paths) < 2:
        raise RunError("a comparison needs at least two runs; name two or more run folders")
    trials = [open_trial(path) for path in paths]
    names = [trial.results[0]["data"] for trial in trials]
    if len(set(names)) > 1:
        pairs = ", ".join(
            f"{trial.path} on {name!r}" for trial, name in zip(trials, names, strict=True)
        )
        raise RunError(f"runs on different data cannot be compared: {pairs}")
    return trials, load_data(names[0], directory)


def find_same(trials: Sequence[Trial]) -> list[tuple[str, str]]:
    """The folders of pairs of trials that give the same answers to the bit: the same run twice."""
    return [
        (str(one.path), str(other.path))
        for one, other in combinations(trials, 2)
        if torch.equal(one.logits, other.logits)
    ]


def compare(trials: Sequence[Trial], data: Data) -> list[Comparison]:
    """Every trial but the first against the first."""
    answers = [read_answers(trial, data) for trial in trials]
    level = LEVEL / (len(trials) - 1)
    return [
        _compare(trials[0], answers[0], trial, answer, level)
        for trial, answer in zip(trials[1:], answers[1:], strict=True)
    ]


def _compare(
    reference: Trial, expected: Answers, other: Trial, answers: Answers, level: float
) -> Comparison:
    first, second = (each.correct.double().mean(0) for each in (expected, answers))
    generator = np.random.default_rng(SEED)
    interval = metrics.paired_bootstrap(first, second, generator, 1 - level)
    match sorted([reference.test_accuracies, other.test_accuracies], key=len):
        case [[_], [_]]:
            only_first, only_second = int((first > second).sum()), int((second > first).sum())
            test, p_value = "McNemar", metrics.mcnemar_exact(only_first, only_second)
        case [[single], many]:
            test, p_value = "Student", metrics.student_t_test(many, single)
        case [few, many]:
            test, p_value = "Welch", metrics.welch_t_test(few, many)
    apart = interval[0] > 0 or interval[1] < 0
    return Comparison(
        reference=str(reference.path),
        other=str(other.path),
        difference=float((second - first).mean()),
        interval=interval,
        confidence=1 - level,
        test=test,
        p_value=p_value,
        differs=apart and p_value < level,
    )


def draw_comparison(trials: Sequence[Trial], comparisons: Sequence[Comparison]) -> Figure:
    """Accuracies with their intervals on the left, differences from the first on the right."""
    figure = Figure((10, 1.4 + 0.55 * len(trials)), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for row, trial in enumerate(trials):
        accuracies = np.array(trial.test_accuracies) * 100
        low, high = np.array(trial.interval) * 100
        left.plot([low, high], [row, row], color=BLUE, linewidth=3, alpha=0.35)
        left.plot(accuracies, [row] * len(accuracies), "o", color=BLUE, markersize=4, alpha=0.6)
        left.plot(accuracies.mean(), row, "D", color=BLUE, markersize=8)
    for row, comparison in enumerate(comparisons, start=1):
        colour = RED if comparison.differs else GREY
        low, high = np.array(comparison.interval) * 100
        right.plot([low, high], [row, row], color=colour, linewidth=3, alpha=0.5)
        right.plot(100 * comparison.difference, row, "D", color=colour, markersize=8)
        _say(right, 100 * comparison.difference, row, comparison.verdict, colour)
    right.axvline(0, color="black", linewidth=1)
    right.plot(0, 0, "D", color=BLUE, markersize=8)
    _say(right, 0, 0, "the first", BLUE)
    labels = [f"{_tail(trial.path)}\n{_seeds(trial)}" for trial in trials]
    left.set_yticks(range(len(trials)), labels, fontsize=9, parse_math=False)
    left.set_ylim(len(trials) - 0.4, -0.6)
    left.set_xlabel("test accuracy, %, and its 95 % interval")
    right.set_xlabel("difference from the first, points")
    for axes in (left, right):
        axes.grid(axis="x", color="#E5E5E5")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return figure


def _say(axes: Axes, x: float, row: int, text: str, colour: str) -> None:
    """Writes above a mark, on white, so that no line crosses the words."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
    axes.text(x, row - 0.2, text, ha="center", va="bottom", fontsize=9, color=colour, bbox=box)


def _seeds(trial: Trial) -> str:
    return "one seed" if trial.seeds == 1 else f"{trial.seeds} seeds"


def _tail(path: Path, length: int = 28) -> str:
    text = path.as_posix()
    return text if len(text) <= length else f"…{text[-length + 1 :]}"
