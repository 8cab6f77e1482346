from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from smidgen.bench import against_standard_loop, augmentation
from smidgen.bench.rates import engine_rate, matmul_flops, training_flops
from smidgen.bench.report import cells, markdown
from smidgen.bench.standard import PerImage, train_standard
from smidgen.data import Data, normalise
from smidgen.recipe import Augment, Recipe, override


def test_the_standard_loop_sees_what_the_engine_sees(few: Data, recipe: Recipe) -> None:
    plain = recipe.model_copy(update={"augment": Augment()})
    image, label = PerImage(few.train, plain, few.mean, few.std)[5]
    torch.testing.assert_close(image, normalise(few.train.images[5], few.mean, few.std))
    assert label == few.train.labels[5]


def test_the_standard_loop_learns(few: Data, recipe: Recipe) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    adam = override(recipe, {"optimizer.name": "adam", "optimizer.lr": 0.01})
    *_, (seen, seconds) = train_standard(module, few.train, adam, (few.mean, few.std), 0)
    assert seen == 240
    assert seconds > 0
    logits = module(normalise(few.train.images, few.mean, few.std))
    assert (logits.argmax(1) == few.train.labels).float().mean() > 0.3  # chance is 0.1


def test_training_flops_are_counted_by_hand() -> None:
    # forward 2 · 784 · 10; backward the weights' gradient alone, as much again
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    assert training_flops(module) == 2 * 2 * 784 * 10


def test_rates_are_rates(few: Data, recipe: Recipe) -> None:
    assert engine_rate(recipe, few.train, few) > 0
    assert matmul_flops(size=64, repeats=1) > 0
    assert all(rate > 0 for rate in augmentation(rounds=1, batch_size=8).values())


def test_the_loops_are_compared_in_turn(few: Data) -> None:
    measured = against_standard_loop(few, rounds=1, images=64)
    rates = measured["images_per_second"]
    ratio = rates["engine"] / rates["standard, 0 workers"]
    assert measured["ratios"]["engine / standard, 0 workers"] == pytest.approx(ratio)
    table = markdown("standard", measured)
    assert f"{ratio:.2f} ×" in table


def test_a_target_that_was_never_reached_is_a_dash() -> None:
    runs = {
        "runs": [{}] * 5,
        "median": {"seconds": 2.5, "to 99 %": math.inf},
        "mean_accuracy": 0.9831,
    }
    heading, row = cells("accuracy", {"fast": runs})
    assert heading == ["recipe", "seeds", "mean accuracy", "seconds", "to 99 %"]
    assert row == ["fast", "5", "98.31%", "2.5", "–"]
