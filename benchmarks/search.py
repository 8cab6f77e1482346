"""What the workers of a search get done: candidates an hour, and many at once.

    python benchmarks/search.py workers                # one core, all cores, Ray: 15 minutes
    python benchmarks/search.py shells postgresql://…  # up to 200 shells of an empty database
    python benchmarks/search.py ray                    # up to 200 workers of Ray, here

`workers` trains the same candidates of the space `chain` for an epoch of MNIST ($SMIDGEN_DATA)
each, by the workers of `smidgen search`: in turn, each time in a new process, in which some are
trained before the time is taken. `shells` and `ray` simulate a cluster: candidates are asked,
weighed, handed out and told as in a search, and a worker that should train one sleeps. All of them
share this machine's cores, so that the rates are a lower bound; the processor's time is therefore
measured apart: that of the shells or of the process that owns the search, and that of the servers
(PostgreSQL; Ray's raylet and gcs_server). Figures are kept in benchmarks/search.json; the tables of
docs/search.md and docs/cluster.md are written from them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from smidgen.budget import load_budget
from smidgen.data import load_data
from smidgen.mnist import GLYPH
from smidgen.recipe import load_recipe
from smidgen.search import cluster, database
from smidgen.search.space import RandomTrial, load_space
from smidgen.search.study import Images, Settings, Study
from smidgen.trials.driver import Driver
from smidgen.trials.workers import Shared, Task, Workers, processes, train_candidate

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "search.json"
CORES = os.cpu_count() or 1
KINDS = ("one core", f"{CORES} cores", f"{CORES} cores by Ray")
ROUNDS, CANDIDATES = 3, 24
CROWDS = (10, 25, 50, 100, 200)  # workers that sleep
EACH, SLEEP_S = 4, 10.0  # candidates for each of them
TOGETHER = 5  # shells that are threads of one process, to save memory

Rate = dict[str, float]


def settings(rungs: Sequence[int], batch: int) -> Settings:
    return Settings(
        data="mnist", space=load_space("chain"), budget=load_budget("era-8k"),
        recipe=load_recipe("smidgen_fast"), rungs=list(rungs), batch=batch, sampler="random",
    )  # fmt: skip


def tasks(out: Path) -> Iterator[Task]:
    """The candidates that fit, in the order of their seeds, to be trained in that folder."""
    study = Study(settings([1], CANDIDATES), Images(GLYPH, 10))
    for seed in count():
        trial = study.weighed(seed, study.settings.space.draw(RandomTrial(seed)))
        if trial.weight.broken is None:
            yield study.task(trial, 1, out)


def seconds_of(kind: str) -> float:
    """What the candidates take, by workers that have each trained one before."""
    shared = Shared.of(load_data("mnist").without_test())
    with tempfile.TemporaryDirectory() as name:
        chosen = list(islice(tasks(Path(name)), CORES + CANDIDATES))
        run: Workers
        if kind == KINDS[2]:
            run = cluster.ray_workers(shared)
        else:
            run = processes(partial(train_candidate, shared), KINDS.index(kind) * (CORES - 1) + 1)
        list(run(chosen[:CORES]))
        began = time.perf_counter()
        assert len(list(run(chosen[CORES:]))) == CANDIDATES
        return time.perf_counter() - began


def measure_workers() -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(ROUNDS):
        for kind in KINDS:
            command = [sys.executable, __file__, "time", kind]
            if kind == KINDS[2]:
                subprocess.run(["ray", "start", "--head", f"--num-cpus={CORES}"], check=True)
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
            if kind == KINDS[2]:
                subprocess.run(["ray", "stop"], check=True)
            taken[kind].append(float(said))
            print(f"round {number + 1}, {kind}: {taken[kind][-1]:.1f} s", flush=True)
    return taken


def pretend(shared: Any, task: Task) -> float:
    """Sleeps as long as a training takes; the accuracy depends on the task alone."""
    time.sleep(SLEEP_S)
    return int(task.key, 16) / 16**12


def search_in_shells(out: Path, url: str, trials: int, shells: int) -> None:
    """Some of many shells; the last trials are not waited for."""
    vars(database)["train_candidate"] = pretend
    shared: Any = argparse.Namespace(fingerprint=str(out))
    joined = (settings([1], 1), Images(GLYPH, 10), shared, out, url, trials, lambda study: None)
    with ThreadPoolExecutor(shells) as pool:
        for shell in [pool.submit(database.join, *joined) for _ in range(shells)]:
            shell.result()


def measure_shells(url: str, crowd: int) -> Rate:
    fork = get_context("fork")
    with tempfile.TemporaryDirectory() as name:
        out, trials = Path(name), crowd * EACH
        search_in_shells(out, url, 0, 1)  # makes the tables
        sizes = [TOGETHER] * (crowd // TOGETHER)
        shells = [fork.Process(target=search_in_shells, args=(out, url, trials, n)) for n in sizes]
        with measured(trials, ["postgres"]) as rate:
            for shell in shells:
                shell.start()
            for shell in shells:
                shell.join()
        assert [shell.exitcode for shell in shells] == [0] * len(shells)
        return rate


def measure_ray(crowd: int) -> Rate:
    import ray

    study = Study(settings([1], 3 * crowd), Images(GLYPH, 10))
    ray.init(num_cpus=crowd, log_to_driver=False, include_dashboard=False)
    try:
        train = ray.remote(num_cpus=1)(_pretend_there)
        ray.get([train.remote(None, None, None) for _ in range(crowd)])  # starts the processes
        run = partial(cluster._by_ray, train, ray.put(None))
        servers = ("raylet", "gcs_server")
        with tempfile.TemporaryDirectory() as name, measured(crowd * EACH, servers) as rate:
            done = sum(1 for _ in Driver(study, Path(name), run, crowd * EACH).trainings())
            assert done == crowd * EACH
        return rate
    finally:
        ray.shutdown()


@contextmanager
def measured(candidates: int, servers: Sequence[str]) -> Iterator[Rate]:
    """Candidates a second, and the seconds of a core that each costs: in here, and the servers."""
    began, before, rate = time.perf_counter(), _core_seconds(servers), Rate()
    yield rate
    rate["a second"] = candidates / (time.perf_counter() - began)
    taken = (now - then for now, then in zip(_core_seconds(servers), before, strict=True))
    rate["own"], rate["servers"] = (seconds / candidates for seconds in taken)


def _core_seconds(servers: Sequence[str]) -> tuple[float, float]:
    """Of this process and of the servers, each with its children that have ended."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, rest = process.read_text().split("(", 1)[1].rsplit(")", 1)
            ticks += sum(map(int, rest.split()[11:15])) if name in servers else 0
    return sum(os.times()[:4]), ticks / os.sysconf("SC_CLK_TCK")


def _pretend_there(task: Task | None, shared: Any, wanted: Any) -> float:
    time.sleep(SLEEP_S)
    return int(task.key, 16) / 16**12 if task else 0.0


def write(figures: dict[str, Any]) -> None:
    """Keeps the figures, and puts the tables of those that are there into the pages."""
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if taken := figures.get("workers"):
        medians = {kind: statistics.median(seconds) for kind, seconds in taken.items()}
        put("search.md", [
            "| workers | candidates an hour | times one core |",
            "| --- | ---: | ---: |",
            *(
                f"| {kind} | {3600 * CANDIDATES / median:,.0f} | {medians[KINDS[0]] / median:.2f} |"
                for kind, median in medians.items()
            ),
        ])  # fmt: skip
    put("cluster.md", [
        "| workers | | a second, at best | a second | of that | own, core s | servers, core s |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {crowd} | {called} | {int(crowd) / SLEEP_S:.1f} | {rate['a second']:.1f} "
            f"| {rate['a second'] * SLEEP_S / int(crowd):.0%} "
            f"| {rate['own']:.2f} | {rate['servers']:.2f} |"
            for name, called in CALLED.items()
            for crowd, rate in figures.get(name, {}).items()
        ),
    ])  # fmt: skip


CALLED = {"shells": "shells of one PostgreSQL", "ray": "of Ray"}


def put(page: str, lines: list[str]) -> None:
    """Puts the lines between the two comments of a page."""
    path = ROOT / "docs" / page
    between = re.compile(
        r"(<!-- written by: python benchmarks/search.py .*? -->\n).*?(<!-- end -->)", re.DOTALL
    )
    body = "\n" + "\n".join(lines) + "\n\n"
    new = between.sub(lambda found: found[1] + body + found[2], path.read_text("utf-8"))
    path.write_text(new, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("workers", "shells", "ray", "time"))
    parser.add_argument("which", nargs="?", help="the database, or the kind of workers to time")
    options = parser.parse_args()
    figures = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    if options.what == "time":
        print(seconds_of(options.which))
        return
    if options.what == "workers":
        figures["workers"] = measure_workers()
    else:
        figures[options.what] = {}
        measure = measure_ray if options.what == "ray" else partial(measure_shells, options.which)
        for crowd in CROWDS:
            rate = figures[options.what][str(crowd)] = measure(crowd)
            print(crowd, rate, flush=True)
            write(figures)  # the largest take long
        return
    write(figures)


if __name__ == "__main__":
    main()
