"""What is wrong with a command line that could not be parsed, in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from smidgen.errors import shown

# The base of all that typer raises for a wrong command line; it has no public name.
UsageError: type[Any] = typer.BadParameter.__mro__[1]

REPHRASED = {"Input should": "it should", "Value error, ": "", ". Did you mean": "; did you mean"}


def explain(problem: Any, arguments: Sequence[str]) -> str:
    """The message of a UsageError: what was typed, what is allowed, and who says more."""
    message = " ".join(problem.format_message().split()).rstrip(".")
    for old, new in REPHRASED.items():
        message = message.replace(old, new)
    value = _typed(problem, arguments)
    if value is not None and shown(value) not in message:
        message = message.replace("Invalid value for", f"{shown(value)} is no value for")
    command = problem.ctx.command_path if problem.ctx else "smidgen"
    end = "" if message.endswith("?") else ";"
    return f"{message[:1].lower()}{message[1:]}{end} {command} --help says more"


def _typed(problem: Any, arguments: Sequence[str]) -> str | None:
    """The value of the option that the problem is about, as it was typed."""
    names = getattr(getattr(problem, "param", None), "opts", [])
    for i, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else next(iter(arguments[i + 1 : i + 2]), None)
    return None
