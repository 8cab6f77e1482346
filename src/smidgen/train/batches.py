"""The batches of an epoch, and their shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from smidgen.augment import draw
from smidgen.data import Split
from smidgen.recipe import Recipe
from smidgen.train.random_streams import AUGMENT, ORDER, generator

Draws = dict[str, Tensor]  # an augmentation's random numbers, as `augment.draw` makes them


@dataclass(frozen=True, eq=False)
class Shard:
    """A part of a batch: its images with their draws, and the number of images in the batch.

    `generator` gives the random numbers of its dropout; without it nothing is dropped.
    """

    split: Split
    draws: Draws
    batch_size: int
    generator: torch.Generator | None


def epoch_batches(split: Split, recipe: Recipe, epoch: int) -> Iterator[tuple[Split, Draws]]:
    """The epoch's batches in random order, each with the draws of its augmentation."""
    order = torch.randperm(len(split), generator=generator(recipe.seed, ORDER, epoch))
    draws = draw(
        len(split), split.images.shape[2:], recipe.augment, generator(recipe.seed, AUGMENT, epoch)
    )
    for start in range(0, len(split), recipe.batch_size):
        rows = slice(start, start + recipe.batch_size)
        chosen = order[rows].to(split.images.device)
        yield split.rows(chosen), {name: values[rows] for name, values in draws.items()}


def shard_of(
    batch: Split, draws: Draws, index: int, shards: int, generator: torch.Generator
) -> Shard:
    """Shard `index` of a batch that is cut into `shards`, whose sizes differ by one at most."""
    size = len(batch)
    rows = slice(size * index // shards, size * (index + 1) // shards)
    own = {name: values[rows] for name, values in draws.items()}
    return Shard(batch.rows(rows), own, size, generator)
