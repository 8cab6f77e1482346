"""What the weigh-in offers others: its docs, the course template, the action and the hook."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smidgen.budget import Budget, list_budgets, load_budget

ROOT = Path(__file__).parents[1]
DOCS = (ROOT / "docs" / "weigh-in.md").read_text(encoding="utf-8")
TEMPLATE = ROOT / "examples" / "course-submission"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)


@pytest.mark.parametrize("block", blocks("python"))
def test_python_of_the_docs_runs(block: str) -> None:
    exec(compile(block, "weigh-in.md", "exec"), {})


def test_budget_of_the_docs_is_one_and_shows_most_keys(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    (tmp_path / "own.toml").write_text(text)
    load_budget(tmp_path / "own.toml")
    assert [key for key in Budget.model_fields if key not in text] == ["source"]


def test_docs_name_every_shipped_budget() -> None:
    assert [name for name in list_budgets() if f"`{name}`" not in DOCS] == []


def copy_of_the_template(tmp_path: Path) -> Path:
    return shutil.copytree(TEMPLATE, tmp_path / "submission")


def test_template_passes_its_own_tests(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        arguments, cwd=copy_of_the_template(tmp_path), check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "11 passed" in done.stdout


def test_template_tests_catch_a_network_over_budget(tmp_path: Path) -> None:
    folder = copy_of_the_template(tmp_path)
    source = (folder / "model.py").read_text().replace("block(12, 16)", "block(12, 64)")
    (folder / "model.py").write_text(
        source.replace("block(16, 16),\n            nn", "block(64, 16),\n            nn")
    )
    arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k"]
    done = subprocess.run(
        [*arguments, "budget or count"], cwd=folder, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "max_params: limit 7999" in done.stdout


@pytest.mark.parametrize(("budget", "code"), [("era-8k", 0), ("mnist-classifier", 1)])
def test_command_of_the_action_runs_on_the_template(budget: str, code: int) -> None:
    """The line of action.yml as it stands there, with what GitHub would put around it."""
    (line,) = re.findall(r"- run: (smidgen check .*)", (ROOT / "action.yml").read_text())
    command = line.replace("smidgen", f'"{sys.executable}" -m smidgen', 1)
    environment = {"TARGET": "model.py:Net", "BUDGET": budget, "CLAIMS": "README.md"}
    done = subprocess.run(
        ["bash", "-e", "-c", command],
        cwd=TEMPLATE,
        env=os.environ | environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert ("::error" in done.stdout) == bool(code)
    assert "::notice title=model.py%3ANet" in done.stdout


def test_hook_names_a_command_that_is_there() -> None:
    text = (ROOT / ".pre-commit-hooks.yaml").read_text()
    (entry,) = re.findall(r"entry: smidgen (\w+)", text)
    done = subprocess.run(
        [sys.executable, "-m", "smidgen", entry, "--help"], check=False, capture_output=True
    )
    assert done.returncode == 0
