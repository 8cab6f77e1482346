"""The workers of a batch: each computes the gradient of its own shard.

A worker keeps what it computes in one vector that sums over the workers: the gradient, the summed
loss and the hits, the running statistics.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from smidgen.augment import resample
from smidgen.data import Split, standardise
from smidgen.frame import SIDE
from smidgen.inference import count_correct
from smidgen.recipe import Recipe
from smidgen.train.dropout import SeededDropout
from smidgen.train.flat import point, statistics, trainable, views
from smidgen.train.native import Shard, Team, plan
from smidgen.train.random_streams import DROPOUT, generator

if TYPE_CHECKING:
    from smidgen.train.engine import Network

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Worker:
    """One shard of every batch, and the vectors it is computed into."""

    def __init__(self, network: Network, shard: int) -> None:
        self.network, self.shard = network, shard
        self.total = network.parameters.new_zeros(sum(network.parts), requires_grad=False)
        self.gradient, self.score, self.statistics = self.total.split(network.parts)
        self.fresh = self.total[: -self.statistics.numel() or None]
        self.random = torch.Generator()

    def start_epoch(self, epoch: int) -> None:
        """Takes the common statistics and the epoch's random numbers."""
        self.statistics.copy_(self.network.buffers)
        self.random = generator(self.network.recipe.seed, DROPOUT, epoch, self.shard)

    def take(self, batch: Split, draws: dict[str, Tensor]) -> bool:
        """Takes its shard of the batch, to begin anew; whether there are any images in it."""
        rows = slice(*bounds(len(batch), self.shard, self.network.recipe.workers))
        self.own = batch.rows(rows)
        self.draws = {name: values[rows] for name, values in draws.items()}
        self.batch_size = len(batch)
        self.fresh.zero_()
        return len(self.own) > 0


class Replica(Worker):
    """A worker with a copy of the module, computed by torch."""

    def __init__(self, network: Network, shard: int) -> None:
        super().__init__(network, shard)
        self.module = copy.deepcopy(network.module).train()
        parameters = trainable(self.module)
        point(parameters, network.parameters.data)
        point(statistics(self.module), self.statistics)
        for parameter, view in zip(parameters, views(parameters, self.gradient), strict=True):
            parameter.grad = view

    def backward(self) -> None:
        """Computes its shard."""
        recipe = self.network.recipe
        greys = resample(self.own.images, self.draws, recipe.augment)
        inputs = standardise(greys, self.network.mean, self.network.std)
        inputs = inputs.contiguous(memory_format=FORMATS[recipe.memory_format])
        low = recipe.precision == "bfloat16"
        dropout = SeededDropout(self.random)
        with dropout, torch.autocast(inputs.device.type, torch.bfloat16, enabled=low):
            logits = self.module(inputs).float()
        loss = summed_loss(logits, self.own, recipe)
        (loss / self.batch_size).backward()
        self.score[0] = loss.detach()
        self.score[1] = count_correct(logits.detach(), self.own.labels)


class NativeWorker(Worker):
    """A worker computed by the kernels."""

    def __init__(self, network: Network, shard: int) -> None:
        super().__init__(network, shard)
        self.kernels = Shard(
            plan(network.module, SIDE, SIDE), network.recipe, network.mean, network.std,
            parameters=network.parameters.data, gradient=self.gradient, score=self.score,
            statistics=self.statistics,
        )  # fmt: skip

    def take(self, batch: Split, draws: dict[str, Tensor]) -> bool:
        any_images = super().take(batch, draws)
        seed = int(torch.randint(2**32, (), generator=self.random))
        self.kernels.take(self.own, self.draws, self.batch_size, seed)
        return any_images


class Threads:
    """As many threads as there are workers or cores, the caller's among them, until `end`."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        others = min(len(workers), os.cpu_count() or 1) - 1
        native = any(isinstance(worker, NativeWorker) for worker in workers)
        self.team = Team(others) if native else None
        self.pool = ThreadPoolExecutor(others) if others and not native else None

    def run(self, workers: Sequence[Worker]) -> None:
        """Computes every worker's shard, side by side."""
        if self.team is not None:
            self.team.step(
                [worker.kernels for worker in workers if isinstance(worker, NativeWorker)]
            )
        replicas = [worker for worker in workers if isinstance(worker, Replica)]
        others = [self.pool.submit(each.backward) for each in replicas[1:]] if self.pool else []
        for replica in replicas[: len(replicas) - len(others)]:
            replica.backward()
        for other in others:
            other.result()

    def end(self) -> None:
        """Ends the threads."""
        if self.team is not None:
            self.team.dismiss()
        if self.pool is not None:
            self.pool.shutdown()


def summed_loss(logits: Tensor, own: Split, recipe: Recipe) -> Tensor:
    """The cross entropy of the labels, mixed with that of a teacher's probabilities if it has any.

    At its temperature T the teacher's part is multiplied by T², so that its gradient is of the same
    size at any temperature (Hinton, Vinyals & Dean 2015).
    """
    smoothing = recipe.label_smoothing
    loss = F.cross_entropy(logits, own.labels, reduction="sum", label_smoothing=smoothing)
    if own.soft is None:
        return loss
    weight, temperature = recipe.teacher.weight, recipe.teacher.temperature
    taught = F.cross_entropy(logits / temperature, own.soft, reduction="sum")
    return (1 - weight) * loss + weight * temperature**2 * taught


def bounds(size: int, shard: int, shards: int) -> tuple[int, int]:
    """Where a shard of a batch begins and ends; shards differ by one image at most."""
    return size * shard // shards, size * (shard + 1) // shards
