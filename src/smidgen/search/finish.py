"""How a search ends: the front, the winner, and the one look at the test images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smidgen.blocks.document import to_toml
from smidgen.errors import SearchError
from smidgen.files import make_folder, write_whole
from smidgen.metrics import over_seeds
from smidgen.recipe import Recipe, override
from smidgen.recipe import to_toml as recipe_to_toml
from smidgen.search.study import Settings, Study, Trial
from smidgen.search.weigh import QUANTITIES


@dataclass(frozen=True)
class Point:
    """A network of the front and its weight; flash and RAM as built, where they are limited."""

    trial: Trial
    network: str  # its file
    figures: dict[str, int | None]

    def document(self) -> dict[str, Any]:
        """The point as JSON has it."""
        return {"network": self.network, **self.figures, "val_accuracy": self.trial.val_accuracy}


def front_of(study: Study, without: Collection[str] = ()) -> list[Trial]:
    """The trained trials of the last rung that no other one beats in error and quantity.

    They are sorted by the quantity that the budget limits first; the last is the most accurate.
    Candidates `without` count for nothing.
    """
    last = study.settings.rungs[-1]
    trained = (t for t in study.trials if t.outcome == "trained" and t.epochs == last)
    whole = [trial for trial in trained if trial.key not in without]
    whole.sort(key=lambda t: (study.quantity(t), -(t.val_accuracy or 0), t.number))
    front: list[Trial] = []
    for trial in whole:
        if not front or (trial.val_accuracy or 0) > (front[-1].val_accuracy or 0):
            front.append(trial)
    return front


def verified_front(study: Study, out: Path) -> list[Point]:
    """The front, of which every network keeps the limits in a real build, where it takes one.

    A network that turns out to be too large makes room for those behind it. Raises SearchError
    where none is left, MissingExtraError where flash or RAM is limited and cannot be measured.
    """
    built: dict[str, Point] = {}
    too_large: set[str] = set()
    while front := front_of(study, too_large):
        for trial in front:
            if trial.key not in built:
                built[trial.key] = _measured(study, trial, out)
        points = [built[trial.key] for trial in front]
        over = {point.trial.key for point in points if _is_over(study, point)}
        if not over:
            return points
        too_large |= over
    raise SearchError("no network of the search keeps the limits once it is built")


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
    train: Callable[[Recipe, Path], Iterator[Any]],
    seconds: float,
) -> dict[str, Any]:
    """The document of `smidgen search --json`, kept as result.json.

    `train` trains the winner's recipe for some seeds in a folder; only now is the test set read.
    """
    points = verified_front(study, out)
    winner = points[-1]
    recipe = write_winner(study.settings, winner.trial, out / "best")
    runs = [run.result() for run in train(recipe, out / "best" / "runs")]
    summary = over_seeds([result["test_accuracy"] for result in runs])
    outcomes = [trial.outcome for trial in study.trials]
    document = {
        "study": str(out),
        "trials": len(outcomes),
        **{name: outcomes.count(name) for name in ("trained", "repeated", "rejected")},
        "seconds": seconds,
        "front": [point.document() for point in points],
        "best": {
            **winner.document(),
            "recipe": str(out / "best" / "recipe.toml"),
            "epochs": recipe.epochs,
            "test_accuracy": {"mean": summary.mean, "sd": summary.sd, "n": summary.n},
        },
    }
    write_whole(out / "result.json", json.dumps(document, indent=2) + "\n")
    return document
