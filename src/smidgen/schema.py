"""JSON and TOML from anybody, bounded, as frozen pydantic models; what is wrong, in one line."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from smidgen.errors import SmidgenError, did_you_mean, shown

MAX_BYTES = 4 * 2**20  # a thousand times what a recipe has


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
        raise error(f"unknown {model.__name__.lower()} {shown(text)}{near}")
    shipped = (resources.files("smidgen") / folder / f"{text}.toml").read_text(encoding="utf-8")
    return validate(model, parse_toml(shipped, text, error), text, error)


def validate(
    model: type[Document],
    document: dict[str, Any],
    source: str,
    error: type[SmidgenError],
    typed: Mapping[str, str] | None = None,
) -> Document:
    """The document as that pydantic model; the first thing wrong with it is raised as `error`.

    The message begins with the source, or with the option in `typed` that gave the key.
    """
    try:
        return model.model_validate(document)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        path, reason = _explain(model, first)
        raise error(f"{(typed or {}).get(path, source)}: {reason}") from None


def read_toml(path: Path, error: type[SmidgenError]) -> dict[str, Any]:
    """The document in a TOML file; raises `error` if it cannot be read or parsed."""
    return parse_toml(read_text(path, error), repr(str(path)), error)


def read_text(path: Path, error: type[SmidgenError], most: int = MAX_BYTES) -> str:
    """The text of a UTF-8 file of at most so many bytes.

    Raises `error` for what is no file, cannot be read, is larger or not UTF-8.
    """
    if not os.path.isfile(path):  # unlike Path's, for any name
        raise error(f"cannot read {str(path)!r}: No such file; check the path")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as problem:
        raise error(f"cannot read {str(path)!r}: {problem.strerror}") from None
    if len(content) > most:
        raise error(f"{str(path)!r} is too large; at most {most:,} bytes are read")
    try:
        return content.decode()
    except UnicodeDecodeError as problem:
        raise error(f"cannot read {str(path)!r}: it is not UTF-8, {problem}") from None


def parse_toml(text: str, source: str, error: type[SmidgenError]) -> dict[str, Any]:
    """The document that the text is; `source` is what messages call it.

    Raises `error` for what is not TOML, is nested too deeply or holds too long a number.
    """
    document: dict[str, Any] = _parse(tomllib.loads, text, f"{source} is not TOML", error)
    return document


def parse_json(text: str, source: str, error: type[SmidgenError]) -> Any:
    """The same for a JSON document, of any type."""
    return _parse(json.loads, text, f"{source} is not JSON", error)


def _parse(parse: Callable[[str], Any], text: str, refusal: str, error: type[SmidgenError]) -> Any:
    try:
        return parse(text)
    except RecursionError:
        raise error(f"{refusal} that can be read: it is nested too deeply") from None
    except ValueError as problem:  # of syntax, or an integer of more than 4,300 digits
        raise error(f"{refusal}: {str(problem).partition(';')[0]}") from None


def _explain(model: type[Frozen], problem: Any) -> tuple[str, str]:
    """The path of the key in one pydantic error, and `key.path = value: what is allowed`."""
    location, name = list(problem["loc"]), ""
    if len(location) > 1 and model.model_fields[str(location[0])].discriminator:
        name = str(location.pop(1))  # where pydantic puts the name of the optimiser or schedule
    path = _path(location)
    return path, _reason(model, problem, path, name)


def _reason(model: type[Frozen], problem: Any, path: str, name: str) -> str:
    """`name` is that of the optimiser or schedule, or empty."""
    match problem["type"]:
        case "extra_forbidden" if path in _keys(model):  # of another optimiser or schedule
            table, _, key = path.rpartition(".")
            return f"{table}.name = {name!r} has no key {shown(key)}; leave it out"
        case "extra_forbidden":
            return f"unknown key {shown(path)}{did_you_mean(path, _keys(model))}"
        case "missing":
            return f"the key {path!r} is missing; add it"
        case "model_type" | "model_attributes_type":
            inner = next((key for key in _keys(model) if key.startswith(f"{path}.")), "its keys")
            return f"{path} = {shown(problem['input'])}: it is a table; set {inner} instead"
        case "union_tag_invalid":
            allowed = problem["ctx"]["expected_tags"].replace("'", "").split(", ")
            tag = problem["ctx"]["tag"]
            return f"{path}.name = {shown(tag)} is not allowed{did_you_mean(str(tag), allowed)}"
        case "union_tag_not_found":
            return f"{path}.name is missing; add it"
    reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return (
        f"{path} = {shown(problem['input'])}: {reason}"
        if not problem.get("ctx", {}).get("error")
        else f"{path or model.__name__.lower()}: {reason}"
    )


def _path(location: Sequence[str | int]) -> str:
    """A place as `key.key[index]`.

    What begins with "@" is pydantic's, the name of a member of a union.
    """
    parts = [f"[{p}]" if isinstance(p, int) else f".{p}" for p in location if str(p)[:1] != "@"]
    return "".join(parts).removeprefix(".")


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every dotted key of a model and its field, through nested models and unions."""
    for name, field in model.model_fields.items():
        yield prefix + name, field
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from fields(inner, f"{prefix}{name}.")


def _keys(model: type[BaseModel]) -> list[str]:
    return [key for key, _ in fields(model)]
