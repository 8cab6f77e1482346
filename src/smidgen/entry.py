"""The file of a folder that defines its network."""

from __future__ import annotations

import ast
from pathlib import Path

from smidgen.errors import ModelError
from smidgen.ipynb import read_notebook

_DEEPEST = 5  # folders below the submission
_MOST_FOLDERS = 1000  # of one level; what has more is no submission
_NOT_ITS_OWN = ("site-packages", "node_modules", "dist", "build")


def find_entry(submission: Path) -> str | None:
    """The target inside a submission: itself, or the file of a folder that defines a network.

    That is model.py, or else the one file with a module class, or else the one notebook; in the
    folder itself, or else in its subfolders, level by level. None where there is none. Raises
    ModelError where it is not clear.
    """
    if submission.is_file() or is_trained(submission):
        return str(submission)
    folders = [submission]
    for _ in range(_DEEPEST):
        if len(folders) > _MOST_FOLDERS:
            break
        files = [path for folder in folders for path in sorted(folder.glob("*.py"))]
        notebooks = [path for folder in folders for path in sorted(folder.glob("*.ipynb"))]
        found = [path for path in files if path.name == "model.py"]
        found = found or [path for path in files if _defines_module(path)]
        found = found or [path for path in notebooks if _defines_module(path)]
        if len(found) == 1:
            return str(found[0])
        if found:
            names = ", ".join(str(path.relative_to(submission)) for path in found)
            raise ModelError(f"{names} define networks; put it in one model.py")
        folders = [path for folder in folders for path in sorted(folder.iterdir()) if _is_own(path)]
    return None


def is_trained(submission: Path) -> bool:
    """Whether a submission is a run, a series of seeds or a bundle, and not only source.

    Source may bring a recipe or a config.json along, but no epochs or weights beside them.
    """
    pairs = (("recipe.toml", "metrics.csv"), ("config.json", "model.safetensors"))
    known = any(all((submission / name).exists() for name in pair) for pair in pairs)
    return known or any(submission.glob("seed-*/result.json"))


def _is_own(path: Path) -> bool:
    """Whether it is a folder of the author's own code, and not of installed packages."""
    own = path.is_dir() and not path.name.startswith((".", "__"))
    return own and path.name not in _NOT_ITS_OWN and not (path / "pyvenv.cfg").exists()


def _defines_module(path: Path) -> bool:
    """Whether the source has a class with a base called Module, without running it."""
    try:
        is_notebook = path.suffix == ".ipynb"
        tree = ast.parse(read_notebook(path).source if is_notebook else path.read_bytes())
    except (ModelError, OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(
        ast.unparse(base).rpartition(".")[2] == "Module"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    )
