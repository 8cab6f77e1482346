"""The training loop that people write, as a yardstick: one image at a time through PIL.

A Dataset that opens each image with PIL, turns and shifts it, makes a tensor and normalises it; a
DataLoader that shuffles and stacks; the module, the loss and the optimiser as every tutorial has
them. It is written as plainly as its models are, and no slower on purpose.
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
from smidgen.recipe import Recipe


class PerImage(Dataset[tuple[Tensor, int]]):
    """Images of a split, each augmented and normalised when it is asked for."""

    def __init__(self, split: Split, recipe: Recipe, mean: float, std: float) -> None:
        self.images, self.labels = split.images[:, 0].numpy(), split.labels.tolist()
        self.rotation, self.translation = recipe.augment.rotation, recipe.augment.translation
        self.mean, self.std = mean, std

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.images[index], mode="L")
        if self.rotation:
            angle = float(torch.empty(1).uniform_(-self.rotation, self.rotation).item())
            image = image.rotate(angle)
        if self.translation:
            most = self.translation * image.width
            dx = round(float(torch.empty(1).uniform_(-most, most).item()))
            dy = round(float(torch.empty(1).uniform_(-most, most).item()))
            image = image.transform(
                image.size, Image.Transform.AFFINE, (1.0, 0.0, -dx, 0.0, 1.0, -dy)
            )
        tensor = torch.from_numpy(np.array(image, np.uint8, copy=True)).unsqueeze(0)
        tensor = tensor.to(torch.float32).div(255)
        mean = torch.as_tensor([self.mean], dtype=tensor.dtype).view(-1, 1, 1)
        std = torch.as_tensor([self.std], dtype=tensor.dtype).view(-1, 1, 1)
        return tensor.sub_(mean).div_(std), self.labels[index]


def train_standard(
    model: nn.Module,
    split: Split,
    recipe: Recipe,
    normalisation: tuple[float, float],
    loader_workers: int,
    optimizer: torch.optim.Optimizer | None = None,
) -> Iterator[tuple[int, float]]:
    """Trains one epoch with Adam; yields images seen and seconds of training after every batch.

    The clock stands still while the caller looks at what was yielded.
    """
    dataset = PerImage(split, recipe, *normalisation)
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
