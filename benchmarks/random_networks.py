"""Networks drawn from seeds, and whether everything that reads a network reads them rightly.

    python benchmarks/random_networks.py --count 20000 --jobs 2              # an hour on two cores
    python benchmarks/random_networks.py --count 20000 --jobs 2 --exports    # as long
    python benchmarks/random_networks.py --count 0                           # the figures so far

For each network, drawn by tests/drawn_networks.py: one step of training by the native kernels
against torch in float64 (loss, every gradient, statistics, parameters after the optimiser), and the
parameters and multiply-accumulates that `describe` counts against the module's own and torch's
FlopCounterMode. With --exports: the integer graph in numpy against the exported C and JavaScript
in node, image by image. C is built by gcc for one network in twenty and by tcc for the others,
which takes a twentieth of the time; without tcc, by gcc for all.

Each verdict is a line of runs/random_networks.jsonl as soon as it is there; a seed that has one is
not tried again. The figures are written to benchmarks/random_networks.json and, between two marks,
to docs/reliability.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import re
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # where the networks are drawn
from drawn_networks import draw_network, draw_shape, photos
from torch_oracle import MEAN, STD, some_images, step_of_drawn

from smidgen.anatomy import describe
from smidgen.errors import ExportError
from smidgen.export.c import with_about, write_c
from smidgen.export.parity import run_host_c, run_javascript
from smidgen.export.toolchain import HARNESS, is_installed, run
from smidgen.inputs import InputShape
from smidgen.quantize import quantize, to_document

VERDICTS = ROOT / "runs" / "random_networks.jsonl"
FIGURES = ROOT / "benchmarks" / "random_networks.json"
PAGE = ROOT / "docs" / "reliability.md"
GCC = 20  # one network in so many is built by gcc
IMAGES = 8  # that each exported network is run on


def counts_of_drawn(seed: int) -> str:
    """Whether the counts of a drawn network are torch's: "equal", or "wrong:" and both."""
    shape = draw_shape(seed)
    model = draw_network(seed, shape, products=seed % 4 == 0).eval()
    anatomy = describe(model, InputShape(*shape))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *shape))
    ours = anatomy.macs, anatomy.params
    theirs = counter.get_total_flops() // 2, sum(p.numel() for p in model.parameters())
    return "equal" if ours == theirs else f"wrong: {ours} instead of {theirs}"


def exports_of_drawn(seed: int) -> str:
    """Whether the integer graph is the same in numpy, C and JavaScript: "equal", "refused:" and the
    reason, or "wrong:" and which differs."""
    shape = draw_shape(seed)
    model = draw_network(seed, shape, products=seed % 4 == 0).eval()
    images = some_images(32, shape, seed)
    try:
        graph = quantize(model, images, photos(images, MEAN, STD), "drawn", "01234")
        sources = with_about(write_c(graph), ["A drawn network."])
    except ExportError as problem:
        return f"refused: {problem}"
    batch = images[:IMAGES].numpy()
    wanted = graph.run(batch)
    with tempfile.TemporaryDirectory() as name:
        for file, text in sources.items():
            (Path(name) / file).write_text(text, encoding="utf-8")
        found = {"C": run_c(Path(name), batch, seed)}
    found["JavaScript"] = run_javascript(to_document(graph), batch)
    differing = [each for each, rows in found.items() if not np.array_equal(rows, wanted)]
    return f"wrong: {', '.join(differing)} differs from numpy" if differing else "equal"


def run_c(model: Path, batch: NDArray[np.uint8], seed: int) -> NDArray[np.int32]:
    """The logits by `model.c` in the folder `model`, built by the compiler for that seed."""
    if seed % GCC == 0 or not is_installed("tcc"):
        return run_host_c(model, batch, ("-O3", "-march=native") if seed % (2 * GCC) else ("-O1",))
    program = model / "program"
    run(["tcc", "-I", model, model / "model.c", HARNESS / "host.c", "-o", program])
    printed = run([program], given=np.moveaxis(batch, 1, -1).tobytes())
    return np.frombuffer(printed, np.int32).reshape(len(batch), -1)


def judge_counts_and_step(seed: int) -> dict[str, Any]:
    return {"seed": seed} | {
        "step": verdict_of(step_of_drawn, seed),
        "counts": verdict_of(counts_of_drawn, seed),
    }


def judge_exports(seed: int) -> dict[str, Any]:
    return {"seed": seed, "exports": verdict_of(exports_of_drawn, seed)}


def verdict_of(check: Callable[[int], str], seed: int) -> str:
    """The verdict of a check; what it raises is one as well."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    try:
        return check(seed)
    except Exception as problem:
        return f"wrong: {type(problem).__name__}: {problem}"


def read_verdicts() -> dict[int, dict[str, Any]]:
    """The verdicts so far, by seed; a line that was cut off is left out."""
    verdicts: dict[int, dict[str, Any]] = defaultdict(dict)
    for line in VERDICTS.read_text(encoding="utf-8").splitlines() if VERDICTS.exists() else []:
        with contextlib.suppress(ValueError):
            verdict = json.loads(line)
            verdicts[verdict["seed"]] |= verdict
    return verdicts


def summarise(verdicts: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """How often each check came to what, and the seeds of what is wrong."""
    figures: dict[str, Any] = {"networks": len(verdicts), "machine": platform.machine()}
    for check in ("step", "counts", "exports"):
        found = {seed: verdict[check] for seed, verdict in verdicts.items() if check in verdict}
        kinds = Counter(verdict.split(":")[0] for verdict in found.values())
        wrong = sorted(seed for seed, verdict in found.items() if verdict.startswith("wrong"))
        reasons = Counter(
            re.sub(r"^refused: \S+ ", "", verdict)
            for verdict in found.values()
            if verdict.startswith("refused")
        )
        figures[check] = {
            "tried": len(found),
            "equal": sum(n for kind, n in kinds.items() if kind.startswith("equal")),
            "in a second or third batch": sum(n for k, n in kinds.items() if "batch" in k),
            "refused": kinds["refused"],
            "reasons": dict(reasons.most_common(5)),
            "wrong": len(wrong),
            "wrong_seeds": wrong[:20],
        }
    return figures


NAMES = {
    "step": "loss, gradients, statistics, optimiser step",
    "counts": "parameters and multiply–accumulates",
    "exports": "integer graph in numpy, C and JavaScript",
}


def table(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| | networks | equal | refused | wrong |", "| --- | ---: | ---: | ---: | ---: |"]
    for check, name in NAMES.items():
        of = figures[check]
        lines.append(
            f"| {name} | {of['tried']:,} | {of['equal']:,} | {of['refused']:,} | {of['wrong']:,} |"
        )
    return "\n".join(lines)


def write_figures() -> None:
    """Writes the figures of all verdicts so far."""
    figures = summarise(read_verdicts())
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    mark = "<!-- random networks -->\n"
    before, _, after = PAGE.read_text(encoding="utf-8").split(mark)
    PAGE.write_text(f"{before}{mark}{table(figures)}\n{mark}{after}", encoding="utf-8")
    print(table(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--exports", action="store_true", help="export them instead")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.count)
    judge, check = (
        (judge_exports, "exports") if options.exports else (judge_counts_and_step, "step")
    )
    done = read_verdicts()
    left = [seed for seed in seeds if check not in done.get(seed, {})]
    VERDICTS.parent.mkdir(exist_ok=True)
    with (
        VERDICTS.open("a", encoding="utf-8") as file,
        get_context("spawn").Pool(options.jobs) as pool,
    ):
        for i, verdict in enumerate(pool.imap_unordered(judge, left, chunksize=4), 1):
            print(json.dumps(verdict), file=file, flush=True)
            bad = " ".join(str(v) for v in verdict.values() if str(v).startswith("wrong"))
            end = f" seed {verdict['seed']} {bad}\n" if bad else ""
            print(f"\r{i:,} of {len(left):,}", end=end, file=sys.stderr, flush=True)
    write_figures()


if __name__ == "__main__":
    main()
