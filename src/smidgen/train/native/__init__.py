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
from smidgen.inputs import Preprocess
from smidgen.recipe import Recipe
from smidgen.train.batches import Batch, Shard
from smidgen.train.flat import FlatParameters, ShardSums
from smidgen.train.native.library import CFeatureMap, CInstruction, CNetwork, library
from smidgen.train.native.program import (
    BATCH_NORM,
    CONVOLUTION,
    LINEAR,
    Program,
    UnsupportedError,
    compile_network,
)

__all__ = ["NativeBackend", "NativeThreads", "UnsupportedError", "compile_network", "library"]


class NativeBackend:
    """Computes gradients by the kernels, in memory of its own for the values of one shard.

    The vectors of `weights` and `sums` must stay where they are. Raises UnsupportedError for a
    network with an operation that the kernels do not know.
    """

    def __init__(
        self,
        weights: FlatParameters,
        recipe: Recipe,
        preprocess: Preprocess,
        sums: ShardSums,
    ) -> None:
        self.library = _loaded()
        program = compile_network(weights.module, preprocess.shape)
        most = -(-recipe.batch_size // recipe.workers)
        lanes = self.library.smidgen_lanes()
        self.network = _network(program, recipe)
        self.network.map, places = _maps(program, -(-most // lanes))
        self.network.instruction, saved = _instructions(program)
        taps, largest = _largest(program)
        self.memory = {
            "parameters": weights.parameters.data,
            "gradient": sums.gradient,
            "score": sums.score,
            "statistics": sums.statistics,
            "arena": torch.zeros(places * lanes),
            "packed": torch.zeros(largest),
            "saved": torch.zeros(saved),
            "input_offsets": torch.zeros(taps, dtype=torch.int64),
            "output_offsets": torch.zeros(taps, dtype=torch.int64),
            "spread_down": _spread(program.maps[0].height),
            "spread_across": _spread(program.maps[0].width),
            "mean": torch.tensor(preprocess.mean),
            "deviation": torch.tensor(preprocess.std),
        }
        self._point(self.memory)

    def backward(self, shard: Shard) -> None:
        """Adds the shard's gradient and score to the sums, and moves the statistics on."""
        _run(self.library, None, [self.read(shard)])

    def read(self, shard: Shard) -> CNetwork:
        """The C structure that makes the kernels compute that shard; valid until the next one."""
        self.network.images, self.network.batch = len(shard.split), shard.batch_size
        if shard.generator is None:
            self._drop_nothing()
        else:
            self.network.seed = int(torch.randint(2**32, (), generator=shard.generator))
        split = shard.split
        self.inputs = {
            "pixels": split.images,
            "label": split.labels,
            "partner": split.partners if isinstance(split, Batch) else None,
            "share": split.shares if isinstance(split, Batch) else None,
            "image_weight": split.weights if isinstance(split, Batch) else None,
            "soft": split.soft,
            "matrices": shard.draws.get("affine"),
            "fields": shard.draws.get("elastic"),
            "corners": shard.draws.get("cutout"),
        }
        self._point(self.inputs)
        return self.network

    def _drop_nothing(self) -> None:
        """Makes every dropout an identity, from now on; it keeps its place among the others."""
        for i in range(self.network.instructions):
            self.network.instruction[i].p = 0.0

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


def _network(program: Program, recipe: Recipe) -> CNetwork:
    """What the kernels need to know of a training, without memory."""
    return CNetwork(
        instructions=len(program.instructions),
        classes=program.maps[program.instructions[-1].output].channels,
        coarse=COARSE,
        elastic=recipe.augment.elastic,
        cutout=recipe.augment.cutout,
        smoothing=recipe.label_smoothing,
        weight=recipe.teacher.weight,
        temperature=recipe.teacher.temperature,
    )


def _spread(side: int) -> Tensor:
    """What enlarges a coarse field of displacements, as `augment.resample` does: (side, COARSE)."""
    return F.interpolate(
        torch.eye(COARSE)[None, None], (side, COARSE), mode="bicubic", align_corners=True
    )[0, 0].contiguous()


def _maps(program: Program, blocks: int) -> tuple[ctypes.Array[CFeatureMap], int]:
    """The maps with their places for values and, but for the image, gradients; and the total."""
    places, end = [], 0
    for i, map in enumerate(program.maps):
        shape = (map.channels, map.height + 2 * map.padding, map.width + 2 * map.padding)
        size = blocks * math.prod(shape)
        has_gradient = i > 0 and program.gradients[i] == i
        places.append((end, end + size))
        end += size * (2 if has_gradient else 1)
    records = [
        CFeatureMap(map.channels, map.height, map.width, map.padding, places[i][0],
                    places[program.gradients[i]][1] if i else -1)
        for i, map in enumerate(program.maps)
    ]  # fmt: skip
    return (CFeatureMap * len(records))(*records), end


def _instructions(program: Program) -> tuple[ctypes.Array[CInstruction], int]:
    """The instructions, and how many numbers batch norms save from forward to backward."""
    records, saved = [], 0
    for each in program.instructions:
        records.append(CInstruction(**asdict(each), saved=saved))
        if each.operation == BATCH_NORM:
            saved += 2 * program.maps[each.source].channels
    return (CInstruction * len(records))(*records), saved


def _largest(program: Program) -> tuple[int, int]:
    """The largest number of taps, or of what they reach, and of weights of any instruction."""
    taps = weights = 1
    for each in program.instructions:
        source, output = program.maps[each.source], program.maps[each.output]
        if each.operation == LINEAR:
            inputs = source.channels * source.height * source.width
        elif each.operation == CONVOLUTION:
            inputs = source.channels // each.groups * each.kernel_height * each.kernel_width
        else:
            continue
        back = output.channels // each.groups * each.kernel_height * each.kernel_width
        taps = max(taps, inputs, back)
        weights = max(weights, inputs * output.channels, back * source.channels)
    return taps, weights
