from __future__ import annotations

import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from smidgen import bench
from smidgen.anatomy import describe
from smidgen.bench import against_standard_loop, augmentation, race, rates, time_to_accuracy
from smidgen.bench.race import _standard_time
from smidgen.bench.rates import (
    engine_rate,
    growth,
    matmul_flops,
    multiply_add_flops,
    roofline,
    scaling,
    training_flops,
)
from smidgen.bench.report import cells, markdown
from smidgen.bench.standard import (
    Normalise,
    PerImage,
    Rotate,
    Shift,
    inverse_affine,
    to_tensor,
    train_standard,
)
from smidgen.cli import run
from smidgen.data import Data, Split, normalise
from smidgen.mnist import INPUT_SHAPE
from smidgen.recipe import Augment, Recipe, load_recipe, override
from smidgen.train.native import library
from smidgen.zoo import create_model


def test_the_standard_loop_sees_what_the_engine_sees(few: Data, recipe: Recipe) -> None:
    plain = recipe.model_copy(update={"augment": Augment()})
    image, label = PerImage(few.train, plain, few.preprocess)[5]
    torch.testing.assert_close(image, normalise(few.train.images[5], few.preprocess))
    assert label == few.train.labels[5]


def test_an_affine_map_turns_clockwise_about_the_centre_and_then_shifts() -> None:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[8:20, 9:15] = np.arange(1, 73).reshape(12, 6)
    matrix = inverse_affine((28, 28), 90.0, (3, -2))
    moved = Image.fromarray(pixels).transform((28, 28), Image.Transform.AFFINE, matrix)
    expected = np.roll(np.rot90(pixels, -1), (-2, 3), axis=(0, 1))
    np.testing.assert_array_equal(np.array(moved), expected)


def test_a_shift_draws_its_angle_then_whole_pixels() -> None:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[14, 14] = 200
    torch.manual_seed(3)
    moved = np.array(Shift(0.1)(Image.fromarray(pixels)))
    torch.manual_seed(3)
    torch.rand(1)  # the angle, of which there is none
    dx, dy = (round(2.8 * (2 * torch.rand(1).item() - 1)) for _ in range(2))
    assert (dx, dy) != (0, 0)
    np.testing.assert_array_equal(moved, np.roll(pixels, (dy, dx), axis=(0, 1)))


def test_a_rotation_draws_one_angle_within_its_range() -> None:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 13] = 255
    torch.manual_seed(5)
    turned = np.array(Rotate(30.0)(Image.fromarray(pixels)))
    torch.manual_seed(5)
    angle = math.radians(30 * (2 * torch.rand(1).item() - 1))  # counter-clockwise
    ys, xs = np.nonzero(turned)
    slope = np.polyfit(ys, xs, 1)[0]
    assert math.atan(slope) == pytest.approx(angle, abs=0.03)


def test_pixels_become_shares_of_255_by_channel() -> None:
    pixels = np.arange(0, 24, dtype=np.uint8).reshape(2, 4, 3)
    tensor = to_tensor(Image.fromarray(pixels))
    assert tensor.shape == (3, 2, 4)
    assert tensor[2, 1, 0] == pytest.approx(14 / 255)


def test_normalising_leaves_its_input_alone_and_refuses_nonsense() -> None:
    image = torch.full((1, 2, 2), 0.5)
    assert Normalise((0.25,), (0.125,))(image).tolist() == [[[2.0, 2.0], [2.0, 2.0]]]
    assert image.tolist() == [[[0.5, 0.5], [0.5, 0.5]]]
    with pytest.raises(TypeError, match=r"float \(C, H, W\) is wanted"):
        Normalise((0.0,), (1.0,))(torch.zeros(1, 2, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match="a standard deviation of 0"):
        Normalise((0.0,), (0.0,))(image)


def test_the_standard_loop_learns(few: Data, recipe: Recipe) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    adam = override(recipe, {"optimizer.name": "adam", "optimizer.lr": 0.01})
    *_, (seen, seconds) = train_standard(module, few.train, adam, few.preprocess, 0)
    assert seen == 240
    assert seconds > 0
    logits = module(normalise(few.train.images, few.preprocess))
    assert (logits.argmax(1) == few.train.labels).float().mean() > 0.3  # chance is 0.1


def test_training_flops_are_counted_by_hand() -> None:
    # forward 2 · 784 · 10; backward the weights' gradient alone, as much again
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    assert training_flops(module, INPUT_SHAPE) == 2 * 2 * 784 * 10
    # 26 · 26 · 4 · 9 products, not for the image's gradient; 24 · 24 · 4 · 9 in groups, all three
    grouped = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten())
    assert training_flops(grouped, INPUT_SHAPE) == 2 * (2 * 26 * 26 * 4 * 9 + 3 * 24 * 24 * 4 * 9)


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


def test_one_core_is_compared_with_all(few: Data) -> None:
    measured = scaling(["tiny_mnist"], few, rounds=1)
    one, many, ratio = measured["tiny_mnist"].values()
    assert ratio == pytest.approx(many / one)
    heading, row = cells("scaling", measured)
    assert heading[1] == "one core"
    assert row == ["tiny_mnist", f"{one:,.0f}", f"{many:,.0f}", f"{ratio:.2f} ×"]


def test_a_share_of_the_roof_is_a_rate_over_it(few: Data) -> None:
    found = roofline(["tiny_mnist"], few, rounds=1)["tiny_mnist"]
    reached = found["images_per_second"] * found["flops_per_image"]
    assert found["matmul_share"] == pytest.approx(reached / found["matmul_flops_per_second"])
    assert 0 < found["matmul_share"] < 1


def test_a_roof_is_that_of_the_cores_in_use_and_of_the_networks_own_images(
    few: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []

    def rate(recipe: Recipe, split: Split, data: Data) -> float:
        shapes.append(tuple(split.images.shape[1:]))
        return 1.0

    monkeypatch.setattr(rates, "engine_rate", rate)
    monkeypatch.setattr(rates, "multiply_add_flops", lambda: 8e9)
    monkeypatch.setattr(rates, "matmul_flops", lambda: 4e9)
    monkeypatch.setattr(rates.os, "cpu_count", lambda: 8)
    found = roofline(["smidgen_cifar_25k", "smidgen_8k"], few, rounds=1)
    assert shapes == [(3, 32, 32)] * 2 + [(1, 28, 28)] * 2
    colour, grey = found.values()
    assert load_recipe("smidgen_cifar_25k").workers == 4
    assert (colour["peak_flops_per_second"], colour["matmul_flops_per_second"]) == (4e9, 2e9)
    assert load_recipe("smidgen_8k").workers == 1
    assert (grey["peak_flops_per_second"], grey["matmul_flops_per_second"]) == (1e9, 0.5e9)
    macs = describe(create_model("smidgen_cifar_25k")).macs
    assert 5 * macs < colour["flops_per_image"] < 6 * macs  # forward, and back to both factors
    assert colour["share"] == pytest.approx(colour["flops_per_image"] / 4e9)


def test_more_images_and_more_epochs_are_measured(few: Data) -> None:
    measured = growth(few, rounds=1, images=64, epochs=3)
    once, twice = measured["seconds for 64 images"], measured["seconds for 128 images"]
    assert measured["ratio"] == pytest.approx(twice / once)
    assert 0 < measured["megabytes after 2 epochs"] <= measured["megabytes after 3 epochs"]
    assert [row[0] for row in cells("growth", measured)[1:]] == list(measured)


def test_the_seconds_to_an_accuracy_are_those_of_its_first_snapshot(
    few: Data, recipe: Recipe
) -> None:
    measured = time_to_accuracy(recipe, few, (0.0, 1.01), seeds=2)
    firsts, ends = ([run[key] for run in measured["runs"]] for key in ("to 0.00%", "seconds"))
    assert all(0 < first <= end for first, end in zip(firsts, ends, strict=True))
    assert measured["median"] == {
        "seconds": sum(ends) / 2, "to 0.00%": sum(firsts) / 2, "to 101.00%": math.inf,
    }  # fmt: skip
    first, second = (run["accuracy"] for run in measured["runs"])
    assert measured["mean_accuracy"] == pytest.approx((first + second) / 2)


def test_a_race_that_the_standard_loop_does_not_end_is_infinitely_long(
    few: Data, recipe: Recipe
) -> None:
    measured = race(few, recipe, target=0.0, rounds=1)  # it looks after every hundredth batch
    assert measured["seconds"]["standard"] == measured["ratio"] == math.inf
    engine = measured["seconds"]["engine"]
    assert cells("race", measured)[2:] == [
        ["engine", f"{engine:.1f} s"],
        ["standard / engine", "inf ×"],
    ]
    assert 0 < _standard_time(override(recipe, {"batch_size": 2}), few, 0.0, 1) < math.inf


def test_a_table_of_latencies_has_a_row_for_each_runner() -> None:
    measured = {"net": {"torch": {"1": 0.25, "1000": 30.0}, "kernels": {"1": 0.125, "1000": 20.0}}}
    assert cells("inference", measured)[1:] == [
        ["net", "torch", "0.250", "30.000"], ["net", "kernels", "0.125", "20.000"],
    ]  # fmt: skip
    with pytest.raises(ValueError, match="of nothing"):
        cells("of nothing", measured)


def test_the_command_measures_a_suite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quickly = partial(augmentation, rounds=1, batch_size=8)
    monkeypatch.setattr(bench, "augmentation", quickly)
    assert run(["bench", "augmentation", "--json"]) == 0
    printed = capsys.readouterr()
    measured = json.loads(printed.out)
    assert measured.keys() == {"hardware", "versions", "augmentation"}
    rate = measured["augmentation"]["1 core"]
    assert f"{rate:,.0f}" in printed.err
    assert measured["hardware"]["cpu"] in printed.err


def test_a_target_that_was_never_reached_is_a_dash() -> None:
    runs = {
        "runs": [{}] * 5,
        "median": {"seconds": 2.5, "to 99 %": math.inf},
        "mean_accuracy": 0.9831,
    }
    heading, row = cells("accuracy", {"fast": runs})
    assert heading == ["recipe", "seeds", "mean accuracy", "seconds", "to 99 %"]
    assert row == ["fast", "5", "98.31%", "2.5", "–"]


def test_the_yardstick_counts_a_product_and_a_sum_for_each_lane_of_each_chain() -> None:
    kernels = library()
    if kernels is None:
        pytest.skip("there is no C compiler")
    assert kernels.smidgen_multiply_add(1) == 2 * 12 * kernels.smidgen_lanes()
    assert multiply_add_flops(1_000) > 0


def test_a_roofline_names_both_of_its_measures() -> None:
    figures = {"images_per_second": 2_000.0, "flops_per_image": 5e6, "matmul_share": 0.25}
    figures |= {"matmul_flops_per_second": 4e10, "peak_flops_per_second": 1e11, "share": 0.1}
    heading, row = cells("roofline", {"net": figures})
    assert dict(zip(heading[:4], row[:4], strict=True)) == {
        "model": "net", "images/s": "2,000", "MFLOP an image": "5.00", "GFLOP/s at most": "100",
    }  # fmt: skip
    assert row[4:] == ["10%", "40", "25%"]
    without = cells("roofline", {"net": figures | {"peak_flops_per_second": None, "share": None}})
    assert without[1][3:5] == ["nan", "nan%"]
