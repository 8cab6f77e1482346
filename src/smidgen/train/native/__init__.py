"""The gradient of a shard, computed by our own kernels instead of torch's.

They do what torch does, to rounding, for the layers that small networks are made of; a network
with any other layer is left to torch. One call computes a whole shard, from grey levels to
gradient, without the interpreter, so that two workers are nearly twice as fast as one.
"""

from __future__ import annotations

import ctypes
import mmap
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
from smidgen.train.native.instructions import BATCH_NORM, CONVOLUTION, LINEAR
from smidgen.train.native.library import CFeatureMap, CInstruction, CNetwork, library
from smidgen.train.native.program import Program, UnsupportedError, compile_network

GROUP = 16  # as in kernels.h
SIDE, MOST_KERNELS, TILES_AT_ONCE = 4, 65536, 28  # as in winograd.c and winograd_weights.c

__all__ = [
    "NativeBackend",
    "NativeThreads",
    "UnsupportedError",
    "compile_network",
    "kernel_backends",
    "library",
]


def kernel_backends(
    weights: FlatParameters, recipe: Recipe, preprocess: Preprocess, sums: Sequence[ShardSums]
) -> list[NativeBackend]:
    """A backend for the sums of each shard; the network is read once for all of them.

    Raises UnsupportedError for a network with an operation that the kernels do not know.
    """
    program = compile_network(weights.module, preprocess.shape)
    return [NativeBackend(program, weights, recipe, preprocess, each) for each in sums]


class NativeBackend:
    """Computes gradients by the kernels.

    The values of one shard lie in scratch memory, which backends of the same network may share if
    they never compute at the same time. The vectors of `weights` and `sums` must stay where they
    are.
    """

    def __init__(
        self,
        program: Program,
        weights: FlatParameters,
        recipe: Recipe,
        preprocess: Preprocess,
        sums: ShardSums,
    ) -> None:
        self.library = _loaded()
        self.program = program
        self.network = _network(self.program, recipe)
        most = -(-recipe.batch_size // recipe.workers)
        blocks = -(-most // self.library.smidgen_lanes())
        self.network.map, self.places = _maps(self.program, blocks)
        self.network.instruction, self.saved = _instructions(self.program)
        self.scratch: dict[str, Tensor] = {}
        image = self.program.maps[0]
        self.memory = {
            "parameters": weights.parameters.data,
            "gradient": sums.gradient,
            "score": sums.score,
            "statistics": sums.statistics,
            "spread_down": _spread(image.height),
            "spread_across": _spread(image.width),
            "mean": torch.tensor(preprocess.mean),
            "deviation": torch.tensor(preprocess.std),
        }
        self._point(self.memory)

    def new_scratch(self) -> dict[str, Tensor]:
        """Memory for the values of one shard, which keeps nothing from one step to the next."""
        lanes, (taps, largest) = self.library.smidgen_lanes(), _largest(self.program)
        return {
            "arena": _large_pages(self.places * lanes),
            "packed": torch.zeros(largest),
            "saved": torch.zeros(self.saved),
            "sums": torch.zeros(_sums(self.program) * GROUP),
            "tiles": _large_pages(_tiles(self.program) * GROUP),
            "input_offsets": torch.zeros(taps, dtype=torch.int64),
            "output_offsets": torch.zeros(taps, dtype=torch.int64),
        }

    def use(self, scratch: dict[str, Tensor]) -> None:
        """Computes in that memory from now on."""
        if scratch is not self.scratch:
            self.scratch = scratch
            self._point(scratch)

    def backward(self, shard: Shard) -> None:
        """Adds the shard's gradient and score to the sums, and moves the statistics on."""
        self.use(self.scratch or self.new_scratch())
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
        self.threads = self.library.smidgen_pool_threads(self.pool)
        self.scratch: list[dict[str, Tensor]] = []

    def run(self, backends: Sequence[NativeBackend], shards: Sequence[Shard]) -> None:
        """Computes each backend's shard, side by side; the caller's thread takes part.

        The shards that one thread computes, one after the other, share scratch memory: what lies in
        the processor's cache stays in use.
        """
        for i, backend in enumerate(backends):
            if len(self.scratch) <= i % self.threads:
                self.scratch.append(backend.new_scratch())
            backend.use(self.scratch[i % self.threads])
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


def _large_pages(count: int) -> Tensor:
    """Zeros in pages of 2 MB where the system has such: the kernels read a network's values in long
    strides, and look up a small page as often as they read it."""
    memory = mmap.mmap(-1, 4 * count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.float32)


def _spread(side: int) -> Tensor:
    """What enlarges a coarse field of displacements, as `augment.resample` does: (side, COARSE)."""
    return F.interpolate(
        torch.eye(COARSE)[None, None], (side, COARSE), mode="bicubic", align_corners=True
    )[0, 0].contiguous()


def _maps(program: Program, blocks: int) -> tuple[ctypes.Array[CFeatureMap], int]:
    """The maps with their places for values and, but for the image, gradients; and the total."""
    places, end = [], 0
    for i, map in enumerate(program.maps):
        rows = (map.height + 2 * map.padding) * map.channels
        size = blocks * (rows * (map.width + map.padding) + map.padding)
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


def _sums(program: Program) -> int:
    """The largest number of sums that any instruction keeps of its channels."""
    most = 1
    for each in program.instructions:
        channels = program.maps[each.source].channels
        if each.operation == BATCH_NORM:
            most = max(most, 2 * channels)
        if each.operation == CONVOLUTION and each.groups == channels:
            most = max(most, channels * each.kernel_height * each.kernel_width)
    return most


def _largest(program: Program) -> tuple[int, int]:
    """The largest number of taps, or of what they reach, and of weights of any instruction.

    Kernels of 3 x 3 are counted as winograd.c keeps them, of 4 x 4.
    """
    taps = weights = 1
    for each in program.instructions:
        source, output = program.maps[each.source], program.maps[each.output]
        kernel = each.kernel_height * each.kernel_width
        if each.operation == LINEAR:
            inputs = source.channels * source.height * source.width
        elif each.operation == CONVOLUTION:
            inputs = source.channels // each.groups * kernel
        else:
            continue
        back = output.channels // each.groups * kernel
        taps = max(taps, inputs, back)
        most = max(inputs * output.channels, back * source.channels)
        weights = max(weights, most * SIDE**2 // kernel if kernel == 9 else most)
    return taps, weights


def _tiles(program: Program) -> int:
    """The most groups of lanes that winograd.c and winograd_weights.c keep for any convolution."""
    most = 1
    for each in program.instructions:
        if each.operation == CONVOLUTION and each.kernel_height == each.kernel_width == 3:
            source, output = program.maps[each.source], program.maps[each.output]
            inputs, outputs = source.channels // each.groups, output.channels // each.groups
            kernels, tiles = inputs * outputs, max(TILES_AT_ONCE, (output.width + 1) // 2)
            if kernels <= MOST_KERNELS:
                most = max(most, SIDE**2 * kernels + SIDE * (inputs + outputs) * tiles)
    return most
