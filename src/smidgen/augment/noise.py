"""Noise and haze on whole batches of bytes, of another strength in each image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

HAZE = 3  # points in each direction of a field of haze
SEEDS = 2**31


def draw_haze(count: int, most: float, generator: torch.Generator) -> Tensor:
    """Shares of white at 3 × 3 points of each image, float32 (N, 1, 3, 3), from 0 to `most`.

    Each image has a largest share and an unevenness, both drawn evenly.
    """
    largest, unevenness = torch.rand(2, count, 1, 1, 1, generator=generator)
    points = torch.rand(count, 1, HAZE, HAZE, generator=generator)
    shares: Tensor = most * largest * (1 - unevenness * points)
    return shares


def add_haze(images: Tensor, shares: Tensor) -> Tensor:
    """The images, uint8 (N, C, H, W), blended with white by these shares, (N, 1, 3, 3)."""
    sides = images.shape[2:]
    field = F.interpolate(shares, sides, mode="bilinear", align_corners=True)
    return (images + field * (255.0 - images)).round().byte()


def add_noise(images: Tensor, deviations: Tensor, seeds: Tensor) -> Tensor:
    """The images, uint8 (N, C, H, W), with normal noise of these deviations (N,), shares of 255.

    The numbers are drawn for the whole batch, on the CPU, from the first of the `seeds`, int64
    (N,): those of an epoch would not fit in memory.
    """
    generator = torch.Generator().manual_seed(int(seeds[0]))
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    noise *= 255 * deviations.view(-1, 1, 1, 1)
    return noise.add_(images).round_().clamp_(0, 255).byte()
