"""The batches of an epoch, and their shards."""

from __future__ import annotations

import pytest
import torch

from smidgen.data import Split
from smidgen.recipe import Recipe
from smidgen.train.batches import epoch_batches, shard_of


def test_an_epoch_is_one_pass(recipe: Recipe) -> None:
    numbered = Split(torch.zeros(100, 1, 28, 28, dtype=torch.uint8), torch.arange(100))
    batches = [batch.labels for batch, _ in epoch_batches(numbered, recipe, 0)]
    assert [len(batch) for batch in batches] == [32, 32, 32, 4]
    assert torch.cat(batches).sort().values.tolist() == list(range(100))
    again = [batch.labels for batch, _ in epoch_batches(numbered, recipe, 1)]
    assert torch.cat(batches).tolist() != torch.cat(again).tolist()


@pytest.mark.parametrize(("size", "sizes"), [(15, [7, 8]), (1, [0, 1]), (32, [16, 16])])
def test_shards_hold_every_image_once_with_its_own_draws(size: int, sizes: list[int]) -> None:
    batch = Split(torch.zeros(size, 1, 28, 28, dtype=torch.uint8), torch.arange(size))
    draws, random = {"cutout": torch.arange(2.0 * size).view(size, 2)}, torch.Generator()
    shards = [shard_of(batch, draws, index, 2, random) for index in range(2)]
    assert [len(shard.split) for shard in shards] == sizes
    assert torch.cat([shard.split.labels for shard in shards]).tolist() == list(range(size))
    assert torch.equal(torch.cat([shard.draws["cutout"] for shard in shards]), draws["cutout"])
    assert [shard.batch_size for shard in shards] == [size, size]
