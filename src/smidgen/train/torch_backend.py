"""The gradient of a shard, computed by torch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor

from smidgen.augment import resample
from smidgen.data import Split, standardise
from smidgen.inference import count_correct
from smidgen.inputs import Preprocess
from smidgen.recipe import Recipe
from smidgen.train.batches import Batch, Shard
from smidgen.train.dropout import SeededDropout
from smidgen.train.flat import FlatParameters, ShardSums, point, statistics, trainable, views

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def torch_backends(
    weights: FlatParameters, recipe: Recipe, preprocess: Preprocess, sums: Sequence[ShardSums]
) -> list[TorchBackend]:
    """A backend for the sums of each shard."""
    return [TorchBackend(weights, recipe, preprocess, each) for each in sums]


class TorchBackend:
    """Computes gradients by torch, on a copy of the module that reads the same parameters."""

    def __init__(
        self, weights: FlatParameters, recipe: Recipe, preprocess: Preprocess, sums: ShardSums
    ) -> None:
        self.recipe, self.preprocess, self.sums = recipe, preprocess, sums
        self.module = copy.deepcopy(weights.module).train()
        parameters = trainable(self.module)
        point(parameters, weights.parameters.data)
        point(statistics(self.module), sums.statistics)
        for parameter, view in zip(parameters, views(parameters, sums.gradient), strict=True):
            parameter.grad = view

    def backward(self, shard: Shard) -> None:
        """Adds the shard's gradient and score to the sums, and moves the statistics on."""
        recipe, split = self.recipe, shard.split
        levels = resample(split.images, shard.draws, recipe.augment)  # (N, C, H, W)
        inputs = standardise(levels, self.preprocess)
        inputs = inputs.contiguous(memory_format=FORMATS[recipe.memory_format])
        low = recipe.precision == "bfloat16"
        dropout = SeededDropout(shard.generator)
        with dropout, torch.autocast(inputs.device.type, torch.bfloat16, enabled=low):
            logits = self.module(inputs).float()  # (N, K)
        loss = summed_loss(logits, split, recipe)
        (loss / shard.batch_size).backward()
        self.sums.score[0] += loss.detach()
        self.sums.score[1] += count_correct(logits.detach(), larger_labels(split))


class TorchThreads:
    """A pool of Python threads, in which torch's operators run side by side."""

    def __init__(self, threads: int) -> None:
        self.pool = ThreadPoolExecutor(max(threads, 1))  # a thread starts when it gets a task

    def run(self, backends: Sequence[TorchBackend], shards: Sequence[Shard]) -> None:
        """Computes each backend's shard; the caller's thread takes the first."""
        first, *others = zip(backends, shards, strict=True)
        futures = [self.pool.submit(backend.backward, shard) for backend, shard in others]
        first[0].backward(first[1])
        for future in futures:
            future.result()

    def destroy(self) -> None:
        """Ends the threads."""
        self.pool.shutdown()


def summed_loss(logits: Tensor, split: Split, recipe: Recipe) -> Tensor:
    """The cross entropy of the labels, mixed with that of the soft labels where there are any.

    Of mixed images both labels count, each with its share; then they are smoothed. The loss of an
    image is multiplied by its weight, and the sum is not divided by that of the weights. At a
    temperature T the part of the soft labels is multiplied by T², so that its gradient is of the
    same size at any temperature (Hinton, Vinyals & Dean 2015).
    """
    wanted, weights = labels_or_shares(split, logits.shape[1]), weights_of(split)
    loss = _cross_entropy(logits, wanted, weights, recipe.label_smoothing)
    if split.soft is None:
        return loss
    weight, temperature = recipe.teacher.weight, recipe.teacher.temperature
    soft = _cross_entropy(logits / temperature, split.soft, weights)
    return (1 - weight) * loss + weight * temperature**2 * soft


def _cross_entropy(
    logits: Tensor, wanted: Tensor, weights: Tensor | None, smoothing: float = 0.0
) -> Tensor:
    """Summed over the images, each multiplied by its weight, float32 (N,), if it has one."""
    if weights is None:
        return F.cross_entropy(logits, wanted, reduction="sum", label_smoothing=smoothing)
    losses = F.cross_entropy(logits, wanted, reduction="none", label_smoothing=smoothing)
    return (losses * weights).sum()


def labels_or_shares(split: Split, classes: int) -> Tensor:
    """The labels int64 (N,); of mixed images the shares of the classes, float32 (N, classes)."""
    if not isinstance(split, Batch) or split.partners is None or split.shares is None:
        return split.labels
    own = split.shares[:, None] * F.one_hot(split.labels, classes)
    return own + (1 - split.shares)[:, None] * F.one_hot(split.partners, classes)


def larger_labels(split: Split) -> Tensor:
    """The labels int64 (N,); of mixed images those that have the larger share."""
    if not isinstance(split, Batch) or split.partners is None or split.shares is None:
        return split.labels
    return torch.where(split.shares < 0.5, split.partners, split.labels)


def weights_of(split: Split) -> Tensor | None:
    """What the loss of each image is multiplied by, float32 (N,); None: by 1."""
    return split.weights if isinstance(split, Batch) else None
