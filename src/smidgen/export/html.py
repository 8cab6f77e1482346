"""The page on which networks read a drawing: one file that refers to nothing outside of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import quote

from smidgen.export.bundle import bundle
from smidgen.export.toolchain import TEMPLATES

ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 28 28'>"
    "<rect width='28' height='28' rx='6' fill='#0c6b5c'/>"
    "<path d='M9 8h10l-6 13' fill='none' stroke='#fff' stroke-width='3' "
    "stroke-linecap='round' stroke-linejoin='round'/></svg>"
)


def render(document: dict[str, Any]) -> str:
    """The page for a document of networks, images and a detector, as HTML."""
    style, html = ((TEMPLATES / name).read_text("utf-8") for name in ("page.css", "page.html"))
    script = bundle("main", lambda name: (TEMPLATES / f"{name}.js").read_text("utf-8"))
    parts = {
        "policy": _policy(style, script),
        "icon": "data:image/svg+xml," + quote(ICON),
        "style": style,
        # A script element ends at the first "</script", wherever it stands.
        "data": json.dumps(document, separators=(",", ":")).replace("<", "\\u003c"),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], html)


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded, and only this style and this script apply."""
    style_hash, script_hash = (
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for text in (style, script)
    )
    return (
        f"default-src 'none'; style-src {style_hash}; script-src {script_hash}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
