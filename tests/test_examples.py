"""The examples, run as they stand on small data."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from smidgen.cli import run

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh", ".ipynb"))


def start(folder: Path, *command: object) -> str:
    """What a program prints that is run in the folder, with this Python's `smidgen` on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=os.environ | {"PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_an_example_is_short_and_listed(path: Path) -> None:
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join(code_of(path))
    assert len(text.splitlines()) < 60
    assert f"]({path.name})" in (EXAMPLES / "README.md").read_text("utf-8")


def test_own_pictures_become_c(pictures: None, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    said = start(tmp_path, sys.executable, EXAMPLES / "own_pictures.py", "fruit")
    assert "apple, pear" in said
    assert "100.0% of the test pictures" in said  # red and green are easily told apart
    assert (tmp_path / "exports/pictures/model.c").is_file()


def test_an_own_module_is_trained(tmp_path: Path) -> None:
    said = start(tmp_path, sys.executable, EXAMPLES / "own_module.py", "digits")
    # 8 · 9 + 16 + 16 · 8 · 9 + 32 + 10 · 17 by hand
    assert f"{8 * 9 + 16 + 16 * 8 * 9 + 32 + 10 * 17:,} parameters" in said
    assert "BROKEN" not in said
    assert "of 300 test images" in said


def test_an_own_budget_tells_models_apart(tmp_path: Path) -> None:
    said = start(tmp_path, sys.executable, EXAMPLES / "own_budget.py")
    kept = said.splitlines()[-1]
    assert "smidgen_1k" in kept
    assert "net: " in said  # has more than a million parameters


def test_two_models_are_compared(tmp_path: Path) -> None:
    said = start(tmp_path, sys.executable, EXAMPLES / "compare_models.py", "digits", 1)
    assert "tiny_mnist: 9,146 parameters" in said
    assert "smidgen_4142: 4,044 parameters" in said
    assert said.splitlines()[-1].endswith(("better", "worse", "cannot be told apart"))


def test_a_search_ends_in_a_network(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="a search needs optuna, of the extra `search`")
    said = start(tmp_path, "sh", EXAMPLES / "search.sh", "digits", 2, 1)
    assert "n = 3" in said
    assert (tmp_path / "runs/winner/model.safetensors").is_file()


def test_a_board_gets_its_firmware(tmp_path: Path) -> None:
    for program in ("gcc", "arm-none-eabi-gcc", "qemu-system-arm", "make"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    for folder in ("examples", "src/smidgen/export/harness"):  # where it may write
        shutil.copytree(ROOT / folder, tmp_path / folder)
    start(tmp_path, "sh", "examples/board.sh", "digits")
    assert (tmp_path / "examples/cortex-m/firmware.hex").read_text("ascii").startswith(":")


def test_a_course_is_graded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow = yaml.safe_load((EXAMPLES / "course-grading" / "grade.yml").read_text("utf-8"))
    (step,) = [
        step["run"]
        for step in workflow["jobs"]["grade"]["steps"]
        if step.get("run", "").startswith("smidgen")
    ]
    command, _, otherwise = step.partition(" || ")
    assert otherwise == "test $? = 1"  # the exit code where someone has broken a rule
    shutil.copytree(EXAMPLES / "course-submission", tmp_path / "submissions" / "good")
    (tmp_path / "submissions" / "bad.py").write_text("from torch import nn\nnet = nn.Linear(1)\n")
    monkeypatch.chdir(tmp_path)
    assert run(shlex.split(command)[1:]) == 1
    assert "1 of 2 passed" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "grades").iterdir()} >= {"grades.csv", "grades.html"}


def code_of(path: Path) -> list[str]:
    """The code cells of a notebook."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_the_notebook_runs_from_the_top(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbclient is of the extra `dev`")
    from nbclient import NotebookClient

    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    (trained,) = [cell for cell in code if "smidgen.train" in cell["source"]]
    shown = [output for output in trained["outputs"] if "data" in output]  # not what it compiles
    followed, run = (output["data"]["text/html"] for output in shown)
    assert "epoch 5 of 5" in followed
    assert followed.count("<polyline") == run.count("<polyline") == 2  # training and validation
    assert "config.json" in code[-1]["outputs"][0]["data"]["text/plain"]
