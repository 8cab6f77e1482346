"""Dropout from an explicit generator, for every dropout a module calls, layer or function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# How many trailing dimensions share one draw.
_SHARED_DIMENSIONS: dict[Callable[..., Tensor], int] = {
    F.dropout: 0,
    F.dropout1d: 1,
    F.dropout2d: 2,
    F.dropout3d: 3,
}
_LEVELS = 2**16


class SeededDropout(TorchFunctionMode):
    """While active in a thread, its dropouts draw from `generator` and not from torch's global one.

    Without a generator they drop nothing.

    All threads share the global generator, so that workers side by side would draw from it in an
    order that no seed determines. The probability is rounded to a multiple of 2**-16: one 64-bit
    random number gives four draws, which is six times faster than torch's own dropout.
    """

    def __init__(self, generator: torch.Generator | None) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        shared = _SHARED_DIMENSIONS.get(func)
        if shared is None:
            return func(*args, **(kwargs or {}))
        return self._dropout(shared, *args, **(kwargs or {}))

    def _dropout(
        self,
        shared: int,
        input: Tensor,
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
    ) -> Tensor:
        dropped = round(p * _LEVELS)
        if not training or dropped == 0 or self.generator is None:
            return input
        with torch._C.DisableTorchFunction():
            sample = input[(...,) + (slice(0, 1),) * shared]
            kept = uniform_int16(sample.numel(), self.generator) >= dropped - _LEVELS // 2
            mask = kept.to(input.device, input.dtype).mul_(_LEVELS / max(_LEVELS - dropped, 1))
            # The mask takes the memory format of the input, so that the product runs straight on.
            return input * mask.as_strided(sample.shape, torch.empty_like(sample).stride())


def uniform_int16(count: int, generator: torch.Generator) -> Tensor:
    """Independent int16 numbers (count,), uniform over the whole range, drawn four at a time."""
    words = torch.empty((count + 3) // 4, dtype=torch.int64)
    words.random_(-(2**63), None, generator=generator)
    return words.view(torch.int16)[:count]
