"""The pages of the site that are no files of this folder, and links to files that are no pages.

MkDocs calls these functions (`hooks` in mkdocs.yml).
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import typer.cli
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.main import get_command

import smidgen
from smidgen.anatomy import Anatomy
from smidgen.budget import Verdict
from smidgen.cli import app
from smidgen.data import Data
from smidgen.run import Run
from smidgen.target import Target
from smidgen.train import Progress

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/README.md": "examples.md",
}
LANGUAGES = {".py": "python", ".sh": "sh", ".yml": "yaml", ".toml": "toml"}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the README and its like, the examples, and what is generated from the code."""
    pages = {page: (ROOT / path).read_text("utf-8") for path, page in ELSEWHERE.items()}
    pages["examples.md"] += examples()
    pages |= {"commands.md": commands(), "api.md": api()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Points links at pages of the site; what is none keeps its text alone."""
    source = next((p for p, name in ELSEWHERE.items() if name == page.file.src_uri), None)
    folder = posixpath.dirname(source or f"docs/{page.file.src_uri}")
    here = posixpath.dirname(page.file.src_uri)

    def link(match: re.Match[str]) -> str:
        mark, text, address = match.groups()
        if re.match(r"\w+:|#", address):
            return match[0]
        path, hash_, anchor = address.partition("#")
        path = posixpath.normpath(posixpath.join(folder, path))
        target = page_of(path)
        if target is None:
            return text
        return f"{mark}[{text}]({posixpath.relpath(target, here or '.')}{hash_}{anchor})"

    return _LINK.sub(link, markdown)


def page_of(path: str) -> str | None:
    """The page of the site, with its anchor, that a file of the repository is on."""
    if path in ELSEWHERE:
        return ELSEWHERE[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path == "examples":
        return "examples.md"
    if Path(path).parent == Path("examples") and Path(path).suffix in LANGUAGES:
        return f"examples.md#{Path(path).name.replace('.', '')}"
    return None


def examples() -> str:
    """The scripts of the examples, each below its name."""
    shown = [path for path in sorted((ROOT / "examples").iterdir()) if path.suffix in LANGUAGES]
    return "".join(
        f"\n## {path.name}\n\n````{LANGUAGES[path.suffix]}\n{path.read_text('utf-8')}````\n"
        for path in shown
    )


def commands() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    group = get_command(app)
    context = typer.Context(group, info_name="smidgen")
    text = typer.cli.get_docs_for_click(obj=group, ctx=context, name="smidgen")
    start, _, rest = text.partition("**Commands**:")  # a list that is cut in the middle of lines
    return start.replace("# `smidgen`", "# Commands") + rest[rest.index("\n## ") :]


def api() -> str:
    """Every public function, what the functions return, and the errors that they raise."""
    public = [getattr(smidgen, name) for name in smidgen.__all__]
    functions = [each for each in public if not isinstance(each, type)]
    errors = [each for each in public if isinstance(each, type)]
    results = [Run, Progress, Anatomy, Verdict, Target, Data]
    text = "# Functions\n\nWhat `import smidgen` has; [Python](python.md) shows it in use.\n"
    for each in [*functions, *results, *errors]:
        shown = f"smidgen.{each.__name__}" if each in public else each.__name__
        text += (
            f"\n::: {each.__module__}.{each.__qualname__}\n    options:\n      heading: {shown}\n"
        )
    return text
