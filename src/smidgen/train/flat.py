"""A module's parameters as one vector, and what is summed over the shards of a batch as another.

All tensors are windows on a vector, so that summing, clipping, stepping and averaging are single
operations. P is the number of parameters, S that of the batch-norm statistics.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn


class FlatParameters:
    """A module over one vector of parameters, (P,), and one of batch-norm statistics, (S,).

    With a decay `ema` per step above 0, `averaged` is a copy of the module over their running
    averages; otherwise it is the module itself.
    """

    def __init__(self, module: nn.Module, ema: float = 0.0) -> None:
        self.module = self.averaged = module
        self.ema = ema
        self.parameters = nn.Parameter(flatten(trainable(module)))
        self.statistics = flatten(statistics(module))
        point(trainable(module), self.parameters.data)
        point(statistics(module), self.statistics)
        if ema:
            self.averaged = copy.deepcopy(module)
            self.mean_parameters = self.parameters.detach().clone()
            self.mean_statistics = self.statistics.clone()
            point(trainable(self.averaged), self.mean_parameters)
            point(statistics(self.averaged), self.mean_statistics)

    def average(self, step: int) -> None:
        """Moves the running averages towards the present, faster over the first steps."""
        if self.ema:
            weight = 1 - min(self.ema, (1 + step) / (10 + step))
            self.mean_parameters.lerp_(self.parameters.detach(), weight)
            self.mean_statistics.lerp_(self.statistics, weight)

    def state(self) -> dict[str, Tensor]:
        """The vectors that a checkpoint keeps; `load` takes them back."""
        vectors = {"parameters": self.parameters.detach(), "buffers": self.statistics}
        if self.ema:
            means = {"mean_parameters": self.mean_parameters, "mean_buffers": self.mean_statistics}
            vectors |= means
        return vectors

    def load(self, state: dict[str, Tensor]) -> None:
        """Sets the vectors that `state` gave."""
        for name, vector in self.state().items():
            vector.copy_(state[name])


class ShardSums:
    """What a backend adds up over one shard, as one vector (P + 2 + S,) and its three windows.

    `gradient` (P,), `score` (2,): summed loss and number of images classified correctly, and
    `statistics` (S,), which batch norm moves on from step to step.
    """

    gradient: Tensor
    score: Tensor
    statistics: Tensor

    def __init__(self, weights: FlatParameters) -> None:
        sizes = [weights.parameters.numel(), 2, weights.statistics.numel()]
        self.vector = weights.parameters.new_zeros(sum(sizes), requires_grad=False)
        self.gradient, self.score, self.statistics = self.vector.split(sizes)
        self.statistics.copy_(weights.statistics)
        self.cleared = self.vector[: sum(sizes[:2])]

    def clear(self) -> None:
        """Sets gradient and score to zero."""
        self.cleared.zero_()


def trainable(module: nn.Module) -> list[Tensor]:
    """The parameters that ask for a gradient."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def statistics(module: nn.Module) -> list[Tensor]:
    """The floating-point buffers: batch norm's running means and variances."""
    return [buffer for buffer in module.buffers() if buffer.is_floating_point()]


def flatten(tensors: list[Tensor]) -> Tensor:
    """A new vector of the tensors' values, in order."""
    if not tensors:
        return torch.zeros(0)
    flat = tensors[0].new_zeros(sum(tensor.numel() for tensor in tensors), requires_grad=False)
    for view, tensor in zip(views(tensors, flat), tensors, strict=True):
        view.copy_(tensor.detach())
    return flat


def views(tensors: list[Tensor], flat: Tensor) -> list[Tensor]:
    """Consecutive pieces of the flat vector, each in the shape and strides of its tensor."""
    ends = np.cumsum([0] + [tensor.numel() for tensor in tensors]).tolist()
    return [
        flat.as_strided(tensor.shape, tensor.stride(), flat.storage_offset() + start)
        for tensor, start in zip(tensors, ends[:-1], strict=True)
    ]


def point(tensors: list[Tensor], flat: Tensor) -> None:
    """Makes each tensor a window on the flat vector."""
    for tensor, view in zip(tensors, views(tensors, flat), strict=True):
        tensor.data = view
