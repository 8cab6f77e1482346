"""Float networks to integer graphs.

    graph = quantize(model, images, preprocess, name="tiny_mnist")
    logits = graph.run(images)          # int32; numpy, and bit for bit what every export computes

`graph` says what an integer graph is and how it is stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from smidgen.data import Data, Split
from smidgen.errors import ExportError
from smidgen.inference import accuracy, logits
from smidgen.inputs import Preprocess
from smidgen.network import one_thread_per_operator
from smidgen.quantize import float_graph as FG
from smidgen.quantize.calibration import Grid, Scheme, calibrate
from smidgen.quantize.convert import convert
from smidgen.quantize.finetune import choose_images, finetune
from smidgen.quantize.graph import Graph, to_document
from smidgen.quantize.lower import lower

__all__ = ["Graph", "quantize", "quantize_for", "to_document"]

CALIBRATION = 1000  # training images that fit the grids
ALLOWED_DROP = 0.0005  # of the validation accuracy; past it the network is fine-tuned
DIGITS = tuple("0123456789")


def quantize(
    model: nn.Module,
    images: Tensor,
    preprocess: Preprocess,
    name: str,
    classes: Sequence[str] = DIGITS,
    bits: int = 8,
) -> Graph:
    """The integer graph of a network, its grids fitted to images.

    `images` are uint8 (N, C, H, W), from the training split; a thousand are enough. `preprocess` is
    how the network was fed when it was trained. `bits` (8, 4 or 2) is what a
    weight takes. Raises ExportError for a network that the graph cannot express, and without
    images.
    """
    layers, scheme = _prepare(model, images, preprocess, bits)
    return convert(layers, scheme, name, preprocess.shape, classes)


def quantize_for(
    data: Data, model: nn.Module, preprocess: Preprocess, name: str, bits: int = 8
) -> Graph:
    """The integer graph of a network for a data set, fine-tuned where rounding costs accuracy.

    That is where the accuracy on the validation images falls by more than 0.05 points; of the two
    graphs the one that then does better on them is returned. The test images are not read.
    """
    fit, validation = data.fit_split()
    calibration = _calibration(fit, len(data.classes))
    layers, scheme = _prepare(model, calibration, preprocess, bits)
    graph = convert(layers, scheme, name, preprocess.shape, data.classes)
    wanted = accuracy(logits(model, validation.images, preprocess), validation.labels)
    reached = accuracy(_integers(graph, validation.images), validation.labels)
    if wanted - reached <= ALLOWED_DROP:
        return graph
    images = fit.images[choose_images(len(fit), bits)]
    finetune(layers, scheme, images, logits(model, images, preprocess), bits)
    tuned = convert(layers, scheme, name, preprocess.shape, data.classes)
    better = accuracy(_integers(tuned, validation.images), validation.labels) > reached
    return tuned if better else graph


def _calibration(fit: Split, classes: int) -> Tensor:
    """Up to a thousand images: the first, or where they lack a class those at even distances.

    They lack one where images are stored class by class, as those of a folder are.
    """
    if len(fit.labels[:CALIBRATION].unique()) == classes:
        return fit.images[:CALIBRATION]
    return fit.images[torch.linspace(0, len(fit) - 1, min(CALIBRATION, len(fit))).long()]


def _prepare(
    model: nn.Module, images: Tensor, preprocess: Preprocess, bits: int
) -> tuple[list[FG.Node], Scheme]:
    if len(images) == 0:
        raise ExportError("no calibration images; give at least one, better a thousand")
    if tuple(images.shape[1:]) != preprocess.shape:
        raise ExportError(f"images {tuple(images.shape[1:])}; the network takes {preprocess.shape}")
    layers = lower(model, preprocess.shape)
    mean, std = preprocess.mean[0], preprocess.std[0]
    if len(set(preprocess.mean)) > 1 or len(set(preprocess.std)) > 1:
        _normalise_channels(layers, preprocess)
    normalised = (images.float() / 255 - mean) / std
    with one_thread_per_operator():
        return layers, calibrate(layers, normalised, Grid(1 / (255 * std), 255 * mean), bits)


def _normalise_channels(layers: list[FG.Node], preprocess: Preprocess) -> None:
    """Puts a node behind the image, normalised as the first channel is, that mends the others."""
    mean, std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
    image = layers[0]
    mended = FG.Concat("channels", [image], std[0] / std, (mean[0] - mean) / std)
    for layer in layers[1:]:
        layer.inputs = [mended if source is image else source for source in layer.inputs]
    layers.insert(1, mended)


def _integers(graph: Graph, images: Tensor) -> Tensor:
    """The integer graph's logits (N, K), int32, for uint8 images (N, C, H, W)."""
    return torch.from_numpy(graph.run(images.numpy()))
