"""How far a training is and how well it does, counted as it goes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from smidgen.errors import TrainingError
from smidgen.recipe import Recipe
from smidgen.run import METRICS, Row

LOOK_EVERY = 20  # steps between two looks at the clock
REPORT_EVERY = 0.1  # seconds between two reports


@dataclass(frozen=True)
class Progress:
    """Where a training stands: `epoch` counts from 1; loss and accuracy are the epoch's so far.

    `row` is the epoch's row of metrics.csv once the epoch has finished, None before.
    """

    epoch: int
    epochs: int
    images_seen: int
    images_total: int
    loss: float
    accuracy: float
    images_per_second: float
    seconds_left: float
    row: Row | None = None

    @property
    def finished_epoch(self) -> bool:
        return self.row is not None


Watch = Callable[[Progress], None]


class Meter:
    """Adds up one epoch's loss, hits, images and seconds, and reports them now and then."""

    def __init__(
        self, epoch: int, recipe: Recipe, images: int, seconds: float, watch: Watch
    ) -> None:
        self.epoch, self.recipe, self.images, self.watch = epoch, recipe, images, watch
        self.seconds_before = seconds
        self.sums = torch.zeros(2)
        self.seen = self.steps = 0
        self.started = self.reported = time.perf_counter()
        self.stopped = 0.0

    def add(self, sums: Tensor, images: int) -> None:
        """Counts a batch: summed loss and hits. Raises TrainingError if the loss is not finite."""
        self.sums = self.sums.to(sums.device).add_(sums)
        self.seen += images
        self.steps += 1
        if self.steps % LOOK_EVERY == 0 and time.perf_counter() - self.reported > REPORT_EVERY:
            self.reported = time.perf_counter()
            self.watch(self._progress())

    def finish(self) -> Row:
        """The epoch's row: images, seconds of training alone, loss and accuracy."""
        self.stopped = time.perf_counter()
        progress = self._progress()
        return {
            "epoch": self.epoch + 1,
            "images_seen": progress.images_seen,
            "seconds": self.seconds(),
            "train_loss": progress.loss,
            "train_accuracy": progress.accuracy,
        }

    def report(self, row: Row) -> None:
        """Calls the watch with a finished epoch and its whole row."""
        self.watch(replace(self._progress(), row=dict.fromkeys(METRICS) | row))

    def seconds(self) -> float:
        """Seconds of training alone since the first epoch; they no longer grow after `finish`."""
        return self.seconds_before + (self.stopped or time.perf_counter()) - self.started

    def _progress(self) -> Progress:
        loss, hits = self.sums.tolist()
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} in epoch {self.epoch + 1} after {self.seen:,} images; "
                f"lower optimizer.lr (now {self.recipe.optimizer.lr:g}) or set clip_norm"
            )
        before = self.epoch * self.images
        rate = (before + self.seen) / max(self.seconds(), 1e-9)
        total = self.recipe.epochs * self.images
        return Progress(
            epoch=self.epoch + 1,
            epochs=self.recipe.epochs,
            images_seen=before + self.seen,
            images_total=total,
            loss=loss / self.seen,
            accuracy=hits / self.seen,
            images_per_second=rate,
            seconds_left=(total - before - self.seen) / rate,
        )
