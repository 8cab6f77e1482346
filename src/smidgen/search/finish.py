"""How a search ends: the front, the winner among the best, and the one look at the test images.

An accuracy on a few thousand validation images, of one seed and a few epochs, ranks the best
candidates hardly better than chance. So the best of the last rung are finalists, which train again
under several seeds for as long as the winner will, and their means decide.
"""

from __future__ import annotations

import itertools
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from smidgen.blocks.document import to_toml
from smidgen.errors import SearchError
from smidgen.files import make_folder, write_whole
from smidgen.metrics import over_seeds
from smidgen.recipe import Recipe, override
from smidgen.recipe import to_toml as recipe_to_toml
from smidgen.run import Run
from smidgen.search.study import Settings, Study, Trial
from smidgen.search.weigh import QUANTITIES
from smidgen.trials.workers import Task, Workers

FINALISTS = 4


@dataclass(frozen=True)
class Point:
    """A network of the front and its weight; flash and RAM as built, where they are limited."""

    trial: Trial
    network: str  # its file
    figures: dict[str, int | None]

    def document(self) -> dict[str, Any]:
        """The point as JSON has it."""
        return {"network": self.network, **self.figures, "val_accuracy": self.trial.val_accuracy}


def on_last_rung(study: Study, without: Collection[str]) -> list[Trial]:
    """The trials that trained on the last rung, but those whose candidates are `without`."""
    last = study.settings.rungs[-1]
    trained = (t for t in study.trials if t.outcome == "trained" and t.epochs == last)
    return [trial for trial in trained if trial.key not in without]


def front_of(study: Study, without: Collection[str] = ()) -> list[Trial]:
    """The trained trials of the last rung that no other one beats in error and quantity.

    They are sorted by the quantity that the budget limits first; the last is the most accurate.
    Candidates `without` count for nothing.
    """
    whole = on_last_rung(study, without)
    whole.sort(key=lambda t: (study.quantity(t), -(t.val_accuracy or 0), t.number))
    front: list[Trial] = []
    for trial in whole:
        if not front or (trial.val_accuracy or 0) > (front[-1].val_accuracy or 0):
            front.append(trial)
    return front


def finalists_of(study: Study, without: Collection[str] = ()) -> list[Trial]:
    """The most accurate trained trials of the last rung; of equal ones the smaller first."""
    whole = on_last_rung(study, without)
    return sorted(whole, key=lambda t: (-(t.val_accuracy or 0), study.quantity(t)))[:FINALISTS]


@dataclass(frozen=True)
class Finalist:
    """A network and its validation accuracies, one for each seed."""

    point: Point
    accuracies: Sequence[float]

    def document(self) -> dict[str, Any]:
        """The finalist as JSON has it."""
        return self.point.document() | {"final_val_accuracy": _spread(self.accuracies)}


Choose = Callable[[Study, Collection[str]], list[Trial]]


def verified(study: Study, choose: Choose, out: Path, built: dict[str, Point]) -> list[Point]:
    """What `choose` takes, where every network keeps the limits in a real build, if it takes one.

    A network that turns out to be too large makes room for those behind it. `built` are the
    networks whose weight is known, to which others are added. Raises SearchError where none is
    left, MissingExtraError where flash or RAM is limited and cannot be measured.
    """
    while True:
        too_large = {key for key, point in built.items() if _is_over(study, point)}
        chosen = choose(study, too_large)
        if not chosen:
            raise SearchError("no network of the search keeps the limits once it is built")
        new = [trial for trial in chosen if trial.key not in built]
        if not new:
            return [built[trial.key] for trial in chosen]
        built |= {trial.key: _measured(study, trial, out) for trial in new}


def _measured(study: Study, trial: Trial, out: Path) -> Point:
    figures = {name: getattr(trial.weight, name) for name in QUANTITIES}
    if study.limits.need_firmware:
        run = out / "candidates" / f"{trial.key}-{trial.epochs}"
        figures |= measure_firmware(run)
    return Point(trial, str(out / "networks" / f"{trial.key}.toml"), figures)


def measure_firmware(run: Path) -> dict[str, int]:
    """Flash and RAM of a run's network, built for Cortex-M0+ and measured."""
    # What these need is slow to import.
    from smidgen.export.footprint import footprint, quantize_on_noise
    from smidgen.target import load

    target = load(str(run))
    size = footprint(quantize_on_noise(target.model, target.preprocess, "weighed"))
    return {"flash_bytes": size.flash_bytes, "ram_bytes": size.ram_bytes}


def _is_over(study: Study, point: Point) -> bool:
    limits = vars(study.limits).items()
    return any(limit is not None and (point.figures[n] or 0) > limit for n, limit in limits)


def winning_recipe(settings: Settings, trial: Trial, model: str) -> Recipe:
    """The frozen recipe: the candidate's values, all training images, the recipe's own epochs."""
    frozen = {"model": model, "data": settings.data, "full": True}
    return override(settings.recipe, frozen | dict(trial.candidate.recipe))


def train_finalists(
    settings: Settings,
    points: Sequence[Point],
    seeds: int,
    out: Path,
    run: Workers,
    step: Callable[[], None],
) -> list[Finalist]:
    """The points with their accuracies over the seeds, the best mean first.

    They are trained by the recipe of a winner, but on the images to fit.
    """
    tasks: dict[str, tuple[Task, Point]] = {}
    for point in points:
        frozen = winning_recipe(settings, point.trial, str(Path(point.network).absolute()))
        for seed in range(frozen.seed, frozen.seed + seeds):
            name = f"{point.trial.key}-seed-{seed}"
            recipe = override(frozen, {"full": False, "watch_test": False, "seed": seed})
            folder = out.absolute() / "finalists" / name
            tasks[name] = Task(name, recipe, str(folder)), point
    accuracies = defaultdict(list)
    for task, accuracy in run([task for task, _ in tasks.values()]):
        accuracies[tasks[task.key][1].trial.key].append(accuracy)
        step()
    found = [Finalist(point, accuracies[point.trial.key]) for point in points]
    return sorted(found, key=lambda each: -fmean(each.accuracies))


def write_winner(settings: Settings, trial: Trial, folder: Path) -> Recipe:
    """Writes net.toml and recipe.toml, ready for `smidgen train`; returns the recipe."""
    make_folder(folder)
    write_whole(folder / "net.toml", to_toml(trial.candidate.network))
    recipe = winning_recipe(settings, trial, str(folder / "net.toml"))
    write_whole(folder / "recipe.toml", recipe_to_toml(recipe))
    return recipe


def emit_winner(out: Path, folder: Path) -> Path:
    """Copies a search's winner to a new folder: the run of its first seed, and net.toml."""
    first = min((out / "best" / "runs").glob("seed-*"), key=lambda path: int(path.name[5:]))
    shutil.copytree(first, folder)
    shutil.copy(out / "best" / "net.toml", folder / "net.toml")
    return folder


def finish(
    study: Study,
    out: Path,
    run: Workers,
    train: Callable[[Recipe, int, Path], Iterator[Run]],
    seeds: int,
    watch: Callable[[int, int], None],
) -> dict[str, Any]:
    """The document of `smidgen search --json`, but for its seconds.

    `run` trains the finalists, without the test images; `train` trains the winner's recipe under
    so many seeds in a folder, and only then are they read. `watch` is called with the number of
    these trainings that are done, and of all.
    """
    built: dict[str, Point] = {}
    front = verified(study, front_of, out, built)
    points = verified(study, finalists_of, out, built)
    done, total = itertools.count(1), (len(points) + 1) * seeds

    def step() -> None:
        watch(next(done), total)

    finalists = train_finalists(study.settings, points, seeds, out, run, step)
    best = out / "best"
    recipe = write_winner(study.settings, finalists[0].point.trial, best)
    accuracies = []
    for trained in train(recipe, seeds, best / "runs"):
        accuracies.append(trained.result()["test_accuracy"])
        step()
    proved = {"epochs": recipe.epochs, "test_accuracy": _spread(accuracies)}
    return {
        "study": str(out),
        "trials": len(study.trials),
        **{name: study.count(name) for name in ("trained", "repeated", "rejected")},
        "front": [point.document() for point in front],
        "finalists": [finalist.document() for finalist in finalists],
        "best": finalists[0].document() | {"recipe": str(best / "recipe.toml")} | proved,
    }


def _spread(accuracies: Sequence[float]) -> dict[str, Any]:
    summary = over_seeds(accuracies)
    return {"mean": summary.mean, "sd": summary.sd, "n": summary.n}
