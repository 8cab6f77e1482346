"""Changes of where pixels lie: turned, moved, bent and blanked images, in one resampling.

Whatever moves in from outside the image is 0, black.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from smidgen.recipe import Augment

COARSE = 5  # points in each direction of a field of elastic displacements


def draw_matrices(
    count: int, sides: Sequence[int], settings: Augment, generator: torch.Generator
) -> Tensor:
    """Matrices (N, 2, 3) of random changes, for images of `sides` H and W."""
    s, (height, width) = settings, sides
    uniform = torch.rand(count, 7, generator=generator) * 2 - 1
    matrices = affine_matrices(
        angle=uniform[:, 0] * s.rotation,
        shift=uniform[:, 1:3] * s.translation,
        zoom=1 + uniform[:, 3] * s.scale,
        shear=uniform[:, 4] * s.shear,
        aspect=width / height,
    )
    if s.crop_size is not None:
        # A centre crop resized back to the full size magnifies by height / crop_size.
        cropped = (uniform[:, 5] + 1) / 2 < s.crop_probability
        matrices *= torch.where(cropped, s.crop_size / height, 1.0)[:, None, None]
    if s.crop_padding:
        most = s.crop_padding
        pixels = torch.randint(-most, most + 1, (count, 2), generator=generator)
        steps = pixels * (2 / torch.tensor([width, height]))
        matrices[:, :, 2:] += matrices[:, :, :2] @ steps[:, :, None]
    if s.flip:
        flipped = torch.rand(count, generator=generator) < s.flip
        matrices[:, :, 0] *= torch.where(flipped, -1.0, 1.0)[:, None]
    return matrices


def resample(images: Tensor, draws: dict[str, Tensor], settings: Augment) -> Tensor:
    """The images changed as the draws say, in one bilinear resampling: float32 (N, C, H, W)."""
    count, _, height, width = images.shape
    changed = images.float()
    draws = {name: values.to(images.device, non_blocking=True) for name, values in draws.items()}
    if "affine" in draws or "elastic" in draws:
        theta = draws.get("affine")
        if theta is None:
            theta = torch.eye(2, 3, device=images.device).expand(count, 2, 3)
        grid = sampling_grid(theta, height, width)
        if "elastic" in draws:
            # Smooth displacements: a coarse random field, enlarged; `elastic` is in pixels.
            field = F.interpolate(
                draws["elastic"], (height, width), mode="bicubic", align_corners=True
            )
            pixels = [2 * settings.elastic / side for side in (width, height)]
            grid = grid + field.permute(0, 2, 3, 1) * field.new_tensor(pixels)
        changed = F.grid_sample(changed, grid, align_corners=False)
    if "cutout" in draws:
        changed = changed * _outside_square(draws["cutout"], settings.cutout, height, width)
    return changed


def affine_matrices(
    angle: Tensor, shift: Tensor, zoom: Tensor, shear: Tensor, aspect: float = 1.0
) -> Tensor:
    """Matrices (N, 2, 3) that take output to input coordinates (x, y), each from -1 to 1.

    Positive angles (degrees) turn the picture counter-clockwise, positive shifts (shares of the
    side, N × 2) move it right and down, a zoom above 1 enlarges it, a positive shear (degrees)
    leans its top to the right. `aspect` is the picture's width over its height.
    """
    radians = angle * (math.pi / 180)
    cos, sin = radians.cos() / zoom, radians.sin() / zoom
    lean = (shear * (math.pi / 180)).tan()
    linear = torch.stack(
        [cos + lean * sin, (lean * cos - sin) / aspect, sin * aspect, cos], dim=1
    ).view(-1, 2, 2)  # fmt: skip
    offset = -2 * (linear @ shift[:, :, None])
    return torch.cat([linear, offset], dim=2)


def compose(first: Tensor, then: Tensor) -> Tensor:
    """Matrices (N, 2, 3) of two changes of a picture, one after the other."""
    linear = first[:, :, :2]  # from output to input, so the later change is applied sooner
    return torch.cat([linear @ then[:, :, :2], linear @ then[:, :, 2:] + first[:, :, 2:]], dim=2)


def sampling_grid(theta: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel of each output comes from, (N, H, W, 2), as torch's affine_grid has it.

    Twenty times faster on a CPU: one product of all matrices with the coordinates, where
    affine_grid multiplies image by image.
    """
    x = (2 * torch.arange(width, device=theta.device) + 1) / width - 1
    y = (2 * torch.arange(height, device=theta.device) + 1) / height - 1
    one = x.new_ones(height, width)
    coordinates = torch.stack([x * one, y[:, None] * one, one]).view(3, -1)
    grid = theta.reshape(-1, 3) @ coordinates  # (2 N, H W)
    return grid.view(-1, 2, height, width).permute(0, 2, 3, 1)


def _outside_square(corners: Tensor, size: int, height: int, width: int) -> Tensor:
    """Masks (N, 1, H, W): 0 in a size × size square, 1 elsewhere; the square may hang over."""
    top = corners[:, :1] * (height + size) - size
    left = corners[:, 1:] * (width + size) - size
    rows = torch.arange(height, device=corners.device)
    columns = torch.arange(width, device=corners.device)
    in_rows = (rows >= top) & (rows < top + size)  # (N, H)
    in_columns = (columns >= left) & (columns < left + size)  # (N, W)
    return (~(in_rows[:, :, None] & in_columns[:, None, :])).float()[:, None]
