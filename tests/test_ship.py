"""Exporting as a user does it: what is written, what is proven, what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from drawn_networks import photos
from networks import draw_weights, images
from torch import nn

from smidgen.data import Data, Split
from smidgen.errors import ExportError, MissingExtraError
from smidgen.export import formats, write_export
from smidgen.inputs import InputShape
from smidgen.target import Target
from smidgen.zoo import create_model, has_weights, list_models, weights_header

PROVEN = json.loads((Path(__file__).parents[1] / "benchmarks" / "ship.json").read_text("utf-8"))
PROOFS = {"c": ("gcc",), "html": ("node",), "onnx": ()}


@pytest.fixture(scope="module")
def target(digits: Data) -> Target:
    model = draw_weights(create_model("tiny_mnist"))
    classes = digits.classes
    return Target("tiny", model, digits.preprocess, classes, "digits", None, trained=True)


@pytest.fixture(scope="module")
def coloured() -> tuple[Target, Data]:
    """A network of three colours, no channel normalised as another, and images for it."""
    labels = torch.arange(60) % 3
    batch = images(60, shape=(3, 15, 11))
    preprocess = photos(batch, 0.4, 0.2)
    split = Split(batch, labels)
    classes = ("red */", 'green "x"', "bl\\ue")
    model = draw_weights(nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 3, 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ))  # fmt: skip
    data = Data("colours", split, split, classes, preprocess)
    return Target("colour", model, preprocess, classes, "colours", None, trained=True), data


def export_or_skip(kind: str, *arguments: Any, **options: Any) -> dict[str, Any]:
    if kind == "onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    for program in PROOFS[kind]:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    return write_export(*arguments, **options)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("c", ["model.h", "model.c"]),
        ("html", ["index.html"]),
        ("onnx", ["model.onnx", "model-int8.onnx"]),
    ],
)
def test_every_format_is_written_and_proven(
    kind: str, names: list[str], target: Target, few: Data, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "folder"
    written = export_or_skip(kind, [target], few, kind, out)
    assert written["files"] == [str(out / name) for name in [*names, "parity.json", "README.md"]]
    assert all(Path(file).stat().st_size > 100 for file in written["files"])
    assert written["parity"]["images"] == len(few.test)
    assert written["parity"]["label_mismatches"] == 0
    assert written["parity"]["max_abs_diff"] <= (1e-4 if kind == "onnx" else 0)
    assert written["weight_bytes"] == (4 * 9146 if kind == "onnx" else 9166)
    kept = json.loads((out / "parity.json").read_text("utf-8"))
    assert kept["proofs"] == written["proofs"]
    assert kept["accuracy"] == written["accuracy"]
    card = (out / "README.md").read_text("utf-8")
    assert card.startswith(f"# tiny, as {kind}\n")
    assert f"{100 * written['accuracy']['integer']:.2f} % in integers" in card


def test_the_c_files_say_what_they_are(target: Target, few: Data, tmp_path: Path) -> None:
    written = export_or_skip("c", [target], few, "c", tmp_path)
    for name in ("model.h", "model.c"):
        text = (tmp_path / name).read_text("utf-8")
        assert text.startswith("/* tiny, written by smidgen\n")
        assert "9,146 parameters; 9,166 bytes of weights, biases and tables" in text
        assert f"{100 * written['accuracy']['integer']:.2f} % of the 60 digits test images" in text


def test_a_network_of_photos_gets_its_preprocessing_in_c(
    coloured: tuple[Target, Data], tmp_path: Path
) -> None:
    target, data = coloured
    written = export_or_skip("c", [target], data, "c", tmp_path)
    names = [Path(file).name for file in written["files"]]
    assert names[:4] == ["model.h", "model.c", "preprocess.h", "preprocess.c"]
    runners = [proof["runner"] for proof in written["proofs"]]
    assert "frames by gcc on this machine" in runners
    assert all(proof["max_abs_diff"] == 0 for proof in written["proofs"])
    assert "Fed with photos" in (tmp_path / "model.h").read_text("utf-8")


@pytest.mark.parametrize("with_preprocessing", [False, True])
def test_onnx_of_channels_normalised_differently_is_equal(
    with_preprocessing: bool, coloured: tuple[Target, Data], tmp_path: Path
) -> None:
    target, data = coloured
    written = export_or_skip(
        "onnx", [target], data, "onnx", tmp_path, with_preprocessing=with_preprocessing
    )
    assert written["parity"]["label_mismatches"] == 0
    proofs = {proof["runner"]: proof for proof in written["proofs"]}
    assert proofs["ONNX int8 by ONNX Runtime"]["label_mismatches"] == 0
    import onnx

    for name in ("model.onnx", "model-int8.onnx"):
        (image,) = onnx.load(tmp_path / name).graph.input
        sizes = [size.dim_value for size in image.type.tensor_type.shape.dim]
        assert sizes == ([0, 15, 11, 3] if with_preprocessing else [0, 3, 15, 11])
        kind = "UINT8" if with_preprocessing else "FLOAT"
        assert image.type.tensor_type.elem_type == onnx.TensorProto.DataType.Value(kind)


def test_preprocessing_inside_is_of_onnx(target: Target, few: Data, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="--with-preprocessing is for onnx; c takes bytes as the"):
        write_export([target], few, "c", tmp_path / "out", with_preprocessing=True)
    assert not (tmp_path / "out").exists()


def test_a_page_of_photos_is_proven(coloured: tuple[Target, Data], tmp_path: Path) -> None:
    target, data = coloured
    written = export_or_skip("html", [target], data, "html", tmp_path)
    assert written["parity"] == {"images": 60, "label_mismatches": 0, "max_abs_diff": 0.0}
    page = (tmp_path / "index.html").read_text("utf-8")
    assert '"preprocess":"photo"' in page
    assert "Draw a" not in page


def test_a_watch_hears_how_far_a_page_is(coloured: tuple[Target, Data], tmp_path: Path) -> None:
    target, data = coloured
    heard: list[tuple[str, int, int]] = []
    export_or_skip("html", [target], data, "html", tmp_path, watch=lambda *step: heard.append(step))
    assert list(dict.fromkeys(what for what, _, _ in heard)) == [
        "colour: to integers",
        "colour: its answers",
        "writing the page",
        "colour: the page's answers",
        "comparing with the float network",
    ]
    assert [step for step in heard if step[0] == "colour: its answers"] == [
        ("colour: its answers", 0, 60),
        ("colour: its answers", 60, 60),
    ]
    of_page = [done for what, done, _ in heard if what == "colour: the page's answers"]
    assert (of_page[0], of_page[-1]) == (0, 60)
    assert of_page == sorted(of_page)


def test_a_page_holds_networks_of_one_input(coloured: tuple[Target, Data], tmp_path: Path) -> None:
    target, data = coloured
    wide = replace(data.preprocess, shape=InputShape(3, 15, 12))
    other = replace(target, name="wide", preprocess=wide)
    message = "'wide' takes a photo of 3x15x12, 'colours' has a photo of 3x15x11; the networks of a"
    with pytest.raises(ExportError, match=message):
        export_or_skip("html", [target, other], data, "html", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unequal_export_is_refused(
    target: Target, few: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off_by_one(folder: Path, images: np.ndarray) -> np.ndarray:
        return run_host_c(folder, images) + np.eye(10, dtype=np.int32)[3]

    run_host_c = formats.run_host_c
    monkeypatch.setattr(formats, "run_host_c", off_by_one)
    out = tmp_path / "out"
    with pytest.raises(ExportError, match=r"not equal .* logits by at most 1\); nothing was writt"):
        export_or_skip("c", [target], few, "c", out)
    assert not out.exists()
    written = export_or_skip("c", [target], few, "c", out, allow_mismatch=True)
    assert written["parity"]["max_abs_diff"] == 1
    assert "logits by at most 1" in (out / "README.md").read_text("utf-8")


def test_a_folder_in_use_is_left_alone(target: Target, few: Data, tmp_path: Path) -> None:
    (tmp_path / "model.c").write_text("mine", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("mine too", encoding="utf-8")
    with pytest.raises(ExportError, match="has something in it; choose another, or --force"):
        write_export([target], few, "c", tmp_path)
    assert (tmp_path / "model.c").read_text("utf-8") == "mine"
    export_or_skip("c", [target], few, "c", tmp_path, force=True)
    assert (tmp_path / "model.c").read_text("utf-8") != "mine"
    assert (tmp_path / "notes.txt").read_text("utf-8") == "mine too"
    with pytest.raises(ExportError, match="is a file; --out names a folder"):
        write_export([target], few, "c", tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("count", "kind", "bits", "message"),
    [
        (1, "onx", 8, "unknown format 'onx'; did you mean 'onnx'"),
        (1, "c", 3, "3 bits are not known; choose 8, 4 or 2"),
        (2, "c", 8, "takes one target, not 2"),
        (0, "html", 8, "needs a target"),
    ],
)
def test_what_cannot_be_asked_for(
    count: int, kind: str, bits: int, message: str, target: Target, few: Data, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=message):
        write_export([target] * count, few, kind, tmp_path / "out", bits)


def test_networks_of_other_classes_are_refused(target: Target, few: Data, tmp_path: Path) -> None:
    other = replace(target, classes=("cat", "dog"))
    with pytest.raises(ExportError, match="trained for cat, dog, not for the classes of 'digits'"):
        write_export([other], few, "c", tmp_path / "out")


@pytest.mark.parametrize("kind", ["c", "html"])
def test_without_a_runner_nothing_is_written(
    kind: str, target: Target, few: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match="is not installed; on Debian: apt-get install"):
        write_export([target], few, kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("there", "proofs"),
    [
        ("gcc", ["C by gcc on this machine", "frames by gcc on this machine"]),
        ("arm", ["C on an emulated Cortex-M0+", "frames by an emulated Cortex-M0+"]),
    ],
)
def test_c_is_proven_by_what_is_there(
    there: str, proofs: list[str], coloured: tuple[Target, Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = ("gcc",) if there == "gcc" else formats.ARM_TOOLS
    if any(shutil.which(program) is None for program in programs):
        pytest.skip(f"one of {', '.join(programs)} is not installed")
    monkeypatch.setattr(formats, "is_installed", lambda *names: set(names) <= set(programs))
    target, data = coloured
    export = formats.make_c([target], data, 8)
    assert [proof.runner for proof in export.proofs] == proofs
    assert all(proof.max_abs_diff == 0 for proof in export.proofs)
    assert (export.footprint is None) == (there == "gcc")
    assert (b"bytes of flash" in export.files["model.h"]) == (there == "arm")


def test_the_command_prints_one_document(run_folder: Path, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "smidgen", "export", run_folder, "--format", "c", "--out", out]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {"files", "weight_bytes", "parity"} <= set(document)
    assert document["parity"] == {"images": 300, "label_mismatches": 0, "max_abs_diff": 0.0}
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith(f"smidgen: the folder {str(out)!r} has something in it")


def parameters(name: str) -> int:
    return sum(parameter.numel() for parameter in create_model(name).parameters())


SHIPPED = [name for name in list_models() if has_weights(name) and parameters(name) < 25_000]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_proofs_of_a_shipped_model_are_of_its_weights(name: str) -> None:
    """benchmarks/ship.json holds the runs on all test images, which take the emulators minutes."""
    row = PROVEN["models"][name]
    assert row["weights"] == weights_header(name)["fingerprint"]
    exact = {runner: proof for runner, proof in row["proofs"].items() if "ONNX" not in runner}
    assert {"Cortex-M0+ (emulated)", "Cortex-M4 (emulated)", "JavaScript, Node"} < set(exact)
    assert all(proof["max_abs_diff"] == 0 for proof in exact.values())
    for runner, proof in row["proofs"].items():
        assert proof["images"] >= (1_000 if "emulated" in runner else 10_000)
    assert row["proofs"]["ONNX float"]["label_mismatches"] == 0
    assert row["proofs"]["ONNX float"]["max_abs_diff"] <= 1e-4
    wrong = round(10_000 * (1 - row["integer"]))
    assert row["proofs"]["ONNX int8"]["label_mismatches"] <= max(1, wrong // 10)
    lost = wrong - round(10_000 * (1 - row["float"]))
    assert lost <= (10 if row["data"] == "mnist" else 15)  # images: 0.10 or 0.15 points


def test_eight_bits_cost_little_of_mnist_on_the_mean() -> None:
    rows = [row for row in PROVEN["models"].values() if row["data"] == "mnist"]
    assert fmean(row["float"] - row["integer"] for row in rows) <= 0.0005
