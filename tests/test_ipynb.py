"""Networks in notebooks: what is taken of them, and what is left out and named."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import smidgen
from smidgen.cli import run
from smidgen.errors import ModelError
from smidgen.grade import Limits, grade_one
from smidgen.ipynb import read_notebook
from smidgen.source import build

NET = """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, WIDTH, 3, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.Dropout(RATE),
            nn.Conv2d(WIDTH, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )

    def forward(self, x):
        return self.layers(x)
"""
CELLS = [
    "!pip install torchsummary\n%matplotlib inline\nimport torch\nfrom torch import nn",
    "RATE, EPOCHS = 0.1, 20\nHALF = 4\nWIDTH = 2 * HALF\nRATE: float = 0.1",
    "device = torch.device('cuda')\nraise SystemExit('this is not run')",
    NET,
    "%%bash\nrm -rf /",
    "this is no Python",
    "for epoch in range(EPOCHS):\n    train(Net())",
    "Net?",
]


def write(path: Path, cells: list[Any], **keys: Any) -> Path:
    """A notebook of nbformat 4 with a heading and these code cells."""
    made = [{"cell_type": "markdown", "source": ["# class Net(nn.Module)"]}]
    made += [
        {"cell_type": "code", "source": c.splitlines(keepends=True) if i % 2 else c, "outputs": []}
        for i, c in enumerate(cells)
    ]
    path.write_text(json.dumps({"cells": made, "nbformat": 4} | keys), "utf-8")
    return path


def test_definitions_are_taken_and_all_else_is_named(tmp_path: Path) -> None:
    found = read_notebook(write(tmp_path / "a.ipynb", CELLS))
    names: dict[str, Any] = {}
    exec(found.source, names)
    assert (names["WIDTH"], names["RATE"]) == (8, 0.1)
    assert {"torch", "nn", "Net"} <= set(names)
    assert found.left_out == (
        "!pip install torchsummary",
        "%matplotlib inline",
        "RATE, EPOCHS = 0.1, 20",  # only plain names are constants
        "device = torch.device('cuda')",
        "raise SystemExit('this is not run')",
        "%%bash",
        "this is no Python",
        "for epoch in range(EPOCHS):",
        "Net?",
    )


def test_decorators_long_numbers_and_imports_from_the_future_are_kept(tmp_path: Path) -> None:
    long = "f" * 5000  # hexadecimal digits; as decimal ones Python would refuse to print them
    cells = [
        "import dataclasses\nfrom torch import nn; train = 1; print(train)",
        "from __future__ import annotations\nLONG = 0x" + long,
        "@dataclasses.dataclass(\n    frozen=True)\nclass Point:\n    x: Undefined\n",
    ]
    found = read_notebook(write(tmp_path / "a.ipynb", cells))
    names: dict[str, Any] = {}
    exec(compile(found.source, "a.ipynb", "exec"), names)
    assert names["Point"](3).x == 3
    assert names["LONG"] == int(long, 16)
    assert found.left_out == ("print(train)",)


def test_a_notebook_is_weighed_and_says_what_was_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ipynb", CELLS)
    with pytest.warns(UserWarning, match=r"definitions were taken; left out: '!pip .*, 6 more$"):
        model = build(str(path))
    assert smidgen.describe(model).params == 8 * 9 + 16 + 90
    with pytest.warns(UserWarning, match="left out"):
        verdict = smidgen.check(f"{path}:Net", "era-8k")
    assert verdict.passed


def test_the_command_names_it_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.ipynb", ["from torch import nn\nWIDTH = 8\nRATE = 0.1", NET])
    assert run(["check", str(path), "--budget", "era-8k"]) == 0
    said = capsys.readouterr()
    assert "weighed for images of 1x28x28" in said.out + said.err
    assert run(["describe", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"] == 178


def test_a_run_keeps_its_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "a.ipynb", ["from torch import nn\nWIDTH = 8\nRATE = 0.1", NET])
    trained = smidgen.train(f"{path}:Net", data="digits", epochs=1, out="run")
    path.unlink()
    assert smidgen.evaluate(trained.path)["n"] == 300


def test_a_notebook_is_graded(tmp_path: Path) -> None:
    grade = grade_one(write(tmp_path / "alice.ipynb", CELLS), "era-8k", Limits())
    assert (grade.status, grade.figures["params"]) == ("passed", 178), grade
    assert "left out: '!pip install torchsummary'" in grade.note
    assert len(grade.note.splitlines()) == 1


@pytest.mark.parametrize("place", ["model.py", "models/model.py", "src/nets/tiny.py", "a.ipynb"])
def test_a_network_in_a_folder_is_found(place: str, tmp_path: Path) -> None:
    """By `check` as by `grade`; beside it lie a recipe, a notebook without a network, and code."""
    folder = tmp_path / "bob"
    (folder / place).parent.mkdir(parents=True)
    source = ["from torch import nn\nWIDTH = 8\nRATE = 0.1", NET]
    if place.endswith(".ipynb"):
        write(folder / place, source)
    else:
        (folder / place).write_text("\n".join(source))
    (folder / "recipe.toml").write_text('model = "tiny_mnist"\n')
    (folder / "train.py").write_text("raise SystemExit\n")
    write(folder / "plots.ipynb", ["import torch"])
    assert smidgen.check(folder, "era-8k").passed
    assert grade_one(folder, "era-8k", Limits()).status == "passed"


def test_a_package_that_is_missing_is_stood_in_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `check` as by `grade`; nobody else finds the empty module."""
    first = "from torch import nn\nfrom no_such_package.deep import summary\nWIDTH = 8\nRATE = 0.1"
    path = write(tmp_path / "a.ipynb", [first, NET])
    (tmp_path / "model.py").write_text(f"{first}\n{NET}")
    for target in (path, tmp_path / "model.py"):
        with pytest.warns(UserWarning, match="empty modules stood in: no_such_package$"):
            assert smidgen.check(target, "era-8k").passed
        assert not any(name.startswith("no_such_package") for name in sys.modules)
    (tmp_path / "model.py").write_text("import no_such_package\nclass Net(no_such_package.Net): 1")
    with (
        pytest.warns(UserWarning, match="stood in"),
        pytest.raises(ModelError, match="No module named 'no_such_package'"),
    ):
        smidgen.check(tmp_path / "model.py", "era-8k")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no notebook of Jupyter's format 4"),
        ("[]", "no notebook"),
        ('{"worksheets": []}', "no notebook"),
        ("[" * 100_000, "no notebook"),
        ('{"cells": []}', "defines no torch.nn.Module class"),
        ('{"cells": [1, {"cell_type": "code", "source": {"a": 1}}]}', "defines no torch.nn.Mod"),
    ],
)
def test_what_is_no_notebook_is_one_line(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text(content)
    with pytest.raises(ModelError, match=said) as refused:
        build(str(tmp_path / "a.ipynb"))
    assert "\n" not in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)
    | st.dictionaries(st.sampled_from(["cells", "cell_type", "source", "x"]), inner), max_leaves=20,
)  # fmt: skip


@given(cells=st.lists(JSON | st.fixed_dictionaries(
    {"cell_type": st.just("code"), "source": st.text() | st.lists(st.text())})))  # fmt: skip
def test_made_up_cells_are_read_or_left_out(
    cells: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "made-up.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    found = read_notebook(path)
    ast.parse(found.source)
    assert all("\n" not in line for line in found.left_out)
