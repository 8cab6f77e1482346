"""The trained trials as runs of TensorBoard, where it is installed: curves, and table HPARAMS."""

from __future__ import annotations

import shutil
from pathlib import Path

from smidgen.search.study import Trial
from smidgen.train.tensorboard import require_tensorboard


class Board:
    """Writes trials below a folder, which is begun anew: a search asks all its questions again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._writer = folder, require_tensorboard()
        shutil.rmtree(folder, ignore_errors=True)

    def write(self, trial: Trial) -> None:
        """The accuracy after each rung, what was drawn, and the weight."""
        weight = {name: value for name, value in vars(trial.weight).items() if value is not None}
        with self._writer(str(self._folder / trial.key)) as writer:
            for epochs, accuracy in trial.accuracies.items():
                writer.add_scalar("val_accuracy", accuracy, epochs)
            metrics = weight | {"epochs": trial.epochs, "last_val_accuracy": trial.val_accuracy}
            writer.add_hparams(dict(trial.candidate.values), metrics, run_name=".")
