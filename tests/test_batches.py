"""The batches of an epoch, and their shards."""

from __future__ import annotations

import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from smidgen.data import Split
from smidgen.recipe import Recipe, override
from smidgen.train.batches import Batch, balanced_weights, epoch_batches, shard_of


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


def constant_images() -> Split:
    """50 images; all pixels of image i are 4 i, its label is i, and its soft label says so."""
    levels = (4 * torch.arange(50)).byte()[:, None, None, None]
    return Split(levels.expand(50, 3, 8, 11).contiguous(), torch.arange(50), torch.eye(50))


@pytest.mark.parametrize("key", ["mixup", "cutmix"])
def test_images_labels_and_soft_labels_are_mixed_alike(recipe: Recipe, key: str) -> None:
    recipe = override(recipe, {f"augment.{key}": 1.0})
    for batch, _ in epoch_batches(constant_images(), recipe, 0):
        assert batch.partners is not None
        assert batch.shares is not None
        assert batch.soft is not None
        assert batch.partners.sort().values.tolist() == batch.labels.sort().values.tolist()
        levels = 4 * (batch.shares * batch.labels + (1 - batch.shares) * batch.partners)
        off = 0.51 if key == "mixup" else 1e-3  # half a level, of rounding; none of it
        means = batch.images.float().mean((1, 2, 3))
        torch.testing.assert_close(means, levels, rtol=0, atol=off)
        own, rest = batch.shares[:, None], 1 - batch.shares[:, None]
        soft = own * torch.eye(50)[batch.labels] + rest * torch.eye(50)[batch.partners]
        torch.testing.assert_close(batch.soft, soft)


def test_mixing_leaves_order_and_draws_as_they_are(recipe: Recipe) -> None:
    mixed = override(recipe, {"augment.mixup": 0.4, "augment.cutmix": 1.0})
    pairs = zip(
        epoch_batches(constant_images(), recipe, 1),
        epoch_batches(constant_images(), mixed, 1),
        strict=True,
    )
    for (plain, draws), (batch, same) in pairs:
        assert plain.partners is None
        assert torch.equal(plain.labels, batch.labels)
        assert torch.equal(draws["affine"], same["affine"])


def test_each_epoch_mixes_in_its_own_way_that_does_not_change(recipe: Recipe) -> None:
    recipe = override(recipe, {"augment.mixup": 0.4})
    first, again, other = (
        torch.cat([batch.shares for batch, _ in epoch_batches(constant_images(), recipe, epoch)])
        for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_shards_hold_the_shares_of_their_images() -> None:
    images, labels = torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.arange(5)
    batch = Batch(images, labels, partners=labels.flip(0), shares=torch.arange(5.0) / 5)
    parts = [shard_of(batch, {}, index, 2, torch.Generator()).split for index in range(2)]
    assert [part.partners.tolist() for part in parts] == [[4, 3], [2, 1, 0]]
    assert torch.equal(torch.cat([part.shares for part in parts]), batch.shares)


def test_balanced_weights_are_scikit_learns_and_one_in_the_mean() -> None:
    labels = torch.tensor([0] * 6 + [2] * 3 + [3])  # no image of class 1
    weights = balanced_weights(labels)
    found = weights[[0, 2, 3]].numpy()
    expected = compute_class_weight(
        "balanced", classes=labels.unique().numpy(), y=labels.numpy()
    )  # 10 / 18, 10 / 9, 10 / 3
    assert found == pytest.approx(expected)
    assert weights[1] == 0
    assert weights[labels].mean().item() == pytest.approx(1)
    assert balanced_weights(torch.arange(30) % 3).tolist() == [1, 1, 1]


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_an_image_weighs_what_its_labels_weigh(recipe: Recipe, mixup: float) -> None:
    """The weights are those of the whole split, 200 images, and of pairs averaged by share."""
    labels = torch.tensor([0] * 160 + [1] * 40)
    split = Split(torch.zeros(200, 1, 8, 8, dtype=torch.uint8), labels)
    recipe = override(recipe, {"class_weights": "balanced", "augment.mixup": mixup})
    by_class = torch.tensor([0.625, 2.5])  # 200 / (2 · 160) and 200 / (2 · 40)
    for batch, _ in epoch_batches(split, recipe, 0):
        expected = by_class[batch.labels]
        if batch.partners is not None:
            expected = batch.shares * expected + (1 - batch.shares) * by_class[batch.partners]
        assert (batch.partners is not None) == (mixup > 0)
        torch.testing.assert_close(batch.weights, expected)
