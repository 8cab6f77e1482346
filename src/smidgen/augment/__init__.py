"""Random changes of whole batches of training images, before normalisation.

Every image of a batch gets its own change, drawn from an explicit generator. The draws are apart
from the changes, so that several workers can resample the shards of one batch.

Shapes: N images, C channels, H × W pixels; a value is a level from 0 to 255.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from smidgen.augment.erasing import draw_rectangles, erase
from smidgen.augment.geometry import (
    COARSE,
    affine_matrices,
    compose,
    draw_matrices,
    resample,
    sampling_grid,
)
from smidgen.augment.levels import jitter
from smidgen.augment.mixing import Mixture, draw_mixture
from smidgen.augment.noise import SEEDS, add_haze, add_noise, draw_haze
from smidgen.augment.trivial import apply_operations, draw_operations, operation_matrices
from smidgen.recipe import Augment

__all__ = [
    "COARSE",
    "Mixture",
    "affine_matrices",
    "augment",
    "change_levels",
    "draw",
    "draw_mixture",
    "resample",
    "sampling_grid",
]

LEVEL_DRAWS = {
    "operation", "strength", "jitter", "haze", "noise", "noise_seed", "erasing",
}  # fmt: skip  # those that `change_levels` reads


def augment(images: Tensor, settings: Augment, generator: torch.Generator) -> Tensor:
    """Changed copies of the images: uint8 or float (N, C, H, W) to float32 (N, C, H, W).

    `generator` lives on the CPU whatever the device of the images, so that a seed means the same
    everywhere. `mixup` and `cutmix` are left out, since they change the labels too.
    """
    draws = draw(len(images), images.shape[2:], settings, generator)
    return resample(change_levels(images, draws), draws, settings)


def draw(
    count: int, sides: Sequence[int], settings: Augment, generator: torch.Generator
) -> dict[str, Tensor]:
    """The random numbers for `count` images of `sides` H and W; `count` is their first dimension.

    `affine` (N, 2, 3) maps output to input coordinates from -1 to 1; `cutout` (N, 2) holds
    corners as shares of the side; `elastic` (N, 2, 5, 5) holds coarse displacements; `jitter`
    (N, 3) holds factors of brightness, contrast and saturation; `erasing` (N, 4) holds rectangles;
    `haze` (N, 1, 3, 3) holds shares of white; `noise` (N,) deviations and `noise_seed` (N,) seeds;
    `operation` (N,) and `strength` (N,) are a policy's, whose moves are in `affine` already.
    """
    s, draws = settings, {}
    moves = s.rotation, s.translation, s.scale, s.shear, s.crop_probability
    if any(moves) or s.crop_padding or s.flip:
        draws["affine"] = draw_matrices(count, sides, s, generator)
    if s.cutout:
        draws["cutout"] = torch.rand(count, 2, generator=generator)
    if s.elastic:
        draws["elastic"] = torch.randn(count, 2, COARSE, COARSE, generator=generator)
    ranges = torch.tensor([s.brightness, s.contrast, s.saturation])
    if ranges.any():
        draws["jitter"] = 1 + ranges * (2 * torch.rand(count, 3, generator=generator) - 1)
    if s.haze:
        draws["haze"] = draw_haze(count, s.haze, generator)
    if s.noise:
        draws["noise"] = s.noise * torch.rand(count, generator=generator)
        draws["noise_seed"] = torch.randint(SEEDS, (count,), generator=generator)
    if s.random_erasing:
        draws["erasing"] = draw_rectangles(count, sides, s.random_erasing, generator)
    if s.policy == "trivial":
        draws |= _draw_policy(count, sides, draws.get("affine"), generator)
    return draws


def _draw_policy(
    count: int, sides: Sequence[int], before: Tensor | None, generator: torch.Generator
) -> dict[str, Tensor]:
    """Operations and strengths, and matrices that make the moves `before` and then theirs."""
    operations, strengths = draw_operations(count, generator)
    matrices = operation_matrices(operations, strengths, aspect=sides[1] / sides[0])
    affine = matrices if before is None else compose(before, matrices)
    return {"affine": affine, "operation": operations, "strength": strengths}


def change_levels(images: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """The images with other levels as the draws say, uint8 (N, C, H, W); what needs whole images.

    It comes before the resampling. Images that the draws leave alone may be of another type.
    """
    draws = {name: draws[name].to(images.device) for name in LEVEL_DRAWS & draws.keys()}
    if "operation" in draws:
        images = apply_operations(images, draws["operation"], draws["strength"])
    if "jitter" in draws:
        images = jitter(images, draws["jitter"])
    if "haze" in draws:
        images = add_haze(images, draws["haze"])
    if "noise" in draws:
        images = add_noise(images, draws["noise"], draws["noise_seed"])
    if "erasing" in draws:
        images = erase(images, draws["erasing"])
    return images
