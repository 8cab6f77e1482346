"""Float networks to integer graphs.

    graph = quantize(model, images, mean, std, name="tiny_mnist")
    logits = graph.run(images)          # int32; numpy, and bit for bit what every export computes

`graph` says what an integer graph is and how it is stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from smidgen.errors import ExportError
from smidgen.quantize.convert import convert
from smidgen.quantize.graph import Graph, to_document
from smidgen.quantize.plan import Grid, make_plan
from smidgen.quantize.trace import trace

__all__ = ["Graph", "quantize", "to_document"]

DIGITS = tuple("0123456789")


def quantize(
    model: nn.Module,
    images: Tensor,
    mean: float,
    std: float,
    name: str,
    classes: Sequence[str] = DIGITS,
    bits: int = 8,
) -> Graph:
    """The integer graph of a network, its grids fitted to images.

    `images` are uint8 (N, 1, H, W), from the training split; a thousand are enough. `mean` and
    `std` are of grey levels / 255, as the network was trained. `bits` (8, 4 or 2) is what a
    weight takes. Raises ExportError for a network that the graph cannot express, and without
    images.
    """
    if len(images) == 0:
        raise ExportError("no calibration images; give at least one, better a thousand")
    channels, height, width = images.shape[1:]
    layers = trace(model, (channels, height, width))
    normalised = (images.float() / 255 - mean) / std
    plan = make_plan(layers, normalised, Grid(1 / (255 * std), 255 * mean), bits)
    return convert(layers, plan, name, (height, width, channels), classes)
