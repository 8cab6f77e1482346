"""What a network is fed with: its texts, and the shape that is guessed from the network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from smidgen.errors import DataError
from smidgen.inputs import InputShape, Preprocess, class_names
from smidgen.mnist import GLYPH
from smidgen.network import guess_input

SIDES = st.integers(8, 128)
SHAPES = st.builds(InputShape, st.sampled_from([1, 3]), SIDES, SIDES)
MEANS, DEVIATIONS = st.floats(-10, 10), st.floats(1e-6, 10)


@given(SHAPES)
def test_a_shape_is_what_it_prints(shape: InputShape) -> None:
    assert InputShape.parse(str(shape)) == shape


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("28x28", "'28x28' is no input shape; write CxHxW"),
        ("1x28x28x1", "is no input shape"),
        ("1x２8x28", "is no input shape"),
        ("2x28x28", "2 channels in 2x28x28; 1 (grey) or 3 (RGB) are allowed"),
        ("3x32x129", "a side of 129 pixels in 3x32x129; 8 to 128 are allowed"),
        ("1x7x8", "a side of 7 pixels"),
    ],
)
def test_other_shapes_are_refused(text: str, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        InputShape.parse(text)


@given(SHAPES, st.sampled_from(["glyph", "photo"]), st.data())
def test_a_header_and_a_document_say_all(shape: InputShape, kind: str, data: st.DataObject) -> None:
    mean, std = (
        tuple(data.draw(st.lists(each, min_size=shape.channels, max_size=shape.channels)))
        for each in (MEANS, DEVIATIONS)
    )
    preprocess = Preprocess(kind, shape, mean, std)  # type: ignore[arg-type]
    assert Preprocess.from_header(preprocess.header()) == preprocess
    document = json.loads(json.dumps(preprocess.document()))
    assert Preprocess.from_document(document) == preprocess


def test_weights_of_before_are_of_glyphs() -> None:
    assert Preprocess.from_header({"mean": "0.1307", "std": "0.3081"}) == GLYPH


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"std": "0"}, "std = 0; a deviation is at least 1e-06"),
        ({"std": "NaN"}, "std = nan; it is one number, or one for each of 1 channels"),
        ({"mean": "Infinity"}, "mean = inf"),
        ({"mean": "[0.1, 0.2]"}, "mean = [0.1, 0.2]"),
        ({"std": "1e-320"}, "std = 1e-320; a deviation is at least 1e-06"),
        ({"std": "-0.3"}, "std = -0.3; a deviation is at least 1e-06"),
        ({"mean": "true"}, "mean = True"),
        ({"mean": "[" * 100_000}, "it is a number or a list"),
        ({"mean": "9" * 5000}, "it is a number or a list"),
        ({"mean": "half"}, "mean = 'half'; it is a number or a list"),
        ({"input": "[1, 28]"}, "[1, 28] is no input shape"),
        ({"input": "28"}, "28 is no input shape"),
        ({"input": f"[1, {10**4000}, 28]"}, "... is no input shape"),
        ({"preprocess": "sketch"}, "unknown preprocessing 'sketch'; glyph and photo are known"),
    ],
)
def test_headers_that_cannot_be_fed_are_refused(change: dict[str, str], said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        Preprocess.from_header(GLYPH.header() | change)


def test_a_header_without_a_deviation_is_refused() -> None:
    with pytest.raises(DataError, match="std = None; it is one number"):
        Preprocess.from_header({"mean": "0.5"})


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (10, "classes = 10; it is a list of names"),
        ("0123456789", "classes = '0123456789'; it is a list of names"),
        (["1"] * 10, "10 classes are named '1'; give each its own name"),
        (list(range(10)), "it is a list of names"),
        (None, "classes = None"),
        ({"a": 1, "b": 2}, "it is a list of names"),
        ([], "0 classes; 2 to 10,000 are allowed"),
        ([str(n) for n in range(10_001)], "10,001 classes; 2 to 10,000 are allowed"),
        (["a", ""], "'' is no name of a class"),
        (["a", "b\nc"], "'b\\nc' is no name of a class"),
        (["a", "\ud800"], "'\\ud800' is no name of a class"),
        (["a", "b" * 256], "bb... is no name of a class"),
    ],
)
def test_classes_are_two_or_more_names(classes: object, said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        class_names(classes)
    assert class_names(["ä", "日本", "b\u200dc"]) == ("ä", "日本", "b\u200dc")


def dense(inputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 10))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (1, 28, 28)),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, 32, 32)),
        (dense(16 * 16), (1, 16, 16)),
        (dense(3 * 40 * 40), (3, 40, 40)),
        (dense(1000), (1, 28, 28)),  # no square has a thousand pixels
    ],
)
def test_the_shape_is_guessed_from_the_network(
    model: nn.Module, expected: tuple[int, int, int]
) -> None:
    assert guess_input(model) == expected


SMALL = """
from torch import nn

class Small(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 10))
"""


def run(*arguments: str) -> tuple[int, str, str]:
    """The exit code of a command, and what it prints on stdout and on stderr."""
    command = [sys.executable, "-m", "smidgen", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_files_network_is_weighed_for_the_images_that_it_takes(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(SMALL)
    target = str(tmp_path / "model.py")
    _, printed, said = run("describe", target, "--json")
    described = json.loads(printed)
    assert described["input"] == [1, 16, 16]
    assert described["macs"] == 14 * 14 * 4 * 9 + 784 * 10
    assert said == "weighed for images of 1x16x16; --input CxHxW says others\n"
    arguments = ("--budget", "era-8k", "--input", "1x16x16", "--json")
    _, printed, said = run("check", target, *arguments)
    rules = {rule["rule"]: rule for rule in json.loads(printed)["rules"]}
    assert rules["max_params"]["actual"] == 40 + 7850
    assert said == ""


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("1x20x20", "Small fails on images of shape (1, 1, 20, 20)"),
        ("16x16", "'16x16' is no input shape; write CxHxW"),
    ],
)
def test_a_shape_that_does_not_fit_is_one_line(tmp_path: Path, shape: str, said: str) -> None:
    (tmp_path / "model.py").write_text(SMALL)
    code, _, told = run("describe", str(tmp_path / "model.py"), "--input", shape)
    assert code == 2
    assert said in told
    assert told.count("\n") == 1
