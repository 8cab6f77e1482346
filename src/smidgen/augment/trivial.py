"""One operation of fourteen for each image, in the manner of TrivialAugment (Müller & Hutter 2021).

The space of operations and strengths is the paper's wide one, at 31 strengths. Operations that move
pixels are affine matrices. The others change bytes by Pillow's arithmetic: most are a table of 256
levels for each image and channel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from smidgen.augment.geometry import affine_matrices
from smidgen.augment.levels import blend, luma, mean_grey

OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness",
    "colour", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize",
)  # fmt: skip
STRENGTHS = 31
MOST_SHEAR = 0.99  # pixels in x for each in y, or the other way round
MOST_DEGREES = 135.0
MOST_CHANGE = 0.99  # of the factor 1 of brightness, colour, contrast and sharpness
MOST_BITS = 6  # that posterize clears


def draw_operations(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each image the place of its operation, int64 (N,), and a strength, float32 (N,).

    A strength is one of 31 from 0 to 1, with a random sign, which some operations leave out.
    """
    operations = torch.randint(len(OPERATIONS), (count,), generator=generator)
    steps = torch.randint(STRENGTHS, (count,), generator=generator)
    signs = 2 * torch.randint(2, (count,), generator=generator) - 1
    return operations, signs * steps / (STRENGTHS - 1)


def operation_matrices(operations: Tensor, strengths: Tensor, aspect: float) -> Tensor:
    """Affine matrices (N, 2, 3), from output to input, of the operations that move pixels.

    Those of other operations change nothing. `aspect` is the picture's width over its height.
    """

    def strength_of(name: str) -> Tensor:
        return strengths * (operations == OPERATIONS.index(name))

    shifts = torch.stack([strength_of("translate_x"), strength_of("translate_y")], dim=1)
    still = torch.zeros_like(strengths)
    angles = MOST_DEGREES * strength_of("rotate")
    matrices = affine_matrices(angles, shifts, still + 1, still, aspect)
    matrices[:, 0, 1] += MOST_SHEAR * strength_of("shear_x") / aspect
    matrices[:, 1, 0] += MOST_SHEAR * strength_of("shear_y") * aspect
    return matrices


def apply_operations(images: Tensor, operations: Tensor, strengths: Tensor) -> Tensor:
    """The images, uint8 (N, C, H, W), after the operations that change levels."""
    changed = images.clone()
    for name, operation in LEVEL_OPERATIONS.items():
        rows = (operations == OPERATIONS.index(name)).nonzero().flatten()
        if len(rows):
            changed[rows] = operation(images[rows], strengths[rows].view(-1, 1, 1, 1))
    return changed


def _factor(strengths: Tensor) -> Tensor:
    return (1 + MOST_CHANGE * strengths.double()).float()  # rounded once, as Pillow's


def _brightness(images: Tensor, strengths: Tensor) -> Tensor:
    return _look_up(blend(_levels(images), 0, _factor(strengths)), images)


def _contrast(images: Tensor, strengths: Tensor) -> Tensor:
    grey = mean_grey(images.float())
    return _look_up(blend(_levels(images), grey, _factor(strengths)), images)


def _colour(images: Tensor, strengths: Tensor) -> Tensor:
    levels = images.float()
    return blend(levels, luma(levels).clone(), _factor(strengths)).byte()


def _sharpness(images: Tensor, strengths: Tensor) -> Tensor:
    levels = images.float()
    return blend(levels, smooth(levels), _factor(strengths)).byte()


def _posterize(images: Tensor, strengths: Tensor) -> Tensor:
    step = 2 ** (MOST_BITS * strengths.abs()).round()
    return _look_up((_levels(images) / step).floor() * step, images)


def _solarize(images: Tensor, strengths: Tensor) -> Tensor:
    levels = _levels(images)
    inverted = levels >= 256 * (1 - strengths.abs())
    return _look_up(torch.where(inverted, 255 - levels, levels), images)


def _autocontrast(images: Tensor, strengths: Tensor) -> Tensor:
    """Stretches each channel from 0 to 255; one of a single level stays."""
    least, most = (each.double() for each in (images.amin((2, 3)), images.amax((2, 3))))
    scale = (torch.full_like(most, 255) / (most - least))[:, :, None]  # no reciprocal
    levels = _levels(images)[:, :, 0].double()  # (N, C, 256)
    stretched = (levels * scale - least[:, :, None] * scale).clamp(0, 255).floor()
    return _look_up(torch.where((most > least)[:, :, None], stretched, levels), images)


def _equalize(images: Tensor, strengths: Tensor) -> Tensor:
    """Spreads the levels of each channel evenly; one with fewer than 255 such pixels stays."""
    counts = _histograms(images)  # (N, C, 256)
    last = counts.gather(2, images.amax((2, 3))[:, :, None].long())
    step = (counts.sum(dim=2, keepdim=True) - last) // 255
    below = counts.cumsum(dim=2) - counts
    spread = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    return _look_up(torch.where(step > 0, spread, _levels(images)[:, :, 0].long()), images)


LEVEL_OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": _brightness,
    "colour": _colour,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}


def smooth(levels: Tensor) -> Tensor:
    """Each level averaged with its eight neighbours, itself counted five times; not at the edges.

    To the nearest level; float32 (N, C, H, W).
    """
    inner = levels[:, :, 1:-1, 1:-1]
    sums = F.avg_pool2d(levels, 3, stride=1, divisor_override=1) + 4 * inner
    smoothed = levels.clone()
    smoothed[:, :, 1:-1, 1:-1] = (sums / 13 + 0.5).floor()
    return smoothed


def _levels(images: Tensor) -> Tensor:
    """Tables (N, C, 1, 256) that change nothing."""
    levels = torch.arange(256, device=images.device, dtype=torch.float32)
    return levels.repeat(*images.shape[:2], 1, 1)


def _look_up(tables: Tensor, images: Tensor) -> Tensor:
    """What the tables, of 256 numbers for each image and channel, have for the images' levels."""
    flat = images.flatten(2).long()  # (N, C, H W)
    return tables.byte().view(*images.shape[:2], 256).gather(2, flat).view_as(images)


def _histograms(images: Tensor) -> Tensor:
    """How often each level occurs, for each image and channel: int64 (N, C, 256)."""
    flat = images.flatten(2).long()
    counts = torch.zeros(*images.shape[:2], 256, dtype=torch.int64, device=images.device)
    return counts.scatter_add_(2, flat, torch.ones_like(flat))
