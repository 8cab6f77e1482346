"""Seconds of training until the test images are classified well enough.

The weights are copied about ten times a second during the training and scored after it, so that
the clock runs for training alone, and before it for a teacher's answers. That reads the test set
often; it shows how fast a fixed recipe is, and nothing is chosen by it.
"""

from __future__ import annotations

import copy
import time
from statistics import fmean, median
from typing import Any

import torch
from torch import nn

from smidgen.bench.standard import train_standard
from smidgen.data import Data
from smidgen.inference import accuracy, logits
from smidgen.recipe import Recipe, load_recipe, override
from smidgen.train import new_module, train_epoch
from smidgen.train.data_parallel import DataParallel
from smidgen.train.distributed import Process
from smidgen.train.optimizer import Optimizer
from smidgen.train.progress import Meter, Progress
from smidgen.train.resolve import resolve
from smidgen.train.teacher import with_soft_labels

CPU = torch.device("cpu")
SCORED = 40
Snapshot = tuple[float, dict[str, torch.Tensor]]


def time_to_accuracy(
    recipe: Recipe, data: Data, targets: tuple[float, ...], seeds: int = 5
) -> dict[str, Any]:
    """Of each seed the seconds to each target and at the end, the final accuracy; and medians.

    A target that a seed never reaches counts as infinitely late.
    """
    chosen = resolve(recipe, new_module(recipe, data), data.preprocess, CPU, Process())
    runs = []
    for seed in range(seeds):
        curve = _scored(_engine_snapshots(override(chosen, {"seed": seed}), data), chosen, data)
        runs.append(
            {
                "seconds": curve[-1][0],
                "accuracy": curve[-1][1],
                **{f"to {target:.2%}": _first(curve, target) for target in targets},
            }
        )
    medians = {key: median(run[key] for run in runs) for key in runs[0] if key != "accuracy"}
    return {
        "workers": chosen.workers,
        "runs": runs,
        "median": medians,
        "mean_accuracy": fmean(run["accuracy"] for run in runs),
    }


def race(data: Data, recipe: Recipe, target: float = 0.98, rounds: int = 5) -> dict[str, Any]:
    """Seconds to the target: the standard loop by tiny_mnist's document, the engine by `recipe`.

    The standard loop goes on epoch after epoch until it is there.
    """
    published = load_recipe("tiny_mnist")
    chosen = resolve(recipe, new_module(recipe, data), data.preprocess, CPU, Process())
    times: dict[str, list[float]] = {"standard": [], "engine": []}
    for seed in range(rounds):
        snapshots = _engine_snapshots(override(chosen, {"seed": seed}), data)
        times["engine"].append(_first(_scored(snapshots, chosen, data), target))
        times["standard"].append(_standard_time(override(published, {"seed": seed}), data, target))
    pairs = zip(times["standard"], times["engine"], strict=True)
    return {"seconds": {name: median(taken) for name, taken in times.items()},
            "ratio": median(slow / fast for slow, fast in pairs), "rounds": times}  # fmt: skip


def _engine_snapshots(recipe: Recipe, data: Data) -> list[Snapshot]:
    """The weights of one training, with the seconds so far, of its teacher and of training."""
    module = new_module(recipe, data)
    engine = DataParallel(module, recipe, data.preprocess, CPU, Process())
    optimizer = Optimizer(engine.weights, recipe.optimizer)
    snapshots: list[Snapshot] = []
    started = time.perf_counter()
    images = with_soft_labels(data.train, recipe, data)
    seconds = time.perf_counter() - started

    def copy_weights(progress: Progress) -> None:
        state = {key: value.clone() for key, value in engine.weights.averaged.state_dict().items()}
        snapshots.append((progress.images_seen / progress.images_per_second, state))

    with engine:
        for epoch in range(recipe.epochs):
            meter = Meter(epoch, recipe, len(images), seconds, copy_weights)
            train_epoch(engine, optimizer, images, epoch, meter)
            meter.report(meter.finish())
            seconds = meter.seconds()
    return snapshots


def _scored(snapshots: list[Snapshot], recipe: Recipe, data: Data) -> list[tuple[float, float]]:
    """Seconds and accuracy of about forty snapshots, the last among them."""
    module = new_module(recipe, data)
    every = max(1, len(snapshots) // SCORED)
    chosen = [*snapshots[:-1][::every], snapshots[-1]]
    return [(seconds, _test_accuracy(module, state, data)) for seconds, state in chosen]


def _test_accuracy(module: nn.Module, state: dict[str, torch.Tensor], data: Data) -> float:
    module.load_state_dict(state)
    return accuracy(logits(module, data.test.images, data.preprocess), data.test.labels)


def _first(curve: list[tuple[float, float]], target: float) -> float:
    return next((seconds for seconds, accuracy in curve if accuracy >= target), float("inf"))


def _standard_time(recipe: Recipe, data: Data, target: float, most_epochs: int = 10) -> float:
    """Seconds of training until the target is reached, looked for after every hundredth batch."""
    module = new_module(recipe, data)
    scored = copy.deepcopy(module)
    optimizer = torch.optim.Adam(module.parameters(), lr=recipe.optimizer.lr)
    before = taken = 0.0
    for _ in range(most_epochs):
        steps = train_standard(module, data.train, recipe, data.preprocess, 0, optimizer)
        for step, (_, taken) in enumerate(steps, 1):
            if step % 100 == 0 and _test_accuracy(scored, module.state_dict(), data) >= target:
                return before + taken
        before += taken
    return float("inf")
