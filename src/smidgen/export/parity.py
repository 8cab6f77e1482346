"""Exports run beside their sources, image for image."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smidgen.export.toolchain import HARNESS, MACHINES, compile_firmware, compile_host, run

Images = NDArray[np.uint8]  # (N, H, W) or (N, 1, H, W)
Logits = NDArray[Any]  # (N, classes)


@dataclass(frozen=True)
class Parity:
    """How an export's logits differ from its source's; `runner` is what it was run by."""

    runner: str
    images: int
    label_mismatches: int
    max_abs_diff: float

    def __str__(self) -> str:
        if self.max_abs_diff == 0:
            return f"{self.runner}: {self.images:,} of {self.images:,} images bit for bit the same"
        return (
            f"{self.runner}: {self.label_mismatches:,} of {self.images:,} labels differ, "
            f"logits by at most {self.max_abs_diff:.3g}"
        )


def compare(runner: str, expected: Logits, found: Logits) -> Parity:
    """The parity of two sets of logits of the same images; of shapes that differ, nothing agrees."""
    if expected.shape != found.shape:
        return Parity(runner, len(expected), len(expected), float("inf"))
    different = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    mismatches = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
    return Parity(runner, len(expected), mismatches, float(different.max(initial=0)))


def run_host_c(model: Path, images: Images, flags: Sequence[str] = ("-O2",)) -> Logits:
    """The int32 logits by `model.c` in the folder `model`, built by gcc with these flags."""
    with tempfile.TemporaryDirectory() as folder:
        program = compile_host(model, "host.c", Path(folder) / "host", flags)
        printed = run([program], given=images.tobytes())
    return np.frombuffer(printed, np.int32).reshape(len(images), -1)


def run_cortex_m(
    model: Path, images: Images, core: str = "cortex-m0plus", time_s: float = 3600
) -> tuple[Logits, int]:
    """The int32 logits by `model.c` at -Os on an emulated core, and its deepest stack in bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images.bin").write_bytes(images.tobytes())
        firmware = compile_firmware(model, "emulate.c", folder / "emulate.elf", core)
        machine = ["-M", MACHINES[core], "-nographic", "-kernel", firmware]
        files = ["-semihosting-config", "enable=on,target=native"]
        run(["qemu-system-arm", *machine, *files], cwd=folder, time_s=time_s)
        answers = np.fromfile(folder / "logits.bin", np.int32)
    return answers[1:].reshape(len(images), -1), int(answers[0])


def run_javascript(document: dict[str, Any], images: Images) -> Logits:
    """The int32 logits by the page's interpreter, in Node, of a graph's document."""
    network = resources.files("smidgen") / "export" / "templates" / "network.js"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "network.mjs").write_text(network.read_text("utf-8"), encoding="utf-8")
        (folder / "graph.json").write_text(json.dumps(document), encoding="utf-8")
        (folder / "images.bin").write_bytes(images.tobytes())
        arguments = ("network.mjs", "graph.json", "images.bin", "logits.bin")
        run(["node", HARNESS / "node.mjs", *arguments], cwd=folder)
        return np.fromfile(folder / "logits.bin", np.int32).reshape(len(images), -1)
