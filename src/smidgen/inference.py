"""What a network answers for images, and how often it is right.

Shapes: N images, C channels, H × W pixels, K classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

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
    with (
        _channels_last(module, lambda: forward(images[:1])),
        one_thread_per_operator(),
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        return torch.cat(list(pool.map(forward, chunks)))


@contextmanager
def _channels_last(module: nn.Module, forward: Callable[[], object]) -> Iterator[None]:
    """Lays the kernels out so that a CPU computes convolutions twice as fast, and back at the end.

    The maps follow the kernels. A network that asks for contiguous maps, by `view`, keeps its own
    layout.
    """
    kernels = [parameter for parameter in module.parameters() if parameter.dim() == 4]
    given = [kernel.data for kernel in kernels]

    def lay_out(data: list[Tensor]) -> None:
        for kernel, tensor in zip(kernels, data, strict=True):
            kernel.data = tensor

    lay_out([tensor.to(memory_format=torch.channels_last) for tensor in given])
    try:
        forward()
    except RuntimeError:
        lay_out(given)
    try:
        yield
    finally:
        lay_out(given)


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many images have their largest logit, the first of equals, at their label: int64 ()."""
    return (logits.argmax(dim=1) == labels).sum()


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The fraction of images that are classified as their label; logits (N, K), labels (N,)."""
    return count_correct(logits, labels).item() / len(labels)
