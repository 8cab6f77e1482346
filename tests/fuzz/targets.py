"""What is fuzzed: for each kind of file from outside, the function that reads it, and examples.

A reader gives something back or raises SmidgenError in one line; whatever else happens is a
finding. `python tests/fuzz/run.py` feeds them what atheris makes up, and `tests/test_fuzz.py` what
is kept in `tests/fuzz/corpus`.
"""

from __future__ import annotations

import ast
import functools
import io
import json
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock
from xml.etree import ElementTree

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save, save_file

import smidgen
from smidgen.anatomy import describe
from smidgen.budget import Rule, Score, Training, load_budget
from smidgen.budget.formats import to_github, to_junit
from smidgen.claims import check_claims
from smidgen.data.idx import read_idx, read_split
from smidgen.errors import SmidgenError
from smidgen.inputs import InputShape, Preprocess
from smidgen.ipynb import read_notebook
from smidgen.mnist import GLYPH
from smidgen.preprocess import read_image
from smidgen.recipe import load_recipe, override, parse_recipe, parse_setting, to_toml
from smidgen.run import read_weights
from smidgen.schema import parse_toml
from smidgen.target import load
from smidgen.zoo import create_model, weights

CORPUS = Path(__file__).parent / "corpus"
SHIPPED = Path(smidgen.__file__).parent
PHOTO = Preprocess("photo", InputShape(3, 8, 10), (0.0,), (1.0,)).with_statistics(0.0, 1.0)
CONFIG = {
    "model": "tiny_mnist", "data": "mnist", "mean": 0.1307, "std": [0.3081], "input": [1, 28, 28],
    "preprocess": "glyph", "classes": [str(digit) for digit in range(10)],
}  # fmt: skip


def check(name: str, content: bytes) -> None:
    """Feeds one reader; raises AssertionError for a refusal that is not one short line."""
    read, _ = TARGETS[name]
    try:
        read(content)
    except SmidgenError as refused:
        said = str(refused)
        assert "\n" not in said, said
        assert len(said) < 3000, said


def examples(name: str) -> list[bytes]:
    """Contents from which atheris starts: good ones, and those that were found before."""
    kept = sorted((CORPUS / name).glob("*"))
    return [*TARGETS[name][1](), *(path.read_bytes() for path in kept)]


@functools.cache
def folder() -> Path:
    """A folder for the files of this process."""
    return Path(tempfile.mkdtemp(prefix="smidgen-fuzz-"))


def written(name: str, content: bytes) -> Path:
    path = folder() / name
    path.write_bytes(content)
    return path


def idx(content: bytes) -> None:
    """The first byte says how many bytes of the rest are the file of the labels."""
    end = 1 + content[0] if content else 0
    labels, images = written("labels", content[1:end]), written("images", content[end:])
    try:
        read_idx(labels)
    except SmidgenError:
        read_idx(images)
    split = read_split([images, labels])
    assert len(split.images) == len(split.labels) > 0


def recipe(content: bytes) -> None:
    found = load_recipe(written("recipe.toml", content))
    again = parse_toml(to_toml(found), "again", SmidgenError)
    assert parse_recipe(again, "again") == found


def budget(content: bytes) -> None:
    load_budget(written("budget.toml", content))


def setting(content: bytes) -> None:
    """One --set of a command."""
    key, value = parse_setting(content.decode(errors="surrogateescape"))
    override(load_shipped(), {key: value})


@functools.cache
def load_shipped() -> Any:
    return load_recipe("tiny_mnist")


def picture(content: bytes) -> None:
    module = sys.modules["smidgen.preprocess.decode"]
    with mock.patch.object(module, "MAX_PIXELS", 1_000_000):  # large ones take a second
        for preprocess in (GLYPH, PHOTO):
            assert read_image(content, preprocess).shape == preprocess.shape


def weights_file(content: bytes) -> None:
    tensors, _ = read_weights(written("model.safetensors", content))
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def bundle(content: bytes) -> None:
    """The config.json of a bundle."""
    written("config.json", content)
    if not (folder() / "model.safetensors").exists():
        save_file(weights("tiny_mnist"), folder() / "model.safetensors")
    loaded = load(str(folder()))
    assert len(set(loaded.classes)) == 10
    json.dumps([loaded.name, loaded.classes, loaded.data], ensure_ascii=False).encode()


def notebook(content: bytes) -> None:
    found = read_notebook(written("notebook.ipynb", content))
    ast.parse(found.source)
    assert all("\n" not in line for line in found.left_out)


def claims(content: bytes) -> None:
    found = check_claims(content.decode(errors="replace"), *known())
    rules = [
        Rule(
            f"line {claim.line}: {claim.figure}",
            claim.claimed,
            claim.actual or 0,
            False,
            claim.note,
        )
        for claim in found
    ]
    assert ElementTree.fromstring(to_junit(rules, "claims")).get("tests") == str(len(rules))
    assert to_github(rules, "claims").count("\n") == len(rules)


@functools.cache
def known() -> tuple[Any, Training]:
    """A network and its training, which claims are compared with."""
    score = Score(0.99, (0.98, 0.995), "10,000 images")
    anatomy = describe(create_model("skip_13k"), GLYPH.shape, "skip_13k")
    return anatomy, Training(10, 600_000, 60_000, score, 0.98, score, score, 1)


def idx_examples() -> list[bytes]:
    images = struct.pack(">HBBIII", 0, 8, 3, 2, 8, 9) + bytes(range(144))
    floats = struct.pack(">HBBI", 0, 0x0D, 1, 2) + struct.pack(">2f", 1.5, -2.0)
    labels = struct.pack(">HBBI", 0, 8, 1, 2) + b"\0\1"
    return [bytes([len(each)]) + each + images for each in (labels, floats)]


def toml_examples(kind: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((SHIPPED / kind).glob("*.toml"))]


def notebook_examples() -> list[bytes]:
    path = SHIPPED.parents[1] / "examples" / "quickstart.ipynb"
    cells = [{"cell_type": "code", "source": ["%magic\n", "WIDTH = 2 * 8\n", "class A: pass"]}]
    return [path.read_bytes(), json.dumps({"cells": cells, "nbformat": 4}).encode()]


def picture_examples() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 4)).astype(np.uint8)
    rgba = Image.fromarray(pixels)
    found = []
    for mode, format_ in [
        ("RGBA", "PNG"), ("L", "PNG"), ("P", "PNG"), ("1", "PNG"), ("I;16", "PNG"), ("LA", "PNG"),
        ("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "WEBP"), ("RGB", "BMP"),
        ("P", "BMP"), ("1", "BMP"), ("P", "GIF"),
    ]:  # fmt: skip
        stream = io.BytesIO()
        image = rgba.convert("L").convert(mode) if mode == "I;16" else rgba.convert(mode)
        exif = Image.Exif()
        exif[0x0112] = 6  # the orientation
        image.save(
            stream, format_, **({"exif": exif} if format_ in ("PNG", "JPEG", "WEBP") else {})
        )
        found.append(stream.getvalue())
    return found


def weights_examples() -> list[bytes]:
    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8)
    tensors = {str(kind): torch.ones(2, 3).to(kind) for kind in kinds}
    return [
        save(tensors, {"model": "net", "fingerprint": "0"}),
        save({"w": torch.ones(1)}),
        save({}),
    ]


CLAIM_LINES = b"""
| Parameters | **7,416** total params (< 8k) | test accuracy: 99.41% - 99.5 % in 15 epochs
conv1 (Conv2d) RF 3, `blocks.0` receptive field of 5x5; GAP RF: ~28
train accuracy over 98.7%+ after the first epoch, about 13.2K trainable parameters
"""

TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "idx": (idx, idx_examples),
    "recipe": (recipe, lambda: toml_examples("recipes")),
    "budget": (budget, lambda: toml_examples("budgets")),
    "setting": (setting, lambda: [b"optimizer.lr=0.01", b"schedule.name=cosine", b'data = "x"']),
    "picture": (picture, picture_examples),
    "weights": (weights_file, weights_examples),
    "bundle": (bundle, lambda: [json.dumps(CONFIG).encode()]),
    "notebook": (notebook, notebook_examples),
    "claims": (claims, lambda: [CLAIM_LINES, *CLAIM_LINES.splitlines()]),
}
