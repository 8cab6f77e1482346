"""A space: a network's document with ranges in the place of some of its values.

    title = "a convolution and some separable ones"
    layers = [
        { conv = { from = 8, to = 32, step = 4 }, activation = "none" },
        { pool = 2, activation = "relu" },
        { separable = "$width", padding = 0, repeat = { from = 1, to = 4 } },
        { head = "gap" },
    ]
    [ranges]
    width = { from = 16, to = 64, step = 4 }
    [recipe]
    "optimizer.lr" = { from = 1e-3, to = 1e-1, log = true }

`$width` stands for one drawn value wherever it is written. A layer that is repeated 0 times is left
out, and nothing is drawn for it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from smidgen.blocks.document import Network, parse_network
from smidgen.errors import ModelError, SearchError, did_you_mean
from smidgen.schema import Frozen, list_shipped, load_document

Value = bool | int | float | str


class Trial(Protocol):
    """What a space asks for values: `optuna.Trial`, or `RandomTrial`."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...


class Choice(Frozen):
    """One of some values."""

    choose: Annotated[list[Value], Field(min_length=1)]

    def draw(self, name: str, trial: Trial) -> Value:
        value: Value = trial.suggest_categorical(name, self.choose)
        return value

    def ends(self) -> list[Value]:
        return self.choose

    def count(self) -> float:
        return len(self.choose)


class Range(Frozen):
    """Numbers between two ends, which belong to it: whole ones, `step` apart, where both ends are.

    With `log` their logarithms are drawn evenly.
    """

    from_: Annotated[int | float, Field(alias="from", allow_inf_nan=False)]
    to: Annotated[int | float, Field(allow_inf_nan=False)]
    step: Annotated[int, Field(ge=1)] = 1
    log: bool = False

    @property
    def is_whole(self) -> bool:
        return isinstance(self.from_, int) and isinstance(self.to, int)

    @model_validator(mode="after")
    def _values_agree(self) -> Range:
        if self.from_ > self.to:
            raise ValueError(f"from = {self.from_} is above to = {self.to}; exchange them")
        if self.log and self.from_ <= 0:
            raise ValueError(f"log = true needs from above 0, not {self.from_}")
        if self.step > 1 and (self.log or not self.is_whole):
            raise ValueError("step is for whole numbers without log; leave one out")
        if self.is_whole and (int(self.to) - int(self.from_)) % self.step:
            raise ValueError(f"steps of {self.step} do not lead from {self.from_} to {self.to}")
        return self

    def draw(self, name: str, trial: Trial) -> Value:
        if self.is_whole:
            ends = int(self.from_), int(self.to)
            return trial.suggest_int(name, *ends, step=self.step, log=self.log)
        return trial.suggest_float(name, float(self.from_), float(self.to), log=self.log)

    def ends(self) -> list[Value]:
        return [self.from_, self.to]

    def count(self) -> float:
        return (self.to - self.from_) // self.step + 1 if self.is_whole else math.inf


Drawn = Choice | Range


@dataclass(frozen=True)
class Candidate:
    """A drawn network, the recipe's keys that were drawn with it, and all values by their range."""

    network: Network
    recipe: Mapping[str, Value]
    values: Mapping[str, Value]


class Space(Frozen):
    """A space of networks and of recipe values; the module's docstring says how it is written."""

    title: str
    layers: Annotated[list[dict[str, Any]], Field(min_length=1)]
    ranges: dict[str, dict[str, Any]] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)
    _read: dict[str, Drawn] = PrivateAttr(default_factory=dict)  # by the place that they stand in

    def draw(self, trial: Trial) -> Candidate:
        """A candidate whose values the trial chose.

        Raises ModelError where they do not make a network.
        """
        document, recipe, values = self._fill(lambda name, drawn: drawn.draw(name, trial))
        return Candidate(parse_network(document, self.title), recipe, values)

    def _fill(
        self, draw: Callable[[str, Drawn], Value]
    ) -> tuple[dict[str, Any], dict[str, Value], dict[str, Value]]:
        """The network's document, the recipe's values, and the value drawn for each range."""
        drawn: dict[str, Value] = {}

        def value(template: Any, place: str) -> Any:
            name = template[1:] if is_reference(template) else place
            found = self._range(template, place)
            if found is None:
                return template
            if name not in drawn:
                drawn[name] = draw(name, found)
            return drawn[name]

        def layers(templates: list[dict[str, Any]], prefix: str) -> Iterator[dict[str, Any]]:
            for number, template in enumerate(templates):
                place = f"{prefix}layers[{number}]"
                times = value(template.get("repeat", 1), f"{place}.repeat")
                if times == 0:
                    continue
                filled = {} if times == 1 else {"repeat": times}
                for key, part in template.items():
                    if key == "layers" and isinstance(part, list):
                        filled[key] = list(layers(part, f"{place}."))
                    elif key != "repeat":
                        filled[key] = value(part, f"{place}.{key}")
                yield filled

        document = {"layers": list(layers(self.layers, ""))}
        return document, {key: value(part, key) for key, part in self.recipe.items()}, drawn

    def _range(self, template: Any, place: str) -> Drawn | None:
        """The range that stands in a template, directly or by its name; None for a plain value."""
        if not is_reference(template) and not isinstance(template, dict):
            return None
        if place not in self._read:
            if not is_reference(template):
                self._read[place] = read_range(template, place)
            elif template[1:] in self.ranges:
                name = template[1:]
                self._read[place] = read_range(self.ranges[name], f"ranges.{name}")
            else:
                near = did_you_mean(template[1:], self.ranges)
                raise SearchError(f"{place} = {template!r}: there is no such range{near}")
        return self._read[place]

    def all_ranges(self) -> dict[str, Drawn]:
        """Every range by the name that a trial knows it by, where none is left out."""
        found: dict[str, Drawn] = {}

        def most(name: str, drawn: Drawn) -> Value:
            found[name] = drawn
            return drawn.ends()[-1]

        self._fill(most)
        return found

    def check(self, source: str) -> None:
        """Raises SearchError where an end of a range is a value that no network may have."""
        for name, own in self.all_ranges().items():
            for end in own.ends():
                chosen = {name: end}
                try:
                    document, *_ = self._fill(lambda key, r, c=chosen: c.get(key, r.ends()[-1]))  # type: ignore[misc]
                    parse_network(document, source)
                except ModelError as problem:
                    raise SearchError(f"{problem} (with {name} = {end!r})") from None


def is_reference(template: Any) -> bool:
    """Whether a value of a template is the name of a range."""
    return isinstance(template, str) and template.startswith("$")


def read_range(document: Any, place: str) -> Drawn:
    """The range that a table describes. Raises SearchError, with the place, for any other."""
    if not isinstance(document, dict) or ("choose" in document) == ("from" in document):
        raise SearchError(
            f"{place} = {document!r} is no range; write {{ from = 8, to = 32 }} or "
            "{ choose = [3, 5] }"
        )
    try:
        return (Choice if "choose" in document else Range).model_validate(document)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        key = ".".join([place, *map(str, first["loc"][:1])])
        raise SearchError(f"{key}: {first['msg'].removeprefix('Value error, ')}") from None


class RandomTrial:
    """Values drawn evenly, from a seed; `params` holds them by name."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.params: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.params.setdefault(name, self._chance.choice(choices))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        if log:
            drawn = math.exp(self._chance.uniform(math.log(low - 0.5), math.log(high + 0.5)))
            value = min(max(round(drawn), low), high)
        else:
            value = self._chance.randrange(low, high + 1, step)
        return int(self.params.setdefault(name, value))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        if log:
            value = math.exp(self._chance.uniform(math.log(low), math.log(high)))
        else:
            value = self._chance.uniform(low, high)
        return float(self.params.setdefault(name, min(max(value, low), high)))


def list_spaces() -> list[str]:
    """The names of the shipped spaces, sorted."""
    return list_shipped("spaces")


def load_space(name_or_path: str | Path) -> Space:
    """The space of that name, or of that TOML file.

    Raises SearchError for an unknown name, a file that is not TOML, a range that contradicts
    itself, and a range with an end that no network may have, with its place.
    """
    space = load_document(Space, "spaces", name_or_path, SearchError)
    space.check(str(name_or_path))
    return space
