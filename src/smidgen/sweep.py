"""A recipe under several seeds, or every combination of a grid: samplers of trials that are listed.

joblib runs them in processes of their own, one core each; under
`joblib.parallel_config(backend="ray")` the same call spreads them over a Ray cluster.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from joblib import effective_n_jobs

from smidgen.data import load_data
from smidgen.errors import RecipeError, RunError
from smidgen.escape import file_name
from smidgen.files import write_whole
from smidgen.metrics import over_seeds
from smidgen.recipe import Recipe, override
from smidgen.run import Run
from smidgen.trials.driver import Driver, Trial
from smidgen.trials.workers import Task, fit_one, processes


class Listed:
    """A sampler of recipes by their folders: each is a trial of one rung, all are one batch."""

    rungs = (1,)

    def __init__(self, recipes: Mapping[str, Recipe]) -> None:
        self._recipes, self.batch = recipes, len(recipes)
        self._left = [Trial(number=n, key=key) for n, key in enumerate(recipes)][::-1]

    def ask(self) -> Trial | None:
        return self._left.pop() if self._left else None

    def task(self, trial: Trial, rung: int, out: Path) -> Task:
        return Task(trial.key, self._recipes[trial.key], str(out / trial.key))

    def tell(self, trial: Trial, outcome: str) -> None:
        trial.outcome = outcome


def fit_seeds(
    recipe: Recipe, seeds: int, out: Path, *, data_dir: Path | None = None, jobs: int = -1
) -> Iterator[Run]:
    """The runs of `seeds` consecutive seeds from the recipe's on, in out/seed-N, as they finish.

    A seed that has finished in `out` already is not trained again, so that a killed series goes on
    where it stopped. Several run side by side, on one core each. Raises RunError for fewer than two
    seeds or a folder that holds another recipe's runs, TrainingError when process after process
    dies.
    """
    if seeds < 2:
        raise RunError(f"--seeds {seeds} gives no spread; a series needs at least 2 seeds")
    return _fit_all(dict(_seeds(recipe, seeds, {})), out, data_dir, jobs)


def sweep(
    recipe: Recipe,
    grid: Mapping[str, Sequence[Any]],
    seeds: int,
    out: Path,
    *,
    data_dir: Path | None = None,
    jobs: int = -1,
) -> Iterator[Run]:
    """The runs of every combination of the grid's values under every seed, as they finish.

    `grid` maps dotted recipe keys to values. A run's folder is named after its changes; what has
    finished in `out` is not trained again. Raises RecipeError for a key or value that is not
    allowed, and for a recipe without a validation split, which nothing could be chosen on.
    """
    if recipe.full:
        raise RecipeError("a sweep chooses on validation; leave --full and full = true out")
    recipes: dict[str, Recipe] = {}
    for values in itertools.product(*grid.values()):
        changes = dict(zip(grid, values, strict=True))
        name = file_name("_".join(f"{key}={value}" for key, value in changes.items()))
        recipes |= {f"{name}/{seed}": own for seed, own in _seeds(recipe, seeds, changes)}
    return _fit_all(recipes, out, data_dir, jobs)


def _seeds(recipe: Recipe, seeds: int, changes: Mapping[str, Any]) -> Iterator[tuple[str, Recipe]]:
    """The recipe with its changes for each of so many seeds, by a folder's name."""
    for seed in range(recipe.seed, recipe.seed + seeds):
        yield f"seed-{seed}", override(recipe, {**changes, "seed": seed}, source="--grid")


def _fit_all(
    recipes: Mapping[str, Recipe], out: Path, data_dir: Path | None, jobs: int
) -> Iterator[Run]:
    train = partial(_fit, data_dir)

    def run(tasks: Sequence[Task]) -> Iterator[tuple[Task, float]]:
        left = []
        for task in tasks:
            if (Path(task.folder) / "result.json").is_file():
                yield task, train(task)  # which trains nothing, and needs no process
            else:
                left.append(task)
        if left:  # no more processes than there are trainings
            yield from processes(train, min(effective_n_jobs(jobs), len(left)))(left)

    driver = Driver(Listed(recipes), out, run, keep=False)
    return (Run.open(Path(task.folder)) for task in driver.trainings())


def _fit(data_dir: Path | None, task: Task) -> float:
    """Trains; returns the validation accuracy, which a recipe on all images does not have."""
    run = fit_one(task.recipe, Path(task.folder), lambda: load_data(task.recipe.data, data_dir))
    accuracy = run.result()["val_accuracy"]
    return math.nan if accuracy is None else float(accuracy)


def ranking(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The recipes of a sweep, best mean validation accuracy first."""
    by_recipe: dict[Path, list[Run]] = defaultdict(list)
    for run in runs:
        by_recipe[run.path.parent].append(run)
    rows = [
        {
            "recipe": folder.name,
            "run": str(folder),
            "n": len(group),
            "val_accuracy": fmean(run.result()["val_accuracy"] for run in group),
            "seconds": fmean(run.result()["seconds"] for run in group),
        }
        for folder, group in by_recipe.items()
    ]
    return sorted(rows, key=lambda row: -row["val_accuracy"])


def write_summary(runs: list[Run], out: Path) -> dict[str, Any]:
    """The results of a series with mean, deviation, minimum and interval; kept as summary.json."""
    results = sorted((run.result() for run in runs), key=lambda result: int(result["seed"]))
    accuracies = [result["test_accuracy"] for result in results]
    summary = {"runs": results, "test_accuracy": asdict(over_seeds(accuracies))}
    write_whole(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary
