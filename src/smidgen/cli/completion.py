"""What the shell offers for an argument that is not finished; nothing here loads torch."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

Complete = Callable[[str], list[str]]


def one_of(*names: str) -> Complete:
    """Completes one of these names."""

    def complete(incomplete: str) -> list[str]:
        return starting(incomplete, names)

    return complete


def shipped(folder: str) -> Complete:
    """Completes the name of a TOML document in a folder of the package."""

    def complete(incomplete: str) -> list[str]:
        return starting(
            incomplete, (path.name.removesuffix(".toml") for path in _documents(folder))
        )

    return complete


complete_recipe = shipped("recipes")
complete_budget = shipped("budgets")


def complete_model(incomplete: str) -> list[str]:
    """Completes the name of a model.

    Each model of the zoo has a recipe. Of a model from elsewhere, the entry point says its name.
    """
    from importlib import metadata

    own = (tomllib.loads(path.read_text("utf-8"))["model"] for path in _documents("recipes"))
    others = (entry.value for entry in metadata.entry_points(group="smidgen.models"))
    return starting(incomplete, {*own, *(value.rpartition(":")[2] for value in others)})


def complete_target(incomplete: str) -> list[str]:
    """Completes the name of a model or a run folder in `runs`."""
    runs = (str(path.parent) for path in Path("runs").glob("*/recipe.toml"))
    return complete_model(incomplete) + starting(incomplete, runs)


def complete_setting(incomplete: str) -> list[str]:
    """Completes a recipe's key, and its value where a few are allowed.

    Where any number is allowed, `KEY=` and its default are offered. Of two offers a shell takes
    what they have in common, and sets no space behind it.
    """
    from smidgen.recipe import Recipe
    from smidgen.schema import fields

    values: dict[str, list[str]] = {}
    for key, field in fields(Recipe):
        values.setdefault(key, []).extend(_values(field))
    tables = {key.rpartition(".")[0] for key in values}
    keys = [key for key in values if key not in tables]
    if len(starting(incomplete, keys)) > 1:
        return starting(incomplete, (f"{key}=" for key in keys))
    offers = (f"{key}={value}" for key in keys for value in ["", *dict.fromkeys(values[key])])
    return starting(incomplete, offers)


def starting(incomplete: str, names: Iterable[str]) -> list[str]:
    """The names that start so, sorted."""
    return sorted(name for name in names if name.startswith(incomplete))


def _documents(folder: str) -> list[Traversable]:
    files = (resources.files("smidgen") / folder).iterdir()
    return [path for path in files if path.name.endswith(".toml")]


def _values(field: Any) -> list[str]:
    """The values of a key that can be listed, or else its default."""
    if get_origin(field.annotation) is Literal:
        return [str(value) for value in get_args(field.annotation)]
    if field.annotation is bool:
        return ["false", "true"]
    return [str(field.default)] if isinstance(field.default, int | float | str) else []
