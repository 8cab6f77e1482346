"""The learning rate as a pure function of the progress, so that resuming needs no state."""

from __future__ import annotations

import math

from smidgen.recipe import Constant, Cosine, OneCycle, Recipe, Step


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of one step, counted from 0 through the whole training.

    Equal to torch's OneCycleLR (cosine annealing) and StepLR, and to a linear warm-up followed by
    half a cosine that would reach 0 one step after the last. A cycle that has no step to rise in,
    which torch divides by, begins at its peak.
    """
    peak = recipe.optimizer.lr
    total = recipe.epochs * steps_per_epoch
    match recipe.schedule:
        case Constant():
            return peak
        case Step(step_size=size, gamma=gamma):
            return float(peak * gamma ** (step // steps_per_epoch // size))
        case Cosine(warmup=warmup):
            rising = warmup * total
            if step < rising:
                return peak * (step + 1) / (rising + 1)
            return _cosine(peak, 0.0, (step - rising) / (total - rising))
        case OneCycle(pct_start=share, div_factor=div, final_div_factor=final):
            start = peak / div
            turn = share * total - 1
            if step <= turn:
                return _cosine(start, peak, step / turn if turn else 1.0)
            return _cosine(peak, start / final, (step - turn) / (total - 1 - turn))


def _cosine(start: float, end: float, progress: float) -> float:
    """From start to end along half a cosine, for a progress from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
