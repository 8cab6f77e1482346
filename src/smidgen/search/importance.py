"""How much each range of a space mattered for the validation error, by Optuna's PED-ANOVA.

PED-ANOVA compares how a range's values are spread over the best tenth of the trials with their
spread over all (Watanabe et al. 2023, https://arxiv.org/abs/2304.10255); it knows ranges that some
trials did not draw.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from smidgen.search.space import Choice, Drawn, Space
from smidgen.search.study import import_optuna
from smidgen.search.table import Row

if TYPE_CHECKING:
    import optuna

LEAST = 20  # trials, of which two are the best tenth


def importances(space: Space, rows: Sequence[Row], epochs: int) -> dict[str, float]:
    """The share of each range in what decides the error after so many epochs, largest first.

    Nothing for fewer than 20 trials that were trained for so long. Raises MissingExtraError
    without Optuna.
    """
    trained = [row for row in rows if row.outcome == "trained" and epochs in row.accuracies]
    if len(trained) < LEAST:
        return {}
    optuna, ranges = import_optuna(), space.all_ranges()
    study = optuna.create_study()
    for row in trained:
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(row.values),
                distributions={name: _distribution(ranges[name]) for name in row.values},
                value=1 - row.accuracies[epochs],
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Optuna calls experimental
        found: dict[str, float] = optuna.importance.get_param_importances(study)
    return found


def _distribution(own: Drawn) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(own, Choice):
        return CategoricalDistribution(own.choose)
    if own.is_whole:
        return IntDistribution(int(own.from_), int(own.to), log=own.log, step=own.step)
    return FloatDistribution(float(own.from_), float(own.to), log=own.log)
