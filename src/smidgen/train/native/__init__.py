"""A worker whose gradient is computed by our own kernels instead of torch's.

They do what torch does, to rounding, for the layers that small networks are made of; a network
with any other layer is left to torch. One call does a whole shard, from grey levels to gradient,
without the interpreter, so that two workers are nearly twice as fast as one.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import asdict

import torch
from torch import Tensor

from smidgen.augment import resample
from smidgen.recipe import Augment
from smidgen.train.native.library import CLayer, CNetwork, CTensor, library
from smidgen.train.native.plan import CONVOLUTION, LINEAR, NORM, Plan, UnsupportedError, plan

__all__ = ["Shard", "UnsupportedError", "library", "plan"]


class Shard:
    """Memory for the values and gradients of up to `most` images, bound to a worker's vectors.

    `parameters` is read; `gradient` and `score` are added to, `statistics` are moved on. All are
    float32, contiguous, and stay where they are.
    """

    def __init__(
        self,
        plan: Plan,
        most: int,
        parameters: Tensor,
        gradient: Tensor,
        score: Tensor,
        statistics: Tensor,
    ) -> None:
        compiled = library()
        assert compiled is not None
        self.library = compiled
        lanes = compiled.smidgen_lanes()
        tensors, places = _tensors(plan, -(-most // lanes))
        layers, saved = _layers(plan)
        taps, weights = _largest(plan)
        vectors = {
            "arena": torch.zeros(places * lanes),
            "packed": torch.zeros(weights),
            "saved": torch.zeros(saved),
            "near": torch.zeros(taps, dtype=torch.int64),
            "far": torch.zeros(taps, dtype=torch.int64),
            "parameters": parameters,
            "gradient": gradient,
            "score": score,
            "statistics": statistics,
        }
        self.alive = (tensors, layers, vectors)
        self.network = CNetwork(
            layers=len(layers),
            classes=plan.maps[plan.layers[-1].output].channels,
            tensor=tensors,
            layer=layers,
            **{name: vector.data_ptr() for name, vector in vectors.items()},
        )

    def read(
        self, images: Tensor, draws: dict[str, Tensor], settings: Augment, mean: float, std: float
    ) -> None:
        """Takes uint8 images (N, 1, H, W), augmented as the draws say and normalised."""
        self.network.images = len(images)
        if set(draws) == {"affine", "cropped"} and settings.crop_size is None:
            images, matrices = images.contiguous(), draws["affine"].contiguous()
            self.library.smidgen_turn_images(
                self.network, images.data_ptr(), matrices.data_ptr(), mean, std
            )
        else:
            greys = resample(images, draws, settings).contiguous()
            self.library.smidgen_take_images(self.network, greys.data_ptr(), mean, std)

    def backward(self, labels: Tensor, smoothing: float, size: int, seed: int) -> None:
        """Adds the gradient of the loss, averaged over `size` images, of those last read.

        `labels` are int64 (N,); `seed`, 32 bits, decides the dropout.
        """
        self.network.seed = seed
        self.library.smidgen_backward(self.network, labels.data_ptr(), smoothing, size)


def _tensors(plan: Plan, blocks: int) -> tuple[ctypes.Array[CTensor], int]:
    """The maps with their places for values and, but for the image, gradients; and the total."""
    records, end = [], 0
    for i, map in enumerate(plan.maps):
        shape = (map.channels, map.height + 2 * map.halo, map.width + 2 * map.halo)
        size = blocks * math.prod(shape)
        gradient = end + size if i else -1
        records.append(CTensor(map.channels, map.height, map.width, map.halo, end, gradient))
        end += size * (2 if i else 1)
    return (CTensor * len(records))(*records), end


def _layers(plan: Plan) -> tuple[ctypes.Array[CLayer], int]:
    """The layers, and how many numbers their batch norms save from forward to backward."""
    records, saved = [], 0
    for layer in plan.layers:
        records.append(CLayer(**asdict(layer), saved=saved))
        if layer.operation == NORM:
            saved += 2 * plan.maps[layer.source].channels
    return (CLayer * len(records))(*records), saved


def _largest(plan: Plan) -> tuple[int, int]:
    """The largest number of taps, or of what they reach, and of weights of any layer."""
    taps = weights = 1
    for layer in plan.layers:
        source, output = plan.maps[layer.source], plan.maps[layer.output]
        if layer.operation == LINEAR:
            inputs = source.channels * source.height * source.width
        elif layer.operation == CONVOLUTION:
            inputs = source.channels // layer.groups * layer.kernel_height * layer.kernel_width
        else:
            continue
        back = output.channels // layer.groups * layer.kernel_height * layer.kernel_width
        taps = max(taps, inputs, back)
        weights = max(weights, inputs * output.channels, back * source.channels)
    return taps, weights
