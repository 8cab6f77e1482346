"""Training a network for its grids, so that rounding costs less."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from smidgen.network import one_thread_per_operator
from smidgen.quantize import float_graph as FG
from smidgen.quantize.calibration import Scheme

BATCH = 64
IMAGES = 4096  # on which weights of eight bits are fine-tuned: they are nearly right
LEARNING_RATES = {8: 1e-4, 4: 2e-3, 2: 2e-3}  # by the bits of a weight
TEMPERATURE = 2.0  # at which the answers are softened


def choose_images(count: int, bits: int) -> Tensor:
    """Which of so many images to fine-tune on, in order: int64 (N,), the same for the same numbers.

    4,096 of them for weights of eight bits; for fewer bits each image twice.
    """
    generator = torch.Generator().manual_seed(0)
    if bits == 8:
        return torch.randperm(count, generator=generator)[:IMAGES]
    return torch.cat([torch.randperm(count, generator=generator) for _ in range(2)])


def finetune(
    layers: Sequence[FG.Node], scheme: Scheme, images: Tensor, logits: Tensor, bits: int
) -> None:
    """Brings the quantised network's answers closer to the float one's, in place.

    `images` are uint8 (N, C, H, W), from the training split, in the order in which they are seen,
    and `logits` (N, K) the float network's for them; both networks' answers are softened (Hinton,
    Vinyals & Dean 2015). Weights, of so many bits, and offsets are trained through the rounding as
    if it were not there (Bengio et al. 2013) with Adam, the learning rate falling to zero along a
    cosine. Grids, steps and multipliers stay, so that `scheme` stays valid. One thread does it all,
    so that the result is the same however many there are.
    """
    targets = (logits / TEMPERATURE).softmax(dim=1)
    batches = list(zip(images.split(BATCH), targets.split(BATCH), strict=True))
    optimizer = torch.optim.Adam(_make_trainable(layers))
    with one_thread_per_operator():
        for step, (some, wanted) in enumerate(batches):
            for group in optimizer.param_groups:
                falling = (1 + math.cos(math.pi * step / len(batches))) / 2
                group["lr"] = LEARNING_RATES[bits] * falling
            answers = forward_quantized(layers, scheme, _normalise(some, layers, scheme))
            loss = F.cross_entropy(answers.flatten(1) / TEMPERATURE, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def _normalise(images: Tensor, layers: Sequence[FG.Node], scheme: Scheme) -> Tensor:
    """The images on the grid of the first layer."""
    grid = scheme.grids[layers[0]]
    return (images.float() - grid.zero) * grid.scale


def forward_quantized(layers: Sequence[FG.Node], scheme: Scheme, images: Tensor) -> Tensor:
    """The logits (N, C, 1, 1) with every weight and every tensor on its grid."""
    made: dict[FG.Node, Tensor] = {}
    for layer in layers:
        inputs = [made[source] for source in layer.inputs]
        if isinstance(layer, FG.Image):
            made[layer] = images
            continue
        weight = scheme.steps[layer].round(layer.weight) if isinstance(layer, FG.Conv) else None
        made[layer] = FG.evaluate(layer, inputs, weight)
        if layer is not layers[-1]:
            made[layer] = scheme.grids[layer].round(made[layer])
    return made[layers[-1]]


def _make_trainable(layers: Sequence[FG.Node]) -> Iterator[Tensor]:
    """The weights and offsets of all convolutions, which now ask for gradients."""
    fresh: dict[int, Tensor] = {}
    for layer in layers:
        if isinstance(layer, FG.Conv):
            known = id(layer.weight)
            if known not in fresh:
                fresh[known] = layer.weight.clone().requires_grad_()
                yield fresh[known]
            layer.weight = fresh[known]
            layer.offset = layer.offset.clone().requires_grad_()
            yield layer.offset
