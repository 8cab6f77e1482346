"""The gradient of a shard, computed by our own kernels instead of torch's.

They do what torch does, to rounding, for the layers that small networks are made of; a network
with any other layer is left to torch. One call computes a whole shard, from grey levels to
gradient, without the interpreter, so that two workers are nearly twice as fast as one.
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
from smidgen.frame import SIDE
from smidgen.recipe import Recipe
from smidgen.train.batches import Shard
from smidgen.train.flat import FlatParameters, ShardSums
from smidgen.train.native.library import CLayer, CNetwork, CTensor, library
from smidgen.train.native.plan import CONVOLUTION, LINEAR, NORM, Plan, UnsupportedError, plan

__all__ = ["NativeBackend", "NativeThreads", "UnsupportedError", "library", "plan"]


class NativeBackend:
    """Computes gradients by the kernels, in memory of its own for the values of one shard.

    The vectors of `weights` and `sums` must stay where they are. Raises UnsupportedError for a
    network with a layer that the kernels do not know.
    """

    def __init__(
        self, weights: FlatParameters, recipe: Recipe, mean: float, std: float, sums: ShardSums
    ) -> None:
        self.library = _loaded()
        planned = plan(weights.module, SIDE, SIDE)
        most = -(-recipe.batch_size // recipe.workers)
        lanes = self.library.smidgen_lanes()
        tensors, places = _tensors(planned, -(-most // lanes))
        layers, saved = _layers(planned)
        taps, largest = _largest(planned)
        self.network = CNetwork(
            layers=len(layers),
            classes=planned.maps[planned.layers[-1].output].channels,
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
        self.memory = {
            "parameters": weights.parameters.data,
            "gradient": sums.gradient,
            "score": sums.score,
            "statistics": sums.statistics,
            "arena": torch.zeros(places * lanes),
            "packed": torch.zeros(largest),
            "saved": torch.zeros(saved),
            "near": torch.zeros(taps, dtype=torch.int64),
            "far": torch.zeros(taps, dtype=torch.int64),
            "spread": _spread(planned.maps[0].height),
        }
        self._point(self.memory)

    def backward(self, shard: Shard) -> None:
        """Adds the shard's gradient and score to the sums, and moves the statistics on."""
        _run(self.library, None, [self.read(shard)])

    def read(self, shard: Shard) -> CNetwork:
        """The C structure that makes the kernels compute that shard; valid until the next one."""
        self.network.images, self.network.batch = len(shard.split), shard.batch_size
        self.network.seed = int(torch.randint(2**32, (), generator=shard.generator))
        self.inputs = {
            "grey": shard.split.images,
            "label": shard.split.labels,
            "soft": shard.split.soft,
            "matrices": shard.draws.get("affine"),
            "fields": shard.draws.get("elastic"),
            "corners": shard.draws.get("cutout"),
        }
        self._point(self.inputs)
        return self.network

    def _point(self, vectors: Mapping[str, Tensor | None]) -> None:
        for name, vector in vectors.items():
            assert vector is None or vector.is_contiguous()
            setattr(self.network, name, None if vector is None else vector.data_ptr())


class NativeThreads:
    """A pool of C threads, which start the next step sooner than Python's: they wait awake."""

    def __init__(self, threads: int) -> None:
        self.library = _loaded()
        self.pool = self.library.smidgen_create_pool(threads)

    def run(self, backends: Sequence[NativeBackend], shards: Sequence[Shard]) -> None:
        """Computes each backend's shard, side by side; the caller's thread takes part."""
        pairs = zip(backends, shards, strict=True)
        _run(self.library, self.pool, [backend.read(shard) for backend, shard in pairs])

    def destroy(self) -> None:
        """Ends the threads."""
        self.library.smidgen_destroy_pool(self.pool)
        self.pool = None


def _loaded() -> ctypes.CDLL:
    built = library()
    assert built is not None
    return built


def _run(built: ctypes.CDLL, pool: int | None, networks: Sequence[CNetwork]) -> None:
    pointers = (POINTER(CNetwork) * len(networks))(*map(pointer, networks))
    built.smidgen_run_pool(pool, pointers, len(networks))


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
