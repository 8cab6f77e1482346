from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance
from scipy import ndimage, stats
from torch import Tensor

from smidgen.augment import (
    affine_matrices,
    augment,
    change_levels,
    draw,
    draw_mixture,
    resample,
    sampling_grid,
)
from smidgen.recipe import Augment

UNLIKELY = 1e-4  # the p-value of one fair draw in ten thousand; a wrong distribution's is 0


def test_the_docs_have_every_key_and_its_default() -> None:
    text = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| *(\S*) *\|", text, re.MULTILINE)
    defaults = {name: field.default for name, field in Augment.model_fields.items()}
    assert dict(rows) == {name: "" if v is None else str(v) for name, v in defaults.items()}


def picture() -> Tensor:
    """A smooth, lopsided blob (1, 1, 28, 28) with a black border."""
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    blob = torch.exp(
        -((rows - 10) ** 2 / 18 + (columns - 16) ** 2 / 8 + (rows - columns) ** 2 / 90)
    )
    return (300 * blob - 45).clamp(min=0)[None, None]


def moved(image: Tensor, **change: float | tuple[float, float]) -> Tensor:
    """The image under one known change of angle, shift, zoom or shear."""
    parts = {
        "angle": torch.tensor([change.get("angle", 0.0)]),
        "shift": torch.tensor([change.get("shift", (0.0, 0.0))]),
        "zoom": torch.tensor([change.get("zoom", 1.0)]),
        "shear": torch.tensor([change.get("shear", 0.0)]),
    }
    draws = {"affine": affine_matrices(**parts)}
    return resample(image, draws, Augment(rotation=1.0))


def by_scipy(image: Tensor, matrix: list[list[float]], shift: tuple[float, float]) -> Tensor:
    """The same change by scipy, bilinear about the centre; matrix maps output to input (y, x)."""
    linear, centre = np.array(matrix), np.array([13.5, 13.5])
    moved_back = np.array([shift[1] * 28, shift[0] * 28])
    offset = centre - linear @ (centre + moved_back)
    array = ndimage.affine_transform(image[0, 0].numpy(), linear, offset, order=1)
    return torch.from_numpy(array)[None, None]


@pytest.mark.parametrize("angle", [0.0, 10.0, -33.0, 90.0])
def test_rotation_is_scipys(angle: float) -> None:
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # counter-clockwise with y downwards: a point of the output came from the clockwise turn of it
    expected = by_scipy(picture(), [[cos, sin], [-sin, cos]], (0, 0))
    torch.testing.assert_close(moved(picture(), angle=angle), expected, atol=0.02, rtol=0)


def test_a_positive_angle_turns_counter_clockwise() -> None:
    image = torch.zeros(1, 1, 28, 28)
    image[0, 0, 13:15, 22:26] = 255  # a bar at three o'clock
    turned = moved(image, angle=90.0)
    assert turned[0, 0, 2:6, 13:15].min() > 250  # stands at twelve


@pytest.mark.parametrize("shift", [(0.25, 0.0), (0.0, -0.1), (0.05, 0.13)])
def test_translation_is_scipys(shift: tuple[float, float]) -> None:
    expected = by_scipy(picture(), [[1, 0], [0, 1]], shift)
    torch.testing.assert_close(moved(picture(), shift=shift), expected, atol=0.02, rtol=0)


def test_a_shift_by_whole_pixels_moves_them() -> None:
    image = torch.zeros(1, 1, 28, 28)
    image[0, 0, 10, 10] = 200
    shifted = moved(image, shift=(2 / 28, 3 / 28))  # right 2, down 3
    assert shifted[0, 0, 13, 12].item() == pytest.approx(200, abs=0.01)
    assert shifted.sum().item() == pytest.approx(200, abs=0.02)


@pytest.mark.parametrize("zoom", [0.8, 1.3])
def test_scale_is_scipys(zoom: float) -> None:
    expected = by_scipy(picture(), [[1 / zoom, 0], [0, 1 / zoom]], (0, 0))
    torch.testing.assert_close(moved(picture(), zoom=zoom), expected, atol=0.02, rtol=0)


def test_shear_is_scipys() -> None:
    lean = math.tan(math.radians(20))
    expected = by_scipy(picture(), [[1, 0], [lean, 1]], (0, 0))  # input x = x + lean · y
    torch.testing.assert_close(moved(picture(), shear=20.0), expected, atol=0.02, rtol=0)


def test_all_at_once_is_one_resampling() -> None:
    angle, zoom, lean = math.radians(15), 1.1, math.tan(math.radians(8))
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    matrix = [[cos, sin], [lean * cos - sin, cos + lean * sin]]
    expected = by_scipy(picture(), matrix, (0.05, -0.08))
    ours = moved(picture(), angle=15.0, zoom=1.1, shear=8.0, shift=(0.05, -0.08))
    torch.testing.assert_close(ours, expected, atol=0.02, rtol=0)


def test_the_sampling_grid_is_torchs() -> None:
    theta = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    expected = F.affine_grid(theta, [5, 1, 28, 20], align_corners=False)
    torch.testing.assert_close(sampling_grid(theta, 28, 20), expected)


def test_the_border_is_background() -> None:
    grey = torch.full((8, 1, 28, 28), 77, dtype=torch.uint8)
    turned = augment(grey, Augment(rotation=45.0), torch.Generator().manual_seed(0))
    corners = turned[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 0).any()
    assert turned.max() <= 77.001


def test_a_centre_crop_is_enlarged() -> None:
    """Cropping 14 of 28 doubles: output pixel o shows input 13.5 + (o − 13.5) / 2."""
    settings = Augment(crop_size=14, crop_probability=1.0)
    ramp = torch.arange(28.0).expand(1, 1, 28, 28)
    cropped = augment(ramp, settings, torch.Generator().manual_seed(0))
    expected = 13.5 + (torch.arange(28.0) - 13.5) / 2
    torch.testing.assert_close(cropped[0, 0, 10], expected, atol=1e-3, rtol=0)


def test_a_crop_happens_as_often_as_it_should() -> None:
    settings = Augment(crop_size=22, crop_probability=0.1)
    matrices = draw(20_000, (28, 28), settings, torch.Generator().manual_seed(0))["affine"]
    cropped = matrices[:, 0, 0] < 0.9  # 22 / 28, or 1
    assert cropped.float().mean().item() == pytest.approx(0.1, abs=0.01)


def test_flips_exchange_left_and_right_in_half_of_the_images() -> None:
    images = torch.randint(0, 256, (400, 3, 6, 9), dtype=torch.uint8)
    found = augment(images, Augment(flip=0.5), torch.Generator().manual_seed(0))
    same = (found - images).abs().amax((1, 2, 3)) < 0.01
    turned = (found - images.flip(3)).abs().amax((1, 2, 3)) < 0.01
    assert (same ^ turned).all()
    assert 160 <= turned.sum() <= 240  # 200 expected, standard deviation 10


def test_a_padded_crop_moves_by_whole_pixels() -> None:
    images = torch.randint(1, 256, (300, 3, 7, 10), dtype=torch.uint8)
    found = augment(images, Augment(crop_padding=2), torch.Generator().manual_seed(0))
    padded = F.pad(images, (2, 2, 2, 2)).float()
    windows = padded.unfold(2, 7, 1).unfold(3, 10, 1)  # (N, 3, 5, 5, 7, 10)
    places = (windows - found[:, :, None, None]).abs().amax((1, 4, 5)) < 0.01
    assert (places.sum((1, 2)) == 1).all()
    assert (places.sum(0) > 0).all()  # all 25 of them


def test_a_turn_of_a_wide_image_keeps_right_angles() -> None:
    image = torch.zeros(1, 1, 20, 40)
    image[..., 5:15, 10:30] = 200  # 10 × 20 becomes 20 × 10
    theta = affine_matrices(
        torch.tensor([90.0]), torch.zeros(1, 2), torch.ones(1), torch.zeros(1), aspect=2.0
    )
    turned = resample(image, {"affine": theta}, Augment())
    expected = torch.zeros_like(image)
    expected[..., :, 15:25] = 200
    torch.testing.assert_close(turned, expected, atol=0.01, rtol=0)


def test_cutout_blanks_one_square() -> None:
    white = torch.full((500, 1, 28, 28), 255, dtype=torch.uint8)
    cut = augment(white, Augment(cutout=5), torch.Generator().manual_seed(0))
    blanked = (cut == 0).sum(dim=(1, 2, 3))
    assert blanked.max() == 25  # fewer where the square hangs over the edge
    rows = (cut == 0).any(dim=3).sum(dim=2)
    assert rows.max() == 5


def test_elastic_moves_pixels_by_about_its_amount() -> None:
    ramp = torch.arange(28.0).expand(200, 1, 28, 28)
    bent = augment(ramp, Augment(elastic=1.0), torch.Generator().manual_seed(0))
    moved_by = (bent - ramp)[:, 0, 4:-4, 4:-4]  # along x, a displacement of 1 pixel changes 1
    assert moved_by.std().item() == pytest.approx(0.8, abs=0.3)
    assert moved_by.mean().item() == pytest.approx(0.0, abs=0.1)


def test_draws_stay_in_their_ranges() -> None:
    settings = Augment(rotation=30.0, translation=0.2)
    theta = draw(5_000, (28, 28), settings, torch.Generator().manual_seed(0))["affine"]
    angles = torch.atan2(theta[:, 1, 0], theta[:, 0, 0]).rad2deg()
    assert angles.abs().max() <= 30.001
    assert angles.max() > 29
    assert angles.min() < -29
    undone = torch.linalg.solve(theta[:, :, :2], -theta[:, :, 2:]).squeeze(2) / 2
    assert undone.abs().max() <= 0.2001
    assert undone.abs().max() > 0.19


def test_nothing_to_change_changes_nothing() -> None:
    images = torch.randint(0, 256, (4, 1, 28, 28), dtype=torch.uint8)
    assert torch.equal(augment(images, Augment(), torch.Generator()), images.float())


def test_the_generator_decides() -> None:
    images = picture().repeat(3, 1, 1, 1)
    settings = Augment(rotation=20.0, elastic=1.0, cutout=4)
    first, second, other = (
        augment(images, settings, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_shards_of_the_draws_change_shards_of_the_images() -> None:
    images = picture().repeat(6, 1, 1, 1)
    settings = Augment(rotation=20.0, translation=0.1, cutout=4)
    draws = draw(6, (28, 28), settings, torch.Generator().manual_seed(0))
    whole = resample(images, draws, settings)
    tail = resample(images[4:], {name: values[4:] for name, values in draws.items()}, settings)
    torch.testing.assert_close(whole[4:], tail)


def random_images(count: int, channels: int = 3) -> Tensor:
    """Noise, uint8 (N, C, 10, 13)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, 10, 13), dtype=torch.uint8, generator=generator)


def test_mixup_averages_the_levels() -> None:
    images = random_images(40)
    mixture = draw_mixture(40, (10, 13), Augment(mixup=1.0), np.random.RandomState(0))
    own, other = images.numpy().astype(float), images.numpy()[mixture.partners.numpy()]
    share = mixture.shares.double().numpy()[:, None, None, None]
    exact = share * own + (1 - share) * other
    found = mixture.mix(images)
    assert found.dtype == torch.uint8
    assert np.abs(found.numpy() - exact).max() < 0.5001
    assert mixture.partners.sort().values.tolist() == list(range(40))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_from_beta(alpha: float) -> None:
    mixture = draw_mixture(2_000, (8, 8), Augment(mixup=alpha), np.random.RandomState(0))
    assert stats.kstest(mixture.shares.numpy(), stats.beta(alpha, alpha).cdf).pvalue > UNLIKELY


def test_cutmix_pastes_one_rectangle_of_the_partner() -> None:
    images = random_images(300)
    mixture = draw_mixture(300, (10, 13), Augment(cutmix=1.0), np.random.RandomState(0))
    found = mixture.mix(images)
    assert mixture.boxes is not None
    for i, (top, bottom, left, right) in enumerate(mixture.boxes.tolist()):
        expected = images[i].clone()
        partner = images[mixture.partners[i]]
        expected[:, top:bottom, left:right] = partner[:, top:bottom, left:right]
        assert torch.equal(found[i], expected)
        covered = (bottom - top) * (right - left) / 130
        assert mixture.shares[i].item() == pytest.approx(1 - covered)
        assert 0 <= top <= bottom <= 10
        assert 0 <= left <= right <= 13
    # The centre lies anywhere, and the area that is not cut off is uniform: half of the image.
    heights, widths = (mixture.boxes[:, k + 1] - mixture.boxes[:, k] for k in (0, 2))
    assert widths.float().mean() / heights.float().mean() == pytest.approx(1.3, rel=0.1)


def test_a_coin_for_each_batch_chooses_between_mixup_and_cutmix() -> None:
    random, both = np.random.RandomState(0), Augment(mixup=0.4, cutmix=1.0)
    cuts = [draw_mixture(2, (8, 8), both, random).boxes is not None for _ in range(400)]
    assert 160 <= sum(cuts) <= 240  # 200 expected, standard deviation 10


def to_picture(image: Tensor) -> Image.Image:
    """The image (C, H, W), of one channel or three, for Pillow."""
    return Image.fromarray(image.permute(1, 2, 0).numpy().squeeze())


def from_picture(picture: Image.Image) -> Tensor:
    """Pillow's picture as an image (C, H, W)."""
    return torch.from_numpy(np.array(picture)).view(*picture.size[::-1], -1).permute(2, 0, 1)


def assert_same_levels(found: Tensor, expected: Tensor) -> None:
    """Equal, but for the few places where another compiler rounds a product the other way."""
    assert found.dtype == expected.dtype == torch.uint8
    off = (found.int() - expected.int()).abs()
    assert off.max() <= 1
    assert off.float().mean() < 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_pillows(channels: int) -> None:
    images = random_images(60, channels)
    images[::3] //= 5  # dark ones
    factors = 2 * torch.rand(60, 3, generator=torch.Generator().manual_seed(1))
    factors[0] = 1  # nothing changes
    factors[1] = 0
    expected = []
    for image, (brightness, contrast, saturation) in zip(images, factors.tolist(), strict=True):
        picture = ImageEnhance.Brightness(to_picture(image)).enhance(brightness)
        picture = ImageEnhance.Contrast(picture).enhance(contrast)
        if channels == 3:
            picture = ImageEnhance.Color(picture).enhance(saturation)
        expected.append(from_picture(picture))
    before = images.clone()
    found = change_levels(images, {"jitter": factors})
    assert_same_levels(found, torch.stack(expected))
    assert torch.equal(found[0], images[0])
    assert torch.equal(images, before)


def test_jitters_factors_stay_in_their_ranges() -> None:
    settings = Augment(brightness=0.3, saturation=0.8)
    factors = draw(5_000, (8, 8), settings, torch.Generator().manual_seed(0))["jitter"]
    assert factors[:, 1].eq(1).all()
    for column, most in (0, 0.3), (2, 0.8):
        uniform = stats.uniform(1 - most, 2 * most)
        assert stats.kstest(factors[:, column].numpy(), uniform.cdf).pvalue > UNLIKELY


def test_augment_changes_levels_and_places() -> None:
    images = random_images(5)
    settings = Augment(brightness=0.5, flip=1.0)
    found = augment(images, settings, torch.Generator().manual_seed(0))
    draws = draw(5, (10, 13), settings, torch.Generator().manual_seed(0))
    expected = change_levels(images, draws).flip(3).float()
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)
    assert (expected - images.flip(3)).abs().max() > 20


def test_random_erasing_blanks_one_rectangle_as_often_as_it_should() -> None:
    white = torch.full((3_000, 3, 40, 40), 255, dtype=torch.uint8)
    draws = draw(3_000, (40, 40), Augment(random_erasing=0.3), torch.Generator().manual_seed(0))
    blank = (change_levels(white, draws) == 0).numpy()
    assert (blank == blank[:, :1]).all()  # all channels alike
    blank = blank[:, 0]
    erased = blank.any((1, 2))
    assert erased.mean() == pytest.approx(0.3, abs=0.03)  # standard deviation 0.008
    blank = blank[erased]
    heights, widths = blank.any(2).sum(1), blank.any(1).sum(1)
    areas = blank.sum((1, 2))
    assert np.array_equal(areas, heights * widths)  # a rectangle
    assert 0.015 < areas.min() / 1600 < 0.03
    assert 0.3 < areas.max() / 1600 < 0.345
    assert areas.mean() / 1600 == pytest.approx(0.175, abs=0.015)
    ratios = np.log(heights / widths)
    assert abs(ratios.mean()) < 0.1  # tall and wide alike; standard deviation 0.02
    assert np.abs(ratios).max() < math.log(3.3) + 0.25  # small ones are rounded to pixels
    assert np.abs(ratios).max() > math.log(3.3) - 0.1
    often = blank.mean(0)  # (40, 40)
    assert np.abs(often - often[::-1, ::-1]).max() < 0.1  # left as often as right


def test_random_erasing_stays_inside_of_a_flat_image() -> None:
    settings = Augment(random_erasing=1.0)
    drawn = draw(2_000, (8, 128), settings, torch.Generator().manual_seed(0))["erasing"]
    top, bottom, left, right = drawn.unbind(1)
    assert (top.min(), left.min()) == (0, 0)
    assert (bottom.max(), right.max()) == (8, 128)
    assert (bottom > top).all()
    assert (right > left).all()


def test_haze_blends_with_white_between_its_points() -> None:
    images = torch.tensor([0, 100, 255], dtype=torch.uint8).repeat(2, 1, 3, 1)
    shares = torch.zeros(2, 1, 3, 3)
    shares[1] = 0.5
    shares[1, 0, 0] = 0.2
    found = change_levels(images, {"haze": shares})
    assert torch.equal(found[0], images[0])
    assert found[1, 0].tolist() == [[51, 131, 255], [128, 178, 255], [128, 178, 255]]


def test_haze_is_drawn_from_nothing_to_its_key() -> None:
    draws = draw(4_000, (28, 28), Augment(haze=0.8), torch.Generator().manual_seed(0))
    shares = draws["haze"]
    assert shares.shape == (4_000, 1, 3, 3)
    assert shares.min() >= 0
    assert 0.7 < shares.max() <= 0.8
    # The product of the largest share, 0.4, and of 1 - 1/2 · 1/2: 0.3 on the mean.
    assert shares.mean().item() == pytest.approx(0.3, abs=0.01)


def test_noise_has_the_deviation_of_each_image_and_its_seed() -> None:
    images = torch.full((3, 1, 100, 100), 128, dtype=torch.uint8)
    draws = {"noise": torch.tensor([0.0, 0.05, 0.1]), "noise_seed": torch.tensor([7, 8, 9])}
    found = change_levels(images, draws)
    assert torch.equal(found[0], images[0])
    deviations = found.double().std(dim=(1, 2, 3))
    assert deviations[1:].tolist() == pytest.approx([12.75, 25.5], rel=0.03)
    assert torch.equal(found, change_levels(images, draws))
    other = draws | {"noise_seed": torch.tensor([6, 8, 9])}
    assert not torch.equal(found, change_levels(images, other))


def test_noise_is_drawn_evenly_up_to_its_key() -> None:
    draws = draw(4_000, (28, 28), Augment(noise=0.4), torch.Generator().manual_seed(0))
    assert stats.kstest(draws["noise"].numpy(), stats.uniform(0, 0.4).cdf).pvalue > UNLIKELY
    assert len(draws["noise_seed"].unique()) > 3_990
