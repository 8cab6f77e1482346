"""The order of the rooms, and what loading one costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import smidgen

SOURCE = Path(smidgen.__file__).parent
RANKS = {
    "errors": 0,
    "frame": 1,
    "recipe": 2, "data": 2, "anatomy": 2, "metrics": 2,
    "augment": 3, "budget": 3, "zoo": 3, "run": 3, "source": 3, "inference": 3,
    "target": 4, "claims": 4, "quantize": 4,
    "train": 5,
    "evaluate": 6, "export": 6,
    "check": 7, "sweep": 7, "testing": 7,
    "report": 8, "grade": 8,
    "serve": 9, "bench": 9,
    "cli": 10,
    "__main__": 11,
}  # fmt: skip
ROOMS = sorted({path.relative_to(SOURCE).parts[0].removesuffix(".py")
                for path in SOURCE.rglob("*.py")} - {"__init__"})  # fmt: skip


def imported_rooms(room: str) -> set[str]:
    files = [SOURCE / f"{room}.py"] if (SOURCE / f"{room}.py").exists() else \
        sorted((SOURCE / room).rglob("*.py"))  # fmt: skip
    names: set[str] = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("smidgen.")}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_lower_ranks_only(room: str) -> None:
    above = {other for other in imported_rooms(room) - {room} if RANKS[other] >= RANKS[room]}
    assert above == set()


@pytest.mark.parametrize("room", ["cli", "recipe", "budget", "errors"])
def test_light_rooms_load_without_torch(room: str) -> None:
    if room not in ROOMS:
        pytest.skip(f"there is no room {room}")
    code = f"import sys, smidgen.{room}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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
    with pytest.raises(AttributeError, match="no attribute 'tran'"):
        getattr(smidgen, "tran".lower())


def test_a_function_is_not_hidden_by_the_room_of_its_name() -> None:
    code = "from smidgen.train import fit; import smidgen; assert callable(smidgen.train)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.name)
def test_no_file_outgrows_a_reader(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400
