"""The batches of an epoch, and their shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smidgen.augment import change_levels, draw, draw_mixture
from smidgen.data import Split
from smidgen.recipe import Augment, Recipe
from smidgen.train.random_streams import AUGMENT, MIX, ORDER, generator, random_state

Draws = dict[str, Tensor]  # an augmentation's random numbers, as `augment.draw` makes them


@dataclass(frozen=True, eq=False)
class Batch(Split):
    """Images with what the loss asks of them.

    Of mixed images, `partners` int64 (N,) are the labels of what was mixed in, and `shares`
    float32 (N,), from 0 to 1, those of their own labels; both are None without mixing. `weights`
    float32 (N,) are what the loss of each image is multiplied by; None: by 1.
    """

    partners: Tensor | None = None
    shares: Tensor | None = None
    weights: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same on that device."""
        return self._each(lambda tensor: tensor.to(device))

    def rows(self, chosen: Tensor | slice) -> Batch:
        """What is at these places, in their order."""
        return self._each(lambda tensor: tensor[chosen])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        changed: dict[str, Any] = {
            name: None if tensor is None else change(tensor) for name, tensor in vars(self).items()
        }
        return Batch(**changed)


@dataclass(frozen=True, eq=False)
class Shard:
    """A part of a batch: its images with their draws, and the number of images in the batch.

    `generator` gives the random numbers of its dropout; without it nothing is dropped.
    """

    split: Split
    draws: Draws
    batch_size: int
    generator: torch.Generator | None


def epoch_batches(split: Split, recipe: Recipe, epoch: int) -> Iterator[tuple[Batch, Draws]]:
    """The epoch's batches in random order, each with the draws of its augmentation.

    Their levels are changed and images mixed; what moves pixels is left to each shard.
    """
    settings = recipe.augment
    order = torch.randperm(len(split), generator=generator(recipe.seed, ORDER, epoch))
    draws = draw(
        len(split), split.images.shape[2:], settings, generator(recipe.seed, AUGMENT, epoch)
    )
    random = random_state(recipe.seed, MIX, epoch)
    weights = balanced_weights(split.labels) if recipe.class_weights == "balanced" else None
    for start in range(0, len(split), recipe.batch_size):
        rows = slice(start, start + recipe.batch_size)
        chosen = split.rows(order[rows].to(split.images.device))
        own = {name: values[rows] for name, values in draws.items()}
        batch = Batch(change_levels(chosen.images, own), chosen.labels, chosen.soft)
        if settings.mixup or settings.cutmix:
            batch = mix(batch, settings, random)
        if weights is not None:
            batch = replace(batch, weights=image_weights(batch, weights))
        yield batch, own


def mix(batch: Batch, settings: Augment, random: np.random.RandomState) -> Batch:
    """The batch with mixed images, labels in pairs, and soft labels averaged by the same shares."""
    mixture = draw_mixture(len(batch), batch.images.shape[2:], settings, random)
    device = batch.labels.device
    return Batch(
        images=mixture.mix(batch.images),
        labels=batch.labels,
        soft=None if batch.soft is None else mixture.average(batch.soft),
        partners=batch.labels[mixture.partners.to(device)],
        shares=mixture.shares.to(device),
    )


def balanced_weights(labels: Tensor) -> Tensor:
    """A weight for each class, float32 (K,): n / (K · n_k) for n labels, n_k of them of class k.

    K counts the classes that occur; others have the weight 0. The mean over the labels is 1.
    """
    counts = torch.bincount(labels)
    weights = counts.sum() / (counts.count_nonzero() * counts)
    return torch.where(counts > 0, weights, 0.0)


def image_weights(batch: Batch, weights: Tensor) -> Tensor:
    """The weight of each image's label, float32 (N,); of two labels, averaged by their shares."""
    own = weights[batch.labels]
    if batch.partners is None or batch.shares is None:
        return own
    return batch.shares * own + (1 - batch.shares) * weights[batch.partners]


def shard_of(
    batch: Split, draws: Draws, index: int, shards: int, generator: torch.Generator
) -> Shard:
    """Shard `index` of a batch that is cut into `shards`, whose sizes differ by one at most."""
    size = len(batch)
    rows = slice(size * index // shards, size * (index + 1) // shards)
    own = {name: values[rows] for name, values in draws.items()}
    return Shard(batch.rows(rows), own, size, generator)
