"""The flash and RAM of a network on a microcontroller, measured on a firmware, not estimated."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from smidgen.export.c import write_c
from smidgen.export.parity import run_cortex_m
from smidgen.export.toolchain import compile_firmware, run
from smidgen.inputs import Preprocess
from smidgen.quantize import Graph, quantize


@dataclass(frozen=True)
class Footprint:
    """Flash and RAM of the smallest firmware that holds a network, in bytes.

    `flash_bytes` is all of it: vectors, start-up, main, the network's code and numbers. RAM is the
    static data and the deepest stack, without the image, which belongs to the caller.
    """

    core: str
    flash_bytes: int
    static_bytes: int
    stack_bytes: int

    @property
    def ram_bytes(self) -> int:
        return self.static_bytes + self.stack_bytes


def footprint(
    graph: Graph, core: str = "cortex-m0plus", files: Mapping[str, str] | None = None
) -> Footprint:
    """The footprint of a graph's C code, at -Os, the stack measured in the emulator.

    `files` are what `write_c` gives for the graph, where it has been called already. Raises
    MissingExtraError, which says how to install them, where gcc for Arm or the emulator is missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder)
        for name, text in (files or write_c(graph)).items():
            (model / name).write_text(text, encoding="utf-8")
        image = np.zeros((1, *graph.input_shape), np.uint8)
        with ThreadPoolExecutor() as pool:  # both compile, each on its core
            emulated = pool.submit(run_cortex_m, model, image, core, large=True)
            firmware = compile_firmware(model, "weigh.c", model / "weigh.elf", core, large=True)
            size = run(["arm-none-eabi-size", firmware]).split(b"\n")[1].split()
            _, stack = emulated.result()
    text_bytes, data_bytes, bss_bytes = (int(number) for number in size[:3])
    return Footprint(core, text_bytes + data_bytes, data_bytes + bss_bytes, stack)


def quantize_on_noise(model: nn.Module, preprocess: Preprocess, name: str) -> Graph:
    """A network's integer graph, fitted to noise: its sizes are right, its answers are not.

    It weighs and times a network without a data set. Raises ExportError for one that the
    integer graph cannot express.
    """
    generator = torch.Generator().manual_seed(0)
    shape = preprocess.shape
    noise = torch.randint(0, 256, (64, *shape), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        classes = model.eval()(torch.zeros(1, *shape)).shape[-1]
    return quantize(model, noise, preprocess, name, [str(c) for c in range(classes)])
