"""The training loop that people write, as a yardstick: one image at a time through PIL.

A Dataset that augments and normalises image by image, a DataLoader that shuffles and stacks, then
what every tutorial has. The steps are those of torchvision's RandomRotation, RandomAffine, ToTensor
and Normalize: a seed makes the same bits. Their type checks, hooks for scripting and usage log are
left out, which makes this loop the faster one. Images a second of tiny_mnist in batches of 64,
2 cores, each column the medians of one run (2026-11-20):

    loader workers                                       0        2
    torchvision 0.28.0, these transforms             6,998    5,567
    this loop                                        8,309    6,564
    torchvision 0.28.0, as TinyMNIST's author did    3,107    3,067

The author augments after normalising, on tensors: slow, with a grey border. Here it comes first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from smidgen.data import Split
from smidgen.inputs import Preprocess
from smidgen.recipe import Recipe


class Rotate(nn.Module):
    """Turns an image about its centre by a random angle, up to so many degrees either way."""

    def __init__(self, degrees: float) -> None:
        super().__init__()
        self.degrees = degrees

    def forward(self, image: Image.Image) -> Image.Image:
        angle = _uniform(self.degrees)
        return image.rotate(angle, Image.Resampling.NEAREST, expand=False, fillcolor=0)


class Shift(nn.Module):
    """Shifts an image by random whole pixels, up to a share of each side; turns it by a drawn 0."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, image: Image.Image) -> Image.Image:
        angle = _uniform(0.0)
        dx, dy = (round(_uniform(self.share * side)) for side in image.size)
        matrix = inverse_affine(image.size, angle, (dx, dy))
        return image.transform(
            image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=0
        )


class Normalise(nn.Module):
    """A copy of a float tensor (C, H, W) with each channel's mean taken off, over its deviation."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, image: Tensor) -> Tensor:
        if not image.is_floating_point() or image.ndim < 3:
            raise TypeError(f"got {image.dtype} {tuple(image.shape)}; a float (C, H, W) is wanted")
        image = image.clone()
        mean = torch.as_tensor(self.mean, dtype=image.dtype, device=image.device)
        std = torch.as_tensor(self.std, dtype=image.dtype, device=image.device)
        if (std == 0).any():
            raise ValueError(f"a standard deviation of 0 among {self.std}; use one above 0")
        return image.sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1))


def to_tensor(image: Image.Image) -> Tensor:
    """The image as float32 (C, H, W) from 0 to 1."""
    pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))
    pixels = pixels.view(image.height, image.width, len(image.getbands()))
    return pixels.permute(2, 0, 1).contiguous().to(torch.get_default_dtype()).div(255)


def inverse_affine(
    size: tuple[int, int], angle: float, shift: tuple[float, float]
) -> tuple[float, ...]:
    """PIL's six numbers, from output to input, of a turn about the centre and then a shift."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y = size[0] / 2, size[1] / 2
    u, v = x + shift[0], y + shift[1]  # where the centre goes
    return (cosine, sine, x - cosine * u - sine * v, -sine, cosine, y + sine * u - cosine * v)


def _uniform(most: float) -> float:
    return float(torch.empty(1).uniform_(-most, most).item())


class PerImage(Dataset[tuple[Tensor, int]]):
    """Images of a split, each augmented and normalised when it is asked for."""

    def __init__(self, split: Split, recipe: Recipe, preprocess: Preprocess) -> None:
        self.images, self.labels = split.images[:, 0], split.labels
        rotation, translation = recipe.augment.rotation, recipe.augment.translation
        self.changes: list[nn.Module] = [Rotate(rotation)] if rotation else []
        self.changes += [Shift(translation)] if translation else []
        self.normalise = Normalise(preprocess.mean, preprocess.std)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.images[index], int(self.labels[index])
        picture = Image.fromarray(image.numpy(), mode="L")
        for change in self.changes:
            picture = change(picture)
        return self.normalise(to_tensor(picture)), label


def train_standard(
    model: nn.Module,
    split: Split,
    recipe: Recipe,
    preprocess: Preprocess,
    loader_workers: int,
    optimizer: torch.optim.Optimizer | None = None,
) -> Iterator[tuple[int, float]]:
    """Trains one epoch with Adam; yields images seen and seconds of training after every batch.

    The clock stands still while the caller looks at what was yielded.
    """
    dataset = PerImage(split, recipe, preprocess)
    loader = DataLoader(dataset, recipe.batch_size, shuffle=True, num_workers=loader_workers)
    optimizer = optimizer or torch.optim.Adam(model.parameters(), lr=recipe.optimizer.lr)
    seen, seconds, started = 0, 0.0, time.perf_counter()
    for images, labels in loader:
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        if not math.isfinite(loss.item()):
            raise ArithmeticError(f"the loss is {loss.item()} after {seen:,} images")
        seen += len(images)
        seconds += time.perf_counter() - started
        yield seen, seconds
        started = time.perf_counter()
