"""The page on which networks read drawings or photos: one file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from urllib.parse import quote

from smidgen.escape import json_in_html
from smidgen.export.bundle import bundle
from smidgen.export.toolchain import TEMPLATES

ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 28 28'>"
    "<rect width='28' height='28' rx='6' fill='#0c6b5c'/>"
    "<path d='M9 8h10l-6 13' fill='none' stroke='#fff' stroke-width='3' "
    "stroke-linecap='round' stroke-linejoin='round'/></svg>"
)
PAGES = {  # by preprocessing: the file, its first module and its styles
    "glyph": ("page.html", "main", ("page.css",)),
    "photo": ("photos.html", "photos", ("page.css", "photos.css")),
}


def render(document: dict[str, Any]) -> str:
    """The page for a document of networks, images and a detector, as HTML."""
    page, _, _ = _page(document)
    style, script = _style_and_script(document)
    parts = {
        "policy": policy(document),
        "icon": "data:image/svg+xml," + quote(ICON),
        "style": style,
        "inside": _template("inside.html").removesuffix("\n"),
        "data": json_in_html(document),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _template(page))


def policy(document: dict[str, Any]) -> str:
    """The page's Content-Security-Policy: nothing is loaded, only its style and script apply."""
    style_hash, script_hash = (
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for text in _style_and_script(document)
    )
    return (
        f"default-src 'none'; style-src {style_hash}; script-src {script_hash}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _page(document: dict[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    return PAGES[document.get("preprocess", "glyph")]


def _style_and_script(document: dict[str, Any]) -> tuple[str, str]:
    _, entry, styles = _page(document)
    style = "".join(_template(name) for name in styles)
    return style, bundle(entry, lambda name: _template(f"{name}.js"))


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")
