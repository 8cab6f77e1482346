"""Checks a target against a budget, with all that can be measured without training."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from torch import nn

from smidgen.anatomy import Anatomy, Behaviour, describe, probe
from smidgen.budget import (
    Budget,
    Firmware,
    Score,
    Training,
    Verdict,
    judge,
    list_budgets,
    load_budget,
)
from smidgen.errors import BudgetError, ExportError, MissingExtraError, RunError
from smidgen.inputs import InputShape
from smidgen.metrics import over_seeds, wilson_interval
from smidgen.network import guess_input, private_copy
from smidgen.run import Run
from smidgen.target import Target, load, untrained


@dataclass(frozen=True)
class Measured:
    """All that is known of a target without training it."""

    name: str
    classes: int | None  # that it was trained for
    anatomy: Anatomy
    behaviour: Behaviour
    training: Training | None
    firmware: Firmware | None

    def judge(self, budget: Budget) -> Verdict:
        """The verdict of a budget over what was measured.

        A budget that says no number of classes asks for as many as the target was trained for.
        """
        if self.classes and "classes" not in budget.model_fields_set:
            budget = budget.model_copy(update={"classes": self.classes})
        return judge(budget, self.anatomy, self.behaviour, self.training, self.firmware)


def check(
    target: nn.Module | str | Path,
    budget: str | Path | Budget | None = None,
    input_shape: InputShape | None = None,
) -> Verdict:
    """The verdict of a budget (its name, its file or itself) over a target.

    A target is a module, a zoo name, a bundle folder, a Python file, a run folder, or the folder of
    a series of seeds; only the last two have a training to judge. Raises ModelError, RunError and
    BudgetError for what cannot be loaded, and where no budget is named.
    """
    if budget is None:
        raise BudgetError(f"name a budget, or its file; there are {', '.join(list_budgets())}")
    rules = budget if isinstance(budget, Budget) else load_budget(budget)
    return measure(target, rules.last_epochs, rules.weighs_firmware, input_shape).judge(rules)


def measure(
    target: nn.Module | str | Path,
    last_epochs: int = 5,
    firmware: bool = False,
    input_shape: InputShape | None = None,
) -> Measured:
    """What a target weighs, how it behaves, and how its training went if there is a run of it.

    With `firmware` it is also exported as C, built for Cortex-M0+ and weighed.
    """
    loaded, runs = load_with_runs(target, input_shape)
    return Measured(
        name=loaded.name,
        classes=len(loaded.classes) if loaded.trained else None,
        anatomy=describe(loaded.model, loaded.preprocess.shape, loaded.name),
        behaviour=probe(loaded.model, loaded.preprocess.shape),
        training=summarise(runs, last_epochs) if runs else None,
        firmware=build_firmware(loaded) if firmware else None,
    )


def load_with_runs(
    target: nn.Module | str | Path, input_shape: InputShape | None
) -> tuple[Target, list[Run]]:
    """The target, and its run or the runs of its series of seeds, if it has any."""
    if isinstance(target, nn.Module):
        shape = input_shape or guess_input(target)
        return untrained(type(target).__name__, private_copy(target, shape), shape), []
    found = Path(target).glob("seed-*/result.json") if os.path.isdir(target) else ()
    seeds = sorted(path.parent for path in found)
    loaded = load(seeds[0] if seeds else target, weights=False, input_shape=input_shape)
    return loaded, [Run.open(path) for path in seeds] or ([loaded.run] if loaded.run else [])


def build_firmware(target: Target) -> Firmware:
    """What a network's firmware takes, or why it could not be built here."""
    # What these need is slow to import.
    from smidgen.export.footprint import footprint, quantize_on_noise

    try:
        weighed = footprint(quantize_on_noise(target.model, target.preprocess, "weighed"))
    except (ExportError, MissingExtraError) as problem:
        return Firmware(problem=str(problem))
    return Firmware(weighed.flash_bytes, weighed.ram_bytes)


def summarise(runs: list[Run], last_epochs: int) -> Training:
    """How the runs of one recipe went, as a budget judges it.

    Accuracies are on the test images; those of single epochs are there only where the recipe
    watched the test set, or had one epoch. The lowest figure over the seeds counts for the last
    epochs. Raises RunError for a run that has not finished.
    """
    results = [run.result() for run in runs]
    recipe, first = runs[0].recipe, results[0]
    images = _test_images(runs[0])
    curves = [[row["test_accuracy"] for row in run.metrics()] for run in runs]
    whole = [[a for a in curve if a is not None] for curve in curves]
    if recipe.epochs == 1:
        whole = [[result["test_accuracy"]] for result in results]
    watched = all(len(curve) == recipe.epochs for curve in whole)
    last = [min(curve[-last_epochs:]) for curve in whole] if watched else []
    trained = [result["train_accuracy"] for result in results]
    # Runs of smidgen 0.1 do not say how many images an epoch had.
    mean_per_epoch = -(-first["images_seen"] // first["epochs"])
    return Training(
        epochs=recipe.epochs,
        images_seen=max(result["images_seen"] for result in results),
        images_per_epoch=first.get("images_per_epoch", mean_per_epoch),
        first_epoch_accuracy=_mean([c[0] for c in whole], images) if watched else None,
        train_accuracy=None if None in trained else fmean(trained),
        accuracy=_mean([result["test_accuracy"] for result in results], images),
        last_accuracy=_one(min(last), images) if last else None,
        test_reads=max(result["test_reads"] for result in results),
    )


def _test_images(run: Run) -> int:
    logits = run.test_logits()
    if logits is None:
        raise RunError(f"the run {str(run.path)!r} holds no test logits; train it again")
    return len(logits)


def _one(accuracy: float, images: int) -> Score:
    interval = wilson_interval(round(accuracy * images), images)
    return Score(accuracy, interval, f"{images:,} images")


def _mean(accuracies: list[float], images: int) -> Score:
    """One seed's accuracy with the interval over images, or the mean with that over seeds."""
    if len(accuracies) == 1:
        return _one(accuracies[0], images)
    summary = over_seeds(accuracies)
    return Score(summary.mean, summary.interval, f"{summary.n} seeds")
