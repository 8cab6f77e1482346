"""Hand-written JavaScript modules as one script, so that a page can be a single file."""

from __future__ import annotations

import re
from collections.abc import Callable

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";\n', re.MULTILINE)
_COMMENT = re.compile(r"^ *(?://[^\n]*|/\*\*.*?\*/)\n", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)


def bundle(entry: str, read: Callable[[str], str]) -> str:
    """The module `entry` and all that it imports, as one module without imports.

    `read` gives the source of a module by its name. Modules may import names from siblings,
    `import { a, b } from "./x.js";`, and export functions, constants and classes where they are
    declared; each becomes a function that returns its exports, so that names do not clash. Comments
    on lines of their own, a fifth of the bytes, are left out; no other line may begin as one does.
    """
    wrapped: dict[str, str] = {}

    def add(name: str) -> None:
        if name in wrapped:
            return
        source = _COMMENT.sub("", read(name))
        for _, dependency in _IMPORT.findall(source):
            add(dependency)
        wrapped[name] = _wrap(name, source)

    add(entry)
    return "\n".join(wrapped.values())


def _wrap(name: str, source: str) -> str:
    exports = ", ".join(match[1] for match in _EXPORT.finditer(source))
    body = _EXPORT.sub("", _IMPORT.sub(r"const \1 = module_\2;\n", source))
    return f"const module_{name} = (() => {{\n{body}\nreturn {{ {exports} }};\n}})();"
