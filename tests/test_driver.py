"""A search: what is asked, trained and told, on tiny spaces with the embedded digits."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="a search needs optuna, of the extra `search`")

import forked

from smidgen.budget import load_budget
from smidgen.budget.rules import Budget
from smidgen.data import Data, load_data
from smidgen.errors import SearchError
from smidgen.mnist import GLYPH
from smidgen.recipe import parse_recipe
from smidgen.search import finish
from smidgen.search.folder import Tables, opened
from smidgen.search.space import Space, load_space
from smidgen.search.study import Images, Settings, Study
from smidgen.search.table import to_csv
from smidgen.train.native import library
from smidgen.trials import driver as driver_module
from smidgen.trials.driver import Driver, Progress, epochs_of, read_results
from smidgen.trials.workers import Shared, Task, Workers, processes, train_candidate

TINY = Space(
    title="a tiny space",
    layers=[
        {"conv": {"from": 2, "to": 8, "step": 2}, "stride": 2},
        {"pool": 2},
        {"conv": {"from": 4, "to": 16, "step": 2}, "repeat": {"from": 0, "to": 1}},
        {"head": "gap_linear"},
    ],
    recipe={"optimizer.lr": {"choose": [0.05, 0.1]}},
)
RECIPE = parse_recipe({"model": "net.toml", "data": "digits", "batch_size": 32}, "test")


def settings(**changes: Any) -> Settings:
    document: dict[str, Any] = {
        "data": "digits", "space": TINY, "budget": Budget(title="test", max_params=1_000),
        "recipe": RECIPE, "rungs": [1, 2], "batch": 4,
    }  # fmt: skip
    return Settings(**(document | changes))


def pretended(tasks: Sequence[Task]) -> Iterator[tuple[Task, float]]:
    """Accuracies that depend on the task alone, in another order."""
    for task in reversed(tasks):
        yield task, int(task.key[:4], 16) / 65_536 * (1 - 1 / (1 + task.recipe.epochs))


def study_of(out: Path, run: Workers, chosen: Settings, trials: int) -> Study:
    study = Study(chosen, Images(GLYPH, 10))
    for _ in Driver(study, out, run, trials).trainings():
        pass
    return study


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_a_search_ends_with_as_many_trained_as_were_asked_for(sampler: str, tmp_path: Path) -> None:
    study = study_of(tmp_path, pretended, settings(sampler=sampler), 18)
    trained = [trial for trial in study.trials if trial.outcome == "trained"]
    assert len(trained) == 18
    assert len({trial.key for trial in trained}) == 18
    assert study.ended() == study.trials
    assert {trial.epochs for trial in trained} == {1, 2}
    # Batches of 4, 4, 4, 4 and 2: two of each four go on, and one of the last two.
    assert sum(trial.epochs == 2 for trial in trained) == 4 * 2 + 1


def test_nothing_over_a_limit_is_ever_trained(tmp_path: Path) -> None:
    budget = load_budget("era-8k")
    asked: list[Task] = []

    def run(tasks: Sequence[Task]) -> Iterator[tuple[Task, float]]:
        asked.extend(tasks)
        return pretended(tasks)

    chosen = settings(budget=budget, space=load_space("chain"), sampler="random", batch=100)
    study = study_of(tmp_path, run, chosen, 400)
    assert len(study.trials) > 1_000
    by_key = {trial.key: trial for trial in study.trials}
    assert all(by_key[task.key].weight.params <= 7_999 for task in asked)
    rejected = [trial for trial in study.trials if trial.outcome == "rejected"]
    assert all(trial.weight.broken and trial.epochs == 0 for trial in rejected)
    assert len(rejected) > 100
    assert {trial.weight.broken for trial in rejected} == {"params"}


def test_what_is_smaller_than_half_of_the_limit_is_no_better(tmp_path: Path) -> None:
    study = study_of(tmp_path, pretended, settings(), 4)
    trial = next(trial for trial in study.trials if trial.outcome == "trained")
    for params, told in ((200, 500), (499, 500), (501, 501), (1_001, 1_001)):
        trial.weight = replace(trial.weight, params=params)
        error, quantity = study.objectives(trial)
        assert (error, quantity) == (1 - (trial.val_accuracy or 0), told)
    trial.weight = replace(trial.weight, params=300)
    assert study.quantity(trial) == 300  # which the front is set against


def test_what_is_too_large_once_it_is_built_leaves_the_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = Budget(title="a board", max_flash_bytes=30_000, max_ram_bytes=30_000)
    study = study_of(tmp_path, pretended, settings(budget=budget), 18)
    best = finish.front_of(study)[-1]
    built: list[str] = []

    def build(run: Path) -> dict[str, int]:
        built.append(run.name)
        return {"flash_bytes": 30_001 if best.key in run.name else 9_000, "ram_bytes": 500}

    monkeypatch.setattr(finish, "measure_firmware", build)
    known: dict[str, finish.Point] = {}
    points = finish.verified(study, finish.front_of, tmp_path, known)
    assert [point.trial for point in points] == finish.front_of(study, {best.key})
    assert {point.figures["flash_bytes"] for point in points} == {9_000}
    others = finish.verified(study, finish.finalists_of, tmp_path, known)
    assert [point.trial for point in others] == finish.finalists_of(study, {best.key})
    assert len(built) == len(set(built)), "a network was built twice"
    monkeypatch.setattr(finish, "measure_firmware", lambda run: {"ram_bytes": 30_001})
    with pytest.raises(SearchError, match="no network of the search keeps the limits once it is b"):
        finish.verified(study, finish.front_of, tmp_path, {})


def test_the_mean_over_seeds_chooses_among_the_best(tmp_path: Path) -> None:
    study = study_of(tmp_path, pretended, settings(), 18)
    ranked = sorted(
        (t for t in study.trials if t.outcome == "trained" and t.epochs == 2),
        key=lambda trial: -(trial.val_accuracy or 0),
    )
    points = [finish.Point(trial, f"{trial.key}.toml", {}) for trial in ranked[: finish.FINALISTS]]
    assert [point.trial for point in points] == finish.finalists_of(study)
    by_seed = {0: [0.2, 0.9, 0.5, 0.6], 1: [0.7, 0.1, 0.5, 0.6]}  # means 0.45, 0.5, 0.5, 0.6
    asked: list[Task] = []
    steps: list[None] = []

    def run(tasks: Sequence[Task]) -> Iterator[tuple[Task, float]]:
        asked.extend(tasks)
        for number, task in reversed([*enumerate(tasks)]):
            yield task, by_seed[task.recipe.seed][number // 2]

    found = finish.train_finalists(
        study.settings, points, 2, tmp_path, run, lambda: steps.append(None)
    )
    assert [each.point for each in found] == [points[3], points[1], points[2], points[0]]
    assert found[0].document()["final_val_accuracy"] == {"mean": 0.6, "sd": 0.0, "n": 2}
    assert len(steps) == len(asked) == len({task.folder for task in asked}) == 8
    # As long as the winner, but without the images to validate, on which they are compared.
    assert {task.recipe.epochs for task in asked} == {study.settings.recipe.epochs}
    assert not any(task.recipe.full or task.recipe.watch_test for task in asked)


def test_a_line_that_a_killed_process_began_is_cut_off(tmp_path: Path) -> None:
    whole = '{"network": "1f", "epochs": 3, "val_accuracy": 0.5}\n'
    (tmp_path / "results.jsonl").write_text(whole + '{"network": "2e", "epo')
    assert read_results(tmp_path / "results.jsonl") == {("1f", 3): 0.5}
    assert (tmp_path / "results.jsonl").read_text() == whole
    assert read_results(tmp_path / "none.jsonl") == {}


def test_a_repeated_candidate_is_trained_once(tmp_path: Path) -> None:
    space = Space(title="four", layers=[{"conv": {"from": 2, "to": 5}}, {"head": "gap"}])
    names: list[Any] = []

    def run(tasks: Sequence[Task]) -> Iterator[tuple[Task, float]]:
        names.extend(task.name for task in tasks)
        return pretended(tasks)

    study = study_of(tmp_path, run, settings(space=space, batch=3), 100)
    assert len(names) == len(set(names))
    trained = {trial.key: trial for trial in study.trials if trial.outcome == "trained"}
    assert len(trained) == 4
    repeated = [trial for trial in study.trials if trial.outcome == "repeated"]
    assert len(repeated) > 4
    for trial in repeated:
        assert trial.val_accuracy == trained[trial.key].val_accuracy


def test_the_time_left_is_that_of_the_epochs_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(driver_module.time, "monotonic", lambda: now[0])
    seen: list[tuple[int, float, float | None]] = []

    def run(tasks: Sequence[Task]) -> Iterator[tuple[Task, float]]:
        for task, accuracy in pretended(tasks):
            now[0] += 3 * task.recipe.epochs  # three seconds an epoch
            yield task, accuracy

    def watch(progress: Progress) -> None:
        assert progress.trials == 10
        seen.append((progress.trained, progress.seconds, progress.seconds_left))

    study = Study(settings(), Images(GLYPH, 10))
    assert len(list(Driver(study, tmp_path, run, 10, watch=watch).trainings())) == 10 + 5
    # Batches of 4, 4 and 2: as many epochs on the first rung, two each for two, two and one.
    assert epochs_of([1, 2], 4, 10) == 4 + 2 * 2 + 4 + 2 * 2 + 2 + 1 * 2 == 20
    assert seen[0] == (1, 3, 3 * 19)
    assert [left for _, _, left in seen] == pytest.approx([60 - seconds for _, seconds, _ in seen])
    assert seen[-1] == (10, 60, 0)


def test_tensorboard_reads_what_was_trained(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is of the extra `tensorboard`")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from smidgen.search.tensorboard import Board

    study = study_of(tmp_path, pretended, settings(), 4)
    for _ in range(2):  # the second time, as a search that goes on
        Tables(tmp_path, Board(tmp_path / "tensorboard")).write(study)
    for trial in study.trials:
        folder = tmp_path / "tensorboard" / trial.key
        assert folder.is_dir() == (trial.outcome == "trained")
        if trial.outcome == "trained":
            read = EventAccumulator(str(folder)).Reload()
            events = {event.step: event.value for event in read.Scalars("val_accuracy")}
            assert events == pytest.approx(trial.accuracies)
            assert [event.value for event in read.Scalars("params")] == [trial.weight.params]


class Untouchable:
    """Stands for the test images."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the search read {name} of the test images")


@pytest.fixture(scope="module")
def shared(digits: Data) -> Shared:
    train = digits.train.rows(slice(240))
    data = Data("digits", train, Untouchable(), digits.classes, digits.preprocess)  # type: ignore[arg-type]
    return Shared.of(data.without_test())


def test_the_table_does_not_depend_on_the_number_of_workers(shared: Shared, tmp_path: Path) -> None:
    tables = []
    for jobs in (1, 2):
        out = tmp_path / str(jobs)
        out.mkdir()
        study = study_of(out, processes(partial(train_candidate, shared), jobs), settings(), 6)
        Tables(out).write(study)
        tables.append((out / "trials.csv").read_bytes())
        assert tables[-1].decode() == to_csv(study)
    assert tables[0] == tables[1]
    assert tables[0].count(b"trained") == 6


def test_images_are_sent_once(digits: Data) -> None:
    """Beside the arrays of `Shared` a slice of a tensor would bring all that it is a slice of."""
    assert len(pickle.dumps(Shared.of(digits.without_test()).data)) < 10_000


def test_a_search_ends_without_a_word(tmp_path: Path) -> None:
    """In a process that ends as a user's does."""
    library()  # whose compilation is announced, where no test has asked for it yet
    here = f"test_driver.Path({str(tmp_path)!r})"
    code = f"import test_driver; test_driver.search_here({here}, 2, trials=3)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, stderr=subprocess.PIPE, check=True
    )
    assert done.stderr.decode().splitlines() == []


def test_a_search_that_is_killed_ends_with_the_same_table(tmp_path: Path) -> None:
    """Killed at random moments, driver and workers; with two workers, and then with one."""
    said = tmp_path / "said"
    search_here(tmp_path / "whole", 1)
    chance = random.Random(0)
    for _ in range(3):
        process = forked.start(search_here, tmp_path / "killed", 2, said=said)
        assert process.pid
        deadline = time.monotonic() + 60
        while not (tmp_path / "killed" / "networks").is_dir() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 3))
        left = children_of(process.pid)
        process.kill()
        process.join()
        while any(map(is_alive, left)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(map(is_alive, left))  # no worker outlives its driver for long
    search_here(tmp_path / "killed", 1)
    for name in ("trials.csv", "results.jsonl"):
        tables = [(tmp_path / way / name).read_text() for way in ("whole", "killed")]
        assert sorted(tables[0].splitlines()) == sorted(tables[1].splitlines())


def children_of(process: int) -> list[int]:
    """The processes that it has started, on Linux."""
    listed = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def is_alive(process: int) -> bool:
    """Whether it runs, on Linux; one that has ended but was not waited for has no command line."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:
        return False


def search_here(out: Path, jobs: int, trials: int = 10) -> None:
    """A search in this process and its workers."""
    data = load_data("digits").without_test()
    with opened(out, settings(), data.fingerprint):
        run = processes(partial(train_candidate, Shared.of(data)), jobs)
        Tables(out).write(study_of(out, run, settings(), trials))
