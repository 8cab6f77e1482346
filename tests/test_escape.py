"""Names that try to be more than names, in each language that is written."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from smidgen.escape import (
    c_comment,
    c_string,
    file_name,
    json_in_html,
    json_text,
    markdown,
    markdown_code,
    plain,
    yaml,
)

MARKS = st.text(st.sampled_from("*/\\\"'`<>[]()!_#|~&-+=.$?%:;{}\n\r\t\0 a1é\u2028\u202e\udcff"))
NAMES = st.one_of(MARKS, st.text(st.characters()))
HOSTILE = [
    '*/ int evil(void) { return 1; } /*\n#error "evil"',
    "</script><script>alert(1)</script>",
    "# h\n\n- [x](javascript:alert(1)) ![y](z) | a | `b` ``` ~~~ <b>&lt;</b> __c__ *d* 1. e",
    "--- \n...\n'a': \"b\" # c",
    "??/\n\\",
    "../../etc/passwd",
]


def hostile(function: Any) -> Any:
    for name in HOSTILE:
        function = example(name)(function)
    return function


@given(st.lists(NAMES, min_size=1, max_size=40))
@example(HOSTILE)
@settings(max_examples=25)
def test_names_are_names_in_c(names: list[str]) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    names = [name.replace("\0", "") for name in names]  # which ends a string when it is printed
    comments = "\n".join(f"/* {c_comment(name)} */" for name in names)
    strings = "\n".join(f"    puts({c_string(name)});" for name in names)
    code = f"#include <stdio.h>\n{comments}\nint main(void)\n{{\n{strings}\n    return 0;\n}}\n"
    flags = ("-std=c99", "-trigraphs", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O0")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program"
        command = ["gcc", *flags, "-x", "c", "-", "-o", str(program)]
        subprocess.run(command, input=code.encode(), check=True)
        printed = subprocess.run([program], capture_output=True, check=True).stdout
    assert printed == b"".join(name.encode(errors="backslashreplace") + b"\n" for name in names)


def tokens(text: str) -> list[Token]:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def words(text: str) -> str:
    """A text as a reader of Markdown sees it, but for its spaces."""
    return "".join(plain(text).split())


@given(NAMES)
@hostile
def test_names_are_names_in_markdown(name: str) -> None:
    escaped = markdown(name)
    heading = tokens(f"# x {escaped}\n\n- {escaped}\n- y {escaped}\n")
    inline = [token for token in heading if token.type == "inline"]
    assert {child.type for token in inline for child in token.children or ()} <= {"text"}
    shown = ["".join(words(child.content) for child in t.children or ()) for t in inline]
    item = [words(name)] if words(name) else []
    assert shown == ["x" + words(name), *item, "y" + words(name)]


@given(NAMES)
@hostile
def test_names_are_names_in_a_table(name: str) -> None:
    rows = [f"| {markdown(name)} | {markdown_code(name)} | end |" for _ in range(2)]
    parsed = tokens("\n".join(["| a | b | c |", "| --- | --- | --- |", *rows]))
    cells = [token for token in parsed if token.type == "inline"][3:]
    kinds = {child.type for token in cells for child in token.children or ()}
    assert kinds <= {"text", "code_inline"}
    shown = ["".join(words(child.content) for child in t.children or ()) for t in cells]
    assert shown == 2 * [words(name), words(name), "end"]


@given(NAMES)
@hostile
def test_names_are_names_in_yaml_and_json(name: str) -> None:
    document = {"name": name, "list": [name, {name: 1.5, "none": None}]}
    lines = f"---\nfirst: {yaml(document)}\nlast: {yaml(name)}\n"
    assert len(lines.splitlines()) == 3
    assert pyyaml.safe_load(lines) == {"first": document, "last": name}
    assert json.loads(json_text(document).encode()) == document


class Script(HTMLParser):
    """The content of the one script of a page, and the elements in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.data = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append(tag)

    def handle_data(self, data: str) -> None:
        self.data += data


@given(NAMES)
@hostile
def test_names_are_names_in_a_page(name: str) -> None:
    script = Script(f'<script type="application/json">{json_in_html([name])}</script>')
    assert script.elements == ["script"]
    assert json.loads(script.data) == [name]


@given(NAMES, NAMES)
@example("../a", "..%2Fa")
@example("..", ".")
@example("x" * 500 + "1", "x" * 500 + "2")
@example("", "%")
def test_names_are_names_of_files(first: str, second: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file_name(first)
        path.touch()
        assert list(Path(folder).iterdir()) == [path]
        assert path.parent == Path(folder)
    assert (file_name(first) == file_name(second)) == (first == second)


def test_usual_names_stay_readable() -> None:
    usual = ("tiny_mnist", "optimizer.lr=0.1_epochs=3", "net-2", "teacher.networks=['a', 'b']")
    assert [file_name(name) for name in usual] == list(usual)
    assert markdown("tiny_mnist, 9,146 parameters: 98.50 %") == (
        "tiny_mnist, 9,146 parameters: 98.50 %"
    )
    assert yaml("é →") == '"é →"'
