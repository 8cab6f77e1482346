"""Grids and lists of recipes as samplers of trials: what is trained, where, and how often."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from smidgen import sweep as sweeps
from smidgen.errors import TrainingError
from smidgen.recipe import Recipe, parse_recipe
from smidgen.sweep import Listed, ranking, sweep
from smidgen.trials.driver import Driver
from smidgen.trials.workers import Task, processes

RECIPE = parse_recipe(
    {"model": "tiny_mnist", "data": "digits", "epochs": 1, "batch_size": 64, "seed": 5}, "test"
)


def test_a_grid_is_every_combination_under_every_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: dict[str, Recipe] = {}
    monkeypatch.setattr(sweeps, "_fit_all", lambda recipes, *_: listed.update(recipes))
    sweep(RECIPE, {"epochs": [1, 3], "optimizer.lr": [0.1, 0.10, 0.2]}, 2, tmp_path)
    assert list(listed) == [
        f"epochs={epochs}_optimizer.lr={rate}/seed-{seed}"
        for epochs in (1, 3) for rate in (0.1, 0.2) for seed in (5, 6)
    ]  # fmt: skip
    last = listed["epochs=3_optimizer.lr=0.2/seed-6"]
    assert (last.epochs, last.optimizer.lr, last.seed) == (3, 0.2, 6)


def test_what_is_listed_is_asked_once_and_nothing_is_kept(tmp_path: Path) -> None:
    asked: list[Task] = []

    def run(tasks: Sequence[Task]) -> Iterator[tuple[Task, float]]:
        asked.extend(tasks)
        yield from ((task, float("nan")) for task in reversed(tasks))

    driver = Driver(Listed({"a": RECIPE, "b/c": RECIPE}), tmp_path, run, keep=False)
    assert [task.key for task in driver.trainings()] == ["b/c", "a"]
    assert [(task.key, task.folder) for task in asked] == [
        ("a", str(tmp_path / "a")), ("b/c", str(tmp_path / "b/c")),
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def die(folder: str, often: int, task: Task) -> float:
    """Kills its process the first so many times."""
    died = Path(folder, f"{task.key}-died")
    times = len(died.read_text()) if died.exists() else 0
    if times < often:
        died.write_text("x" * (times + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return 0.5


def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    tasks = [Task("one", RECIPE, "one")]
    run = processes(partial(die, str(tmp_path), 1), 2)
    assert list(run(tasks)) == [(tasks[0], 0.5)]
    run = processes(partial(die, str(tmp_path), 9), 2)
    with pytest.raises(TrainingError, match="3 training processes were killed one after the other"):
        list(run(tasks))


def test_a_sweep_needs_no_optuna(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "from pathlib import Path; from smidgen.recipe import load_recipe, override\n"
        "from smidgen.sweep import sweep\n"
        "changes = {'data': 'digits', 'epochs': 1, 'full': False}\n"
        "recipe = override(load_recipe('tiny_mnist'), changes)\n"
        "list(sweep(recipe, {'optimizer.lr': [0.01]}, 1, Path(sys.argv[1]), jobs=1))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=True)
    run = sweeps.Run.open(tmp_path / "out" / "optimizer.lr=0.01" / "seed-0")
    (row,) = ranking([run])
    assert (row["recipe"], row["n"]) == ("optimizer.lr=0.01", 1)
    assert row["val_accuracy"] == run.result()["val_accuracy"]
