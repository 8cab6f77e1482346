"""Candidates that a search trains in an hour: on one core, on all, and by Ray on all.

    python benchmarks/search.py      # five minutes on an idle machine; MNIST from $SMIDGEN_DATA

The same candidates of the space `chain`, drawn evenly under 8,000 parameters and trained for an
epoch each, go through the workers of `smidgen search` in turn, round by round; figures are medians.
What a search does once, such as starting its processes, is done before. The table goes to
docs/search.md.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path

from smidgen.budget import load_budget
from smidgen.data import load_data
from smidgen.recipe import load_recipe
from smidgen.search.cluster import ray_workers
from smidgen.search.space import RandomTrial, load_space
from smidgen.search.study import Images, Settings, Study
from smidgen.trials.workers import Shared, Task, Workers, processes, train_candidate

PAGE = Path(__file__).parents[1] / "docs" / "search.md"
ROUNDS, CANDIDATES, WARMING = 3, 12, 2
SPACE, BUDGET, RECIPE = "chain", "era-8k", "smidgen_fast"


def tasks(study: Study, out: Path) -> Iterator[Task]:
    """The first candidates that fit, to be trained in that folder."""
    for seed in count():
        trial = study.weighed(seed, study.settings.space.draw(RandomTrial(seed)))
        if trial.weight.broken is None:
            yield study.task(trial, 1, out)


def seconds(workers: Workers, study: Study) -> float:
    """What the training of the candidates takes, by workers that have trained some before."""
    with tempfile.TemporaryDirectory() as name:
        list(workers(list(islice(tasks(study, Path(name) / "warming"), WARMING))))
        drawn = list(islice(tasks(study, Path(name) / "timed"), CANDIDATES))
        began = time.perf_counter()
        accuracies = {task.key: accuracy for task, accuracy in workers(drawn)}
        taken = time.perf_counter() - began
    assert len(accuracies) == CANDIDATES
    return taken


def write(lines: list[str]) -> None:
    """Puts the lines between the two comments of the page."""
    between = re.compile(r"(<!-- written by: .*? -->\n).*(<!-- end -->)", re.DOTALL)
    text = PAGE.read_text("utf-8")
    PAGE.write_text(between.sub(lambda f: f[1] + "\n".join(lines) + "\n" + f[2], text), "utf-8")


def main() -> None:
    data = load_data("mnist").without_test()
    settings = Settings(
        data="mnist", space=load_space(SPACE), budget=load_budget(BUDGET),
        recipe=load_recipe(RECIPE), rungs=[1], batch=CANDIDATES,
    )  # fmt: skip
    study = Study(settings, Images(data.preprocess, len(data.classes)))
    shared, cores = Shared.of(data), os.cpu_count() or 1
    subprocess.run(["ray", "start", "--head", f"--num-cpus={cores}"], check=True)
    try:
        train = partial(train_candidate, shared)
        kinds: dict[str, Workers] = {
            "one core": processes(train, 1),
            f"{cores} cores": processes(train, cores),
            f"{cores} cores by Ray": ray_workers(shared),
        }
        taken = defaultdict[str, list[float]](list)
        for _ in range(ROUNDS):
            for kind, workers in kinds.items():
                taken[kind].append(seconds(workers, study))
                print(f"{kind}: {taken[kind][-1]:.1f} s", flush=True)
    finally:
        subprocess.run(["ray", "stop"], check=True)
    medians = {kind: statistics.median(found) for kind, found in taken.items()}
    one = medians["one core"]
    write([
        "| workers | candidates an hour | times one core |",
        "| --- | ---: | ---: |",
        *(
            f"| {kind} | {3600 * CANDIDATES / median:,.0f} | {one / median:.2f} |"
            for kind, median in medians.items()
        ),
        "",
        f"{CANDIDATES} candidates of `{SPACE}` under {BUDGET}, an epoch of MNIST each by "
        f"`{RECIPE}`; medians of {ROUNDS} rounds.",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
