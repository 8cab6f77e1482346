"""Exports and reports of a network whose every name was chosen to break them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
import yaml
from drawn_networks import photos
from made_up_runs import tiny_data, write_run
from markdown_it import MarkdownIt
from networks import draw_weights, images
from PIL import Image
from torch import nn

from smidgen import describe, report
from smidgen.budget.formats import to_junit
from smidgen.budget.judge import Rule
from smidgen.cli.output import console, emit, table
from smidgen.data import Data, Split
from smidgen.errors import RunError
from smidgen.escape import plain
from smidgen.export import write_export
from smidgen.recipe import Recipe
from smidgen.run import Run
from smidgen.target import Target

EVIL = '*/\n#error "evil" /* $about </script><script>evil()</script> | `x` [y](z) \udcff\\'
CLASSES = ("$about", f"{EVIL} 1", f"{EVIL} 2")


@pytest.fixture
def target() -> tuple[Target, Data]:
    """A network for images of 1 × 12 × 12 with hostile names of itself, data, classes, a layer."""
    batch = images(60, shape=(1, 12, 12))
    split = Split(batch, torch.arange(60) % 3)
    data = Data(f"idx:{EVIL}", split, split, CLASSES, photos(batch, 0.4, 0.2))
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.AdaptiveAvgPool2d(1)]
    model = nn.Sequential(*layers, nn.Flatten())
    model._modules = {"*/ evil(); /*": model[0]} | dict(list(model._modules.items())[1:])
    draw_weights(model)
    return Target(EVIL, model, data.preprocess, CLASSES, data.name, None, trained=True), data


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def kinds(markdown: str) -> set[str]:
    """The kinds of everything in a Markdown text."""
    parsed = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    children = [child for token in parsed for child in token.children or ()]
    return {token.type for token in [*parsed, *children]}


def test_a_c_export_compiles_and_gives_the_names_back(
    target: tuple[Target, Data], tmp_path: Path
) -> None:
    need("gcc")
    write_export([target[0]], target[1], "c", tmp_path / "out")
    main = "".join(f"puts(smidgen_class_name({i}));" for i in range(3))
    (tmp_path / "main.c").write_text(
        f'#include <stdio.h>\n#include "model.h"\nint main(void) {{ {main} return 0; }}\n'
    )
    sources = ["main.c", "out/model.c", "out/preprocess.c"]
    command = ["gcc", "-std=c99", "-trigraphs", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
               "-Iout", *sources, "-o", "program"]  # fmt: skip
    subprocess.run(command, cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "program"], capture_output=True, check=True).stdout
    assert printed.split(b"\n$about")[0].startswith(b"$about\n*/\n#error")
    assert printed == b"".join(name.encode(errors="backslashreplace") + b"\n" for name in CLASSES)
    found = kinds((tmp_path / "out" / "README.md").read_text("utf-8"))
    assert not found & {"html_inline", "html_block", "link_open", "code_inline", "em_open"}
    json.loads((tmp_path / "out" / "parity.json").read_text("utf-8"))


class Elements(HTMLParser):
    """The scripts of a page: the type of each and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[tuple[str | None, str]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))

    def handle_data(self, data: str) -> None:
        if self.scripts:
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data


def test_a_page_holds_the_names_as_data(target: tuple[Target, Data], tmp_path: Path) -> None:
    need("node")
    write_export([target[0]], target[1], "html", tmp_path / "out")
    parser = Elements()
    parser.feed((tmp_path / "out" / "index.html").read_text("utf-8"))
    assert sorted(kind for kind, _ in parser.scripts) == ["application/json", "module"]
    text = dict(parser.scripts)["application/json"]
    (model,) = json.loads(text[: text.rindex("}") + 1])["models"]
    assert model["name"] == EVIL
    assert model["graph"]["classes"] == list(CLASSES)


def test_onnx_takes_the_names(target: tuple[Target, Data], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    target, data = target
    target.model._modules = {str(i): each for i, each in enumerate(target.model)}
    written = write_export([target], data, "onnx", tmp_path / "out", allow_mismatch=True)
    assert written["parity"]["images"] == 60


@pytest.fixture
def run(tmp_path: Path) -> tuple[Run, Data]:
    """A run of a zoo model on data whose classes have hostile names."""
    evil = EVIL.replace("\udcff", "")
    classes = tuple(f"{evil} {i}".replace("\n", " ") for i in range(10))  # a run's have no lines
    data = replace(tiny_data(), name=f"idx:{evil}", classes=classes)
    made = write_run(tmp_path / "run", data, [3, 13, 7])
    header = made.weights_header() | {"classes": json.dumps(classes)}
    made.write_weights(made.state_dict(), header)
    changes = {"classes": list(classes), "hardware": {"cpu": evil, "cores": 1}}
    made.write_result(made.result() | changes)
    return made, data


def test_a_card_holds_the_names_as_text(run: tuple[Run, Data]) -> None:
    report.write_report(*run)
    card = (run[0].path / "README.md").read_text("utf-8")
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front)["model-index"][0]["results"][0]["dataset"]["name"] == run[1].name
    assert not kinds(text) & {"html_inline", "html_block", "link_open", "em_open"}
    parsed = MarkdownIt("commonmark").enable("table").parse(text)
    headings = [parsed[i + 1].content for i, t in enumerate(parsed) if t.type == "heading_open"]
    assert [heading for heading in headings[1:] if "evil" in heading] == []
    fences = [token.content for token in parsed if token.type == "fence"]
    assert len(fences) == 2
    for badge in (run[0].path / "badges").iterdir():
        ElementTree.parse(badge)


def test_a_readme_holds_the_names_as_text(run: tuple[Run, Data], tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("# a\n\n<!-- smidgen:begin run -->\n<!-- smidgen:end run -->\n")
    report.inject(report.open_trial(run[0]), readme)
    text = readme.read_text("utf-8")
    assert not kinds(text) & {"html_inline", "link_open", "em_open"}
    inside = text.replace("<!-- smidgen:begin run -->", "").replace("<!-- smidgen:end run -->", "")
    assert {"table_open", "image"} <= kinds(inside)
    assert "html_block" not in kinds(inside)


def test_a_folder_that_ends_a_comment_is_refused(run: tuple[Run, Data], tmp_path: Path) -> None:
    moved = run[0].path.rename(tmp_path / "a --> <script>")
    (tmp_path / "README.md").write_text("")
    with pytest.raises(RunError, match=r"cannot stand in a comment of .*README\.md'; rename it"):
        report.inject(report.open_trial(moved), tmp_path / "README.md")


def test_a_recipe_that_utf_8_cannot_hold_is_one_line(tmp_path: Path) -> None:
    recipe = Recipe(model="net").model_copy(update={"data": "folder:\udcff"})
    with pytest.raises(RunError, match=r"cannot write .*recipe\.toml': '\\udcff' is no letter"):
        Run.create(tmp_path / "run", recipe)


def test_junit_stays_xml() -> None:
    rule = Rule("line 1: \0<b>", 1, 2, False, "\x1b")
    (case,) = ElementTree.fromstring(to_junit([rule], EVIL).encode())
    assert case.get("name") == "line 1: \ufffd<b>"


def test_commands_print_any_name(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"label": EVIL})
    assert json.loads(capsys.readouterr().out) == {"label": EVIL}
    console().print(table(("a", "[/b]"), [("[/red]", ":smile:")], "[/x]"))
    console().print("runs/[/x] :smile:")
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("[/b]", "[/red]", "[/x]", "runs/[/x] :smile:"))


def test_a_layer_table_is_a_table() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(2704, 10))
    layers = dict(zip(["a|b\n", "*c*", "<d>"], model._modules.values(), strict=True))
    model._modules = layers
    anatomy = describe(model, name="**e**")
    parsed = MarkdownIt("commonmark").enable("table").parse(anatomy.to_markdown())
    cells = [token.children or [] for token in parsed if token.type == "inline"]
    texts = ["".join(child.content for child in children) for children in cells]
    assert texts[0] == "**e**"
    names = [plain(layer.name) for layer in anatomy.layers]
    assert [text for text in texts if text in names] == names


def test_a_picture_of_any_name_is_read(tmp_path: Path) -> None:
    (tmp_path / "[").mkdir()
    path = os.fsdecode(os.fsencode(tmp_path) + b"/[/x]\xff.png")
    picture = Image.new("L", (28, 28))
    picture.paste(255, (13, 4, 16, 24))  # a one
    picture.save(path, format="png")
    command = [sys.executable, "-m", "smidgen", "predict", "smidgen_8k", path]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"[/x]\udcff.png: " in done.stdout.replace(b"\n", b"")
