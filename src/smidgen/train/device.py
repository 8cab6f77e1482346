"""The device that trains."""

from __future__ import annotations

import torch

from smidgen.errors import RecipeError


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one, then MPS, then the CPU.

    Raises RecipeError for a device that is unknown or not there.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(),
                 "mps": torch.backends.mps.is_available()}  # fmt: skip
    if name == "auto":
        return torch.device(next(d for d in ("cuda", "mps", "cpu") if available[d]))
    kind = name.partition(":")[0]
    if not available.get(kind):
        there = ", ".join(device for device, here in available.items() if here)
        raise RecipeError(
            f"--device {name!r} is not available on this machine; choose from {there}"
        )
    return torch.device(name)
