"""The best so far against time: TPE, NSGA-II and random search, for ten minutes, three times each.

    python benchmarks/samplers.py runs/samplers    # 90 minutes of all cores

They search the space `chain` under 8,000 parameters on 24,000 images of MNIST ($SMIDGEN_DATA), of
which 2,000 are to validate: two fifths of the time that each candidate takes on all of them. The
searches go in turn, and each gets the seeds 0, 1 and 2. One that was killed begins anew. Figures
are kept in benchmarks/samplers.json; docs/samplers.png and a table of docs/search.md are made of
them.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure

from smidgen.budget import load_budget
from smidgen.data import Data, load_data
from smidgen.mnist import GLYPH
from smidgen.recipe import load_recipe
from smidgen.report.plots import BLUE, GREEN, GREY
from smidgen.search.space import load_space
from smidgen.search.study import SAMPLERS, Images, Settings, Study
from smidgen.trials.driver import Driver, Progress
from smidgen.trials.workers import Shared, processes, train_candidate

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "samplers.json"
REPETITIONS, SECONDS, IMAGES = 3, 600.0, 24_000
SHOWN_S = (150, 300, 600)
NAMES = {"tpe": "TPE", "nsga2": "NSGA-II", "random": "random"}
COLOURS = dict(zip(SAMPLERS, (GREEN, BLUE, GREY), strict=True))

Curve = list[tuple[float, float]]  # seconds, and the best validation error of the last rung


def search(sampler: str, seed: int, data: Data, out: Path) -> Curve:
    """The best so far of one search, wherever it became better."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    settings = Settings(
        data="mnist", space=load_space("chain"), budget=load_budget("era-8k"),
        recipe=load_recipe("smidgen_chain"), rungs=[1, 3, 9], batch=18, seed=seed, sampler=sampler,
    )  # fmt: skip
    study, curve = Study(settings, Images(GLYPH, len(data.classes))), Curve()

    def watch(progress: Progress) -> None:
        last = settings.rungs[-1]
        errors = (1 - t.accuracies[last] for t in study.trials if last in t.accuracies)
        best = min(errors, default=1.0)
        if progress.finished_round and best < (curve[-1][1] if curve else 1.0):
            curve.append((progress.seconds, best))

    run = processes(partial(train_candidate, Shared.of(data)), -1)
    for _ in Driver(study, out, run, None, SECONDS, watch).trainings():
        pass
    print(sampler, seed, f"{study.count('trained')} trained, best {curve[-1][1]:.2%}", flush=True)
    return curve


def measure(folder: Path) -> dict[str, list[Curve]]:
    """The curves of each sampler, by seed; those that are kept are not made again."""
    whole = load_data("mnist").without_test()
    data = replace(whole, train=whole.train.rows(slice(IMAGES)))
    found = json.loads(FIGURES.read_text("utf-8")) if FIGURES.is_file() else {}
    for seed in range(REPETITIONS):
        for sampler in SAMPLERS:
            curves = found.setdefault(sampler, [])
            if len(curves) == seed:
                curves.append(search(sampler, seed, data, folder / f"{sampler}-{seed}"))
                FIGURES.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return dict(found)


def at(curve: Curve, seconds: float) -> float | None:
    """The best error that was known so late."""
    return min((error for when, error in curve if when <= seconds), default=None)


def draw(found: dict[str, list[Curve]]) -> Figure:
    figure = Figure((8, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    for sampler, curves in found.items():
        for number, curve in enumerate(curves):
            end = (SECONDS, curve[-1][1])
            times, errors = zip(*curve, end, strict=True)
            axes.plot(
                [each / 60 for each in times], [100 * each for each in errors],
                drawstyle="steps-post", color=COLOURS[sampler], alpha=0.8,
                label=NAMES[sampler] if number == 0 else None,
            )  # fmt: skip
    axes.set_xlabel("minutes of all cores")
    axes.set_ylabel("best validation error so far, %")
    axes.grid(color="#E5E5E5", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def rows(found: dict[str, list[Curve]]) -> list[str]:
    """The table: the mean over the searches, and each of them."""
    heads = [f"after {seconds / 60:g} min" for seconds in SHOWN_S]
    lines = [f"| sampler | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    for sampler, curves in found.items():
        cells = []
        for seconds in SHOWN_S:
            errors = [at(curve, seconds) for curve in curves]
            known = [100 * error for error in errors if error is not None]
            each = ", ".join(f"{error:.2f}" for error in known)
            cells.append(f"{fmean(known):.2f} % ({each})" if known else "–")
        lines.append(f"| {NAMES[sampler]} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    found = measure(Path(sys.argv[1]))
    draw(found).savefig(ROOT / "docs" / "samplers.png")
    page = ROOT / "docs" / "search.md"
    block = r"(<!-- written by: python benchmarks/samplers.py .*? -->\n).*?(<!-- end -->)"
    body = "\n" + "\n".join(rows(found)) + "\n\n"
    new = re.sub(
        block, lambda old: old[1] + body + old[2], page.read_text("utf-8"), flags=re.DOTALL
    )
    page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
