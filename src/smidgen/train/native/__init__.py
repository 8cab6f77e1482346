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
from smidgen.train.native.library import CFeatureMap, CInstruction, CNetwork, library
from smidgen.train.native.program import (
    BATCH_NORM,
    CONVOLUTION,
    LINEAR,
    Program,
    UnsupportedError,
    compile_network,
)

__all__ = ["Shard", "Team", "UnsupportedError", "compile_network", "library"]


class Shard:
    """Memory for the values and gradients of one worker's part of a recipe's batches.

    `vectors` are the worker's own, float32 and contiguous, and stay where they are: `parameters`
    are read, `gradient` and `score` are added to, `statistics` are moved on. Images are normalised
    with that mean and standard deviation.
    """

    def __init__(
        self, program: Program, recipe: Recipe, mean: float, std: float, **vectors: Tensor
    ) -> None:
        built = library()
        assert built is not None
        most = -(-recipe.batch_size // recipe.workers)
        maps, places = _maps(program, -(-most // built.smidgen_lanes()))
        instructions, saved = _instructions(program)
        taps, weights = _largest(program)
        self.network = CNetwork(
            instructions=len(instructions),
            classes=program.maps[program.instructions[-1].output].channels,
            map=maps,
            instruction=instructions,
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
            "input_offsets": torch.zeros(taps, dtype=torch.int64),
            "output_offsets": torch.zeros(taps, dtype=torch.int64),
            "spread": _spread(program.maps[0].height),
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
