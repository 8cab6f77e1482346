"""What a network answers for images, and how often it is right.

Shapes: N images, C channels, H × W pixels, K classes.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from smidgen.data import normalise
from smidgen.inputs import Preprocess
from smidgen.network import one_thread_per_operator

CHUNK = 250  # images in one forward pass


def logits(module: nn.Module, images: Tensor, preprocess: Preprocess) -> Tensor:
    """The logits (N, K), float32, of uint8 images (N, C, H, W); the module goes to eval mode.

    Chunks of the images run side by side, one on each core, so that the result does not depend
    on the number of cores.
    """
    module.eval()

    @torch.inference_mode()
    def forward(chunk: Tensor) -> Tensor:
        output: Tensor = module(normalise(chunk, preprocess))
        return output.float()

    chunks = images.split(CHUNK)
    if images.device.type != "cpu" or len(chunks) == 1:
        return torch.cat([forward(chunk) for chunk in chunks])
    with one_thread_per_operator(), ThreadPoolExecutor(os.cpu_count()) as pool:
        return torch.cat(list(pool.map(forward, chunks)))


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many images have their largest logit, the first of equals, at their label: int64 ()."""
    return (logits.argmax(dim=1) == labels).sum()


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The fraction of images that are classified as their label; logits (N, K), labels (N,)."""
    return count_correct(logits, labels).item() / len(labels)
