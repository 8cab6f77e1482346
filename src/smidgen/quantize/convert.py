"""Float layers and their scheme to the integer graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray

from smidgen.errors import ExportError
from smidgen.inputs import InputShape
from smidgen.quantize import float_graph as FG
from smidgen.quantize import graph as G
from smidgen.quantize.calibration import MULTIPLIER_LIMIT, Grid, Scheme

Floats = NDArray[np.float64]
# What `_node` converts.
Converted = FG.MaxPool | FG.AveragePool | FG.Add | FG.Multiply | FG.Concat | FG.Function


@dataclass(frozen=True)
class Site:
    """Where a layer stands: its inputs as tensor numbers, their grids, and its output's."""

    inputs: tuple[int, ...]
    grids: tuple[Grid, ...]
    shape: G.Shape
    out: Grid
    is_last: bool


def convert(
    layers: Sequence[FG.Node],
    scheme: Scheme,
    name: str,
    input_shape: InputShape,
    classes: Sequence[str],
) -> G.Graph:
    """The integer graph of the layers.

    Raises ExportError where the logits are not one number per class.
    """
    shapes = _shapes(layers, input_shape)
    if shapes[layers[-1]] != (1, 1, len(classes)):
        raise ExportError(
            f"{layers[-1].name}: the network ends in {shapes[layers[-1]]} (height, width, "
            f"channels); the integer graph needs (1, 1, {len(classes)}), one logit for each class"
        )
    owners: dict[int, FG.Conv] = {}  # the first layer with each weight
    for layer in layers:
        if isinstance(layer, FG.Conv):
            owners.setdefault(id(layer.weight), layer)
    places = {weight: place for place, weight in enumerate(owners)}
    nodes: list[G.Node] = []
    for layer in layers[1:]:
        site = Site(
            tuple(layers.index(source) for source in layer.inputs),
            tuple(scheme.grids[source] for source in layer.inputs),
            shapes[layer],
            scheme.grids[layer],
            layer is layers[-1],
        )
        if isinstance(layer, FG.Conv):
            nodes.append(_conv(layer, site, scheme, places[id(layer.weight)]))
        elif not isinstance(layer, FG.Image):
            nodes.append(_node(layer, site, [shapes[source][2] for source in layer.inputs]))
    weights = tuple(_weights(conv, scheme) for conv in owners.values())
    grids = [scheme.grids[layer] for layer in layers]
    scales, zeros = tuple(grid.scale for grid in grids), tuple(grid.zero for grid in grids)
    image = shapes[layers[0]]
    return G.Graph(name, image, tuple(classes), scales, zeros, weights, tuple(nodes))


def _shapes(layers: Sequence[FG.Node], input_shape: InputShape) -> dict[FG.Node, G.Shape]:
    """Every layer's output shape (H, W, C)."""
    with torch.no_grad():
        outputs = FG.forward(layers, torch.zeros(1, *input_shape))
    return {layer: (y.shape[2], y.shape[3], y.shape[1]) for layer, y in outputs.items()}


def _weights(conv: FG.Conv, scheme: Scheme) -> G.Weights:
    steps = scheme.steps[conv]
    values = steps.integers(conv.weight.detach()).to(torch.int8)
    return G.Weights(values.permute(0, 2, 3, 1).contiguous().numpy(), steps.bits)


def _conv(conv: FG.Conv, site: Site, scheme: Scheme, weights: int) -> G.Conv:
    zero = site.grids[0].zero
    shift, multiplier = scheme.shifts[conv], scheme.multipliers[conv].numpy().astype(np.int32)
    taps = scheme.steps[conv].integers(conv.weight.detach()).sum(dim=(1, 2, 3)).double().numpy()
    offset = conv.offset.detach().double().numpy() / site.out.scale
    bias = offset - zero * taps * multiplier / 2**shift
    return G.Conv(
        conv.name,
        site.inputs[:1],
        site.shape,
        weights,
        conv.stride,
        conv.padding,
        conv.groups,
        outside=round(zero),
        rescale=_rescale(multiplier, bias, shift, site),
    )


def _node(layer: Converted, site: Site, depths: Sequence[int]) -> G.Node:
    """The node of any layer but a convolution; `depths` are its inputs' channels."""
    scales = np.array([grid.scale for grid in site.grids]) / site.out.scale
    zeros = np.array([grid.zero for grid in site.grids])
    first = site.inputs[:1]
    one = np.ones(1, dtype=np.int32)
    match layer:
        case FG.MaxPool():
            return G.MaxPool(layer.name, first, site.shape, layer.kernel, layer.stride)
        case FG.AveragePool():
            area = layer.kernel[0] * layer.kernel[1]
            multiplier, shift = _fixed_point(scales / area, area, site)
            rescale = _rescale(multiplier, -zeros * area * multiplier / 2**shift, shift, site)
            return G.AveragePool(layer.name, first, site.shape, layer.kernel, layer.stride, rescale)
        case FG.Add():
            factors, shift = _fixed_point(scales * layer.factors, len(scales), site)
            bias = -(factors * zeros).sum(keepdims=True) / 2**shift
            rescale = _rescale(one, bias, shift, site)
            return G.Add(layer.name, site.inputs, site.shape, tuple(map(int, factors)), rescale)
        case FG.Multiply():
            factor, shift = _fixed_point(scales[:1] * site.grids[1].scale, 255, site)
            rescale = _rescale(factor, np.zeros(1), shift, site)
            zero, other = map(round, zeros)
            return G.Multiply(layer.name, site.inputs, site.shape, (zero, other), rescale)
        case FG.Concat():
            ratios = np.repeat(scales, depths) * layer.gain.detach().double().numpy()
            multiplier, shift = _fixed_point(ratios, 1, site)
            bias = layer.offset.detach().double().numpy() / site.out.scale
            bias = bias - np.repeat(zeros, depths) * multiplier / 2**shift
            return G.Concat(
                layer.name, site.inputs, site.shape, _rescale(multiplier, bias, shift, site)
            )
        case FG.Function():
            grey = torch.arange(256, dtype=torch.float32)
            y = layer.function((grey - site.grids[0].zero) * site.grids[0].scale)
            q = (y / site.out.scale + site.out.zero).round().clamp(0, 255)
            return G.Table(layer.name, first, site.shape, tuple(map(int, q.tolist())))
        case _:
            assert_never(layer)


def _fixed_point(ratios: Floats, terms: int, site: Site) -> tuple[NDArray[np.int32], int]:
    """Integers m and a shift with m / 2**shift ≈ ratios, so that a sum of `terms` products with
    eight-bit numbers stays in half of int32."""
    limit = min(MULTIPLIER_LIMIT, 2**30 // (255 * terms))
    largest = float(np.abs(ratios).max())
    shift = 0
    while not site.is_last and shift < 24 and round(largest * 2 ** (shift + 1)) <= limit:
        shift += 1
    return (ratios * 2**shift).round().astype(np.int32), shift


def _rescale(multiplier: NDArray[np.int32], bias: Floats, shift: int, site: Site) -> G.Rescale:
    """`bias` is in units of the output's grid; the output's zero and the rounding are added.

    It is rounded so that 16 bits hold it once its common power of two is taken out.
    """
    exact = (bias + site.out.zero + (0.5 if shift else 0.0)) * 2**shift
    coarse = 1
    while np.abs(exact / coarse).max() > 2**15 - 1:
        coarse *= 2
    rounded = (exact / coarse).round().astype(np.int64) * coarse
    if (rounded == rounded[0]).all():
        rounded = rounded[:1]
    return G.Rescale(multiplier, rounded.astype(np.int32), shift, clamp=not site.is_last)
