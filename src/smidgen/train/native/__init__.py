"""A worker whose gradient is computed by our own kernels instead of torch's.

They do what torch does, to rounding, for the layers that small networks are made of; a network
with any other layer is left to torch. One call does a whole shard, from grey levels to gradient,
without the interpreter, so that two workers are nearly twice as fast as one.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from ctypes import POINTER, pointer
from dataclasses import asdict

import torch
import torch.nn.functional as F
from torch import Tensor

from smidgen.augment import COARSE
from smidgen.data import Split
from smidgen.recipe import Recipe
from smidgen.train.native.library import CLayer, CNetwork, CTensor, library
from smidgen.train.native.plan import CONVOLUTION, LINEAR, NORM, Plan, UnsupportedError, plan

__all__ = ["Shard", "Team", "UnsupportedError", "library", "plan"]


class Shard:
    """Memory for the values and gradients of one worker's part of a recipe's batches.

    `vectors` are the worker's own, float32 and contiguous, and stay where they are: `parameters`
    are read, `gradient` and `score` are added to, `statistics` are moved on. Images are normalised
    with that mean and standard deviation.
    """

    def __init__(
        self, plan: Plan, recipe: Recipe, mean: float, std: float, **vectors: Tensor
    ) -> None:
        built = library()
        assert built is not None
        most = -(-recipe.batch_size // recipe.workers)
        tensors, places = _tensors(plan, -(-most // built.smidgen_lanes()))
        layers, saved = _layers(plan)
        taps, weights = _largest(plan)
        self.network = CNetwork(
            layers=len(layers),
            classes=plan.maps[plan.layers[-1].output].channels,
            tensor=tensors,
            layer=layers,
            coarse=COARSE,
            elastic=recipe.augment.elastic,
            cutout=recipe.augment.cutout,
            mean=mean,
            deviation=std,
            smoothing=recipe.label_smoothing,
            weight=recipe.teacher.weight,
            temperature=recipe.teacher.temperature,
        )
        self.memory = vectors | {
            "arena": torch.zeros(places * built.smidgen_lanes()),
            "packed": torch.zeros(weights),
            "saved": torch.zeros(saved),
            "near": torch.zeros(taps, dtype=torch.int64),
            "far": torch.zeros(taps, dtype=torch.int64),
            "spread": _spread(plan.maps[0].height),
        }
        self._point(self.memory)

    def take(self, own: Split, draws: dict[str, Tensor], batch: int, seed: int) -> None:
        """Makes these images the shard's own, out of a batch of that size, augmented as drawn.

        `seed`, 32 bits, decides the dropout.
        """
        self.network.images, self.network.batch, self.network.seed = len(own), batch, seed
        self.own = {
            "grey": own.images,
            "label": own.labels,
            "soft": own.soft,
            "matrices": draws.get("affine"),
            "fields": draws.get("elastic"),
            "corners": draws.get("cutout"),
        }
        self._point(self.own)

    def _point(self, vectors: Mapping[str, Tensor | None]) -> None:
        for name, vector in vectors.items():
            assert vector is None or vector.is_contiguous()
            setattr(self.network, name, None if vector is None else vector.data_ptr())


class Team:
    """Threads of the kernels' own, up to `members` beside the caller's, until `dismiss`."""

    def __init__(self, members: int) -> None:
        built = library()
        assert built is not None
        self.library = built
        self.threads = built.smidgen_gather(members)

    def step(self, shards: Sequence[Shard]) -> None:
        """Adds each shard's gradient and score to its vectors; the shards run side by side."""
        networks = (POINTER(CNetwork) * len(shards))(*(pointer(shard.network) for shard in shards))
        self.library.smidgen_step(self.threads, networks, len(shards))

    def dismiss(self) -> None:
        """Ends the threads."""
        self.library.smidgen_dismiss(self.threads)
        self.threads = None


def _spread(side: int) -> Tensor:
    """What enlarges a coarse field of displacements, as augment.py does: (side, COARSE)."""
    return F.interpolate(
        torch.eye(COARSE)[None, None], (side, COARSE), mode="bicubic", align_corners=True
    )[0, 0].contiguous()


def _tensors(plan: Plan, blocks: int) -> tuple[ctypes.Array[CTensor], int]:
    """The maps with their places for values and, but for the image, gradients; and the total."""
    places, end = [], 0
    for i, map in enumerate(plan.maps):
        shape = (map.channels, map.height + 2 * map.halo, map.width + 2 * map.halo)
        size = blocks * math.prod(shape)
        has_gradient = i > 0 and plan.gradients[i] == i
        places.append((end, end + size))
        end += size * (2 if has_gradient else 1)
    records = [
        CTensor(map.channels, map.height, map.width, map.halo, places[i][0],
                places[plan.gradients[i]][1] if i else -1)
        for i, map in enumerate(plan.maps)
    ]  # fmt: skip
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
