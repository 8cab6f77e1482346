"""The training of one task, a pure function, and the processes of this machine that call it."""

from __future__ import annotations

import atexit
import functools
import os
import pickle
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from joblib import Parallel, delayed, effective_n_jobs
from joblib.externals.loky.process_executor import TerminatedWorkerError
from numpy.typing import NDArray

from smidgen.data import Data, Split
from smidgen.errors import RunError, TrainingError
from smidgen.files import make_folder
from smidgen.network import one_thread_per_operator
from smidgen.recipe import Recipe
from smidgen.run import Run
from smidgen.train import fit, resume

IDLE_S = 86_400  # joblib does not notice the death of a worker that it starts for one that left
DEATHS = 3  # of workers, one after the other, without a candidate that finishes in between


@dataclass(frozen=True)
class Task:
    """One recipe to train by in `folder`, which may hold the beginning of it."""

    key: str
    recipe: Recipe
    folder: str

    @property
    def name(self) -> tuple[str, int]:
        """The candidate and its epochs."""
        return self.key, self.recipe.epochs


@dataclass(frozen=True, eq=False)
class Shared:
    """A data set as arrays, without test images, that is sent once to each process or node."""

    data: Data  # with one training image
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    fingerprint: str

    @classmethod
    def of(cls, data: Data) -> Shared:
        """The same, of data without test images."""
        # Copies: a slice is pickled with all that it is a slice of.
        first, none = (data.train.rows(torch.arange(count)) for count in (1, 0))
        arrays = data.train.images.numpy(), data.train.labels.numpy()
        return cls(replace(data, train=first, test=none, origin=None), *arrays, data.fingerprint)

    def load(self) -> Data:
        """The data set; a process makes it once, and copies what it may not write, Ray's arrays."""
        if self.fingerprint not in _loaded:
            _loaded.clear()
            arrays = (np.require(each, requirements="W") for each in (self.images, self.labels))
            split = Split(*map(torch.from_numpy, arrays))
            _loaded[self.fingerprint] = replace(self.data, train=split)
        return _loaded[self.fingerprint]


_loaded: dict[str, Data] = {}

Workers = Callable[[Sequence[Task]], Iterator[tuple[Task, float]]]


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


def train_candidate(shared: Shared, task: Task) -> float:
    """The validation accuracy of a candidate, trained on one core; 0 where it diverged.

    It depends on the task and the data alone. A training that was killed goes on from its last
    whole epoch, and one that has finished in the folder is not begun again. Only one process at a
    time trains in a folder: the workers of a killed search live a second longer than it.
    """
    folder = Path(task.folder)
    make_folder(folder.parent)
    with FileLock(f"{folder}.lock"), one_thread_per_operator():
        data = shared.load()
        try:
            run = fit_one(task.recipe, folder, lambda: data)
        except TrainingError:
            return 0.0
        (folder / "last.pt").unlink(missing_ok=True)
    return float(run.result()["val_accuracy"])


def processes(train: Callable[[Task], float], jobs: int) -> Workers:
    """Trains in processes of this machine, or in this one where `jobs` is 1; -1 is one a core.

    `train` may bring all images: each process reads it once, from a file. Through joblib's pipe, a
    process that is killed before it has read all would have the driver wait for ever. The processes
    stay for the next call, since starting one takes longer than a small training.
    """
    if effective_n_jobs(jobs) == 1:
        return lambda tasks: ((task, train(task)) for task in tasks)
    # joblib replaces a worker whose memory has grown; nothing is lost.
    warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
    handle, path = tempfile.mkstemp(dir=_folder())
    with open(handle, "wb") as file:
        pickle.dump(train, file)
    parallel = Parallel(
        jobs, return_as="generator_unordered", idle_worker_timeout=IDLE_S,
        initializer=_begin, initargs=(os.getpid(), _folder()),
    )  # fmt: skip
    return functools.partial(_by_joblib, parallel, path)


@functools.cache
def _folder() -> str:
    """A folder of this process, for its workers to read; it goes with the last of them."""
    folder = tempfile.mkdtemp(prefix="smidgen-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _by_joblib(
    parallel: Parallel, path: str, tasks: Sequence[Task]
) -> Iterator[tuple[Task, float]]:
    """The tasks with their accuracies, as they finish. A process that dies is replaced.

    Raises TrainingError where process after process dies.
    """
    left, deaths = {task.name: task for task in tasks}, 0
    while left:
        calls = [delayed(_train_here)(path, task) for task in left.values()]
        try:
            for task, accuracy in parallel(calls):
                del left[task.name]
                deaths = 0
                yield task, accuracy
        except TerminatedWorkerError:
            deaths += 1
            if deaths == DEATHS:
                raise TrainingError(
                    f"{deaths} training processes were killed one after the other (out of "
                    "memory?); the same command goes on from there"
                ) from None


def _train_here(path: str, task: Task) -> tuple[Task, float]:
    return task, _read(path)(task)


@functools.lru_cache(maxsize=1)
def _read(path: str) -> Callable[[Task], float]:
    """How this worker trains."""
    train: Callable[[Task], float] = pickle.loads(Path(path).read_bytes())
    return train


def _begin(driver: int, folder: str) -> None:
    """Has this worker end when its driver has, which may be killed."""

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(1)
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
