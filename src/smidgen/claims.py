"""The figures that a README states, compared with the measured ones."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from smidgen.anatomy import Anatomy, Layer
from smidgen.budget import Training

Figure = Literal["params", "receptive_field", "accuracy"]

MAX_LINE = 4000  # characters; what stands further to the right is not read

_BELOW = "<|≤|<=|under|below|less than|fewer than|at most|up to"
_ABOVE = ">|≥|>=|over|above|more than|at least"
_ABOUT = "~|≈|about|around|roughly|nearly"
# Every repetition is bounded, and those of digits and spaces never give back what they took: the
# time that a line takes grows with its length, whatever it holds.
_DIGITS, _GAP = r"\d{1,20}+", r"\s{0,20}+"
_NUMBER = (
    rf"(?P<bound>{_BELOW}|{_ABOVE}|{_ABOUT})?[\s*`]{{0,20}}+"
    rf"(?:(?P<low>{_DIGITS}(?:\.{_DIGITS})?+){_GAP}%?+{_GAP}[–-]{_GAP})?"
    rf"(?P<number>\d[\d,]{{0,30}}+(?:\.{_DIGITS})?+)\s{{0,20}}(?P<unit>[kKmM]\b|%)?(?P<plus>\+)?"
)
_FILLERS = "count|total|number|is|are|of|stays?|model|only|exactly|just|trainable|verifies|reach"
_AFTER = rf"(?:\W|\b(?:{_FILLERS})\b){{0,200}}?{_NUMBER}"
_WORD = r"\w{1,30}+\s{1,20}+"
_PATTERNS: dict[Figure, tuple[re.Pattern[str], ...]] = {
    "params": (
        re.compile(rf"{_NUMBER}[\s*`]{{0,20}}+(?:{_WORD}){{0,2}}?param", re.IGNORECASE),
        re.compile(rf"\bparam\w{{0,30}}+{_AFTER}", re.IGNORECASE),
    ),
    "receptive_field": (re.compile(rf"\b(?:RF|receptive field){_AFTER}", re.IGNORECASE),),
    "accuracy": (re.compile(_NUMBER, re.IGNORECASE),),
}
_LAYER_LINE = re.compile(r"conv|pool|gap|linear|\bfc|block|layer", re.IGNORECASE)
_FIRST_EPOCH = re.compile(r"(first|1st|one|\b1|single) epoch", re.IGNORECASE)


@dataclass(frozen=True)
class Claim:
    """One stated figure. `passed` is None where it could not be measured."""

    line: int
    figure: str
    claimed: str
    actual: int | float | None
    passed: bool | None
    note: str = ""


@dataclass(frozen=True)
class _Stated:
    """A figure as it stands in the text: its bounds, both included, after rounding is allowed."""

    line: int
    text: str  # the whole line
    claimed: str
    low: float
    high: float


def check_claims(readme: str, anatomy: Anatomy, training: Training | None) -> list[Claim]:
    """Every figure about parameters, receptive fields and accuracy in the text of a README.

    A figure holds if the measured one is the same at the precision in which it is stated, within
    its bound ("< 25k"), or within 5 % of an approximate one ("~24,500"). A receptive field on a
    layer's line is that layer's: by its name, or in order where the text lists as many layers as
    there are. Accuracies need a run folder.
    """
    claims = [
        _held(stated, "params", anatomy.params)
        for stated in _stated(readme, "params")
        if stated.high >= 100  # "2 parameters" is about something else
    ]
    claims += _fields(readme, anatomy)
    claims += _accuracies(readme, training)
    return sorted(set(claims), key=lambda claim: (claim.line, claim.figure, claim.claimed))


def _stated(readme: str, figure: Figure) -> list[_Stated]:
    return [
        _read(number, line, match)
        for number, whole in enumerate(readme.splitlines(), start=1)
        for line in [whole[:MAX_LINE]]
        for pattern in _PATTERNS[figure]
        for match in pattern.finditer(line)
    ]


def _read(number: int, line: str, match: re.Match[str]) -> _Stated:
    """A matched figure with the range of measurements for which it is true."""
    digits = match["number"].replace(",", "")
    scale = {"k": 1e3, "m": 1e6, "%": 0.01}.get((match["unit"] or "").lower(), 1.0)
    value = float(digits) * scale
    bound = (match["bound"] or "").lower()
    exact = scale == 1 and "." not in digits
    step = 0.0 if exact else scale * 10.0 ** -len(digits.partition(".")[2])
    # 13.2K may be rounded or cut off: from 13,150 up to 13,300.
    low, high = value - step / 2, value if exact else math.nextafter(value + step, 0)
    if match["low"]:
        low = float(match["low"]) * scale - step / 2
    if re.fullmatch(_BELOW, bound):
        included = bound in ("≤", "<=", "at most", "up to")
        low, high = float("-inf"), value if included else math.nextafter(value, 0)
    elif re.fullmatch(_ABOVE, bound) or match["plus"]:
        low, high = value, float("inf")
    elif bound:
        low, high = 0.95 * value, 1.05 * value
    start = min(match.start(name) for name in ("bound", "low", "number") if match[name])
    end = max(match.end(name) for name in ("number", "unit", "plus"))
    # What Python takes for a space may be a control character, which XML cannot hold.
    claimed = " ".join(re.sub(r"[*`]", "", line[start:end]).split())
    return _Stated(number, line, claimed, low, high)


def _held(stated: _Stated, figure: str, actual: int | float | None, missing: str = "") -> Claim:
    if actual is None:
        return Claim(stated.line, figure, stated.claimed, None, None, missing)
    passed = stated.low <= actual <= stated.high
    shown = f"{actual:,}" if isinstance(actual, int) else f"{actual:.2%}"
    note = "" if passed else f"it is {shown}"
    return Claim(stated.line, figure, stated.claimed, actual, passed, note)


def _fields(readme: str, anatomy: Anatomy) -> Iterator[Claim]:
    stated = _stated(readme, "receptive_field")
    texts = {each.line: each.text for each in stated}
    named = {line: _named(text, anatomy) for line, text in texts.items()}
    of_layers = {line for line, text in texts.items() if _LAYER_LINE.search(text)}
    listed = [each for each in stated if each.line in of_layers]
    spatial = [layer for layer in anatomy.layers if _is_spatial(layer)]
    in_order = dict(zip(listed, spatial, strict=True)) if len(listed) == len(spatial) else {}
    for each in stated:
        layer = named[each.line] or in_order.get(each)
        if layer is not None:
            yield _held(each, f"receptive_field of {layer.name}", layer.receptive_field)
        elif each.line in of_layers and len(listed) > 1:
            missing = "no layer of that name, and the list does not have one line for each layer"
            yield _held(each, "receptive_field", None, missing)
        else:
            yield _held(each, "receptive_field", anatomy.receptive_field)


def _is_spatial(layer: Layer) -> bool:
    kind = layer.type.lower()
    return layer.macs > 0 or "pool" in kind or kind == "mean"


def _named(line: str, anatomy: Anatomy) -> Layer | None:
    """The last layer inside the module that a line names in brackets, as torch prints it."""
    for name in re.findall(r"[(`]([A-Za-z_][\w.]*)[)`]", line):
        inside = [x for x in anatomy.layers if x.name == name or x.name.startswith(f"{name}.")]
        if inside:
            return inside[-1]
    return None


def _accuracies(readme: str, training: Training | None) -> Iterator[Claim]:
    for stated in _stated(readme, "accuracy"):
        line = stated.text.lower()
        if "accura" not in line or not stated.claimed.rstrip("+").endswith("%"):
            continue
        figure, actual = _accuracy(line, training)
        if max(stated.low, min(stated.high, 1)) >= 0.5:  # "5 % dropout" is about something else
            yield _held(stated, figure, actual, "not measured; check the run of its training")


def _accuracy(line: str, training: Training | None) -> tuple[str, float | None]:
    """Which accuracy a line speaks of, and what it was."""
    if "train" in line and "test" not in line:
        return "train_accuracy", training.train_accuracy if training else None
    if _FIRST_EPOCH.search(line):
        score = training.first_epoch_accuracy if training else None
        return "first_epoch_accuracy", score.value if score else None
    return "test_accuracy", training.accuracy.value if training else None
