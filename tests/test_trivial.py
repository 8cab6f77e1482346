"""One operation for each image, against Pillow and by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats
from torch import Tensor

from smidgen.augment import augment, change_levels, draw, resample
from smidgen.augment.geometry import affine_matrices, compose
from smidgen.augment.trivial import LEVEL_OPERATIONS, OPERATIONS, operation_matrices
from smidgen.recipe import Augment

TRIVIAL = Augment(policy="trivial")


def photos(count: int, channels: int) -> Tensor:
    """Images (N, C, 24, 31), noise around a slope, some dark, some of few levels."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 90, (count, channels, 24, 31), generator=generator)
    images = noise + torch.arange(31) * 5
    images[1::4] //= 3
    images[2::4] = images[2::4] // 120 * 120
    images[3::8] = 77
    return images.clamp(0, 255).byte()


def enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Callable[..., Image.Image]:
    return lambda picture, strength: kind(picture).enhance(1 + 0.99 * strength)


BY_PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "brightness": enhanced(ImageEnhance.Brightness),
    "colour": enhanced(ImageEnhance.Color),
    "contrast": enhanced(ImageEnhance.Contrast),
    "sharpness": enhanced(ImageEnhance.Sharpness),
    "posterize": lambda picture, s: ImageOps.posterize(picture, 8 - round(6 * abs(s))),
    "solarize": lambda picture, s: ImageOps.solarize(picture, 256 * (1 - abs(s))),
    "autocontrast": lambda picture, s: ImageOps.autocontrast(picture),
    "equalize": lambda picture, s: ImageOps.equalize(picture),
}


def test_each_operation_on_levels_has_an_oracle() -> None:
    assert BY_PILLOW.keys() == LEVEL_OPERATIONS.keys()
    assert len(OPERATIONS) == 14


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", BY_PILLOW)
def test_an_operation_on_levels_is_pillows(name: str, channels: int) -> None:
    strengths = torch.cat([torch.arange(-30, 31) / 30, torch.tensor([1.0])])
    images = photos(len(strengths), channels)
    operations = torch.full((len(strengths),), OPERATIONS.index(name))
    found = change_levels(images, {"operation": operations, "strength": strengths})
    for image, strength, changed in zip(images, strengths.tolist(), found, strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy().squeeze())
        expected = np.array(BY_PILLOW[name](picture, strength)).reshape(24, 31, channels)
        off = np.abs(changed.permute(1, 2, 0).numpy().astype(int) - expected)
        assert off.max() <= 1  # where another compiler rounds a product the other way
        assert off.mean() < 2e-3
    if name not in ("autocontrast", "equalize"):
        assert torch.equal(found[30], images[30])  # strength 0
    assert found.dtype == torch.uint8


def test_images_in_one_batch_get_operations_of_their_own() -> None:
    images = photos(40, 3)
    draws = draw(40, (24, 31), TRIVIAL, torch.Generator().manual_seed(0))
    whole = change_levels(images, draws)
    for i in range(40):
        alone = {name: values[i : i + 1] for name, values in draws.items()}
        assert torch.equal(change_levels(images[i : i + 1], alone)[0], whole[i])
        if OPERATIONS[draws["operation"][i]] not in LEVEL_OPERATIONS:
            assert torch.equal(whole[i], images[i])


def source_of(name: str, strength: float, point: tuple[float, float]) -> tuple[float, float]:
    """Where a pixel of the output comes from, (x, y) from the middle, in an image 20 × 31."""
    matrix = operation_matrices(
        torch.tensor([OPERATIONS.index(name)]), torch.tensor([strength]), aspect=31 / 20
    )
    x, y = matrix[0].double() @ torch.tensor([point[0] / 15.5, point[1] / 10, 1.0]).double()
    return x.item() * 15.5, y.item() * 10


def test_operations_that_move_pixels() -> None:
    cos, sin = math.cos(math.radians(67.5)), math.sin(math.radians(67.5))
    x, y = point = 4.0, -3.0
    expected = {
        ("shear_x", 0.5): (x + 0.495 * y, y),
        ("shear_y", -1.0): (x, y - 0.99 * x),
        ("translate_x", 0.2): (x - 6.2, y),  # the picture moves right
        ("translate_y", -0.5): (x, y + 10),
        ("rotate", 0.5): (cos * x - sin * y, sin * x + cos * y),
        ("identity", 1.0): point,
        ("solarize", 1.0): point,
    }
    for (name, strength), place in expected.items():
        assert source_of(name, strength, point) == pytest.approx(place, abs=1e-4), name


def test_two_moves_are_one() -> None:
    """A shift by whole pixels and then a quarter turn, which are exact one by one."""
    still, one = torch.zeros(1), torch.ones(1)
    shift = affine_matrices(still, torch.tensor([[3 / 12, -1 / 12]]), one, still)
    turn = affine_matrices(still + 90, torch.zeros(1, 2), one, still)
    image = torch.randint(0, 256, (1, 3, 12, 12), generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.pad(image[..., 3:-3, 3:-3], (3, 3, 3, 3)).float()
    stepwise = resample(resample(image, {"affine": shift}, Augment()), {"affine": turn}, Augment())
    at_once = resample(image, {"affine": compose(shift, turn)}, Augment())
    torch.testing.assert_close(at_once, stepwise, atol=0.01, rtol=0)
    other = resample(image, {"affine": compose(turn, shift)}, Augment())
    assert (other - stepwise).abs().max() > 50


def test_operations_and_strengths_are_drawn_evenly() -> None:
    draws = draw(14_000, (8, 8), TRIVIAL, torch.Generator().manual_seed(0))
    counts = torch.bincount(draws["operation"], minlength=14)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4
    steps = (draws["strength"] * 30).round().long()
    assert (draws["strength"] * 30 - steps).abs().max() < 1e-4
    assert stats.chisquare(torch.bincount(steps.abs(), minlength=31).numpy()).pvalue > 1e-4
    assert (draws["strength"] > 0).float().mean().item() == pytest.approx(15 / 31, abs=0.02)


def test_a_policy_leaves_the_other_draws_as_they_are() -> None:
    plain = Augment(rotation=10.0, cutout=3, brightness=0.4)
    before = draw(50, (8, 8), plain, torch.Generator().manual_seed(0))
    both = plain.model_copy(update={"policy": "trivial"})
    after = draw(50, (8, 8), both, torch.Generator().manual_seed(0))
    assert torch.equal(before["cutout"], after["cutout"])
    assert torch.equal(before["jitter"], after["jitter"])
    moved = torch.tensor([1 <= operation <= 5 for operation in after["operation"].tolist()])
    moved &= after["strength"] != 0
    same = torch.isclose(before["affine"], after["affine"], atol=1e-6).all(dim=(1, 2))
    assert torch.equal(same, ~moved)


def test_augment_does_both_parts() -> None:
    images = photos(200, 3)
    found = augment(images, TRIVIAL, torch.Generator().manual_seed(0))
    draws = draw(200, (24, 31), TRIVIAL, torch.Generator().manual_seed(0))
    expected = resample(change_levels(images, draws), draws, TRIVIAL)
    assert torch.equal(found, expected)
    changed = (found - images).abs().amax((1, 2, 3)) > 1
    assert {OPERATIONS[k] for k in draws["operation"][changed].tolist()} == {*OPERATIONS[1:]}
