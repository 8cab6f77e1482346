"""Steps of the kernels for arm64: this processor prepares them, an emulated one takes them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from ctypes import POINTER, c_uint8, cast, sizeof
from importlib import resources
from pathlib import Path
from struct import pack

import numpy as np

from smidgen.train.batches import Shard
from smidgen.train.native import NativeBackend, NativeThreads
from smidgen.train.native.library import FLAGS, UNITS, CNetwork

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"


def take_steps_elsewhere(folder: Path) -> None:
    """From now on a program in that folder takes all steps. What prepares them has eight lanes."""
    program = folder / "step"
    flags = [flag for flag in FLAGS if not flag.startswith(("-march=", "-fPIC"))]
    kernels = [resources.files("smidgen.train.native") / unit for unit in UNITS]
    sources = [Path(__file__).with_suffix(".c"), *kernels]
    subprocess.run([COMPILER, *flags, "-static", *sources, "-o", program, "-lm"], check=True)

    def backward(backend: NativeBackend, shard: Shard) -> None:
        backend.use(backend.new_scratch())
        take_step(program, backend, backend.read(shard))

    def run(_: NativeThreads, backends: Sequence[NativeBackend], shards: Sequence[Shard]) -> None:
        for backend, shard in zip(backends, shards, strict=True):
            backward(backend, shard)

    NativeBackend.backward, NativeThreads.run = backward, run  # type: ignore[method-assign]


def take_step(program: Path, backend: NativeBackend, network: CNetwork) -> None:
    """Hands the program all that the structure points at, and takes back what it has become."""
    tensors = backend.memory | backend.scratch | backend.inputs
    vectors = {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}
    records = {"map": len(backend.program.maps), "instruction": len(backend.program.instructions)}
    for name, count in records.items():
        first = getattr(network, name)
        size = count * sizeof(first.contents)
        vectors[name] = np.ctypeslib.as_array(cast(first, POINTER(c_uint8)), (size,))
    given = [pack("<q", sizeof(network)), bytes(network), pack("<q", len(vectors))]
    for name, vector in vectors.items():
        given += [pack("<qq", getattr(CNetwork, name).offset, vector.nbytes), vector.tobytes()]
    left = subprocess.run(
        [EMULATOR, program], input=b"".join(given), check=True, stdout=subprocess.PIPE
    ).stdout
    for vector in vectors.values():
        vector.flat = np.frombuffer(left, vector.dtype, vector.size)
        left = left[vector.nbytes :]
