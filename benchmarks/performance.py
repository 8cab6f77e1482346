"""Measures everything `smidgen bench` can and writes docs/performance.md; forty minutes, alone.

    python benchmarks/performance.py                 # every suite
    python benchmarks/performance.py standard race   # these again; the others stay as they were

The figures are kept in benchmarks/performance.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import commands
from peers import run as peers

from smidgen.bench.report import markdown
from smidgen.cli.bench import SUITES

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "performance.json"
ABOUT = """# Performance

Written by `python benchmarks/performance.py`, which runs `smidgen bench` suite by suite. What is
compared was taken in turn within one run; figures are medians over the rounds. Machines are shared
and noisy: read the ratios first.

The *standard loop* is our own plain version of what people write (`smidgen/bench/standard.py`): a
Dataset that turns, shifts and normalises one PIL image at a time, a DataLoader, the usual five
lines. From a seed it makes the same bits as torchvision's transforms in the same order, with less
bookkeeping: beside them it trained 1.18 times as fast, so ratios to it are on the low side.
*Seconds* are those of training, and of a teacher's answers before it. Times to an accuracy are read
off weights that were noted down while training and scored afterwards; nothing is chosen by them.

The roofline has two measures, both run in turn with the training: fused multiply-adds in registers
(`train/native/peak.c`), which no program exceeds, and torch's own float32 matrix product, which a
good convolution can. Both are those of the cores that a recipe keeps busy: all of them, or one
where it says `workers = 1`, as most of our own do. Networks for colour train on random images.
FLOP are those of the sums over taps, whatever computes them: convolutions of 3 × 3 take 16 products
where the sums take 36 (`train/native/winograd.c`), so that a share may be more than all.

CUDA is not measured: no GPU was at hand. The path is the same code with the images on the device.
"""


def main() -> None:
    own = {"commands": commands, "peers": peers}
    wanted = sys.argv[1:] or [*SUITES, *own]
    measured = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {}
    for suite in wanted:
        measured.setdefault("commits", {})[suite] = _commit()
        if suite in own:
            measured[suite] = own[suite].measure()
        else:
            command = [sys.executable, "-m", "smidgen", "bench", suite, "--json"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            measured |= json.loads(done.stdout)
        FIGURES.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    sections = [markdown(suite, measured[suite]) for suite in SUITES if suite in measured]
    sections += [each.section(measured[name]) for name, each in own.items() if name in measured]
    machine = measured["hardware"]
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
    closing = (
        f"{machine['cpu']}, {machine['cores']} cores; {versions}. Measured at "
        f"{_by_commit(measured['commits'])}.\n"
    )
    (ROOT / "docs" / "performance.md").write_text(
        "\n".join([ABOUT, *sections, closing]), encoding="utf-8"
    )


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _by_commit(commits: dict[str, str]) -> str:
    """The commits of the suites; a commit that measured all of them stands alone."""
    suites = defaultdict[str, list[str]](list)
    for suite, commit in commits.items():
        suites[commit].append(suite)
    if len(suites) == 1:
        return f"commit {next(iter(suites))}"
    return "; ".join(f"commit {commit}: {', '.join(names)}" for commit, names in suites.items())


if __name__ == "__main__":
    main()
