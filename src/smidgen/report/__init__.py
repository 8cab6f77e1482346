"""Reports: a run becomes pictures, a card and badges; several runs become a comparison.

    write_report("runs/one", load_data("mnist"))       # README.md, summary.txt, plots/, badges/
    inject(open_trial("runs/one"), Path("README.md"))  # its figures, between two markers

The scores are those that the run folder keeps; no image is classified again.
"""

from __future__ import annotations

import io
from pathlib import Path

import torch
from matplotlib.figure import Figure

from smidgen.anatomy import describe
from smidgen.data import Data
from smidgen.files import remove_parts, write_whole
from smidgen.recipe import Augment
from smidgen.report import figures, plots
from smidgen.report.analysis import Goal
from smidgen.report.badge import badge
from smidgen.report.card import card
from smidgen.report.compare import Comparison, compare, draw_comparison, find_same, open_trials
from smidgen.report.readme import inject, is_current
from smidgen.report.summary import summary
from smidgen.report.trial import Answers, Trial, open_trial, read_answers
from smidgen.run import Run
from smidgen.target import load

__all__ = [
    "Answers",
    "Comparison",
    "Goal",
    "Trial",
    "compare",
    "draw_comparison",
    "find_same",
    "inject",
    "is_current",
    "open_trial",
    "open_trials",
    "read_answers",
    "save",
    "write_report",
]


def write_report(run: Run | Path | str, data: Data, goal: Goal | None = None) -> list[Path]:
    """The files written into the folder of a run or of its seeds: card, summary, pictures, badges.

    The goal, a budget with its verdict over the run, becomes the target on the card. Raises
    RunError where there is no finished run, and where it was not tested on `data`.
    """
    trial = open_trial(run)
    answers = read_answers(trial, data)
    model = load(str(trial.runs[0].path))
    anatomy = describe(model.model, model.preprocess.shape, model.name)
    folder = Run(trial.path)
    for each in (folder.path, folder.path / "plots", folder.path / "badges"):
        remove_parts(each)
    drawn = _draw(trial, answers, data)
    files = [folder.path_of("plots", f"{name}.png") for name in drawn]
    for path, figure in zip(files, drawn.values(), strict=True):
        save(figure, path)
    badges = {
        "accuracy": badge("test accuracy", figures.accuracy(trial)),
        "parameters": badge("parameters", f"{trial.results[0]['params']:,}"),
    }
    for name, picture in badges.items():
        files.append(folder.path_of("badges", f"{name}.svg"))
        folder.write_text(f"badges/{name}.svg", picture)
    folder.write_text("summary.txt", summary(anatomy))
    folder.write_text("README.md", card(trial, answers, data, anatomy, list(drawn), goal))
    return [*files, trial.path / "summary.txt", trial.path / "README.md"]


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as a PNG file, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_whole(path, buffer.getvalue())


def _draw(trial: Trial, answers: Answers, data: Data) -> dict[str, Figure]:
    """The pictures by name; those that have nothing to show are left out."""
    recipe = trial.runs[0].recipe
    rows = [run.metrics() for run in trial.runs]
    drawn = {
        "curves": plots.curves(rows, trial.mean("test_accuracy")),
        "examples": plots.examples(data.train, data.classes),
        "confusion": plots.confusion(answers, data.classes),
        "reliability": plots.reliability(answers.reliability),
    }
    if recipe.augment != Augment():
        generator = torch.Generator().manual_seed(recipe.seed)
        drawn["augmented"] = plots.augmented(data.train, recipe.augment, generator)
    if len(answers.worst(1)):
        drawn["mistakes"] = plots.mistakes(answers, data.test.images, data.classes)
    return drawn
