"""Parameters, stored numbers and multiply–accumulates of a network's parts, by arithmetic.

They are what `smidgen describe` counts on the recorded network; a test holds them to it. This file
loads without torch.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple, assert_never

from smidgen.blocks import parts as P


class Count(NamedTuple):
    """The convention of each is in docs/weigh-in.md."""

    params: int = 0
    stored_numbers: int = 0
    macs: int = 0


def count(part: P.Part) -> Count:
    """What a part takes, with everything inside of it."""
    match part:
        case P.Chain():
            return _chain(part.parts)
        case P.Residual():
            return count(part.body)
        case P.Repeated():
            return _repeated(part)
        case P.Convolution():
            return _convolution(part)
        case P.Linear():
            weights, biases = part.inputs * part.shape[0], part.shape[0]
            return Count(weights + biases, weights + biases, weights)
        case P.Norm():  # that folds: `_chain` and `_repeated` see to the others
            return Count(_gains(part))
        case P.Pool() | P.GlobalAverage() | P.Flatten() | P.Activation() | P.Dropout():
            return Count()
        case _:
            assert_never(part)


def _chain(parts: tuple[P.Part, ...]) -> Count:
    params = stored = macs = 0
    for before, part in zip((None, *parts), parts, strict=False):
        own = count(part)
        params, stored, macs = params + own[0], stored + own[1], macs + own[2]
        if isinstance(part, P.Norm):
            # It becomes the bias of the convolution before it, where that has none.
            assert isinstance(before, P.Convolution)
            stored += 0 if before.bias else part.shape[0]
    return Count(params, stored, macs)


def _repeated(part: P.Repeated) -> Count:
    """One body, whose norms cannot fold into it: each keeps a scale and a shift per channel."""
    turns = [count(turn) for turn in part.turns]
    return Count(
        turns[0].params + sum(map(_gains, part.norms)),
        turns[0].stored_numbers + sum(2 * norm.shape[0] for norm in part.norms),
        sum(turn.macs for turn in turns),
    )


def _convolution(part: P.Convolution) -> Count:
    channels, height, width = part.shape
    weights = prod((part.kernel, part.kernel, part.inputs // part.groups, channels))
    stored = weights + channels * part.bias
    return Count(stored, stored, weights * height * width)


def _gains(norm: P.Norm) -> int:
    return norm.shape[0] * (2 if norm.gain else 1)
