"""Names from outside, of models, classes, layers, data sets and files, as parts of what is written.

Whoever names a class or a layer may write anything. Here is the one way into each language, which
keeps a name a name: C, Markdown, YAML, JSON, JSON in an HTML page, HTML, and names of files.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from typing import Any
from urllib.parse import quote

_PLAIN_IN_C = frozenset(range(ord(" "), ord("~") + 1)) - frozenset(b'"\\?')  # ? begins trigraphs
_LONE_UNDERSCORE = r"(?<![^\W_])_|_(?![^\W_])"  # not between two letters or digits
_LONGEST_NAME = 120  # bytes of a file's name; file systems allow 255


def plain(text: str) -> str:
    """The text as one line of letters: what cannot be printed becomes U+FFFD.

    >>> plain("one\\ntwo")
    'one\ufffdtwo'
    """
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def c_string(text: str) -> str:
    """The text as a C string of its UTF-8 bytes, all but plain ASCII as octal escapes.

    >>> print(c_string('say "é"'))
    "say \\042\\303\\251\\042"
    """
    content = text.encode("utf-8", errors="backslashreplace")
    return '"' + "".join(chr(b) if b in _PLAIN_IN_C else f"\\{b:03o}" for b in content) + '"'


def c_comment(text: str) -> str:
    """The text for the inside of a C comment: one line, without comments' ends or trigraphs.

    >>> c_comment("a*/b")
    'a* /b'
    """
    return re.sub(r"\*(?=/)|/(?=\*)|\?(?=\?)", r"\g<0> ", plain(text))


def markdown(text: str) -> str:
    """The text for the inside of a line, a heading or a cell of a table of Markdown.

    An underscore between letters is none of Markdown's marks, and stays as it is.

    >>> print(markdown("tiny_net <b>|*"))
    tiny_net \\<b\\>\\|\\*
    """
    escaped = re.sub(r"[\\`*\[\]<>|~&#$]|" + _LONE_UNDERSCORE, r"\\\g<0>", plain(text).strip())
    # What would begin a list or underline a heading.
    return re.sub(r"^(?=[-+=])|^[0-9]+(?=[.)](?:\s|$))", r"\g<0>\\", escaped)


def markdown_code(text: str) -> str:
    """The text as code in Markdown, or as other text where it could end the code.

    >>> markdown_code("idx:DIR")
    '`idx:DIR`'
    """
    is_simple = text and text == plain(text).strip() and not re.search(r"[`|]", text)
    return f"`{text}`" if is_simple else markdown(text)


def yaml(value: Any) -> str:
    """The value in one line of YAML: JSON, with letters beyond ASCII as they are."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else _escape_unit(letter) for letter in text)


def json_text(value: Any) -> str:
    """The value as JSON over several lines, letters beyond ASCII as they are.

    Half a surrogate pair, which UTF-8 cannot hold, is escaped.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def json_in_html(value: Any) -> str:
    """The value as JSON for a script element, which ends at the first "</script" within."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def html_text(text: str) -> str:
    """The text for an element of HTML or SVG, or for an attribute in quotation marks.

    >>> html_text('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(plain(text))


def file_name(text: str) -> str:
    """The text as the name of one file or folder; other texts have other names.

    >>> file_name("a/b=[1, 2]")
    'a%2Fb=[1, 2]'
    """
    name = quote(text, safe=" =,+:@[]()'\"!{}", errors="surrogatepass")
    if name.startswith(".") or not name:
        name = f"%{name}"
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        name = f"{name[: _LONGEST_NAME - 17]}-{digest}"
    return name


def _escape_unit(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"
