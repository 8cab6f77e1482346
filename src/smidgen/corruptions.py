"""Sixteen corruptions of images at five strengths, for a network that never saw them.

In the manner of ImageNet-C (Hendrycks & Dietterich 2019, arXiv 1903.12261) and MNIST-C
(Mu & Gilmer 2019, arXiv 1906.02337), on whole batches of tensors. The numbers are our own
(docs/robustness.md has a table), so that accuracies compare only with those measured here.

Shapes: N images, C channels, H × W pixels. Inside, a level is a share of white from 0 to 1. Lengths
are given for a side of 28 pixels and grow with the shorter side.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import RandomState
from numpy.typing import NDArray
from torch import Tensor

from smidgen.augment import affine_matrices, sampling_grid

STRENGTHS = 5
CHUNK = 500  # images at a time; the random numbers of a chunk follow those of the one before
REFERENCE_SIDE = 28
ZIGZAG_PERIOD, ZIGZAG_HEIGHT, ZIGZAG_WIDTH = 8.0, 6.0, 1.5  # pixels of a side of 28

Corruption = Callable[[Tensor, float, RandomState], Tensor]


def corrupt(images: Tensor, name: str, strength: int) -> Tensor:
    """Corrupted copies of the images, uint8 (N, C, H, W); the same ones at every call.

    `name` is one of CORRUPTIONS and `strength` from 1 to 5. The random numbers are drawn for each
    image; they depend on the name, the strength, and how many images of which shape there are.
    """
    corruption, amounts = CORRUPTIONS[name]
    random = RandomState(zlib.crc32(f"{name} {strength}".encode()))
    changed = [
        corruption(chunk.float() / 255, amounts[strength - 1], random)
        .mul_(255)
        .round_()
        .clamp_(0, 255)
        .byte()
        for chunk in images.split(CHUNK)
    ]
    return torch.cat(changed)


def gaussian_noise(levels: Tensor, deviation: float, random: RandomState) -> Tensor:
    """Adds normal noise to each level."""
    return levels + deviation * _tensor(random.standard_normal(tuple(levels.shape)))


def shot_noise(levels: Tensor, photons: float, random: RandomState) -> Tensor:
    """Counts photons: Poisson's distribution, with so many at white on the mean."""
    return _tensor(random.poisson(levels.numpy() * photons)) / photons


def impulse_noise(levels: Tensor, share: float, random: RandomState) -> Tensor:
    """Makes this share of the levels black or white, as many of the one as of the other."""
    draw = _tensor(random.random_sample(tuple(levels.shape)))
    changed = torch.where(draw < share / 2, 0.0, levels)
    return torch.where(draw >= 1 - share / 2, 1.0, changed)


def defocus_blur(levels: Tensor, radius: float, random: RandomState) -> Tensor:
    """Averages over a disk: the pixels whose centres lie within the radius, at least 1 pixel.

    The levels of the edge go on outside.
    """
    radius = max(1.0, radius * _scale(levels))
    reach = math.floor(radius)
    offsets = torch.arange(-reach, reach + 1).float()
    disk = (offsets[:, None].square() + offsets.square() <= radius**2).float()
    return _filter(levels, disk / disk.sum())


def motion_blur(levels: Tensor, length: float, random: RandomState) -> Tensor:
    """Averages along a line in a random direction, at steps of a pixel, at least two of them.

    Beyond the edge it is black.
    """
    half = (max(2, round(length * _scale(levels))) - 1) / 2
    angles = _tensor(math.pi * random.random_sample(len(levels)))
    direction = torch.stack([angles.cos(), angles.sin()], dim=1)
    steps = torch.arange(-half, half + 1).tolist()
    total = torch.zeros_like(levels)
    for step in steps:
        total += _move(levels, step * direction)
    return total / len(steps)


def glass_blur(levels: Tensor, reach: float, random: RandomState) -> Tensor:
    """Each pixel takes the levels of another, as behind frosted glass, then a 3 × 3 mean.

    How far away the other is in x and in y is drawn evenly from ± reach and rounded; the edge goes
    on outside.
    """
    count, channels, height, width = levels.shape
    steps = reach * _scale(levels) * (2 * random.random_sample((2, count, height, width)) - 1)
    down, right = np.rint(steps).astype(np.int64)
    rows = np.clip(np.arange(height)[:, None] + down, 0, height - 1)
    columns = np.clip(np.arange(width) + right, 0, width - 1)
    places = torch.from_numpy(rows * width + columns).view(count, 1, -1).expand(-1, channels, -1)
    picked = levels.flatten(2).gather(2, places).view_as(levels)
    return _filter(picked, torch.full((3, 3), 1 / 9))


def rotate(levels: Tensor, degrees: float, random: RandomState) -> Tensor:
    """Turns by so many degrees, to the left or the right."""
    return _affine(levels, angle=degrees * _signs(levels, random))


def shear(levels: Tensor, slope: float, random: RandomState) -> Tensor:
    """Leans to the left or the right by so many pixels in x for each in y."""
    return _affine(levels, lean=math.degrees(math.atan(slope)) * _signs(levels, random))


def scale(levels: Tensor, factor: float, random: RandomState) -> Tensor:
    """Makes the picture smaller, on black."""
    return _affine(levels, zoom=torch.full((len(levels),), factor))


def translate(levels: Tensor, share: float, random: RandomState) -> Tensor:
    """Moves by this share of the shorter side, in a random direction."""
    angles = _tensor(2 * math.pi * random.random_sample(len(levels)))
    length = share * min(levels.shape[2:])
    return _move(levels, length * torch.stack([angles.cos(), angles.sin()], dim=1))


def brightness(levels: Tensor, share: float, random: RandomState) -> Tensor:
    """Adds this share of white to each level."""
    return levels + share


def contrast(levels: Tensor, factor: float, random: RandomState) -> Tensor:
    """Brings each level nearer to the mean of its channel: factor times the distance."""
    mean = levels.mean(dim=(2, 3), keepdim=True)
    return mean + factor * (levels - mean)


def pixelate(levels: Tensor, share: float, random: RandomState) -> Tensor:
    """Averages over fewer, larger pixels: this share of the side has so many."""
    sides = levels.shape[2:]
    few = (max(1, round(share * sides[0])), max(1, round(share * sides[1])))
    return F.interpolate(F.adaptive_avg_pool2d(levels, few), sides, mode="nearest-exact")


def fog(levels: Tensor, density: float, random: RandomState) -> Tensor:
    """Adds clouds of 0 to `density` times white, and brings the whole back to white.

    Clouds are random grids of 2, 4, 8, … points, each half as strong as the one before, enlarged
    bilinearly: a fractal, as the plasma of ImageNet-C. Each image's go from 0 to 1.
    """
    height, width = levels.shape[2:]
    clouds = torch.zeros(len(levels), 1, height, width)
    points, weight = 2, 1.0
    while points <= min(height, width):
        grid = _tensor(random.random_sample((len(levels), 1, points, points)))
        clouds += weight * F.interpolate(grid, (height, width), mode="bilinear", align_corners=True)
        points, weight = 2 * points, weight / 2
    low, high = (
        each.view(-1, 1, 1, 1) for each in (clouds.amin((1, 2, 3)), clouds.amax((1, 2, 3)))
    )
    return (levels + density * (clouds - low) / (high - low)) / (1 + density)


def stripe(levels: Tensor, share: float, random: RandomState) -> Tensor:
    """Inverts a band over the whole height, of this share of the width, at a random place."""
    width = levels.shape[3]
    columns = max(1, round(share * width))
    left = torch.from_numpy(random.randint(0, width - columns + 1, len(levels))).view(-1, 1, 1, 1)
    place = torch.arange(width)
    return torch.where((place >= left) & (place < left + columns), 1 - levels, levels)


def zigzag(levels: Tensor, opacity: float, random: RandomState) -> Tensor:
    """Draws a white line from the left to the right edge that goes up and down."""
    height, width = levels.shape[2:]
    size = _scale(levels)
    period, rise = ZIGZAG_PERIOD * size, ZIGZAG_HEIGHT * size
    middle = _tensor(height * (0.25 + 0.5 * random.random_sample((len(levels), 1))))
    phase = _tensor(random.random_sample((len(levels), 1)))
    turns = ((torch.arange(width) + 0.5) / period + phase) % 1  # (N, W)
    heights = middle + rise * ((2 * turns - 1).abs() - 0.5)
    distance = (torch.arange(height)[:, None] + 0.5 - heights[:, None]).abs()  # (N, H, W)
    distance /= math.hypot(1, 2 * rise / period)  # across the line, not down
    cover = (ZIGZAG_WIDTH * size / 2 + 0.5 - distance).clamp(0, 1)[:, None]
    return levels + opacity * cover * (1 - levels)


CORRUPTIONS: dict[str, tuple[Corruption, tuple[float, ...]]] = {
    "gaussian_noise": (gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (shot_noise, (60, 25, 12, 5, 3)),
    "impulse_noise": (impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": (defocus_blur, (1.0, 1.5, 2.0, 2.5, 3.0)),
    "motion_blur": (motion_blur, (3, 5, 7, 9, 11)),
    "glass_blur": (glass_blur, (0.75, 1.0, 1.5, 2.0, 2.5)),
    "rotate": (rotate, (10, 20, 30, 40, 50)),
    "shear": (shear, (0.15, 0.3, 0.45, 0.6, 0.75)),
    "scale": (scale, (0.9, 0.8, 0.7, 0.6, 0.5)),
    "translate": (translate, (0.05, 0.1, 0.15, 0.2, 0.25)),
    "brightness": (brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "pixelate": (pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "fog": (fog, (0.5, 1.0, 1.5, 2.0, 2.5)),
    "stripe": (stripe, (0.1, 0.15, 0.2, 0.25, 0.3)),
    "zigzag": (zigzag, (0.2, 0.4, 0.6, 0.8, 1.0)),
}  # what each function takes as its second argument, at the strengths 1 to 5


def _scale(levels: Tensor) -> float:
    """How many times longer the shorter side is than MNIST's."""
    return min(levels.shape[2:]) / REFERENCE_SIDE


def _tensor(numbers: NDArray[np.generic] | float) -> Tensor:
    return torch.from_numpy(np.asarray(numbers, dtype=np.float32))


def _signs(levels: Tensor, random: RandomState) -> Tensor:
    return _tensor(2 * random.randint(0, 2, len(levels)) - 1)


def _filter(levels: Tensor, kernel: Tensor) -> Tensor:
    """Each channel correlated with an odd, square kernel; the levels of the edge go on outside."""
    reach = len(kernel) // 2
    flat = levels.reshape(-1, 1, *levels.shape[2:])
    padded = F.pad(flat, (reach,) * 4, mode="replicate")
    return F.conv2d(padded, kernel[None, None]).view_as(levels)


def _move(levels: Tensor, pixels: Tensor) -> Tensor:
    """The images moved right and down by `pixels` (N, 2), on black."""
    height, width = levels.shape[2:]
    matrices = torch.eye(2, 3).repeat(len(levels), 1, 1)
    matrices[:, :, 2] = -2 * pixels / torch.tensor([width, height])
    return F.grid_sample(levels, sampling_grid(matrices, height, width), align_corners=False)


def _affine(
    levels: Tensor,
    angle: Tensor | None = None,
    zoom: Tensor | None = None,
    lean: Tensor | None = None,
) -> Tensor:
    """The images turned, enlarged or leant about their middle, on black; degrees, factors (N,)."""
    height, width = levels.shape[2:]
    still = torch.zeros(len(levels))
    matrices = affine_matrices(
        angle=still if angle is None else angle,
        shift=torch.zeros(len(levels), 2),
        zoom=still + 1 if zoom is None else zoom,
        shear=still if lean is None else lean,
        aspect=width / height,
    )
    return F.grid_sample(levels, sampling_grid(matrices, height, width), align_corners=False)
