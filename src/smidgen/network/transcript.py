"""A network as plain data: what PyTorch executed, step by step, and the numbers that it read.

A transcript has no code, no shapes and no counts; whoever rebuilds the network finds those out. It
holds one program for each batch that a budget looks at, because a batch's size may be written into
the steps. `scribe` writes it where a network's code may run, `rebuild` makes a network of it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from smidgen.schema import Frozen

# (training, images) of each program.
BATCHES = ((False, 1), (False, 2), (False, 16), (True, 2), (True, 16))

Number = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(max_length=1000)]


class Made(Frozen):
    """A tensor that an earlier step made; number 0 is the images."""

    made: Number


class Kept(Frozen):
    """A tensor that was there before: a parameter, a buffer, a constant."""

    kept: Number


class Dtype(Frozen):
    dtype: Name


class MemoryFormat(Frozen):
    memory_format: Name


Single = bool | int | float | Name | Made | Kept | Dtype | MemoryFormat | None
Argument = Single | list[Single]


class Step(Frozen):
    """One executed function of ATen, and the numbers of the tensors that it made."""

    function: Name
    arguments: list[Argument]
    named: dict[Name, Argument]
    outputs: list[Number]
    gradient: bool  # whether it ran outside of torch.no_grad


class Enter(Frozen):
    """A module is called."""

    enter: Name


class Leave(Frozen):
    """The module that was called last returns, with its first tensor if it gives any."""

    leave: Made | Kept | None


class Program(Frozen):
    """What ran for one batch, or why it failed."""

    training: bool
    images: Number
    steps: Annotated[list[Step | Enter | Leave], Field(max_length=200_000)]
    failure: Annotated[str, Field(max_length=1000)]


class Module(Frozen):
    """A module of the network; the first one, with the path "", is the network itself."""

    path: Name
    kind: Name
    builtin: bool  # one of torch's own


class State(Frozen):
    """A parameter or a buffer, and the number of the tensor that it is."""

    name: Name
    kept: Number
    parameter: bool
    trainable: bool


class Transcript(Frozen):
    input: Annotated[list[int], Field(min_length=3, max_length=3)]
    modules: Annotated[list[Module], Field(min_length=1, max_length=20_000)]
    state: Annotated[list[State], Field(max_length=20_000)]
    programs: Annotated[list[Program], Field(max_length=len(BATCHES))]
