"""Each corruption beside SciPy, or beside values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from smidgen import corruptions
from smidgen.corruptions import CORRUPTIONS, STRENGTHS, corrupt

ALL = sorted(CORRUPTIONS)


def random_images(*shape: int) -> Tensor:
    return torch.from_numpy(RandomState(3).randint(0, 256, shape).astype(np.uint8))


def levels(*shape: int) -> Tensor:
    return random_images(*shape).float() / 255


def moved(image: Tensor, down: float, right: float) -> NDArray[np.float64]:
    """A channel moved bilinearly on black."""
    shifted: NDArray[np.float64] = ndimage.shift(
        image.double().numpy(), (down, right), order=1, mode="grid-constant"
    )
    return shifted


def mapped(image: Tensor, matrix: list[list[float]]) -> NDArray[np.float64]:
    """A channel whose pixel at p = (row, column), from the middle, is what was at matrix · p."""
    middle = (np.array(image.shape) - 1) / 2
    found: NDArray[np.float64] = ndimage.affine_transform(
        image.double().numpy(),
        np.array(matrix),
        offset=middle - np.array(matrix) @ middle,
        order=1,
        mode="grid-constant",
    )
    return found


def test_there_are_sixteen_at_five_strengths() -> None:
    assert len(CORRUPTIONS) == 16
    assert {len(amounts) for _, amounts in CORRUPTIONS.values()} == {STRENGTHS}
    for name, (corruption, amounts) in CORRUPTIONS.items():
        assert corruption.__name__ == name
        assert len(set(amounts)) == STRENGTHS
        assert list(amounts) in (sorted(amounts), sorted(amounts, reverse=True))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 40), (1, 8, 8)])
def test_any_images_come_back_as_bytes_the_same_each_time(
    name: str, shape: tuple[int, ...]
) -> None:
    images = random_images(4, *shape)
    before = images.clone()
    for strength in (1, STRENGTHS):
        once, again = corrupt(images, name, strength), corrupt(images, name, strength)
        assert once.dtype == torch.uint8
        assert once.shape == images.shape
        assert torch.equal(once, again)
        assert not torch.equal(once, images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", ALL)
def test_more_images_than_a_chunk_are_all_corrupted(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corruptions, "CHUNK", 2)
    images = random_images(5, 1, 9, 9)
    changed = corrupt(images, name, STRENGTHS)
    assert (changed != images).flatten(1).any(dim=1).all()


def test_gaussian_noise_has_its_deviation() -> None:
    grey = torch.full((20, 1, 50, 50), 128, dtype=torch.uint8)
    noisy = corrupt(grey, "gaussian_noise", 2).double()  # 0.12 of 255 is 30.6
    assert noisy.mean().item() == pytest.approx(128, abs=0.5)
    assert noisy.std().item() == pytest.approx(30.6, rel=0.01)


def test_shot_noise_has_poissons_variance() -> None:
    grey = torch.full((20, 1, 50, 50), 51, dtype=torch.uint8)  # a fifth of white: 12 of 60 photons
    noisy = corrupt(grey, "shot_noise", 1).double() * 60 / 255
    assert noisy.mean().item() == pytest.approx(12, rel=0.01)
    assert noisy.var().item() == pytest.approx(12, rel=0.03)
    assert not corrupt(torch.zeros_like(grey), "shot_noise", 5).any()


def test_impulse_noise_is_half_black_and_half_white() -> None:
    grey = torch.full((20, 1, 50, 50), 100, dtype=torch.uint8)
    noisy = corrupt(grey, "impulse_noise", 5)
    counts = torch.bincount(noisy.flatten(), minlength=256) / noisy.numel()
    assert counts[0].item() == pytest.approx(0.135, abs=0.004)
    assert counts[255].item() == pytest.approx(0.135, abs=0.004)
    assert (counts[0] + counts[100] + counts[255]).item() == pytest.approx(1)


def test_defocus_blur_spreads_a_point_over_a_disk() -> None:
    point = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    point[0, 0, 10, 10] = 255
    plus = torch.zeros(28, 28, dtype=torch.uint8)
    plus[10, 9:12] = plus[9:12, 10] = 51  # five pixels within a radius of 1
    assert torch.equal(corrupt(point, "defocus_blur", 1)[0, 0], plus)


def test_defocus_blur_is_scipys_convolution() -> None:
    image = levels(2, 3, 28, 28)
    rows, columns = np.mgrid[-3:4, -3:4]
    disk = (rows**2 + columns**2 <= 9).astype(float)
    for source, found in zip(image.flatten(0, 1), corruptions.defocus_blur(
        image, 3.0, RandomState(0)
    ).flatten(0, 1), strict=True):  # fmt: skip
        expected = ndimage.convolve(source.double().numpy(), disk / disk.sum(), mode="nearest")
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_motion_blur_is_the_mean_of_moved_images() -> None:
    image = levels(2, 1, 28, 30)
    angles = math.pi * RandomState(0).random_sample(2)
    found = corruptions.motion_blur(image, 5, RandomState(0))
    for source, blurred, angle in zip(image[:, 0], found[:, 0], angles, strict=True):
        steps = (-2, -1, 0, 1, 2)
        expected = np.mean(
            [moved(source, s * math.sin(angle), s * math.cos(angle)) for s in steps], axis=0
        )
        np.testing.assert_allclose(blurred.numpy(), expected, atol=1e-4)


def test_glass_blur_takes_near_pixels() -> None:
    ramp = torch.linspace(0, 1, 28).expand(6, 1, 28, 28)
    found = corruptions.glass_blur(ramp, 2.0, RandomState(0))
    assert (found - ramp).abs().max() <= 3 / 27 + 1e-6  # two pixels away, and the mean's one
    assert (found - ramp).abs().max() > 0.5 / 27
    assert torch.allclose(
        corruptions.glass_blur(ramp * 0 + 0.3, 2.0, RandomState(0)), ramp * 0 + 0.3
    )


def test_rotate_by_a_right_angle_is_numpys() -> None:
    image = levels(6, 1, 12, 12)
    signs = 2 * RandomState(0).randint(0, 2, 6) - 1
    assert set(signs) == {-1, 1}
    found = corruptions.rotate(image, 90, RandomState(0))
    for source, turned, sign in zip(image[:, 0], found[:, 0], signs, strict=True):
        np.testing.assert_allclose(turned, np.rot90(source, sign), atol=1e-5)


def test_shear_moves_each_row_by_its_height() -> None:
    image = levels(6, 1, 20, 28)
    signs = 2 * RandomState(0).randint(0, 2, 6) - 1
    found = corruptions.shear(image, 0.45, RandomState(0))
    for source, leant, sign in zip(image[:, 0], found[:, 0], signs, strict=True):
        expected = mapped(source, [[1, 0], [sign * 0.45, 1]])
        np.testing.assert_allclose(leant, expected, atol=1e-4)


def test_scale_makes_smaller_about_the_middle() -> None:
    image = levels(2, 1, 20, 28)
    found = corruptions.scale(image, 0.8, RandomState(0))
    for source, small in zip(image[:, 0], found[:, 0], strict=True):
        np.testing.assert_allclose(small, mapped(source, [[1.25, 0], [0, 1.25]]), atol=1e-4)


def test_translate_moves_by_a_share_of_the_shorter_side() -> None:
    image = levels(4, 1, 20, 28)
    angles = 2 * math.pi * RandomState(0).random_sample(4)
    found = corruptions.translate(image, 0.25, RandomState(0))
    for source, far, angle in zip(image[:, 0], found[:, 0], angles, strict=True):
        expected = moved(source, 5 * math.sin(angle), 5 * math.cos(angle))
        np.testing.assert_allclose(far, expected, atol=1e-4)


def test_brightness_adds_and_stops_at_white() -> None:
    image = torch.tensor([0, 100, 203, 204, 210], dtype=torch.uint8).expand(1, 1, 5, 5)
    expected = torch.tensor([51, 151, 254, 255, 255], dtype=torch.uint8)
    assert torch.equal(corrupt(image, "brightness", 2)[0, 0, 0], expected)


def test_contrast_goes_towards_the_mean_of_each_channel() -> None:
    image = torch.tensor([0, 100, 200], dtype=torch.uint8).expand(1, 3, 3, 3).clone()
    image[0, 2] = 50  # one level: nothing to lose
    found = corrupt(image, "contrast", 3)  # a factor of 0.2 about 100
    assert found[0, 0, 0].tolist() == [80, 100, 120]
    assert (found[0, 2] == 50).all()


def test_pixelate_averages_blocks() -> None:
    image = levels(2, 3, 28, 16)
    blocks = image.view(2, 3, 7, 4, 4, 4).mean(dim=(3, 5))
    expected = blocks.repeat_interleave(4, 2).repeat_interleave(4, 3)
    found = corruptions.pixelate(image, 0.25, RandomState(0))
    torch.testing.assert_close(found, expected)


def test_fog_goes_from_nothing_to_its_density() -> None:
    dark, white = torch.zeros(3, 1, 20, 28), torch.ones(3, 1, 20, 28)
    found = corruptions.fog(dark, 1.5, RandomState(0))
    torch.testing.assert_close(found.amin((1, 2, 3)), torch.zeros(3))
    torch.testing.assert_close(found.amax((1, 2, 3)), torch.full((3,), 0.6))  # 1.5 of 2.5
    torch.testing.assert_close(corruptions.fog(white, 1.5, RandomState(0)), found + 0.4)
    coarse = torch.nn.functional.avg_pool2d(found, 4)
    assert coarse.std() > 0.5 * found.std()  # clouds, not noise


def test_stripe_inverts_a_band_of_columns() -> None:
    image = random_images(40, 3, 10, 20)
    found = corrupt(image, "stripe", 3)  # a fifth of 20 columns
    inverted = (found == 255 - image).all(dim=2).all(dim=1)  # (N, W)
    same = (found == image).all(dim=2).all(dim=1)
    assert (inverted.sum(1) == 4).all()
    assert (same.sum(1) == 16).all()
    first = inverted.int().argmax(1)
    assert all(row[start : start + 4].all() for row, start in zip(inverted, first, strict=True))
    assert len(first.unique()) > 8


def test_zigzag_goes_up_and_down_from_edge_to_edge() -> None:
    found = corruptions.zigzag(torch.zeros(5, 1, 28, 28), 0.8, RandomState(0))[:, 0]
    assert found.max().item() == pytest.approx(0.8)
    rows = torch.arange(28)[:, None] + 0.5
    middles = (found * rows).sum(1) / found.sum(1)  # (N, W): defined in every column
    phase = RandomState(0)
    heights = 28 * (0.25 + 0.5 * phase.random_sample((5, 1)))
    offsets = phase.random_sample((5, 1))
    for middle, height, offset in zip(middles, heights, offsets, strict=True):
        for column in range(28):
            at = ((column + 0.5) / 8 + offset.item()) % 1
            expected = height.item() + (3 - 12 * at if at < 0.5 else 12 * at - 9)
            assert middle[column].item() == pytest.approx(expected, abs=0.3)
    white = torch.ones(1, 1, 28, 28)
    assert torch.equal(corruptions.zigzag(white, 0.8, RandomState(0)), white)
