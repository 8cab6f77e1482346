"""The random numbers of a training: independent streams, each with generators of its own."""

from __future__ import annotations

import numpy as np
import torch

ORDER, AUGMENT, DROPOUT, INIT, MIX, WRITTEN = range(6)  # the streams


def generator(seed: int, stream: int, *counters: int) -> torch.Generator:
    """A CPU generator that depends on all its arguments, so that no state has to be kept."""
    state = _sequence(seed, stream, *counters).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


def random_state(seed: int, stream: int, *counters: int) -> np.random.RandomState:
    """The same by NumPy, which has distributions that torch draws without a generator only."""
    return np.random.RandomState(np.random.MT19937(_sequence(seed, stream, *counters)))


def _sequence(*numbers: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(numbers)
