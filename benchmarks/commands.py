"""Wall time of what users type, each command a process of its own, with warm caches.

    python benchmarks/performance.py commands

The commands run in turn, round by round; figures are medians over the rounds. A training counts
without the seconds that it says it trained for, and until its result is printed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from smidgen.run import Run

ROUNDS = 5
RESULT = b" images/s, "  # is in the last line but one that `train` prints, and its pictures follow
WANTED = {  # command: seconds that it may take
    "smidgen --help": None,
    "smidgen models": None,
    "smidgen check smidgen_8k --budget mcu-16k": 1.5,
    "smidgen describe smidgen_8k": 1.5,
    "smidgen predict smidgen_8k digit.png": 1.5,
    "smidgen evaluate smidgen_8k": 1.5,
    "smidgen export smidgen_1936 --format c --out c": 5.0,
    "smidgen export smidgen_1936 --format html --out html": 10.0,
    "smidgen export smidgen_8k --format html --out html": 10.0,
    "smidgen train smidgen_fast --out run": 1.5,
}


def measure() -> dict[str, float]:
    """Seconds by command."""
    seconds = defaultdict[str, list[float]](list)
    data = Path(os.environ.get("SMIDGEN_DATA", "data")).resolve()
    for _ in range(1 + ROUNDS):  # the first round warms the caches
        with tempfile.TemporaryDirectory() as name:
            seven = Image.new("L", (28, 28))
            ImageDraw.Draw(seven).line([(8, 6), (20, 6), (12, 23)], 255, 3)
            seven.save(Path(name) / "digit.png")
            for command in WANTED:
                seconds[command].append(_time(command, Path(name), data))
    return {command: statistics.median(found[1:]) for command, found in seconds.items()}


def _time(command: str, folder: Path, data: Path) -> float:
    force = ["--force"] if "export" in command else []
    arguments = [sys.executable, "-m", *command.split(), *force]
    environment = os.environ | {"SMIDGEN_DATA": str(data)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # its caches are warm, too
    began = time.perf_counter()
    with subprocess.Popen(
        arguments, cwd=folder, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        shown = next((time.perf_counter() for line in process.stdout if RESULT in line), None)
        process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    if shown is None:
        return time.perf_counter() - began
    return shown - began - Run(folder / "run").result()["seconds"]


def section(measured: dict[str, Any]) -> str:
    """The seconds as a table in Markdown."""
    head = ["| command | seconds | wanted |", "| --- | ---: | ---: |"]
    lines = ["## Seconds of a command", "", *head]
    for command, seconds in measured.items():
        most = WANTED[command]
        more = ", beyond its training" if " train " in command else ""
        lines.append(f"| `{command}`{more} | {seconds:.1f} | {f'≤ {most:g}' if most else ''} |")
    return "\n".join([*lines, ""])
