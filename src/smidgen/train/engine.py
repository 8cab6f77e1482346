"""The gradient of one batch, computed by workers side by side.

On a CPU a second core helps far more across a batch than inside an operator. So a batch is cut
into `workers` shards, and each worker computes the gradient of its shard on one core. All read the
same flat vector of parameters, and each writes a flat gradient of its own, so that summing,
clipping, stepping and averaging are single operations on one vector.

Batch norm sees one shard at a time, and the running statistics are the mean over the shards. A
result therefore depends on the number of workers, which every run records, and on nothing else:
not on how many threads or processes share the work, nor on the order in which they finish.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from smidgen.augment import draw
from smidgen.data import Split
from smidgen.recipe import Recipe
from smidgen.train.distributed import Process
from smidgen.train.flat import flatten, point, statistics, trainable
from smidgen.train.memory import keep_freed_memory
from smidgen.train.random_streams import AUGMENT, ORDER, generator
from smidgen.train.worker import FORMATS, NativeWorker, Replica, Threads, Worker


class Network:
    """A module, its flat parameters, and one worker for each of this process's shards."""

    def __init__(
        self,
        module: nn.Module,
        recipe: Recipe,
        mean: float,
        std: float,
        device: torch.device,
        process: Process,
    ) -> None:
        layout = FORMATS[recipe.memory_format]
        self.module = module.to(device).to(memory_format=layout)  # type: ignore[call-overload]
        self.recipe, self.process, self.device = recipe, process, device
        self.mean, self.std = mean, std
        self.parameters = nn.Parameter(flatten(trainable(self.module)))
        self.buffers = flatten(statistics(self.module))
        point(trainable(self.module), self.parameters.data)
        point(statistics(self.module), self.buffers)
        self.averaged = self.module
        if recipe.ema:
            self.averaged = copy.deepcopy(self.module)
            self.mean_parameters = self.parameters.detach().clone()
            self.mean_buffers = self.buffers.clone()
            point(trainable(self.averaged), self.mean_parameters)
            point(statistics(self.averaged), self.mean_buffers)
        self.parts = [self.parameters.numel(), 2, self.buffers.numel()]
        shards = range(process.rank, recipe.workers, process.world_size)
        kind = NativeWorker if recipe.backend == "native" else Replica
        self.workers: list[Worker] = [kind(self, shard) for shard in shards]

    def __enter__(self) -> Network:
        """One core for each worker, the caller's among them; leaving gives them back."""
        keep_freed_memory()
        self.threads_before = torch.get_num_threads()
        torch.set_num_threads(1)
        self.threads = Threads(self.workers)
        return self

    def __exit__(self, *exception: object) -> None:
        torch.set_num_threads(self.threads_before)
        self.threads.end()

    def start_epoch(self, epoch: int) -> None:
        """Gives every worker the common statistics and the epoch's random numbers."""
        for worker in self.workers:
            worker.start_epoch(epoch)

    def backward(self, batch: Split, draws: dict[str, Tensor]) -> Tensor:
        """Sets the gradient of the mean loss over the batch; returns (summed loss, hits)."""
        self.threads.run([worker for worker in self.workers if worker.take(batch, draws)])
        totals = [worker.total for worker in self.workers]
        total = totals[0] if len(totals) == 1 else torch.stack(totals).sum(dim=0)
        parts: tuple[Tensor, ...] = self.process.sum(total).split(self.parts)
        gradient, score, statistics = parts
        self.parameters.grad = gradient
        torch.div(statistics, self.recipe.workers, out=self.buffers)
        return score

    def average(self, step: int) -> None:
        """Moves the running averages towards the present, faster over the first steps."""
        if self.recipe.ema:
            weight = 1 - min(self.recipe.ema, (1 + step) / (10 + step))
            self.mean_parameters.lerp_(self.parameters.detach(), weight)
            self.mean_buffers.lerp_(self.buffers, weight)

    def state(self) -> dict[str, Tensor]:
        """The vectors that resuming needs; `load` takes them back."""
        vectors = {"parameters": self.parameters.detach(), "buffers": self.buffers}
        if self.recipe.ema:
            vectors |= {"mean_parameters": self.mean_parameters, "mean_buffers": self.mean_buffers}
        return vectors

    def load(self, state: dict[str, Tensor]) -> None:
        """Sets the vectors that `state` gave."""
        for name, vector in self.state().items():
            vector.copy_(state[name])


def epoch_batches(
    split: Split, recipe: Recipe, epoch: int
) -> Iterator[tuple[Split, dict[str, Tensor]]]:
    """The epoch's batches in random order, each with the draws of its augmentation."""
    order = torch.randperm(len(split), generator=generator(recipe.seed, ORDER, epoch))
    draws = draw(len(split), recipe.augment, generator(recipe.seed, AUGMENT, epoch))
    for start in range(0, len(split), recipe.batch_size):
        rows = slice(start, start + recipe.batch_size)
        chosen = order[rows].to(split.images.device)
        yield split.rows(chosen), {name: values[rows] for name, values in draws.items()}
