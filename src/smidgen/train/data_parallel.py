"""The gradient of a batch: its shards are computed side by side and summed.

On a CPU a second core helps far more across a batch than inside an operator. So a batch is cut
into `workers` shards, and a backend computes the gradient of each on one core. All read the same
vector of parameters, and each writes sums of its own, which are then added over this process's
shards and over all processes.

Batch norm sees one shard at a time, and the running statistics are the mean over the shards. A
result therefore depends on the number of workers, which every run records, and on nothing else:
not on how many threads or processes share the work, nor on the order in which they finish.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from smidgen.data import Split
from smidgen.inputs import Preprocess
from smidgen.recipe import Recipe
from smidgen.train.batches import Draws, Shard, shard_of
from smidgen.train.distributed import Process
from smidgen.train.flat import FlatParameters, ShardSums
from smidgen.train.memory import keep_freed_memory
from smidgen.train.native import NativeThreads, kernel_backends
from smidgen.train.random_streams import DROPOUT, generator
from smidgen.train.torch_backend import FORMATS, TorchThreads, torch_backends


class Backend(Protocol):
    """Computes gradients of one shard after another; it knows nothing of other shards."""

    def backward(self, shard: Shard) -> None:
        """Adds the shard's gradient and score to the backend's sums; moves their statistics on."""


class Threads(Protocol):
    """Runs the backends of its kind side by side."""

    def run(self, backends: Sequence[Any], shards: Sequence[Shard]) -> None:
        """Does with each shard what its backend's `backward` does, and waits for all."""

    def destroy(self) -> None:
        """Ends the threads."""


BACKENDS: dict[str, tuple[Callable[..., Sequence[Backend]], Callable[[int], Threads]]] = {
    "torch": (torch_backends, TorchThreads),
    "native": (kernel_backends, NativeThreads),
}


class DataParallel:
    """A module's flat parameters, and a backend for each of this process's shards."""

    def __init__(
        self,
        module: nn.Module,
        recipe: Recipe,
        preprocess: Preprocess,
        device: torch.device,
        process: Process,
    ) -> None:
        layout = FORMATS[recipe.memory_format]
        module = module.to(device).to(memory_format=layout)  # type: ignore[call-overload]
        self.recipe, self.process, self.device = recipe, process, device
        self.preprocess = preprocess
        self.weights = FlatParameters(module, recipe.ema)
        self.shards = range(process.rank, recipe.workers, process.world_size)
        self.sums = [ShardSums(self.weights) for _ in self.shards]
        self.total = ShardSums(self.weights)  # of all processes
        self.weights.parameters.grad = self.total.gradient
        new_backends, self.new_threads = BACKENDS[recipe.backend]
        self.backends = new_backends(self.weights, recipe, preprocess, self.sums)

    def __enter__(self) -> DataParallel:
        """Starts a thread for each backend, up to torch's number, the caller's own among them."""
        keep_freed_memory()
        self.threads_before = torch.get_num_threads()
        torch.set_num_threads(1)
        self.threads = self.new_threads(min(len(self.backends), self.threads_before) - 1)
        return self

    def __exit__(self, *exception: object) -> None:
        torch.set_num_threads(self.threads_before)
        self.threads.destroy()

    def start_epoch(self, epoch: int) -> None:
        """Gives every shard the common statistics and the epoch's random numbers."""
        for sums in self.sums:
            sums.statistics.copy_(self.weights.statistics)
        seed = self.recipe.seed
        self.generators = [generator(seed, DROPOUT, epoch, shard) for shard in self.shards]

    def backward(self, batch: Split, draws: Draws) -> Tensor:
        """Sets the gradient of the mean loss over the batch; returns (summed loss, hits).

        What it returns holds until the next batch.
        """
        for sums in self.sums:
            sums.clear()
        shards = [
            shard_of(batch, draws, index, self.recipe.workers, random)
            for index, random in zip(self.shards, self.generators, strict=True)
        ]
        used = [i for i, shard in enumerate(shards) if len(shard.split)]
        if used:
            self.threads.run([self.backends[i] for i in used], [shards[i] for i in used])
        self.total.vector.copy_(added([sums.vector for sums in self.sums]))
        self.process.sum(self.total.vector)
        torch.div(self.total.statistics, self.recipe.workers, out=self.weights.statistics)
        return self.total.score


def added(vectors: list[Tensor]) -> Tensor:
    """The sum of the vectors: of those with even and those with odd places, each in that way.

    Two processes that have every other shard each add up in this order, too.
    """
    if len(vectors) == 1:
        return vectors[0]
    return added(vectors[::2]) + added(vectors[1::2])
