"""The table of a search's trials, trials.csv: a row for each trial that has ended.

A row has what is known of the trial, the validation accuracies by epochs, and, in the columns that
begin with `space.`, the values that were drawn; what was not drawn, or is not known, is empty.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from smidgen.errors import SearchError
from smidgen.search.space import Choice, Drawn, Value
from smidgen.search.study import Settings, Study, accuracy_after
from smidgen.search.weigh import QUANTITIES

DRAWN = "space."
LEAST_ERROR = 1e-4
OUTCOMES = ("trained", "repeated", "rejected")


@dataclass(frozen=True)
class Row:
    """One trial: its weight by quantity, as far as known, and its accuracies by epochs."""

    network: str  # its key
    outcome: str
    weight: Mapping[str, int]
    accuracies: Mapping[int, float]
    values: Mapping[str, Value]  # by the name of the range

    @property
    def epochs(self) -> int:
        """Those of the last rung that it reached; 0 if it was not trained."""
        return max(self.accuracies, default=0)

    @property
    def error(self) -> float:
        """The validation error after those, a fraction."""
        return 1 - self.accuracies.get(self.epochs, 0.0)

    @property
    def shown_error(self) -> float:
        """The error on a logarithmic scale, which has no 0."""
        return max(self.error, LEAST_ERROR)


def to_csv(study: Study) -> str:
    """The table of the trials that have ended, in order of their numbers."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, _columns(study.settings))
    writer.writeheader()
    for trial in study.ended():
        drawn = {f"{DRAWN}{name}": value for name, value in trial.candidate.values.items()}
        writer.writerow(trial.facts() | drawn)
    return file.getvalue()


def read_table(text: str, settings: Settings) -> list[Row]:
    """The rows of a table that `to_csv` wrote. Raises SearchError for any other text."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    ranges = settings.space.all_ranges()
    rows: list[Row] = []
    try:
        if reader.fieldnames != _columns(settings):
            raise ValueError("its columns are not those of the search")
        for cells in reader:
            rows.append(_row(cells, settings, ranges))
    except (ValueError, csv.Error) as problem:
        raise SearchError(
            f"trials.csv, line {reader.line_num}: {problem}; --resume writes it again"
        ) from None
    return rows


def _columns(settings: Settings) -> list[str]:
    known = ("number", "network", "outcome", *QUANTITIES, "broken", "epochs", "val_accuracy")
    ranges = (f"{DRAWN}{name}" for name in settings.space.all_ranges())
    return [*known, *map(accuracy_after, settings.rungs), *ranges]


def _row(cells: Mapping[str, str], settings: Settings, ranges: Mapping[str, Drawn]) -> Row:
    if None in cells or None in cells.values():
        raise ValueError("it has not as many cells as columns")
    if not re.fullmatch("[0-9a-f]{12}", cells["network"]) or cells["outcome"] not in OUTCOMES:
        raise ValueError(f"{cells['network']!r}, {cells['outcome']!r} is no trial")
    rungs = {epochs: cells[accuracy_after(epochs)] for epochs in settings.rungs}
    drawn = {name: cells[f"{DRAWN}{name}"] for name in ranges}
    return Row(
        cells["network"],
        cells["outcome"],
        {name: int(cells[name]) for name in QUANTITIES if cells[name]},
        {epochs: _fraction(text) for epochs, text in rungs.items() if text},
        {name: _value(text, ranges[name]) for name, text in drawn.items() if text},
    )


def _fraction(text: str) -> float:
    if not 0 <= float(text) <= 1:
        raise ValueError(f"{text!r} is no accuracy")
    return float(text)


def _value(text: str, own: Drawn) -> Value:
    """The value of a range that is written so."""
    if isinstance(own, Choice):
        found = [value for value in own.choose if str(value) == text]
        if not found:
            raise ValueError(f"{text!r} is not in its range")
        return found[0]
    value = int(text) if own.is_whole else float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number")
    return value
