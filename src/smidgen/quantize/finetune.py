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

BATCH, LEARNING_RATE, EPOCHS = 64, 2e-3, 2
TEMPERATURE = 2.0  # at which the answers are softened


def finetune(
    layers: Sequence[FG.Node],
    scheme: Scheme,
    images: Tensor,
    logits: Tensor,
    generator: torch.Generator,
) -> None:
    """Brings the quantised network's answers closer to the float one's, in place.

    `images` are uint8 (N, C, H, W), from the training split, and `logits` (N, K) the float
    network's for them; both networks' answers are softened (Hinton, Vinyals & Dean 2015). Weights
    and offsets are trained through the rounding as if it were not there (Bengio et al. 2013) with
    Adam, the learning rate falling to zero along a cosine. Grids, steps and multipliers stay, so
    that `scheme` stays valid. One thread does it all, so that the result is the same however many
    there are.
    """
    targets = (logits / TEMPERATURE).softmax(dim=1)
    with one_thread_per_operator():
        _descend(layers, scheme, images, targets, generator)


def _descend(
    layers: Sequence[FG.Node],
    scheme: Scheme,
    images: Tensor,
    targets: Tensor,
    generator: torch.Generator,
) -> None:
    """`finetune` on as many threads as there are; `targets` are probabilities (N, K)."""
    orders = [torch.randperm(len(images), generator=generator) for _ in range(EPOCHS)]
    chosen = torch.cat(orders).split(BATCH)
    optimizer = torch.optim.Adam(_make_trainable(layers), lr=LEARNING_RATE)
    for step, rows in enumerate(chosen):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / len(chosen))) / 2
        logits = forward_quantized(layers, scheme, _normalise(images[rows], layers, scheme))
        loss = F.cross_entropy(logits.flatten(1) / TEMPERATURE, targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _normalise(images: Tensor, layers: Sequence[FG.Node], scheme: Scheme) -> Tensor:
    grid = scheme.grids[layers[0]]
    return (images.float() - grid.zero) * grid.scale


def forward_quantized(layers: Sequence[FG.Node], scheme: Scheme, images: Tensor) -> Tensor:
    """The logits (N, C, 1, 1) with every weight and every tensor on its grid."""
    made: dict[FG.Node, Tensor] = {}
    for layer in layers:
        inputs = [made[source] for source in layer.inputs]
        if isinstance(layer, FG.Conv):
            weight = scheme.steps[layer].round(layer.weight)
            made[layer] = FG.evaluate(layer, inputs, weight)
        else:
            made[layer] = FG.evaluate(layer, inputs) if inputs else images
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
