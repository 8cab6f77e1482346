"""What a search would take, without searching: `smidgen search --plan`."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import Any

from joblib import effective_n_jobs

from smidgen.blocks.document import to_toml
from smidgen.data import Data
from smidgen.search.run import Effort, require_possible
from smidgen.search.space import RandomTrial
from smidgen.search.study import Images, Settings, recipe_of, survey
from smidgen.trials.driver import epochs_of
from smidgen.trials.workers import Shared, Task, train_candidate

DRAWN = 1_000


def plan(settings: Settings, data: Data, effort: Effort) -> dict[str, Any]:
    """How many networks a space holds, how many of 1,000 fit, and how long the search takes here.

    `networks` is null where a range has no steps. The time is that of one candidate, whose
    multiply–accumulates are the median of those that fit, trained for the epochs of the first
    rung, times all epochs, over the cores. The final trainings are not in it.
    """
    images = Images(data.preprocess, len(data.classes))
    require_possible(settings, images, effort)
    weights = survey(settings, images, DRAWN)
    fitting = [seed for seed, weight in enumerate(weights) if not weight.broken]
    median = sorted(fitting or [0], key=lambda seed: weights[seed].macs)[len(fitting) // 2]
    smallest = min(weights, key=lambda weight: weight.params)
    trials, cores = effort.trials or 0, effective_n_jobs(effort.jobs)
    seconds = _seconds_per_epoch(settings, data, median)
    epochs = epochs_of(settings.rungs, settings.batch, trials)
    own = settings.space.all_ranges().items()
    networks = math.prod(r.count() for name, r in own if name not in settings.space.recipe)
    return {
        "networks": networks if math.isfinite(networks) else None,
        "drawn": DRAWN,
        "fit": len(fitting),
        "smallest": {"params": smallest.params, "macs": smallest.macs},
        "seconds_per_epoch": seconds,
        "epochs": epochs,
        "cores": cores,
        "seconds": epochs * seconds / cores,
    }


def _seconds_per_epoch(settings: Settings, data: Data, seed: int) -> float:
    """The time of one candidate, drawn from that seed, on its first rung."""
    candidate, epochs = settings.space.draw(RandomTrial(seed)), settings.rungs[0]
    shared = Shared.of(data.without_test())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.toml"
        path.write_text(to_toml(candidate.network), encoding="utf-8")
        recipe = recipe_of(settings, str(path), candidate.recipe, epochs)
        began = time.perf_counter()
        train_candidate(shared, Task("timed", recipe, str(Path(folder) / "run")))
        return (time.perf_counter() - began) / epochs
