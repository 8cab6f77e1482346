"""The layers of the modules, the size of their files, and what it costs to load one."""

from __future__ import annotations

import ast
import operator
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

import smidgen

SOURCE = Path(smidgen.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))


def read_layers() -> dict[str, int]:
    """The layer of each module, from the table in CONTRIBUTING.md."""
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text, re.MULTILINE)
    return {name.strip("` "): int(layer) for layer, names in rows for name in names.split(",")}


def module_of(file: Path) -> str:
    """The module that a file belongs to: a file or a folder of src/smidgen."""
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_files(file: Path) -> set[Path]:
    """The files of the package that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {find(name) for name in names if name.startswith("smidgen.")} - {file}


def find(name: str) -> Path:
    """The file of a dotted name: a submodule's, or else that of the module that defines it."""
    path = SOURCE.joinpath(*name.split(".")[1:])
    places = (path.with_suffix(".py"), path / "__init__.py")
    inside = (path.parent.with_suffix(".py"), path.parent / "__init__.py")
    return next(file for file in (*places, *inside) if file.exists())


def imported_modules(module: str) -> set[str]:
    """The other modules that the files of a module import."""
    own = (file for file in FILES if module_of(file) == module)
    return {module_of(other) for file in own for other in imported_files(file)} - {module}


ARCHITECTURE = Path(__file__).parents[1] / "docs" / "architecture.md"
LAYERS = read_layers()
MODULES = sorted({module_of(file) for file in FILES} - {"__init__"})


def test_contributing_names_the_layer_of_every_module() -> None:
    assert sorted(LAYERS) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_lower_layers_only(module: str) -> None:
    assert {o for o in imported_modules(module) if LAYERS.get(o, 0) >= LAYERS[module]} == set()


def test_no_files_import_each_other_in_a_circle() -> None:
    TopologicalSorter({file: imported_files(file) for file in FILES}).prepare()  # or CycleError


@pytest.mark.parametrize("module", ["cli", "recipe", "budget", "errors"])
def test_light_modules_load_without_torch(module: str) -> None:
    assert "torch" not in loaded_with(module)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("target", {"pydantic", "matplotlib", "scipy", "sklearn", "torch._dynamo", "rich"}),
        ("check", {"matplotlib", "scipy", "sklearn", "torch._dynamo", "rich"}),
    ],
)
def test_weighing_loads_no_heavy_library(module: str, heavy: set[str]) -> None:
    assert loaded_with(module) & heavy == set()


def loaded_with(module: str) -> set[str]:
    """The names of all that Python has loaded once that module is."""
    code = f"import sys, smidgen.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nsys.argv = ['smidgen', '--help']\n"
        "from smidgen.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert "quickstart" in done.stdout


def test_the_public_names_are_sorted_and_there() -> None:
    assert smidgen.__all__ == sorted(smidgen.__all__)
    for name in smidgen.__all__:
        assert callable(getattr(smidgen, name)), name
    assert set(smidgen.__all__) <= set(dir(smidgen))


def test_an_unknown_public_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'trian'; did you mean 'train'\?$"):
        operator.attrgetter("trian")(smidgen)


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))[
        "project"
    ]
    assert smidgen.__version__ == project["version"]


def test_a_type_checker_refuses_an_unknown_public_name(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api")
    code = "import smidgen\nsmidgen.train\nsmidgen.__version__\nsmidgen.trian\n"
    (tmp_path / "typo.py").write_text(code)
    # Of all that they import, mypy looks at nothing else: that takes it a second.
    options = ["--follow-imports=skip", "--config-file=", f"--cache-dir={tmp_path}"]
    files = [str(tmp_path / "typo.py"), str(SOURCE / "__init__.py"), str(SOURCE / "errors.py")]
    said = api.run([*options, *files])[0]
    assert [line.partition(": ")[2] for line in said.splitlines() if "typo.py:" in line] == [
        'error: Module has no attribute "trian"; maybe "train"?  [attr-defined]'
    ]


def test_a_function_is_not_hidden_by_the_module_of_its_name() -> None:
    code = "from smidgen.train import fit; import smidgen; assert callable(smidgen.train)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "file",
    sorted(file for file in SOURCE.rglob("*") if file.suffix in (".py", ".c", ".js")),
    ids=lambda file: file.name,
)
def test_a_file_has_at_most_400_lines(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400


def test_a_function_has_at_most_40_lines() -> None:
    functions = [
        (f"{file.name}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1)
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [name for name, lines in functions if lines > 40] == []
    assert median(lines for _, lines in functions) <= 10


def drawn() -> str:
    """The imports between modules as a Mermaid diagram, without what follows from others."""
    reached: dict[str, set[str]] = {}  # by whatever way
    arrows: list[str] = []
    for module in sorted(MODULES, key=lambda name: (LAYERS[name], name)):
        direct = imported_modules(module) - {"__init__"}
        indirect = {far for near in direct for far in reached[near]}
        reached[module] = direct | indirect
        arrows += [f"    {module} --> {other}" for other in sorted(direct - indirect)]
    return "\n".join(["```mermaid", "flowchart TD", *arrows, "```", ""])


def test_the_architectures_picture_is_that_of_the_imports() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    assert text == with_picture(text), f"draw it again: python {Path(__file__).name}"


def with_picture(text: str) -> str:
    """The page with the diagram between its two comments."""
    between = re.compile(r"(<!-- drawn by: .*? -->\n).*(<!-- end -->)", re.DOTALL)
    return between.sub(lambda found: found[1] + drawn() + found[2], text)


if __name__ == "__main__":
    ARCHITECTURE.write_text(with_picture(ARCHITECTURE.read_text("utf-8")), encoding="utf-8")
