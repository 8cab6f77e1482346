"""The gradient of one batch, computed by workers side by side.

On a CPU a second core helps far more across a batch than inside an operator. So a batch is cut
into `workers` shards; each worker holds a replica of the module and computes its shard's gradient
on one core. All replicas read the same flat vector of parameters, and each writes a flat gradient
of its own, so that summing, clipping, stepping and averaging are single operations on one vector.

Batch norm sees one shard at a time, and the running statistics are the mean over the shards. A
result therefore depends on the number of workers, which every run records, and on nothing else:
not on how many threads or processes share the work, nor on the order in which they finish.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from smidgen.augment import draw, resample
from smidgen.data import SIDE, Split, normalise, standardise
from smidgen.recipe import Recipe
from smidgen.train.dropout import SeededDropout
from smidgen.train.memory import keep_freed_memory
from smidgen.train.native import Shard, plan

ORDER, AUGMENT, DROPOUT, INIT = range(4)  # streams of random numbers, independent of each other

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def generator(seed: int, stream: int, *counters: int) -> torch.Generator:
    """A CPU generator that depends on all its arguments, so that no state has to be kept."""
    state = np.random.SeedSequence([seed, stream, *counters]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


@dataclass(frozen=True)
class Process:
    """This process's place among those that train together (torchrun), or alone."""

    rank: int = 0
    count: int = 1

    def sum(self, vector: Tensor) -> Tensor:
        """The vector summed over all processes."""
        if self.count == 1:
            return vector
        summed = vector.clone()
        dist.all_reduce(summed)
        return summed

    def leave(self) -> None:
        """Parts from the other processes."""
        if self.count > 1:
            dist.destroy_process_group()


class Network:
    """A module, its flat parameters, and one replica for each of this process's shards."""

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
        self.parameters = nn.Parameter(_flat(_trainable(self.module)))
        self.buffers = _flat(_statistics(self.module))
        _point(_trainable(self.module), self.parameters.data)
        _point(_statistics(self.module), self.buffers)
        self.averaged = self.module
        if recipe.ema:
            self.averaged = copy.deepcopy(self.module)
            self.mean_parameters = self.parameters.detach().clone()
            self.mean_buffers = self.buffers.clone()
            _point(_trainable(self.averaged), self.mean_parameters)
            _point(_statistics(self.averaged), self.mean_buffers)
        self.parts = [self.parameters.numel(), 2, self.buffers.numel()]
        shards = range(process.rank, recipe.workers, process.count)
        self.replicas = [Replica(self, shard) for shard in shards]
        self.pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Network:
        """Starts the workers, one core for each, the caller's among them; leaving ends them."""
        keep_freed_memory()
        threads = min(len(self.replicas), os.cpu_count() or 1)
        self.threads_before = torch.get_num_threads()
        torch.set_num_threads(1)
        self.pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        return self

    def __exit__(self, *exception: object) -> None:
        torch.set_num_threads(self.threads_before)
        if self.pool is not None:
            self.pool.shutdown()

    def start_epoch(self, epoch: int) -> None:
        """Gives every replica the common statistics and the epoch's random numbers."""
        for replica in self.replicas:
            replica.start_epoch(epoch)

    def backward(self, batch: Split, draws: dict[str, Tensor]) -> Tensor:
        """Sets the gradient of the mean loss over the batch; returns (summed loss, hits)."""
        mine, *others = self.replicas
        if self.pool is None:
            totals = [replica.backward(batch, draws) for replica in self.replicas]
        else:
            running = [self.pool.submit(other.backward, batch, draws) for other in others]
            totals = [mine.backward(batch, draws), *(job.result() for job in running)]
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


class Replica:
    """One worker's copy of the module, which reads the common parameters.

    `total` holds what the worker computes, in one vector that sums over the workers: the
    gradient, the summed loss and the hits, the running statistics.
    """

    def __init__(self, network: Network, shard: int) -> None:
        self.network, self.shard = network, shard
        self.module = copy.deepcopy(network.module).train()
        self.total = network.parameters.new_zeros(sum(network.parts), requires_grad=False)
        gradient, self.score, self.statistics = self.total.split(network.parts)
        self.fresh = self.total[: -self.statistics.numel() or None]
        trainable = _trainable(self.module)
        _point(trainable, network.parameters.data)
        _point(_statistics(self.module), self.statistics)
        for parameter, view in zip(trainable, _views(trainable, gradient), strict=True):
            parameter.grad = view
        self.random = torch.Generator()
        self.native: Shard | None = None
        if network.recipe.backend == "native":
            vectors = (network.parameters.data, gradient, self.score, self.statistics)
            most = -(-network.recipe.batch_size // network.recipe.workers)
            self.native = Shard(plan(network.module, SIDE, SIDE), most, *vectors)

    def start_epoch(self, epoch: int) -> None:
        """Takes the common statistics and the epoch's random numbers."""
        self.statistics.copy_(self.network.buffers)
        seed = self.network.recipe.seed
        self.random = generator(seed, DROPOUT, epoch, self.shard)

    def backward(self, batch: Split, draws: dict[str, Tensor]) -> Tensor:
        """The shard's `total`, computed anew."""
        recipe = self.network.recipe
        rows = slice(*_bounds(len(batch), self.shard, recipe.workers))
        self.fresh.zero_()
        if rows.start == rows.stop:
            return self.total
        images, labels = batch.images[rows], batch.labels[rows]
        own_draws = {name: values[rows] for name, values in draws.items()}
        if self.native is None:
            self._backward(Split(images, labels), own_draws, len(batch))
        else:
            network, seed = self.network, int(torch.randint(2**32, (), generator=self.random))
            self.native.read(images, own_draws, recipe.augment, network.mean, network.std)
            self.native.backward(labels, recipe.label_smoothing, len(batch), seed)
        return self.total

    def _backward(self, own: Split, draws: dict[str, Tensor], size: int) -> None:
        """The same by torch, for the shard's own images out of a batch of `size`."""
        recipe = self.network.recipe
        greys = resample(own.images, draws, recipe.augment)
        inputs = standardise(greys, self.network.mean, self.network.std)
        inputs = inputs.contiguous(memory_format=FORMATS[recipe.memory_format])
        low = recipe.precision == "bfloat16"
        dropout = SeededDropout(self.random)
        with dropout, torch.autocast(inputs.device.type, torch.bfloat16, enabled=low):
            logits = self.module(inputs).float()
        loss = F.cross_entropy(
            logits, own.labels, reduction="sum", label_smoothing=recipe.label_smoothing
        )
        (loss / size).backward()
        self.score[0] = loss.detach()
        self.score[1] = (logits.detach().argmax(dim=1) == own.labels).sum()


def epoch_batches(
    split: Split, recipe: Recipe, epoch: int
) -> Iterator[tuple[Split, dict[str, Tensor]]]:
    """The epoch's batches in random order, each with the draws of its augmentation."""
    order = torch.randperm(len(split), generator=generator(recipe.seed, ORDER, epoch))
    draws = draw(len(split), recipe.augment, generator(recipe.seed, AUGMENT, epoch))
    for start in range(0, len(split), recipe.batch_size):
        rows = slice(start, start + recipe.batch_size)
        chosen = order[rows].to(split.images.device)
        batch = Split(split.images[chosen], split.labels[chosen])
        yield batch, {name: values[rows] for name, values in draws.items()}


def predict(module: nn.Module, images: Tensor, mean: float, std: float) -> Tensor:
    """The logits (N, classes), float32, of uint8 images (N, 1, H, W); the module goes to eval mode.

    Chunks run side by side, one on each core.
    """
    module.eval()

    @torch.inference_mode()
    def logits(chunk: Tensor) -> Tensor:
        output: Tensor = module(normalise(chunk, mean, std))
        return output.float()

    chunks = images.split(250)
    if images.device.type != "cpu" or len(chunks) == 1:
        return torch.cat([logits(chunk) for chunk in chunks])
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return torch.cat(list(pool.map(logits, chunks)))
    finally:
        torch.set_num_threads(before)


def _bounds(size: int, shard: int, shards: int) -> tuple[int, int]:
    """Where a shard of a batch begins and ends; shards differ by one image at most."""
    return size * shard // shards, size * (shard + 1) // shards


def _trainable(module: nn.Module) -> list[Tensor]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _statistics(module: nn.Module) -> list[Tensor]:
    """The floating-point buffers: batch norm's running means and variances."""
    return [buffer for buffer in module.buffers() if buffer.is_floating_point()]


def _flat(tensors: list[Tensor]) -> Tensor:
    if not tensors:
        return torch.zeros(0)
    flat = tensors[0].new_zeros(sum(tensor.numel() for tensor in tensors), requires_grad=False)
    for view, tensor in zip(_views(tensors, flat), tensors, strict=True):
        view.copy_(tensor.detach())
    return flat


def _views(tensors: list[Tensor], flat: Tensor) -> list[Tensor]:
    """Consecutive pieces of the flat vector, each in the shape and strides of its tensor."""
    ends = np.cumsum([0] + [tensor.numel() for tensor in tensors]).tolist()
    return [
        flat.as_strided(tensor.shape, tensor.stride(), flat.storage_offset() + start)
        for tensor, start in zip(tensors, ends[:-1], strict=True)
    ]


def _point(tensors: list[Tensor], flat: Tensor) -> None:
    """Makes each tensor a window on the flat vector."""
    for tensor, view in zip(tensors, _views(tensors, flat), strict=True):
        tensor.data = view
