"""What a Jupyter notebook defines: its imports, classes, functions and constants, as Python source.

A notebook is run from the top by its author; here only what defines a network is taken, and no
training, download or plot in it is run.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smidgen.errors import ModelError, shown

LARGEST = 2**26  # bytes; pictures in its outputs make a notebook large
_DEFINES = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# What a constant is computed with: numbers, texts and other constants, and no call.
_CONSTANT = (
    ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.UnaryOp, ast.BinOp, ast.unaryop,
    ast.operator, ast.Name, ast.expr_context,
)  # fmt: skip
_MAGIC = re.compile(r"^(\s*)[%!?].*$|^(\s*)[\w.]+\?{1,2}\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Notebook:
    """The definitions of a notebook as Python source, and the first line of all that is not."""

    source: str
    left_out: tuple[str, ...]


def read_notebook(path: Path) -> Notebook:
    """The definitions in a notebook of nbformat 4. Nothing is run.

    Taken are imports, classes, functions, and names that are set to constants; cells that are no
    Python, and lines for the shell or for Jupyter, are left out. Raises ModelError for what is no
    notebook.
    """
    kept: list[str] = []
    left_out: list[str] = []
    constants: set[str] = set()
    for cell in _code_cells(path):
        try:
            if cell.lstrip().startswith("%%"):
                raise SyntaxError("the cell is for another program")
            plain = _MAGIC.sub(lambda found: f"{found[1] or found[2] or ''}pass", cell)
            tree = ast.parse(plain)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            left_out.append(_first_line(cell))
            continue
        left_out += [found[0].strip() for found in _MAGIC.finditer(cell)]
        for statement in tree.body:
            text = _segment(plain, statement)
            if isinstance(statement, _DEFINES) or _is_constant(statement, constants):
                kept.append(text)
            elif not isinstance(statement, ast.Pass):
                left_out.append(_first_line(text))
    kept.sort(key=lambda text: not text.startswith("from __future__"))  # they must come first
    return Notebook("\n".join(kept) + "\n", tuple(left_out))


def _segment(source: str, statement: ast.stmt) -> str:
    """The text of a statement, its decorators included."""
    text = ast.get_source_segment(source, statement) or ""
    decorators = getattr(statement, "decorator_list", [])
    return "".join(f"@{ast.get_source_segment(source, each)}\n" for each in decorators) + text


def _code_cells(path: Path) -> Iterator[str]:
    """The texts of a notebook's code cells: https://nbformat.readthedocs.io, format 4."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        document = json.loads(content) if len(content) <= LARGEST else None
    except OSError as problem:
        raise ModelError(f"cannot read {shown(str(path))}: {problem.strerror}") from None
    except (ValueError, RecursionError):
        document = None
    cells = document.get("cells") if isinstance(document, dict) else None
    if not isinstance(cells, list):
        raise ModelError(
            f"{shown(str(path))} is no notebook of Jupyter's format 4 of at most {LARGEST:,} "
            "bytes; save it again, or write the network into a .py file"
        )
    for cell in cells:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            yield _text(cell.get("source"))


def _text(source: Any) -> str:
    """The text of a cell, which is one string or a list of lines."""
    lines = source if isinstance(source, list) else [source]
    return "".join(line for line in lines if isinstance(line, str))


def _is_constant(statement: ast.stmt, constants: set[str]) -> bool:
    """Whether names are set to constants; they are then constants, too."""
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    else:
        return False
    assert statement.value is not None
    parts = list(ast.walk(statement.value))
    read = {part.id for part in parts if isinstance(part, ast.Name)}
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    if len(names) < len(targets) or not read <= constants:
        return False
    if not all(isinstance(part, _CONSTANT) for part in parts):
        return False
    constants |= names
    return True


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0].strip()
