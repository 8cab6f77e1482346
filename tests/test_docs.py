"""What the README and the docs say is run: Python blocks, commands, and the table of models."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import pytest
from idx_files import NAMES, digests, idx_bytes, write_set
from typer.main import get_command
from typer.testing import CliRunner

from smidgen import create_model, describe, list_models
from smidgen.cli import app
from smidgen.data import Data, published

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "*.yml", "*.yaml", "docs/**/*.md", "examples/**/*.md", ".github/**/*.*")
    for path in ROOT.glob(pattern)
)
GROUP = get_command(app)
MODELS = list_models()


def blocks(text: str, language: str = "") -> list[str]:
    """The contents of the fenced code blocks of a language, or of none."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shell_lines(text: str) -> list[list[str]]:
    """The words of each line of the blocks without a language, of inline code, of CI's steps."""
    lines = [line for block in blocks(text) for line in block.splitlines()]
    lines += re.findall(r"^ *(?:- )?(?:run: |entry: )?((?:make|smidgen) .*)", text, re.MULTILINE)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return [words(line) for line in [*lines, *spans]]


def words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a piece of output, with a quotation mark that is not closed
        return []


def arguments_of_smidgen(line: list[str]) -> list[str]:
    """What follows the command `smidgen` or `-m smidgen`; nothing where neither is run."""
    for i, word in enumerate(line):
        if word == "smidgen" and (i == 0 or line[i - 1] == "-m"):
            return line[i + 1 :]
    return []


def targets(makefile: Path) -> set[str]:
    return set(re.findall(r"^(\w+):", makefile.read_text("utf-8"), re.MULTILINE))


def pages(pattern: str) -> list[object]:
    """The pages that the pattern is found in, as parameters of a test."""
    found = [path for path in PAGES if re.search(pattern, path.read_text("utf-8"), re.MULTILINE)]
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in found]


@pytest.fixture
def small_mnist(tmp_path: Path, few: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in, where ./data holds a few digits in MNIST's place."""
    arrays = (few.train.images, few.train.labels, few.test.images, few.test.labels)
    contents = (idx_bytes(array.numpy().squeeze().astype("uint8")) for array in arrays)
    files = dict(zip(NAMES, contents, strict=True))
    write_set(tmp_path / "data" / "MNIST" / "raw", files)
    known = replace(published.PUBLISHED["mnist"], digests=digests(files))
    monkeypatch.setitem(published.PUBLISHED, "mnist", known)
    monkeypatch.delenv("SMIDGEN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("path", pages("^```python$"))
def test_python_of_a_page_runs_as_it_stands(path: Path, small_mnist: None) -> None:
    names: dict[str, Any] = {}
    for block in blocks(path.read_text("utf-8"), "python"):
        exec(compile(block, path.name, "exec"), names)
    if path.name == "README.md":
        assert_two_epochs_and_shipped_weights(names)


def assert_two_epochs_and_shipped_weights(names: dict[str, Any]) -> None:
    """What the README's block leaves in its names."""
    assert [row["epoch"] for row in names["run"].metrics()] == [1, 2]
    assert sum(parameter.numel() for parameter in names["model"].parameters()) == 9146


@pytest.mark.parametrize("path", pages(r"(?<!\w)smidgen [a-z]"))
def test_every_smidgen_command_of_a_page_is_there(path: Path) -> None:
    for line in shell_lines(path.read_text("utf-8")):
        arguments = arguments_of_smidgen(line)
        if arguments:
            command = GROUP if arguments[0].startswith("-") else GROUP.commands[arguments[0]]
            known = {option for each in command.params for option in each.opts} | {"--help"}
            assert {word for word in arguments if word.startswith("--")} <= known, line


@pytest.mark.parametrize(
    "name", ["README.md", "docs/weigh-in.md", "docs/ship.md", "docs/networks.md"]
)
def test_every_command_line_of_a_page_parses(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    lines = [words(line) for block in blocks(text) for line in block.splitlines()]
    lines = [arguments for arguments in map(arguments_of_smidgen, lines) if arguments]
    assert lines
    for command, *arguments in lines:
        GROUP.commands[command].make_context(command, arguments)


@pytest.mark.parametrize("path", pages(r"\bmake [a-z-]"))
def test_every_make_target_of_a_page_is_there(path: Path) -> None:
    for line in shell_lines(path.read_text("utf-8")):
        if line[:1] == ["make"]:
            here = line[1:2] != ["-C"]
            folder, arguments = (ROOT, line[1:]) if here else (ROOT / line[2], line[3:])
            named = {word for word in arguments if "=" not in word}
            assert named <= targets(folder / "Makefile"), line


def table_of_models() -> dict[str, int]:
    """The parameters that the README's table gives for each model."""
    rows = re.findall(
        r"^\| `(\w+)` \| ([\d,]+) \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) == len({name for name, _ in rows})
    return {name: int(params.replace(",", "")) for name, params in rows}


def test_the_table_holds_every_model() -> None:
    assert sorted(table_of_models()) == sorted(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_the_table_gives_the_counted_parameters(name: str) -> None:
    assert table_of_models()[name] == describe(create_model(name)).params


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs/tutorials").iterdir()), ids=lambda path: path.stem
)
def test_a_tutorial_runs_from_its_first_line_to_its_last(
    path: Path, small_mnist: None, pictures: None
) -> None:
    """Blocks with a title are files; every line of `smidgen` is run, and ends as it says."""
    text = path.read_text("utf-8")
    for name, content in re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', text, re.M | re.DOTALL):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(content, "utf-8")
    for line in [line for block in blocks(text) for line in block.splitlines()]:
        arguments = arguments_of_smidgen(words(line))
        if arguments:
            with joblib.parallel_config("sequential"):  # other processes would ask for real MNIST
                result = CliRunner().invoke(app, arguments)
            allowed = re.findall(r"\d", line.partition("# exit ")[2]) or ["0"]
            assert str(result.exit_code) in allowed, (line, result.output)
