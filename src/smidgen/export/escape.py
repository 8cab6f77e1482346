"""Names from outside, of classes, layers and data sets, as parts of C source."""

from __future__ import annotations

import re

_PLAIN = frozenset(range(ord(" "), ord("~") + 1)) - frozenset(b'"\\?')  # ? begins trigraphs


def string_literal(text: str) -> str:
    """The text as a C string of its UTF-8 bytes, all but plain ASCII as octal escapes.

    >>> print(string_literal('say "é"'))
    "say \\042\\303\\251\\042"
    """
    content = text.encode("utf-8", errors="backslashreplace")
    return '"' + "".join(chr(b) if b in _PLAIN else f"\\{b:03o}" for b in content) + '"'


def comment(text: str) -> str:
    """The text for the inside of a C comment: one line, without comments' ends or trigraphs.

    >>> comment("a*/b")
    'a* /b'
    """
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    return re.sub(r"\*(?=/)|/(?=\*)|\?(?=\?)", r"\g<0> ", line)
