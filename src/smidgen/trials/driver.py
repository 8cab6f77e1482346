"""The one process that owns some trials: it asks, hands out what is to be trained, and tells.

Batches climb the rungs of epochs side by side: in a round, the newest batch trains on the first
rung, the best third of the one before on the second, and so on, so that all cores have work. A
batch is told when its last rung is done, in the order of its trials. What is asked next therefore
depends on the sampler and on the accuracies alone: not on how many workers there are, nor on who
finishes first.

A search that was killed runs again from its first question. It asks the same, and finds the
accuracies that it knew already in `results.jsonl`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from smidgen.files import append_whole, write_whole
from smidgen.trials.workers import Task, Workers

ASKS = 50  # at most, for each candidate of a batch
SHARE = 3  # one of so many goes on to the next rung
DRAIN = 4 / 3  # rounds that it takes to end what has been begun, about


@dataclass(kw_only=True)
class Trial:
    """One candidate, and how well it did, once that is known; equal ones have the same `key`."""

    number: int
    key: str
    outcome: str = ""  # "trained" or "repeated", or what the sampler gave it at once
    accuracies: dict[int, float] = field(default_factory=dict)  # on validation, by the epochs

    @property
    def epochs(self) -> int:
        """Those of the last rung that it reached."""
        return max(self.accuracies, default=0)

    @property
    def val_accuracy(self) -> float | None:
        """The accuracy after those; None if it was not trained."""
        return self.accuracies.get(self.epochs)


T = TypeVar("T", bound=Trial)


class Sampler(Protocol[T]):
    """What says which trials there are; `rungs` are what tells the trainings of one apart."""

    @property
    def rungs(self) -> Sequence[int]: ...

    @property
    def batch(self) -> int: ...

    def ask(self) -> T | None:
        """The next trial, which has an outcome if it is not to be trained; None after the last."""

    def task(self, trial: T, rung: int, out: Path) -> Task:
        """The training of a trial on a rung."""

    def tell(self, trial: T, outcome: str) -> None:
        """Ends a trial, of which the accuracies are known."""


@dataclass
class Batch(Generic[T]):
    """Candidates that climb together; `followers` are equal candidates that were asked later."""

    trials: list[T]
    alive: list[T]
    followers: list[T] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """How far the trials are."""

    trained: int  # candidates, at least on the first rung
    trials: int | None  # that it trains at most
    seconds: float
    seconds_left: float | None
    finished_round: bool
    final: str = ""  # of the trainings after all trials: how many are done


@dataclass(frozen=True)
class Clock:
    """Rounds that are over, the batches that were begun in them, and the seconds they took."""

    rounds: int = 0
    batches: int = 0
    seconds: float = 0.0
    slowest: float = 0.0  # seconds of a round


Watch = Callable[[Progress], None]


@dataclass
class Driver(Generic[T]):
    """The trials of a sampler in the folder `out`; `run` trains their tasks.

    Accuracies and time are kept there, unless the sampler's runs say all (`keep` is False).
    """

    study: Sampler[T]
    out: Path
    run: Workers
    trials: int | None = None  # to train, at most
    time_s: float | None = None
    watch: Watch = lambda progress: None
    keep: bool = True

    def __post_init__(self) -> None:
        self._known = read_results(self.out / "results.jsonl") if self.keep else {}
        self._clock = read_clock(self.out / "clock.json") if self.keep else Clock()
        self._started = time.monotonic()
        self._owner: dict[str, Batch[T]] = {}  # the batch of each candidate that is under way
        self._done: dict[str, T] = {}
        self._climbing: list[Batch[T]] = []  # the batch of each rung
        self._round = 0
        self._batches = 0

    def trainings(self) -> Iterator[Task]:
        """The tasks as they are done, until as many are trained as may be, or the time is over."""
        while True:
            self._climbing.insert(0, self._ask_batch())
            self._batches += bool(self._climbing[0].trials)
            if not any(batch.alive for batch in self._climbing):
                return
            began = time.monotonic()
            yield from self._train_round()
            self._promote()
            self._round += 1
            self._write_clock(time.monotonic() - began)
            self._report(finished_round=True)

    @property
    def seconds(self) -> float:
        """Seconds that the search has taken so far, with those before it was killed."""
        return self._clock.seconds + time.monotonic() - self._started

    def _ask_batch(self) -> Batch[T]:
        """As many candidates that fit and are new as a batch has; none once the search ends."""
        batch: Batch[T] = Batch([], [])
        size = self._size_of_batch()
        for _ in range(ASKS * size):
            trial = self.study.ask()
            if trial is None:
                break
            if trial.key in self._done:
                self._repeat(trial)
            elif trial.key in self._owner:
                self._owner[trial.key].followers.append(trial)
            elif not trial.outcome:
                batch.trials.append(trial)
                self._owner[trial.key] = batch
            if len(batch.trials) == size:
                break
        batch.alive = list(batch.trials)
        return batch

    def _size_of_batch(self) -> int:
        size = self.study.batch
        if self.trials is not None:
            size = min(size, self.trials - len(self._done) - len(self._owner))
        return 0 if self._is_late() else size

    def _is_late(self) -> bool:
        """Whether what is begun now would not end in time; before a kill, what was not begun."""
        if self._round < self._clock.rounds:
            return self._batches >= self._clock.batches
        late = self.seconds + DRAIN * self._clock.slowest
        return self.time_s is not None and late > self.time_s

    def _write_clock(self, seconds: float) -> None:
        """Keeps how long the search has taken, after a round that was not known already."""
        if self._round <= self._clock.rounds or not self.keep:
            return
        slowest = max(self._clock.slowest, seconds)
        self._clock = Clock(self._round, self._batches, self.seconds, slowest)
        self._started = time.monotonic()
        write_whole(self.out / "clock.json", json.dumps(asdict(self._clock)) + "\n")

    def _train_round(self) -> Iterator[Task]:
        """Trains every batch on its rung, the longest trainings first."""
        pairs = list(zip(self.study.rungs, self._climbing, strict=False))
        tasks = [
            (trial, self.study.task(trial, rung, self.out))
            for rung, batch in reversed(pairs)
            for trial in batch.alive
        ]
        new = [task for _, task in tasks if task.name not in self._known]
        for task, accuracy in self.run(new):
            self._known[task.name] = accuracy
            self._keep(task, accuracy)
            self._report(finished_round=False)
            yield task
        for trial, task in tasks:
            trial.accuracies[task.recipe.epochs] = self._known[task.name]

    def _keep(self, task: Task, accuracy: float) -> None:
        if self.keep:
            line = {"network": task.key, "epochs": task.recipe.epochs, "val_accuracy": accuracy}
            append_whole(self.out / "results.jsonl", json.dumps(line) + "\n")

    def _promote(self) -> None:
        """The best third of each batch goes on; a batch on the last rung is told."""
        for batch in self._climbing:
            ranked = sorted(
                batch.alive, key=lambda trial: (-(trial.val_accuracy or 0), trial.number)
            )
            batch.alive = ranked[: -(-len(ranked) // SHARE)]
        if len(self._climbing) == len(self.study.rungs):
            self._tell(self._climbing.pop())

    def _tell(self, batch: Batch[T]) -> None:
        for trial in batch.trials:
            self.study.tell(trial, "trained")
            self._done[trial.key] = trial
            del self._owner[trial.key]
        for trial in batch.followers:
            self._repeat(trial)

    def _repeat(self, trial: T) -> None:
        """Ends a trial by what is known of an equal candidate."""
        trial.accuracies = dict(self._done[trial.key].accuracies)
        self.study.tell(trial, "repeated")

    def _report(self, finished_round: bool) -> None:
        trained = len({key for key, _ in self._known} & {*self._done, *self._owner})
        left = self._seconds_left()
        self.watch(Progress(trained, self.trials, self.seconds, left, finished_round))

    def _seconds_left(self) -> float | None:
        """What --time leaves, or as long as an epoch took so far for all epochs that are left."""
        found = [] if self.time_s is None else [max(self.time_s - self.seconds, 0)]
        done = sum(epochs for _, epochs in self._known)
        if self.trials is not None and done:
            left = max(epochs_of(self.study.rungs, self.study.batch, self.trials) - done, 0)
            found.append(self.seconds * left / done)
        return min(found, default=None)


def epochs_of(rungs: Sequence[int], batch: int, trials: int) -> int:
    """All epochs that so many trials in batches train for, where rungs are epochs."""
    total = 0
    for size in [batch] * (trials // batch) + [trials % batch]:
        for epochs in rungs:
            total += size * epochs
            size = -(-size // SHARE)
    return total


def duration(seconds: float) -> str:
    """A time as a person reads it.

    >>> duration(7384), duration(75)
    ('2 h 03 min', '1 min 15 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, over = divmod(minutes, 60)
    return f"{hours} h {over:02} min" if hours else f"{minutes} min {rest:02} s"


def read_results(path: Path) -> dict[tuple[str, int], float]:
    """The accuracies that are known, by network and epochs.

    What a killed process had begun to write, a last line without its end, is cut off.
    """
    if not path.is_file():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        os.truncate(path, len(whole))
    return {(row["network"], row["epochs"]): row["val_accuracy"] for row in _rows(whole)}


def _rows(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.splitlines():
        yield json.loads(line)


def read_clock(path: Path) -> Clock:
    """The clock as it was kept, or one that begins."""
    return Clock(**json.loads(path.read_bytes())) if path.is_file() else Clock()
