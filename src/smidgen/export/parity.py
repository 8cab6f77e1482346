"""Exports compared with their sources, image by image."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smidgen.errors import ExportError
from smidgen.export.toolchain import (
    HARNESS,
    LARGE_MACHINE,
    MACHINES,
    TEMPLATES,
    compile_firmware,
    compile_host,
    run,
)

Images = NDArray[np.uint8]  # (N, H, W) or (N, 1, H, W)
Logits = NDArray[Any]  # (N, classes)
# Is told what is done now, how many images of it are done, and of how many; 0 is not known.
Watch = Callable[[str, int, int], None]
WATCHED = 2500  # images between two reports
CORES = os.cpu_count() or 1
WORTH_A_CORE = 100  # images, at least, for what takes a tenth of a second to start


@dataclass(frozen=True)
class Parity:
    """How an export's logits differ from its source's; `runner` says what ran it.

    `tolerance` is of the logits, `tolerated` a number of labels. Integers have neither.
    """

    runner: str
    images: int
    label_mismatches: int
    max_abs_diff: float
    tolerance: float = 0.0
    tolerated: int = 0

    @property
    def equal(self) -> bool:
        return self.label_mismatches <= self.tolerated and self.max_abs_diff <= self.tolerance

    def __str__(self) -> str:
        if self.max_abs_diff == 0:
            return f"{self.runner}: {self.images:,} of {self.images:,} images the same to the bit"
        return (
            f"{self.runner}: {self.label_mismatches:,} of {self.images:,} labels differ, "
            f"logits by at most {self.max_abs_diff:.2g}"
        )


def silent(what: str, done: int, total: int) -> None:
    """A Watch that says nothing."""


def watched(answers: Iterable[Logits], what: str, images: int, watch: Watch) -> Logits:
    """The logits of parts of the images in one array; `watch` hears of each part."""
    parts, done = list[Logits](), 0
    watch(what, done, images)
    for part in answers:
        parts.append(part)
        done += len(part)
        watch(what, done, images)
    return np.concatenate(parts)


def compare(
    runner: str, expected: Logits, found: Logits, tolerance: float = 0.0, tolerated: int = 0
) -> Parity:
    """The parity of the logits of the same images.

    Raises ExportError where their numbers differ.
    """
    if expected.shape != found.shape:
        raise ExportError(f"{runner} gave {found.shape} logits instead of {expected.shape}")
    different = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    mismatches = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
    largest = float(different.max(initial=0))
    return Parity(runner, len(expected), mismatches, largest, tolerance, tolerated)


def run_host_c(model: Path, images: Images, flags: Sequence[str] = ("-O2",)) -> Logits:
    """The int32 logits by `model.c` in the folder `model`, built by gcc with these flags.

    The cores run it side by side on parts of the images.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(CORES) as pool:
        program = compile_host(model, "host.c", Path(folder) / "host", flags)
        given = map(_interleaved, _shared_out(images))
        printed = b"".join(pool.map(lambda part: run([program], given=part, time_s=3600), given))
    return np.frombuffer(printed, np.int32).reshape(len(images), -1)


def run_cortex_m(
    model: Path, images: Images, core: str = "cortex-m0plus", large: bool = False
) -> tuple[Logits, int]:
    """The int32 logits by `model.c` at -Os on an emulated core, and its deepest stack in bytes.

    The board has the memory of a small one, or of a `large` one. The cores emulate side by side.
    """
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(CORES) as pool:
        firmware = compile_firmware(model, "emulate.c", Path(name) / "emulate.elf", core, large)
        found = list(pool.map(partial(_emulate_part, firmware, core, large), _shared_out(images)))
    logits = np.concatenate([answers[1:] for answers in found])
    return logits.reshape(len(images), -1), max(int(answers[0]) for answers in found)


def _emulate_part(firmware: Path, core: str, large: bool, images: Images) -> NDArray[np.int32]:
    """int32 (1 + N × classes,): the bytes of the deepest stack, then the logits, row by row."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images.bin").write_bytes(_interleaved(images))
        emulate(firmware, core, large, folder)
        return np.fromfile(folder / "logits.bin", np.int32)


def emulate(firmware: Path, core: str, large: bool, folder: Path) -> None:
    """Runs a firmware to its end; the files that it opens are those of the folder."""
    machine = ("-M", LARGE_MACHINE if large else MACHINES[core], "-nographic", "-kernel", firmware)
    files = ("-semihosting-config", "enable=on,target=native")
    run(["qemu-system-arm", *machine, *files], cwd=folder, time_s=3600)


def run_javascript(
    document: dict[str, Any], images: Images, watch: Watch = silent, what: str = "Node"
) -> Logits:
    """The int32 logits by the page's interpreter, in Node, of a graph's document.

    The cores run it side by side on parts of the images, if there are enough to be worth it;
    `watch` hears of each, as `what`.
    """
    parts = _shared_out(images, len(images) // WATCHED)
    with ThreadPoolExecutor(CORES) as pool:
        return watched(pool.map(partial(_run_node, document), parts), what, len(images), watch)


def _run_node(document: dict[str, Any], images: Images) -> Logits:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(TEMPLATES / "network.js", folder / "network.mjs")
        (folder / "graph.json").write_text(json.dumps(document), encoding="utf-8")
        (folder / "images.bin").write_bytes(_interleaved(images))
        arguments = ("network.mjs", "graph.json", "images.bin", "logits.bin")
        run(["node", HARNESS / "node.mjs", *arguments], cwd=folder)
        return np.fromfile(folder / "logits.bin", np.int32).reshape(len(images), -1)


def _shared_out(images: Images, least: int = 1) -> list[Images]:
    """The images in a part for each core, if there are enough to be worth it, or in more."""
    return np.array_split(images, max(1, least, min(CORES, len(images) // WORTH_A_CORE)))


def _interleaved(images: Images) -> bytes:
    """The images (N, C, H, W), or (N, H, W) if grey, as the exports take them: channels last."""
    return np.moveaxis(images, 1, -1).tobytes() if images.ndim == 4 else images.tobytes()
