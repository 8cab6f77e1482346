"""The files of each format, and how they are verified."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from smidgen.anatomy import count_parameters, describe
from smidgen.data import Data, normalise
from smidgen.export.c import with_about, write_c
from smidgen.export.document import build_document, require_one_input
from smidgen.export.footprint import Footprint, footprint
from smidgen.export.frames import (
    compare_frames,
    draw_frames,
    preprocess_files,
    run_cortex_m_frames,
    run_host_frames,
)
from smidgen.export.html import render
from smidgen.export.onnx import run_onnx, write_onnx
from smidgen.export.parity import (
    WATCHED,
    Parity,
    Watch,
    compare,
    run_cortex_m,
    run_host_c,
    run_javascript,
    silent,
    watched,
)
from smidgen.export.qdq import write_qdq
from smidgen.export.toolchain import find, is_installed
from smidgen.inference import accuracy, logits
from smidgen.inputs import InputShape
from smidgen.quantize import Graph, quantize_for
from smidgen.target import Target

EMULATED = 1000  # images for the emulator, at most
EMULATED_MACS = 10**9  # of all of them together, which take it less than a minute
FRAMES, EMULATED_FRAMES = 200, 20  # of a camera, for the preprocessing in C
SMALL_FLASH, SMALL_RAM = 250_000, 15_000  # bytes that a small board has for a network and an image
ONNX_TOLERANCE = 1e-4  # of float logits: another runtime adds up in another order
# Runtimes round eight bits in their own ways. That decides images which the network is unsure of,
# as most are that it gets wrong: so many labels for each of these may differ.
QDQ_LABELS = 0.1
CORE = "cortex-m0plus"
FED_WITH = {
    "glyph": "Fed with glyphs: 255 is ink, 0 is background, scaled and centred as in MNIST.",
    "photo": "Fed with photos: the centred part of a picture, scaled by area averaging.",
}
ARM_TOOLS = ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")


@dataclass
class Export:
    """What was built: files by name, proofs, the bytes of the weights, and what else is known."""

    files: dict[str, bytes]
    proofs: list[Parity]
    weight_bytes: int
    accuracy: dict[str, float]
    footprint: Footprint | None = None


def make_c(targets: Sequence[Target], data: Data, bits: int) -> Export:
    """`model.h` and `model.c`, run by gcc on all test images and by an emulated core on some.

    Networks of photos also get `preprocess.h` and `preprocess.c`.
    """
    if not is_installed(*ARM_TOOLS):
        find("gcc")  # one of the two must be there
    (target,) = targets
    graph = quantize_for(data, target.model, target.preprocess, target.title, bits)
    images = data.test.images.numpy()
    written = write_c(graph)
    proofs = []
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor() as pool:
        # What other programs do takes the time; smidgen's own share is done meanwhile.
        can_emulate, folder = is_installed(*ARM_TOOLS), Path(name)
        weighing = pool.submit(footprint, graph, CORE, written) if can_emulate else None
        expected = graph.run(images)
        accuracy = _accuracies(target, data, expected)
        weighed = weighing.result() if weighing else None
        texts = with_about(written, _about(target, data, graph, accuracy, weighed))
        for file, text in texts.items():
            (folder / file).write_text(text, encoding="utf-8")
        answers = pool.submit(run_host_c, folder, images) if is_installed("gcc") else None
        if weighed:
            some = _emulated(target, len(images))
            large = not is_small(weighed, graph)
            found, _ = run_cortex_m(folder, images[some], CORE, large)
            proofs.append(compare("C on an emulated Cortex-M0+", expected[some], found))
        if answers:
            proofs.insert(0, compare("C by gcc on this machine", expected, answers.result()))
        if target.preprocess.kind == "photo":
            texts |= preprocess_files()
            proofs += _prove_frames(folder, target.preprocess.shape, len(images))
    files = {file: text.encode() for file, text in texts.items()}
    return Export(files, proofs, graph.weight_bytes, accuracy, weighed)


def _prove_frames(model: Path, shape: InputShape, most: int) -> list[Parity]:
    """Proofs of the preprocessing in C, whose `model.h` lies in the folder, for frames of noise."""
    for file, text in preprocess_files().items():
        (model / file).write_text(text, encoding="utf-8")
    frames = draw_frames(min(FRAMES, most), shape)
    found = {}
    if is_installed("gcc"):
        found["gcc on this machine"] = run_host_frames(model, frames, shape)
    if is_installed(*ARM_TOOLS):
        few = frames[:EMULATED_FRAMES]
        found["an emulated Cortex-M0+"] = run_cortex_m_frames(model, few, shape, CORE)
    return [
        compare_frames(f"frames by {name}", frames[: len(images[0])], shape, images)
        for name, images in found.items()
    ]


def _emulated(target: Target, images: int) -> slice:
    """Which of so many images the emulator is given, of all classes where they lie class by class.

    They are fewer of a network that takes longer for each.
    """
    macs = describe(target.model, target.preprocess.shape).macs
    count = min(EMULATED, max(10, EMULATED_MACS // max(macs, 1)), images)
    return slice(0, count * (images // count), images // count)


def is_small(weighed: Footprint, graph: Graph) -> bool:
    """Whether a small board holds the network, an image and its logits."""
    given = math.prod(graph.input) + 4 * len(graph.classes)
    return weighed.flash_bytes <= SMALL_FLASH and weighed.ram_bytes + given <= SMALL_RAM


def make_onnx(
    targets: Sequence[Target], data: Data, bits: int, with_preprocessing: bool = False
) -> Export:
    """`model.onnx`, float, and `model-int8.onnx`, QDQ, both run by ONNX Runtime.

    With `with_preprocessing` both take uint8 images (batch, H, W, C).
    """
    (target,) = targets
    graph = quantize_for(data, target.model, target.preprocess, target.title, bits)
    floats = logits(target.model, data.test.images, target.preprocess).numpy()
    integers = graph.run(data.test.images.numpy())
    if with_preprocessing:
        images = np.moveaxis(data.test.images.numpy(), 1, -1)
    else:
        images = normalise(data.test.images, target.preprocess).numpy()
    files = {
        "model.onnx": write_onnx(target.model, target.preprocess, with_preprocessing),
        "model-int8.onnx": write_qdq(graph, target.preprocess, with_preprocessing),
    }
    found = {name: run_onnx(content, images) for name, content in files.items()}
    wrong = int((integers.argmax(axis=1) != data.test.labels.numpy()).sum())
    scaled, tolerated = integers * graph.logit_scale, max(1, int(QDQ_LABELS * wrong))
    proofs = [
        compare("ONNX float by ONNX Runtime", floats, found["model.onnx"], ONNX_TOLERANCE),
        compare("ONNX int8 by ONNX Runtime", scaled, found["model-int8.onnx"], inf, tolerated),
    ]
    weights = count_parameters(target.model, target.preprocess.shape)
    return Export(files, proofs, 4 * weights, _accuracies(target, data, integers))


def make_html(targets: Sequence[Target], data: Data, bits: int, watch: Watch = silent) -> Export:
    """`index.html`, the page of glyphs or of photos; its networks are run in Node as they stand
    in it. `watch` hears of each step that may take more than a second."""
    find("node")
    require_one_input(targets, data)
    images = data.test.images.numpy()
    graphs, expected = list[Graph](), list[NDArray[np.int32]]()
    for t in targets:
        watch(f"{t.title}: to integers", 0, 0)
        graphs.append(quantize_for(data, t.model, t.preprocess, t.title, bits))
        batches = (images[at : at + WATCHED] for at in range(0, len(images), WATCHED))
        answers = map(graphs[-1].run, batches)
        expected.append(watched(answers, f"{t.title}: its answers", len(images), watch))
    watch("writing the page", 0, 0)
    page = render(build_document(targets, data, graphs, expected))
    written = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert written is not None
    networks = [model["graph"] for model in json.loads(written[1])["models"]]
    proofs = [
        compare(
            f"{graph.name} in JavaScript by Node",
            logits,
            run_javascript(network, images, watch, f"{graph.name}: the page's answers"),
        )
        for graph, logits, network in zip(graphs, expected, networks, strict=True)
    ]
    watch("comparing with the float network", 0, 0)
    weight_bytes = sum(graph.weight_bytes for graph in graphs)
    accuracy = _accuracies(targets[0], data, expected[0])
    return Export({"index.html": page.encode()}, proofs, weight_bytes, accuracy)


def _accuracies(target: Target, data: Data, integers: NDArray[np.int32]) -> dict[str, float]:
    """The accuracy on the test images of the float network and of the integer graph."""
    floats = logits(target.model, data.test.images, target.preprocess)
    both = {"float": floats, "integer": torch.from_numpy(integers)}
    return {name: accuracy(answers, data.test.labels) for name, answers in both.items()}


def _about(
    target: Target, data: Data, graph: Graph, accuracy: dict[str, float], weighed: Footprint | None
) -> list[str]:
    """What the C files say of themselves."""
    parameters = count_parameters(target.model, target.preprocess.shape)
    lines = [
        f"{parameters:,} parameters; {graph.weight_bytes:,} bytes of weights, biases and tables.",
        f"{100 * accuracy['integer']:.2f} % of the {len(data.test):,} {data.name} test images; "
        f"the float network {100 * accuracy['float']:.2f} %.",
        FED_WITH[target.preprocess.kind],
    ]
    if weighed:
        lines.append(
            f"{weighed.flash_bytes:,} bytes of flash and {weighed.ram_bytes:,} of RAM in all, "
            "for Cortex-M0+ at -Os."
        )
    return lines
