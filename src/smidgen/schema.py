"""TOML documents as frozen pydantic models, and what is wrong with them in one line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from smidgen.errors import SmidgenError, did_you_mean


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Document = TypeVar("Document", bound=Frozen)


def list_shipped(folder: str) -> list[str]:
    """The names of the TOML documents in a folder of the package, sorted."""
    files = (path.name for path in (resources.files("smidgen") / folder).iterdir())
    return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))


def load_document(
    model: type[Document], folder: str, name_or_path: str | Path, error: type[SmidgenError]
) -> Document:
    """The shipped document of that name in a folder of the package, or that of a TOML file.

    Raises `error` for an unknown name, a file that is not TOML, and every key or value that is not
    allowed, with the key's dotted path.
    """
    text = str(name_or_path)
    if text.endswith(".toml"):
        return validate(model, read_toml(Path(text), error), text, error)
    if text not in list_shipped(folder):
        near = did_you_mean(text, list_shipped(folder))
        raise error(f"unknown {model.__name__.lower()} {text!r}{near}")
    shipped = resources.files("smidgen") / folder / f"{text}.toml"
    return validate(model, tomllib.loads(shipped.read_text(encoding="utf-8")), text, error)


def validate(
    model: type[Document], document: dict[str, Any], source: str, error: type[SmidgenError]
) -> Document:
    """The document as that pydantic model; the first thing wrong with it is raised as `error`."""
    try:
        return model.model_validate(document)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        raise error(f"{source}: {_explain(model, first)}") from None


def read_toml(path: Path, error: type[SmidgenError]) -> dict[str, Any]:
    """The document in a TOML file; raises `error` if it cannot be read or parsed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise error(f"cannot read {str(path)!r}: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise error(f"{str(path)!r} is not TOML: {problem}") from None
    except RecursionError:
        raise error(f"{str(path)!r} is nested too deeply; write it flatter") from None


def _explain(model: type[Frozen], problem: Any) -> str:
    """One pydantic error as `key.path = value: what is allowed`."""
    location, name = list(problem["loc"]), ""
    if len(location) > 1 and model.model_fields[str(location[0])].discriminator:
        name = str(location.pop(1))  # where pydantic puts the name of the optimiser or schedule
    path = _path(location)
    match problem["type"]:
        case "extra_forbidden" if path in _keys(model):  # of another optimiser or schedule
            table, _, key = path.rpartition(".")
            return f"{table}.name = {name!r} has no key {key!r}; leave it out"
        case "extra_forbidden":
            return f"unknown key {path!r}{did_you_mean(path, _keys(model))}"
        case "missing":
            return f"the key {path!r} is missing"
        case "union_tag_invalid":
            allowed = problem["ctx"]["expected_tags"].replace("'", "").split(", ")
            tag = problem["ctx"]["tag"]
            return f"{path}.name = {tag!r} is not allowed{did_you_mean(str(tag), allowed)}"
        case "union_tag_not_found":
            return f"{path}.name is missing"
    reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return (
        f"{path} = {problem['input']!r}: {reason}"
        if not problem.get("ctx", {}).get("error")
        else f"{path or model.__name__.lower()}: {reason}"
    )


def _path(location: Sequence[str | int]) -> str:
    """A place as `key.key[index]`.

    What begins with "@" is pydantic's, the name of a member of a union.
    """
    parts = [f"[{p}]" if isinstance(p, int) else f".{p}" for p in location if str(p)[:1] != "@"]
    return "".join(parts).removeprefix(".")


def _keys(model: type[BaseModel], prefix: str = "") -> Iterable[str]:
    """Every dotted key of a model, through nested models and unions."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _keys(inner, f"{prefix}{name}.")
