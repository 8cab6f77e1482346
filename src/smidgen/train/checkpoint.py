"""What a training keeps after each epoch, so that it can be resumed to the same bits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from smidgen.data import Data
from smidgen.errors import RunError
from smidgen.files import remove_parts
from smidgen.run import Row, Run
from smidgen.train.distributed import is_main_process
from smidgen.train.flat import FlatParameters
from smidgen.train.optimizer import Optimizer

OPTIMIZER = "optimizer."  # starts the names of the optimiser's tensors in a checkpoint


@dataclass(frozen=True)
class Progressed:
    """How far a training is: a row of figures for each finished epoch, and the test set's reads."""

    rows: tuple[Row, ...] = ()
    test_reads: int = 0

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return (self.rows[-1]["seconds"] or 0.0) if self.rows else 0.0


def save(
    run: Run,
    weights: FlatParameters,
    optimizer: Optimizer,
    done: Progressed,
    data: Data,
) -> None:
    """Writes the checkpoint of a finished epoch."""
    state = {OPTIMIZER + name: value for name, value in optimizer.state.items()}
    run.write_checkpoint(weights.state() | state, asdict(done) | {"data": data.fingerprint})


def restore(
    run: Run, checkpoint: dict[str, Any], weights: FlatParameters, optimizer: Optimizer
) -> Progressed:
    """Sets weights and optimiser as the checkpoint has them; an empty one changes nothing.

    The run's metrics become those of the checkpoint, whatever had been done to them. Raises
    RunError if the checkpoint is of another model or training.
    """
    if not checkpoint:
        return Progressed()
    try:
        weights.load(checkpoint["tensors"])
        kept = {
            name.removeprefix(OPTIMIZER): tensor
            for name, tensor in checkpoint["tensors"].items()
            if name.startswith(OPTIMIZER)
        }
        optimizer.load(kept)
        done = Progressed(tuple(checkpoint["rows"]), checkpoint["test_reads"])
    except (KeyError, TypeError, ValueError, RuntimeError) as problem:
        raise RunError(
            f"the checkpoint in {str(run.path)!r} is not of {run.recipe.model!r} "
            f"({problem}); train again without --resume"
        ) from None
    if is_main_process():
        remove_parts(run.path)
        run.write_metrics(done.rows)
    return done


def require_data(known: Any, run: Run, data: Data) -> None:
    """Raises RunError where a run was begun on other images than those of the data.

    `known` is the fingerprint that the run keeps.
    """
    if run.recipe.data != data.name:
        raise RunError(
            f"{str(run.path)!r} was trained on {run.recipe.data!r}, not on {data.name!r}"
        )
    if known != data.fingerprint:
        raise RunError(
            f"{str(run.path)!r} was trained on other images or labels than {data.name!r} now has; "
            "name their folder with --data-dir, or train again without --resume"
        )
