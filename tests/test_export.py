"""Exports held to the integer graph, to the bit: C, JavaScript, and ONNX within its rounding."""

from __future__ import annotations

import platform
import random
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_networks import draw_network, draw_shape, photos
from networks import EveryOperation, draw_weights, images, shared
from torch import nn

from smidgen.check import check
from smidgen.data import normalise
from smidgen.errors import ExportError, MissingExtraError
from smidgen.export import export, parity
from smidgen.export.c import with_about, write_c
from smidgen.export.footprint import footprint, quantize_on_noise
from smidgen.export.latency import latency
from smidgen.export.onnx import run_onnx, write_onnx
from smidgen.export.parity import Parity, compare, run_cortex_m, run_host_c, run_javascript
from smidgen.export.qdq import write_qdq
from smidgen.export.schedule import plan_memory
from smidgen.export.stages import make_stages
from smidgen.export.toolchain import HARNESS, MACHINES, STRICT, compile_firmware, find, run
from smidgen.mnist import GLYPH, INPUT_SHAPE
from smidgen.quantize import Graph, quantize, to_document
from smidgen.zoo import create_model


class Heads(nn.Module):
    """Two heads of one map, whose averages are at work at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3)
        self.heads = nn.ModuleList(nn.Conv2d(3, 10, 1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        one, other = (head(x).mean((2, 3)) for head in self.heads)
        return one + other


(MEAN,), (STD,) = GLYPH.mean, GLYPH.std
MODELS = {
    "heads": Heads,
    "every operation": EveryOperation,
    "shared": lambda: shared(n=3),
    "skip_13k": lambda: create_model("skip_13k"),
    "linear on a map": lambda: create_model("tiny_mnist"),
    "linear on the image": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
    "average last": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=2), nn.ReLU(), nn.Conv2d(4, 10, 3), nn.AvgPool2d(10), nn.Flatten()
    ),
    "kernels and groups": lambda: nn.Sequential(
        nn.Conv2d(1, 5, 5, padding=2), nn.ReLU(),
        nn.Conv2d(5, 5, 3, stride=2, padding=1, groups=5),  # (N, 5, 14, 14)
        nn.Conv2d(5, 21, 1), nn.ReLU(),
        nn.Conv2d(21, 21, 5, padding=2, groups=21), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(21, 42, (3, 2), padding=(0, 1), groups=21), nn.ReLU(),  # (N, 42, 5, 8)
        nn.Conv2d(42, 42, 1, groups=42), nn.Conv2d(42, 12, 1, groups=3), nn.ReLU(),
        nn.Conv2d(12, 12, (5, 1), groups=12), nn.Flatten(), nn.Linear(96, 10),
    ),
    "colour": lambda: nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6),
        nn.Conv2d(6, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ),
    "depthwise on colours": lambda: nn.Sequential(
        nn.Conv2d(3, 3, 5, padding=2, groups=3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 7, 1),
        nn.ReLU(), nn.Flatten(), nn.Linear(7 * 4 * 10, 10),
    ),
    "overlapping pools": lambda: nn.Sequential(
        nn.MaxPool2d(3, stride=2), nn.Conv2d(1, 5, 4, padding=2), nn.AvgPool2d(3, stride=2),
        nn.Sigmoid(), nn.MaxPool2d(3, stride=1), nn.Flatten(), nn.Linear(80, 10),
    ),
}  # fmt: skip

SHAPES = {"colour": (3, 15, 11), "depthwise on colours": (3, 8, 21)}  # others take MNIST's


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    """Each network in eight bits, and the one of every operation also in four and two."""
    made = {
        name: quantize(draw_weights(make()), batch, photos(batch, MEAN, STD), name)
        for name, make in MODELS.items()
        for batch in [images(40, shape=SHAPES.get(name, INPUT_SHAPE))]
    }
    for bits in (4, 2):
        every = draw_weights(EveryOperation())
        made[f"{bits} bits"] = quantize(every, images(40), GLYPH, "every", bits=bits)
    return made


NAMES = [*MODELS, "4 bits", "2 bits"]
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
BUILDS = {  # the code for size, and that for speed with and without the vector instructions
    "small, sanitized": ("-Os", *SANITIZERS),
    "fast": ("-O3", "-march=native"),
    "fast, sanitized": ("-O1", "-march=native", *SANITIZERS),
    "portable": ("-O2",),
}
if platform.machine() == "x86_64":
    BUILDS["AVX2"] = ("-O3", "-march=native", "-mno-avx512f")
FEWER = {  # of networks whose code for speed others have, too
    "heads": ["small, sanitized", "fast"],
    "shared": ["small, sanitized", "fast"],
    "skip_13k": ["small, sanitized", "fast"],
    "2 bits": ["small, sanitized", "fast"],
    "4 bits": ["small, sanitized", "fast, sanitized"],
}
GROUPED = ("every operation", "kernels and groups")
BUILT = [(name, build) for name in NAMES for build in FEWER.get(name, BUILDS)
         if build not in ("portable", "AVX2") or name in GROUPED]  # fmt: skip


def write(graph: Graph, folder: Path) -> Path:
    for name, text in with_about(write_c(graph), ["A network", "for the tests."]).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@needs("gcc")
@pytest.mark.parametrize(("name", "build"), BUILT)
def test_host_c_is_the_graph(
    graphs: dict[str, Graph], name: str, build: str, tmp_path: Path
) -> None:
    batch = images(30, 2, graphs[name].input_shape).numpy()
    found = run_host_c(write(graphs[name], tmp_path), batch, BUILDS[build])
    assert np.array_equal(found, graphs[name].run(batch))


@needs("gcc")
@pytest.mark.parametrize("seed", [46, 47, 48])
def test_drawn_networks_read_nothing_outside_of_their_tables(seed: int, tmp_path: Path) -> None:
    """In that of seed 46, the column of sums' other inputs is that of biases, which go further."""
    batch = images(32, seed, draw_shape(seed))
    model = draw_network(seed, draw_shape(seed), products=seed % 4 == 0).eval()
    graph = quantize(model, batch, photos(batch, MEAN, STD), "drawn", "01234")
    found = run_host_c(write(graph, tmp_path), batch[:4].numpy(), BUILDS["small, sanitized"])
    assert np.array_equal(found, graph.run(batch[:4].numpy()))


def test_the_header_says_what_an_image_is(graphs: dict[str, Graph]) -> None:
    header = write_c(graphs["colour"])["model.h"]
    sizes = dict(re.findall(r"#define SMIDGEN_(\w+) (\d+)", header))
    assert sizes == {
        "CHANNELS": "3", "HEIGHT": "15", "WIDTH": "11", "PIXELS": "495", "CLASSES": "10",
    }  # fmt: skip
    assert "15 rows of 11 pixels" in header
    assert "A pixel is three bytes: red, green, blue." in header
    assert "A pixel is one byte, its level of grey." in write_c(graphs["shared"])["model.h"]


def test_a_format_is_refused_before_any_data_is_wanted() -> None:
    with pytest.raises(ExportError, match="unknown format 'tflite'; choose from c, html, hub"):
        export("tiny_mnist", "tflite", "nowhere", data="idx:nowhere")


CLASS_NAMES = """
#include <stdio.h>
#include "model.h"

int main(void)
{
    for (int label = 0; label < SMIDGEN_CLASSES; label++) {
        fputs(smidgen_class_name(label), stdout);
        putchar(0);
    }
    return 0;
}
"""
HOSTILE = [
    "*/ int x; /*", '"', "\\", 'a"; }', "\\n", "line\nbreak\\", "??/", "??'", "tab\t", "\x7f1", "é",
    "猫", "\U0001f408", "\u202ereversed", "\u2028", "// */", "%s", "$title", "",
]  # fmt: skip


@needs("gcc")
def test_names_from_outside_are_no_code(graphs: dict[str, Graph], tmp_path: Path) -> None:
    chance = random.Random(0)
    drawn = ["".join(chr(chance.randrange(1, 0xD800)) for _ in range(9)) for _ in range(300)]
    quoted = ["".join(chance.choices("*/\\\"?\n\r'<7 ", k=12)) for _ in range(300)]
    names = tuple(HOSTILE + drawn + quoted)
    given = graphs["linear on the image"]
    nodes = tuple(replace(node, name=each) for node, each in zip(given.nodes, names, strict=False))
    graph = replace(given, name=HOSTILE[0], classes=names, nodes=nodes)
    for name, text in with_about(write_c(graph), names[1:]).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "main.c").write_text(CLASS_NAMES, encoding="utf-8")
    run(["gcc", *STRICT, "-c", tmp_path / "model.c", "-o", tmp_path / "model.o"])
    run(["gcc", *STRICT, tmp_path / "main.c", "-o", tmp_path / "names"])
    printed = run([tmp_path / "names"]).split(b"\0")[:-1]
    assert [name.decode() for name in printed] == list(names)


@needs("arm-none-eabi-gcc")
def test_class_names_that_are_not_read_take_no_flash(
    graphs: dict[str, Graph], tmp_path: Path
) -> None:
    firmware = compile_firmware(
        write(graphs["shared"], tmp_path), "weigh.c", tmp_path / "weigh.elf", "cortex-m0plus"
    )
    named = replace(graphs["shared"], classes=tuple(f"unusual {i}" for i in range(10)))
    again = compile_firmware(
        write(named, tmp_path), "weigh.c", tmp_path / "again.elf", "cortex-m0plus"
    )
    assert b"unusual" not in again.read_bytes()
    assert again.stat().st_size == firmware.stat().st_size


@needs("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize("core", MACHINES)
@pytest.mark.parametrize("name", ["every operation", "kernels and groups", "colour", "4 bits"])
def test_c_on_an_emulated_core_is_the_graph(
    graphs: dict[str, Graph], name: str, core: str, tmp_path: Path
) -> None:
    batch = images(6, 3, graphs[name].input_shape).numpy()
    found, stack = run_cortex_m(write(graphs[name], tmp_path), batch, core)
    assert np.array_equal(found, graphs[name].run(batch))
    assert 100 < stack < 500


@needs("arm-none-eabi-gcc")
@pytest.mark.parametrize("name", NAMES)
def test_every_network_compiles_for_the_smallest_core(
    graphs: dict[str, Graph], name: str, tmp_path: Path
) -> None:
    folder = write(graphs[name], tmp_path)
    assert compile_firmware(folder, "weigh.c", folder / "weigh.elf", "cortex-m0plus").exists()


@needs("node")
@pytest.mark.parametrize("name", NAMES)
def test_javascript_is_the_graph(graphs: dict[str, Graph], name: str) -> None:
    batch = images(10, 4, graphs[name].input_shape).numpy()
    found = run_javascript(to_document(graphs[name]), batch)
    assert np.array_equal(found, graphs[name].run(batch))


@needs("gcc", "node", "arm-none-eabi-gcc", "qemu-system-arm")
def test_images_that_the_cores_share_keep_their_order(
    graphs: dict[str, Graph], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "CORES", 3)
    monkeypatch.setattr(parity, "WORTH_A_CORE", 5)
    graph, folder = graphs["average last"], write(graphs["average last"], tmp_path)
    batch = images(17, 6, graph.input_shape).numpy()
    expected = graph.run(batch)
    assert len(np.unique(expected, axis=0)) == 17
    assert np.array_equal(run_host_c(folder, batch), expected)
    assert np.array_equal(run_cortex_m(folder, batch)[0], expected)
    assert np.array_equal(run_javascript(to_document(graph), batch), expected)


@pytest.mark.parametrize("name", NAMES)
def test_eight_bits_in_onnx_runtime_are_a_step_off_at_most(
    graphs: dict[str, Graph], name: str
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    graph = graphs[name]
    batch = images(30, 5, graph.input_shape)
    preprocess = photos(batch, MEAN, STD)
    expected = graph.run(batch.numpy()) * graph.logit_scale
    normalised = run_onnx(write_qdq(graph, preprocess), normalise(batch, preprocess).numpy())
    pixels = np.moveaxis(batch.numpy(), 1, -1)
    by_itself = run_onnx(write_qdq(graph, preprocess, with_preprocessing=True), pixels)
    for found in (normalised, by_itself):
        assert np.abs(found - expected).max() < 0.05 * expected.std()


@pytest.mark.parametrize("name", ["colour", "depthwise on colours"])
def test_float_onnx_with_preprocessing_takes_pixels(name: str) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, batch = draw_weights(MODELS[name]()), images(9, 6, SHAPES[name])
    preprocess = photos(batch, 0.4, 0.2)
    mean, std = (torch.tensor(each)[:, None, None] for each in (preprocess.mean, preprocess.std))
    with torch.no_grad():
        expected = model((batch / 255 - mean) / std)
    data = write_onnx(model, preprocess, with_preprocessing=True)
    found = run_onnx(data, np.moveaxis(batch.numpy(), 1, -1), batch=4)
    assert np.abs(found - expected.numpy()).max() < 1e-4


def test_float_onnx_is_the_network_and_names_no_path() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model = draw_weights(EveryOperation())
    data = write_onnx(model, GLYPH)
    batch = torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(batch).numpy()
    assert np.abs(run_onnx(data, batch.numpy(), batch=4) - expected).max() < 1e-5
    assert str(Path(__file__).parent.parent).encode() not in data
    assert b"site-packages" not in data


@needs("arm-none-eabi-gcc", "qemu-system-arm")
def test_a_footprint_holds_the_weights_and_the_rings(graphs: dict[str, Graph]) -> None:
    graph = graphs["skip_13k"]
    measured = footprint(graph)
    rings = plan_memory(graph).size_bytes
    assert graph.weight_bytes < measured.flash_bytes < graph.weight_bytes + 3000
    assert rings < measured.static_bytes < rings + 400
    assert measured.ram_bytes == measured.static_bytes + measured.stack_bytes


@needs("arm-none-eabi-gcc", "qemu-system-arm")
def test_shared_weights_leave_room_in_four_kilobytes() -> None:
    measured = footprint(quantize_on_noise(draw_weights(shared(channels=24)), GLYPH, "shared"))
    assert measured.flash_bytes <= 4096 - 256
    assert measured.ram_bytes <= 4096


@needs("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize(("name", "kilobytes"), [("smidgen_1936", 4), ("smidgen_mcu", 12)])
def test_two_networks_keep_to_small_boards(name: str, kilobytes: int) -> None:
    graph = quantize_on_noise(create_model(name, pretrained=True), GLYPH, name)
    measured = footprint(graph)
    assert graph.weight_bytes <= 8 * 1024
    assert measured.flash_bytes <= kilobytes * 1024
    assert measured.ram_bytes <= 4 * 1024


def test_shared_weights_stand_once_in_c(graphs: dict[str, Graph]) -> None:
    graph = graphs["shared"]
    code = write_c(graph)["model.c"]
    # Two convolutions, the block's two and the linear layer, of 72, 72, 128, 144, 256 and 160.
    assert "const int8_t weights[832]" in code
    assert code.count("16 x 3 x 3 x 1, 8 bits */") == 1
    # A depthwise convolution without a batch norm has the same bias for every channel.
    depthwise = [node for node in graph.nodes if node.name.endswith("depthwise")]
    assert [node.rescale.bias.size for node in depthwise] == [1] * 3


@needs("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize(("name", "broken"), [("smidgen_8k", []), ("tiny_net", ["flash"])])
def test_a_budget_weighs_the_firmware(name: str, broken: list[str]) -> None:
    verdict = check(name, "mcu-16k")
    rules = {rule.rule: rule for rule in verdict.rules}
    assert [kind for kind in ("flash", "ram") if not rules[f"max_{kind}_bytes"].passed] == broken
    weighed = footprint(quantize_on_noise(create_model(name, pretrained=not broken), GLYPH, name))
    assert rules["max_ram_bytes"].actual == weighed.ram_bytes


def test_a_budget_that_cannot_be_weighed_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    verdict = check("tiny_mnist", "mcu-16k")
    broken = {rule.rule: rule for rule in verdict.rules if not rule.passed}
    assert set(broken) == {"max_flash_bytes", "max_ram_bytes"}
    assert broken["max_flash_bytes"].actual == "not measured"
    assert "apt-get install gcc-arm-none-eabi" in broken["max_flash_bytes"].note


@needs("arm-none-eabi-gcc", "make")
def test_the_example_becomes_a_firmware(graphs: dict[str, Graph], tmp_path: Path) -> None:
    example = Path(__file__).parent.parent / "examples" / "cortex-m"
    shutil.copytree(example, tmp_path / "cortex-m")
    start = f"START={HARNESS}"
    folder = write(graphs["linear on a map"], tmp_path)
    command = ["make", "-C", tmp_path / "cortex-m", f"MODEL={folder}", start]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first = (tmp_path / "cortex-m" / "firmware.hex").read_text("ascii")
    assert first.startswith(":")


def test_rings_hold_what_is_read_again(graphs: dict[str, Graph]) -> None:
    # Pooled by rows, the first convolution leaves 14 × 14 × 8, of which three rows are kept; the
    # linear layer wants all of 7 × 7 × 16.
    plan = plan_memory(graphs["linear on a map"])
    assert [ring.rows for ring in plan.rings[1:-1]] == [3, 7]
    assert plan.size_bytes == 3 * 14 * 8 + 7 * 7 * 16
    assert plan_memory(graphs["linear on the image"]).size_bytes == 0


@pytest.mark.parametrize("name", NAMES)
def test_rings_in_use_at_once_do_not_overlap(graphs: dict[str, Graph], name: str) -> None:
    """Plays the schedule with a memory of who wrote each byte last."""
    graph = graphs[name]
    plan = plan_memory(graph)
    owner: dict[int, tuple[int, int]] = {}  # byte of memory -> tensor and row
    done = [0] * len(plan.stages)
    for number in plan.order:
        stage = plan.stages[number]
        row, step = divmod(done[number], stage.steps)
        for tensor in stage.inputs:
            first, last = stage.window(row, step)
            ring = plan.rings[tensor]
            for y in range(max(first, 0), min(last, ring.shape[0] - 1) + 1) if tensor else ():
                start = ring.offset + y % ring.rows * ring.row_bytes
                held = {owner[byte] for byte in range(start, start + ring.row_bytes)}
                assert held == {(tensor, y)}
        ring = plan.rings[stage.output]
        if stage.output < len(plan.rings) - 1:
            start = ring.offset + row % ring.rows * ring.row_bytes
            assert start + ring.row_bytes <= plan.size_bytes
            owner |= dict.fromkeys(range(start, start + ring.row_bytes), (stage.output, row))
        done[number] += 1
    heights = [plan.rings[stage.output].shape[0] * stage.steps for stage in plan.stages]
    assert done == heights


def test_sums_are_made_in_place(graphs: dict[str, Graph]) -> None:
    stages, shapes = make_stages(graphs["skip_13k"])
    sums = [stage for stage in stages if stage.node.op == "add"]
    assert len(sums) == 3
    assert all(stage.output in stage.inputs for stage in sums)
    assert len(shapes) == len(graphs["skip_13k"].nodes) + 1 - 3 - 1  # one max pool is fused


@needs("gcc")
def test_latency_is_measured_for_every_runner() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    found = latency(draw_weights(create_model("tiny_mnist")), GLYPH, rounds=20)
    assert list(found) == ["eager torch", "ONNX Runtime", "C"]
    for times in found.values():
        assert 0 < times["batch of 1"] < times["batch of 1,000"]


def test_parity_counts_labels_and_the_largest_difference() -> None:
    expected = np.array([[1, 2], [5, 3], [0, 9]])
    found = np.array([[1, 2], [2, 3], [0, 4]])
    parity = compare("test", expected, found)
    assert parity == Parity("test", 3, label_mismatches=1, max_abs_diff=5.0)
    assert not parity.equal
    assert compare("test", expected, found, tolerance=5.0, tolerated=1).equal
    assert str(compare("test", expected, expected)) == "test: 3 of 3 images the same to the bit"
    with pytest.raises(ExportError, match=r"test gave \(2, 2\) logits instead of \(3, 2\)"):
        compare("test", expected, found[:2])


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match="apt-get install qemu-system-arm"):
        find("qemu-system-arm")


@needs("gcc")
def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    broken = tmp_path / "broken.c"
    broken.write_text("int main(void) { return lost; }", encoding="utf-8")
    with pytest.raises(ExportError, match=r"gcc failed \(1\): (.|\n)*lost"):
        run(["gcc", broken, "-o", tmp_path / "broken"])
