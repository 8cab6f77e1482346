"""What the processes of a grading send each other: plain data, checked against these schemas."""

from __future__ import annotations

import io
import json
import os
import struct
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from safetensors.torch import load, save
from torch import Tensor

from smidgen.budget import Training
from smidgen.network.transcript import Transcript
from smidgen.schema import Frozen

LARGEST_MB = 256  # of one answer, weights included: 64 million float32 numbers
_LENGTHS = struct.Struct("<QQ")  # of all that follows; of the JSON that it begins with

Text = Annotated[str, Field(max_length=2000)]
Word = Annotated[str, StringConstraints(max_length=200)]
Figure = Annotated[int, Field(ge=0, lt=2**63)]


class Recorded(Frozen):
    """What the process says in which a submission ran: its network, or why there is none.

    `classes` and `training` are what the files of a run or a bundle say.
    """

    status: Literal["recorded", "error", "forked"]
    note: Text
    missing: list[Word] = Field(default_factory=list, max_length=100)  # modules stood in for
    left_out: Text = ""  # of a notebook
    name: Word = ""
    network: Transcript | None = None
    classes: int | None = None
    training: Training | None = None


class JudgedRule(Frozen):
    rule: Word
    limit: int | float | str
    actual: int | float | str
    passed: bool
    note: str


class Judged(Frozen):
    """What the process says that rebuilt and judged the network."""

    status: Literal["passed", "failed", "error", "forked"]
    note: Text
    figures: dict[Word, Figure]
    rules: list[JudgedRule]


def named(problem: BaseException) -> str:
    """What an exception of anyone's says, with its kind."""
    try:
        return f"{type(problem).__name__}: {problem}"
    except BaseException:
        return f"{type(problem).__name__}, which cannot be printed"


def one_line(text: str) -> str:
    """A text as one line of characters that any file can hold, cut where it is very long."""
    text = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    plain = "".join(c if c.isprintable() else "?" for c in text)
    return plain if len(plain) <= 500 else f"{plain[:500]} …"


def pack(document: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> bytes:
    """A document and tensors as one answer."""
    text = json.dumps(document).encode("utf-8")
    weights = save({name: tensor.contiguous() for name, tensor in (tensors or {}).items()})
    return _LENGTHS.pack(8 + len(text) + len(weights), len(text)) + text + weights


def unpack(answer: bytes) -> tuple[bytes, dict[str, Tensor]]:
    """The JSON and the tensors of an answer. Raises an exception of any kind for anything else."""
    _, length = _LENGTHS.unpack_from(answer)
    text = answer[_LENGTHS.size : _LENGTHS.size + length]
    return text, load(answer[_LENGTHS.size + length :])


def is_whole(answer: bytes | bytearray) -> bool:
    """Whether an answer is as long as it says."""
    return len(answer) >= 8 and len(answer) >= 8 + int.from_bytes(answer[:8], "little")


def write_answer(handle: int, answer: bytes) -> None:
    with io.FileIO(os.dup(handle), "w") as file:
        view = memoryview(answer)
        while view:
            view = view[file.write(view) :]
