"""The random numbers of a training: independent streams, each with generators of its own."""

from __future__ import annotations

import numpy as np
import torch

ORDER, AUGMENT, DROPOUT, INIT = range(4)  # the streams


def generator(seed: int, stream: int, *counters: int) -> torch.Generator:
    """A CPU generator that depends on all its arguments, so that no state has to be kept."""
    state = np.random.SeedSequence([seed, stream, *counters]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))
