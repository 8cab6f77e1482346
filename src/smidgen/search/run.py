"""A whole search: from settings and data to a front, a winner and its honest accuracy."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from smidgen.data import Data
from smidgen.errors import SearchError, did_you_mean
from smidgen.files import write_whole
from smidgen.recipe import Recipe
from smidgen.run import Run
from smidgen.search.finish import finish
from smidgen.search.folder import Tables, opened
from smidgen.search.study import Images, Settings, Study, require_one_that_fits
from smidgen.search.table import to_csv
from smidgen.search.tensorboard import Board
from smidgen.sweep import fit_seeds
from smidgen.train.tensorboard import require_tensorboard
from smidgen.trials.driver import Driver, Progress
from smidgen.trials.workers import Shared, Workers, processes, train_candidate

BACKENDS = ("joblib", "ray")
Watch = Callable[[Progress, Study], None]


def _silent(progress: Progress, study: Study) -> None:
    pass


@dataclass(frozen=True)
class Effort:
    """How much is done: candidates to train, or seconds, or the first that is reached."""

    trials: int | None = 200
    time_s: float | None = None
    seeds: int = 3  # of the winner
    jobs: int = -1
    backend: str = "joblib"  # or "ray"
    storage: str | None = None  # of many shells, each with one core
    tensorboard: bool = False

    def __post_init__(self) -> None:
        """Raises SearchError for what no search could begin with."""
        if self.backend not in BACKENDS:
            near = did_you_mean(self.backend, BACKENDS)
            raise SearchError(f"unknown backend {self.backend!r}{near}")
        if self.trials is not None and self.trials < 1:
            raise SearchError(f"--trials {self.trials}: a search trains at least 1 candidate")
        if self.jobs < 1 and self.jobs != -1:
            raise SearchError(f"--jobs {self.jobs} train nothing; at least 1, or -1 for one a core")
        if self.seeds < 2:
            raise SearchError(f"--seeds {self.seeds} gives no spread; the winner needs at least 2")


def search(
    settings: Settings,
    data: Data,
    out: Path,
    effort: Effort,
    *,
    data_dir: Path | None = None,
    watch: Watch = _silent,
) -> dict[str, Any]:
    """Searches in the folder `out`, new or of the same search, and returns its document.

    The test images are not read before the winner has been trained. Raises SearchError for a
    space of which nothing fits, a folder of something else and fewer than two seeds, and
    MissingExtraError where the limits ask for a build and there is no compiler for Arm.
    """
    images = Images(data.preprocess, len(data.classes))
    require_possible(settings, images, effort)
    if effort.storage is not None:
        return _search_together(settings, data, out, effort, data_dir, watch)
    study, blind = Study(settings, images), data.without_test()
    with opened(out, settings, blind.fingerprint):
        tables = Tables(out, Board(out / "tensorboard") if effort.tensorboard else None)

        def report(progress: Progress) -> None:
            if progress.finished_round:
                tables.write(study)
            watch(progress, study)

        run = _workers(Shared.of(blind), effort)
        driver = Driver(study, out, run, effort.trials, effort.time_s, report)
        for _ in driver.trainings():
            pass
        tables.write(study)
        return _finish(study, out, run, effort, data_dir, driver.seconds, watch)


def _search_together(
    settings: Settings, data: Data, out: Path, effort: Effort, data_dir: Path | None, watch: Watch
) -> dict[str, Any]:
    """The same with a database; whoever is first at the end trains the winner for all."""
    from smidgen.search.database import join

    began, images = time.monotonic(), Images(data.preprocess, len(data.classes))
    shared = Shared.of(data.without_test())

    url, trials = effort.storage or "", effort.trials or 0
    before: list[int] = []  # trials when this shell came

    def report(study: Study) -> None:
        trained, seconds = study.count("trained"), time.monotonic() - began
        before.append(trained)
        own = trained - before[0]
        left = seconds * max(trials - trained, 0) / own if own else None
        watch(Progress(trained, trials, seconds, left, finished_round=True), study)

    with opened(out, settings, shared.fingerprint, wait=True):
        pass  # all shells search by the same settings
    study = join(settings, images, shared, out, url, trials, report)
    with opened(out, settings, shared.fingerprint, wait=True):
        write_whole(out / "trials.csv", to_csv(study))
        run, seconds = _workers(shared, effort), time.monotonic() - began
        return _finish(study, out, run, effort, data_dir, seconds, watch)


def _finish(
    study: Study, out: Path, run: Workers, effort: Effort, data_dir: Path | None,
    seconds: float, watch: Watch,
) -> dict[str, Any]:  # fmt: skip
    """Finds the winner and writes result.json; `seconds` are those of the trials."""
    began, trained = time.monotonic(), study.count("trained")

    def report(done: int, total: int) -> None:
        taken = seconds + time.monotonic() - began
        final = f"{done:,} of {total:,}"
        watch(
            Progress(trained, effort.trials, taken, None, finished_round=True, final=final), study
        )

    def train(recipe: Recipe, seeds: int, folder: Path) -> Iterator[Run]:
        return fit_seeds(recipe, seeds, folder, data_dir=data_dir, jobs=effort.jobs)

    document = finish(study, out, run, train, effort.seeds, report) | {"seconds": seconds}
    write_whole(out / "result.json", json.dumps(document, indent=2) + "\n")
    return document


def _workers(shared: Shared, effort: Effort) -> Workers:
    if effort.backend == "ray":
        from smidgen.search.cluster import ray_workers

        return ray_workers(shared)
    return processes(partial(train_candidate, shared), effort.jobs)


def require_possible(settings: Settings, images: Images, effort: Effort) -> None:
    """Raises SearchError or MissingExtraError for a search that cannot come to its end."""
    if effort.storage is not None and effort.trials is None:
        raise SearchError("--storage goes with --trials, not with --time")
    if effort.tensorboard:
        require_tensorboard()
        if effort.storage is not None:
            raise SearchError("--tensorboard goes without --storage, which optuna-dashboard reads")
    if settings.limits.need_firmware:
        from smidgen.export.toolchain import find

        for program in ("arm-none-eabi-gcc", "qemu-system-arm"):
            find(program)
    require_one_that_fits(settings, images)
