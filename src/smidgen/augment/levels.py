"""Changes of the levels of whole batches of bytes; each image has its own factor.

The arithmetic is Pillow's, so that ImageEnhance gives the same bytes: a blend is rounded down.
Levels are computed in float32, in which all of these integers are exact.
"""

from __future__ import annotations

import torch
from torch import Tensor

RED, GREEN, BLUE = 19595, 38470, 7471  # of ITU-R 601's luma, in 65,536ths


def jitter(images: Tensor, factors: Tensor) -> Tensor:
    """The images, uint8 (N, C, H, W), with other brightness, then contrast, then saturation.

    `factors` float32 (N, 3) are one for each; 1 changes nothing and 0 leaves black, one grey, or
    the luma. Grey images have no saturation.
    """
    brightness, contrast, saturation = factors.view(-1, 3, 1, 1, 1).unbind(dim=1)
    levels = blend(images.to(torch.float32, copy=True), 0, brightness)
    levels = blend(levels, mean_grey(levels), contrast)
    if images.shape[1] == 3:
        levels = blend(levels, luma(levels), saturation)
    return levels.byte()


def blend(levels: Tensor, other: Tensor | int, factor: Tensor) -> Tensor:
    """other + factor · (levels - other) in place, rounded down, within 0 to 255."""
    return levels.sub_(other).mul_(factor).add_(other).clamp_(0, 255).floor_()


def luma(levels: Tensor) -> Tensor:
    """The grey levels (N, 1, H, W) of images with one channel or three, to the nearest level."""
    if levels.shape[1] == 1:
        return levels
    red, green, blue = levels.split(1, dim=1)
    sums: Tensor = red * RED + green * GREEN + blue * BLUE + (1 << 15)
    return sums.div_(1 << 16).floor_()


def mean_grey(levels: Tensor) -> Tensor:
    """The mean of the grey levels of each image, to the nearest level: (N, 1, 1, 1)."""
    sums = luma(levels).sum(dim=(1, 2, 3), keepdim=True).long()
    pixels = levels.shape[2] * levels.shape[3]
    return ((2 * sums + pixels) // (2 * pixels)).float()
