"""Many trainings side by side, one core each: a recipe under several seeds, or many recipes.

joblib runs them in processes of their own; under `joblib.parallel_config(backend="ray")` the same
call spreads them over a Ray cluster.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from smidgen.data import Data, load_data
from smidgen.errors import RecipeError, RunError, TrainingError
from smidgen.escape import file_name
from smidgen.files import write_whole
from smidgen.metrics import over_seeds
from smidgen.recipe import Recipe, override
from smidgen.run import Run
from smidgen.train import fit, resume


def fit_seeds(
    recipe: Recipe, seeds: int, out: Path, *, data_dir: Path | None = None, jobs: int = -1
) -> Iterator[Run]:
    """The runs of `seeds` consecutive seeds from the recipe's on, in out/seed-N, as they finish.

    A seed that has finished in `out` already is not trained again, so that a killed series goes on
    where it stopped. Several run side by side, on one core each. Raises RunError for fewer than two
    seeds or a folder that holds another recipe's runs, TrainingError when a process
    dies.
    """
    if seeds < 2:
        raise RunError(f"--seeds {seeds} gives no spread; a series needs at least 2 seeds")
    recipes = [override(recipe, {"seed": recipe.seed + i}) for i in range(seeds)]
    tasks = [delayed(_fit_one)(each, out / f"seed-{each.seed}", data_dir) for each in recipes]
    return _finished(tasks, out, Parallel(n_jobs=jobs, return_as="generator_unordered"))


def _finished(tasks: list[Any], out: Path, parallel: Parallel) -> Iterator[Run]:
    try:
        for path in parallel(tasks):
            yield Run.open(path)
    except TerminatedWorkerError as problem:
        raise TrainingError(
            "a training process was killed (out of memory?); the seeds that had finished are in "
            f"{str(out)!r}, and the same command goes on from there"
        ) from problem


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
    tasks = []
    for values in itertools.product(*grid.values()):
        changes = dict(zip(grid, values, strict=True))
        for i in range(seeds):
            own = changes | {"seed": recipe.seed + i}
            name = file_name("_".join(f"{key}={value}" for key, value in changes.items()))
            folder = out / name / f"seed-{recipe.seed + i}"
            tasks.append(delayed(_fit_one)(override(recipe, own), folder, data_dir))
    return _finished(tasks, out, Parallel(n_jobs=jobs, return_as="generator_unordered"))


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


def _fit_one(recipe: Recipe, out: Path, data_dir: Path | None) -> Path:
    return fit_one(recipe, out, lambda: load_data(recipe.data, data_dir)).path


def fit_one(recipe: Recipe, out: Path, load: Callable[[], Data]) -> Run:
    """The run of a recipe in `out`: as it is if it has finished, or from where it was killed.

    `load` is called where something is left to train. Raises RunError for a folder that holds
    another recipe's run.
    """
    if not (out / "recipe.toml").is_file():
        return fit(recipe, load(), out)
    run, chosen = Run.open(out), {"workers", "backend"}
    if run.recipe.model_dump(exclude=chosen) != recipe.model_dump(exclude=chosen):
        raise RunError(f"{str(out)!r} holds a run of another recipe; choose another --out")
    if run.has_result():
        return run
    if run.has_checkpoint():
        return resume(out, load())
    shutil.rmtree(out)  # killed in its first epoch
    return fit(recipe, load(), out)
