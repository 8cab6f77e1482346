"""The subject of a report: one run, or runs of one recipe that differ in their seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smidgen import metrics
from smidgen.data import Data
from smidgen.errors import RunError
from smidgen.run import Run


@dataclass(frozen=True, eq=False)
class Trial:
    """The finished runs of one recipe, one a seed, and the folder that holds their report.

    `logits` are the outputs of the S runs for the N test images, float32 (S, N, C).
    """

    path: Path
    runs: tuple[Run, ...]
    results: tuple[dict[str, Any], ...]
    logits: Tensor

    @property
    def seeds(self) -> int:
        """How many runs there are."""
        return len(self.runs)

    @property
    def test_images(self) -> int:
        """How many images each run was tested on."""
        return self.logits.shape[1]

    @property
    def test_accuracies(self) -> list[float]:
        """The test accuracy of each run."""
        return [result["test_accuracy"] for result in self.results]

    def mean(self, key: str) -> float | None:
        """The mean of a figure over the runs; None where it was not measured."""
        values = [result[key] for result in self.results]
        return None if None in values else sum(values) / len(values)

    @property
    def summary(self) -> dict[str, Any]:
        """Mean, sd, min, n and 95 % interval of the test accuracy; one run has no sd."""
        values = self.test_accuracies
        if self.seeds > 1:
            return asdict(metrics.over_seeds(values))
        correct = round(values[0] * self.test_images)
        interval = metrics.wilson_interval(correct, self.test_images)
        return {"mean": values[0], "sd": None, "min": values[0], "n": 1, "interval": interval}

    @property
    def interval(self) -> metrics.Interval:
        """The 95 % interval of the test accuracy: Student's over seeds, Wilson's for one."""
        low, high = self.summary["interval"]
        return low, high


@dataclass(frozen=True, eq=False)
class Answers:
    """The runs' logits, float32 (S, N, C), beside the labels of the test images, int64 (N,)."""

    logits: Tensor
    labels: Tensor

    @property
    def correct(self) -> Tensor:
        """Whether each run was right, bool (S, N)."""
        return self.logits.argmax(2) == self.labels

    @property
    def probabilities(self) -> Tensor:
        """The mean over the runs of the softmax, float32 (N, C)."""
        return self.logits.softmax(2).mean(0)

    @property
    def confusion(self) -> Tensor:
        """The confusion matrices of all runs added up, int64 (C, C)."""
        seeds, _, classes = self.logits.shape
        predictions = self.logits.argmax(2).flatten()
        return metrics.confusion_matrix(predictions, self.labels.repeat(seeds), classes)

    @property
    def reliability(self) -> list[metrics.ConfidenceBin]:
        """The reliability diagram of all answers of all runs."""
        probabilities = self.logits.softmax(2).flatten(0, 1)
        return metrics.reliability(probabilities, self.labels.repeat(len(self.logits)))

    def worst(self, count: int) -> Tensor:
        """The images answered wrong, the surest answer first: at most `count` indices.

        With several runs the answer is that of their mean probabilities.
        """
        chance, answers = self.probabilities.max(1)
        wrong = torch.nonzero(answers != self.labels).flatten()
        return wrong[chance[wrong].argsort(stable=True, descending=True)[:count]]


def open_trial(run: Run | Path | str) -> Trial:
    """The trial of a run, or of a folder whose `seed-*` folders are runs.

    Raises RunError where there is neither, where a run has not finished, and where the runs
    differ in more than their seed.
    """
    folder = run.path if isinstance(run, Run) else Path(run)
    seeds = sorted(folder.glob("seed-*"), key=lambda seed: (len(seed.name), seed.name))
    runs = tuple(Run.open(seed) for seed in seeds) or (Run.open(folder),)
    results = tuple(run.result() for run in runs)
    logits = [run.test_logits() for run in runs]
    kept = [each for each in logits if each is not None]
    if len(kept) < len(runs):
        raise RunError(f"{str(folder)!r} kept no answers on the test images; train it again")
    # What is chosen for each run, on its own machine.
    own = {"seed", "workers", "precision", "memory_format", "backend"}
    recipes = [run.recipe.model_dump(exclude=own) for run in runs]
    if any(recipe != recipes[0] for recipe in recipes):
        raise RunError(f"the runs in {str(folder)!r} differ in more than their seed; report each")
    return Trial(folder, runs, results, torch.stack(kept))


def read_answers(trial: Trial, data: Data) -> Answers:
    """The trial's answers beside the labels.

    Raises RunError where the data's test images are not those that the runs were tested on.
    """
    answers = Answers(trial.logits, data.test.labels)
    expected = torch.tensor(trial.test_accuracies, dtype=torch.float64)
    if trial.test_images != len(data.test) or not torch.allclose(
        answers.correct.double().mean(1), expected, rtol=0, atol=0.5 / len(data.test)
    ):
        raise RunError(
            f"the test images of {data.name!r} are not those that {str(trial.path)!r} was tested "
            "on; name their folder with --data-dir"
        )
    return answers
