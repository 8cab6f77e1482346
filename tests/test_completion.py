"""What the shells offer: run as bash runs it, and as zsh and fish ask for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smidgen import list_models
from smidgen.budget import list_budgets
from smidgen.cli.completion import (
    complete_model,
    complete_setting,
    complete_target,
    one_of,
    shipped,
)
from smidgen.cli.options import NAMED_DATA
from smidgen.data import NAMES
from smidgen.recipe import list_recipes, override, parse_recipe, parse_setting
from smidgen.search.space import load_space


def test_all_models_recipes_budgets_and_data_sets_are_offered() -> None:
    assert complete_model("") == list_models()
    assert complete_model("tiny") == ["tiny_mnist", "tiny_net"]
    assert shipped("recipes")("") == list_recipes()
    assert shipped("budgets")("era") == [name for name in list_budgets() if name[:3] == "era"]
    assert {*NAMED_DATA, "idx:DIR", "folder:DIR"} == set(NAMES)
    assert all(load_space(name) for name in shipped("spaces")(""))
    assert one_of("onnx", "c")("o") == ["onnx"]


def test_runs_are_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "no-run").mkdir(parents=True)
    (tmp_path / "runs" / "tiny").mkdir()
    (tmp_path / "runs" / "tiny" / "recipe.toml").write_text("")
    assert complete_target("runs/") == ["runs/tiny"]
    assert complete_target("tiny_m") == ["tiny_mnist"]


@pytest.mark.parametrize(
    ("incomplete", "offered"),
    [
        ("optimizer.n", ["optimizer.name=", "optimizer.nesterov="]),
        (
            "optimizer.name=",
            ["optimizer.name=", *(f"optimizer.name={n}" for n in ("adam", "adamw", "sgd", "soap"))],
        ),
        ("epo", ["epochs=", "epochs=1"]),
        ("full", ["full=", "full=false", "full=true"]),
        ("clip_n", ["clip_norm="]),
        ("nothing", []),
    ],
)
def test_keys_of_a_recipe_are_offered(incomplete: str, offered: list[str]) -> None:
    assert complete_setting(incomplete) == offered


def test_each_value_that_is_offered_is_allowed() -> None:
    keys = [key for key in complete_setting("") if key not in ("optimizer.name=", "schedule.name=")]
    values = [value for key in keys for value in complete_setting(key) if value[-1] != "="]
    assert len(values) > len(keys) / 2
    recipe = parse_recipe({"model": "net"}, "test")
    for value in values:
        key = value.partition("=")[0]
        table, _, leaf = key.partition(".")
        named = {"optimizer": {"beta1": "adam", "beta2": "adam", "eps": "adam"}}
        named["schedule"] = {
            "pct_start": "onecycle", "div_factor": "onecycle", "final_div_factor": "onecycle",
            "warmup": "cosine", "step_size": "step", "gamma": "step",
        }  # fmt: skip
        name = named.get(table, {}).get(leaf)
        changes = {f"{table}.name": name} if name else {}
        override(recipe, changes | dict([parse_setting(value)]))


@pytest.fixture
def command(tmp_path: Path) -> dict[str, str]:
    """The environment in which the program `smidgen` is found; it reports if it loaded torch."""
    program = tmp_path / "bin" / "smidgen"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport atexit, sys\nfrom smidgen.cli import main\n"
        "atexit.register(lambda: 'torch' in sys.modules and print('torch!'))\nmain()\n"
    )
    program.chmod(0o755)
    return os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("smidgen tra", ["train"]),
        ("smidgen --ver", ["--version"]),
        ("smidgen train tiny_", ["tiny_mnist", "tiny_net"]),
        ("smidgen train net --recipe skip_13k_", ["skip_13k_best"]),
        ("smidgen train net --set epo", ["epochs=", "epochs=1"]),
        ("smidgen train net --data fa", ["fashion_mnist"]),
        ("smidgen check net --budget tiny", ["tiny-mnist", "tiny-net"]),
        ("smidgen export net --format ''", ["c", "html", "hub", "onnx"]),
        ("smidgen models --sort m", ["macs"]),
        ("smidgen bench sta", ["standard"]),
    ],
)
def test_bash_completes(words: str, offered: list[str], command: dict[str, str]) -> None:
    script = (
        "source <(_SMIDGEN_COMPLETE=source_bash smidgen)\n"
        f"COMP_WORDS=({words})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
        '_smidgen_completion smidgen\nprintf "%s\\n" "${COMPREPLY[@]}"\ncomplete -p smidgen'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, env=command, check=False
    )
    *found, registered = done.stdout.splitlines()
    assert registered == "complete -o default -F _smidgen_completion smidgen"
    assert [name for name in found if name] == offered
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("shell", "answer"),
    [("zsh", "_arguments '*: :((\"era-8k\"))'\n"), ("fish", "era-8k\n")],
)
def test_zsh_and_fish_are_answered(shell: str, answer: str, command: dict[str, str]) -> None:
    asked = {
        "_SMIDGEN_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "smidgen check net --budget era-8",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        ["smidgen"], capture_output=True, text=True, env=command | asked, check=False
    )
    assert (done.stdout, done.stderr) == (answer, "")
