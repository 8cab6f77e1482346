"""Many tensors as windows on one vector, so that summing and stepping are single operations."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def trainable(module: nn.Module) -> list[Tensor]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def statistics(module: nn.Module) -> list[Tensor]:
    """The floating-point buffers: batch norm's running means and variances."""
    return [buffer for buffer in module.buffers() if buffer.is_floating_point()]


def flatten(tensors: list[Tensor]) -> Tensor:
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
