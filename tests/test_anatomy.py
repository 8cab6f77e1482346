"""Counts against torch's own counter, fields against gradients, and small networks by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from smidgen.anatomy import Anatomy, Layer, describe
from smidgen.errors import ModelError
from smidgen.zoo import create_model, list_models

EXACT_PARAMS = {
    "tiny_mnist": 9_146,
    "mnist_net": 108_864,
    "skip_13k": 13_272,
    "tiny_net": 22_334,
}


class Functional(nn.Module):
    """A network whose forward pass is a function of itself and the images."""

    def __init__(self, forward: Any, **layers: Any) -> None:
        super().__init__()
        self._run = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self._run(self, x)
        return result


def layer(anatomy: Anatomy, name: str) -> Layer:
    (found,) = [layer for layer in anatomy.layers if layer.name == name]
    return found


def counted_macs(model: nn.Module) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, 1, 28, 28))
    return counter.get_total_flops() // 2


# ---- random networks: each step is drawn to fit the size of the map before it


@dataclass(frozen=True)
class Step:
    kind: str
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1


CHANNELS = 4


class Steps(nn.Module):
    """The steps as a network on images; with `endless`, as its twin for the gradient oracle.

    The twin works on any canvas, so that nothing is cut off by a border: the global pool and the
    dense layer become windows of the size `side` of the map they cover, and a maximum, whose
    gradient reaches one pixel only, becomes a mean.
    """

    def __init__(self, steps: list[Step], side: int, endless: bool) -> None:
        super().__init__()
        self.steps, self.endless, self.side = steps, endless, side
        self.layers = nn.ModuleList(self._layer(step) for step in steps)
        self.stem = nn.Conv2d(1, CHANNELS, 1)
        self.bypass = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def _layer(self, step: Step) -> nn.Module:
        c = CHANNELS
        match step.kind:
            case "convolution" | "residual" | "concatenation":
                width = c // 2 if step.kind == "concatenation" else c
                options = (step.kernel, step.stride, step.padding, step.dilation)
                return nn.Conv2d(c, width, *options, groups=step.groups, bias=step.groups == 1)
            case "transposed":
                return nn.ConvTranspose2d(
                    c, c, step.kernel, step.stride, step.padding, dilation=step.dilation
                )
            case "max":
                pool = nn.AvgPool2d if self.endless else nn.MaxPool2d
                return pool(step.kernel, step.stride, step.padding)
            case "adaptive" if not self.endless:
                return nn.AdaptiveAvgPool2d(step.padding)  # there it holds the size afterwards
            case "dense":
                kernel = self.side if self.endless else 1
                size = 1 if self.endless else self.side**2
                return nn.Conv2d(c, 10, kernel) if self.endless else nn.Linear(c * size, 10)
            case "global" if not self.endless:
                return nn.AdaptiveAvgPool2d(1)
            case "global":
                return nn.AvgPool2d(self.side)
            case _:
                return nn.AvgPool2d(step.kernel, step.stride)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for step, layer in zip(self.steps, self.layers, strict=True):
            if step.kind == "residual":
                x = self.bypass(x) + layer(x)
            elif step.kind == "concatenation":
                x = torch.cat([layer(x), x[:, : CHANNELS // 2]], 1)
            elif step.kind == "dense" and not self.endless:
                x = layer(F.relu(x).flatten(1))
            else:
                x = layer(F.relu(x))
        return x


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[Step], int]:
    """Steps, and the side of the map that the last of them works on."""
    steps, side = [], 28
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6)):
        kernel = draw(st.integers(1, 5))
        dilation = draw(st.integers(1, 2))
        reach = dilation * (kernel - 1)
        stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, 2))
        groups = draw(st.sampled_from([1, 2, CHANNELS]))
        match kind:
            case "convolution" if side + 2 * padding > reach:
                step = Step(kind, kernel, stride, padding, dilation, groups)
                side = (side + 2 * padding - reach - 1) // stride + 1
            case "residual" | "concatenation":
                kernel = 2 * (kernel // 2) + 1
                step = Step(kind, kernel, 1, dilation * (kernel // 2), dilation)
            case "transposed" if side <= 14 and 2 * padding < reach + 1:
                step = Step(kind, kernel, stride, padding, dilation)
                side = (side - 1) * stride - 2 * padding + reach + 1
            case "max" if side >= kernel:
                step = Step(kind, kernel, stride, min(padding, kernel // 2))
                side = (side + 2 * step.padding - kernel) // stride + 1
            case "adaptive" if side % kernel == 0:
                side //= kernel
                step = Step(kind, kernel, kernel, side)
            case _:
                continue
        steps.append(step)
    head = draw(st.sampled_from(["global", "dense", "none"]))
    return (steps, side) if head == "none" else ([*steps, Step(head)], side)


KINDS = ["convolution", "residual", "concatenation", "transposed", "max", "adaptive"]


def seen_by_gradient(twin: nn.Module, canvas: int = 72) -> int:
    """The most that a unit near the middle sees, as the extent of its gradient on the input."""
    for parameter in twin.parameters():
        parameter.data.fill_(1.0)
    images = torch.ones(1, 1, canvas, canvas, requires_grad=True)
    output = twin(images)
    middle = min(output.shape[-2:]) // 2
    extent = 0
    for unit in range(middle, min(middle + 6, *output.shape[-2:])):
        (gradient,) = torch.autograd.grad(output[0, 0, unit, unit], images, retain_graph=True)
        touched = gradient[0, 0].abs().sum(0).nonzero()
        if len(touched):
            first, last = int(touched.min()), int(touched.max())
            if first == 0 or last == canvas - 1:
                return seen_by_gradient(twin, 2 * canvas)
            extent = max(extent, last - first + 1)
    return extent


quickly = settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@quickly
@given(networks())
def test_random_networks_agree_with_the_flop_counter_and_the_gradient(
    drawn: tuple[list[Step], int],
) -> None:
    steps, side = drawn
    model = Steps(steps, side, endless=False)
    anatomy = describe(model)
    assert anatomy.macs == counted_macs(model)
    assert anatomy.macs == sum(layer.macs for layer in anatomy.layers)
    assert anatomy.params == sum(layer.params for layer in anatomy.layers)
    assert anatomy.receptive_field == seen_by_gradient(Steps(steps, side, endless=True))
