"""What a training keeps after each epoch, so that it can be resumed to the same bits."""

from __future__ import annotations

from typing import Any

import torch

from smidgen.errors import RunError
from smidgen.run import Run
from smidgen.train.flat import FlatParameters

OPTIMIZER = "optimizer."  # starts the names of the optimiser's tensors in a checkpoint
Figures = tuple[int, float, int]  # finished epochs, seconds of training, readings of the test set


def save(
    run: Run, weights: FlatParameters, optimizer: torch.optim.Optimizer, figures: Figures
) -> None:
    """Writes the checkpoint of a finished epoch."""
    kept = optimizer.state_dict()["state"].get(0, {})  # momenta and the number of steps
    state = {OPTIMIZER + name: value for name, value in kept.items() if value is not None}
    named = dict(zip(("epochs", "seconds", "test_reads"), figures, strict=True))
    run.write_checkpoint(weights.state() | state, named)


def restore(
    run: Run, checkpoint: dict[str, Any], weights: FlatParameters, optimizer: torch.optim.Optimizer
) -> Figures:
    """Sets weights and optimiser as the checkpoint has them; an empty one changes nothing.

    Raises RunError if the checkpoint is of another model or training.
    """
    if not checkpoint:
        return 0, 0.0, 0
    try:
        weights.load(checkpoint["tensors"])
        kept = {
            name.removeprefix(OPTIMIZER): tensor
            for name, tensor in checkpoint["tensors"].items()
            if name.startswith(OPTIMIZER)
        }
        optimizer.load_state_dict(optimizer.state_dict() | {"state": {0: kept}})
        epochs, seconds = int(checkpoint["epochs"]), float(checkpoint["seconds"])
        test_reads = int(checkpoint["test_reads"])
    except (KeyError, TypeError, ValueError, RuntimeError) as problem:
        raise RunError(
            f"the checkpoint in {str(run.path)!r} is not of {run.recipe.model!r} "
            f"({problem}); train again without --resume"
        ) from None
    run.truncate_metrics(epochs)
    return epochs, seconds, test_reads
