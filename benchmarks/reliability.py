"""Commands that are killed at any moment, and what the same command makes of it afterwards.

    python benchmarks/reliability.py --count 200               # every command, hours on two cores
    python benchmarks/reliability.py --count 200 --only train  # one of them
    python benchmarks/reliability.py --count 0                 # the figures so far

Each trial runs a command in a fresh folder and stops it: by SIGKILL at a random moment, of the
whole group of processes, of the first alone or of one that it trains in; or with the other --stop,
by Ctrl-C at a random moment (interrupt), a disk of random size that fills up (full, as root), or a
folder without the permission to write (denied, as root). Where the command can say so, it must end
with one line and without a traceback. Then it is run again, to its end, and what it leaves must
be, to the bit, what an uninterrupted run leaves; only seconds are not compared.

The commands run in forks of one process that has loaded everything, as loading takes longer than
they do. Each outcome is a line of runs/reliability.jsonl as soon as it is there; a trial that has
one is not made again. The figures go to benchmarks/reliability.json and docs/reliability.md, which
keep those of before for what has no outcome there.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gzip
import hashlib
import http.server
import importlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "runs" / "reliability"
OUTCOMES = ROOT / "runs" / "reliability.jsonl"
FIGURES = ROOT / "benchmarks" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"
STOPS = ("kill", "interrupt", "full", "denied")
LONGEST_S = 600.0  # that a command may take to its end
NOBODY = 65534

NETWORK = """[[layers]]
conv = 4
kernel = 3
stride = 2

[[layers]]
head = "gap_linear"
"""
SPACE = """title = "a tiny space"
layers = [
    { conv = { from = 2, to = 16, step = 2 }, stride = 2 },
    { pool = 2 },
    { conv = { from = 4, to = 16, step = 2 }, repeat = { from = 0, to = 1 } },
    { head = "gap_linear" },
]
"""
SUBMISSION = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, {width}, 3), nn.ReLU(), nn.Conv2d({width}, 10, 3),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )
"""


@dataclass(frozen=True)
class Command:
    """A command line, which writes to the folder `out`, and what is left there that must be equal.

    `again` is how it is gone on with; None where there is nothing to go on with, so that the folder
    is removed first, as the command's own message says. `parts` are globs.
    """

    line: Callable[[Path], list[str]]
    parts: tuple[str, ...]
    again: Callable[[Path], list[str] | None]
    before: Callable[[Path], None] = lambda out: None


def train_line(out: Path) -> list[str]:
    settings = ("epochs=4", "backend=native", "workers=1", "full=false")
    chosen = [word for each in settings for word in ("--set", each)]
    return ["train", str(PLACE / "net.toml"), "--data", f"idx:{PLACE / 'idx'}", *chosen,
            "--out", str(out)]  # fmt: skip


def sweep_line(out: Path) -> list[str]:
    settings = ("epochs=2", "backend=native", f"data=idx:{PLACE / 'idx'}")
    chosen = [word for each in settings for word in ("--set", each)]
    return ["sweep", str(PLACE / "net.toml"), "--grid", "optimizer.lr=0.01,0.1", "--seeds", "2",
            *chosen, "--out", str(out)]  # fmt: skip


def search_line(out: Path) -> list[str]:
    chosen = ("--space", str(PLACE / "space.toml"), "--budget", str(PLACE / "budget.toml"),
              "--trials", "12", "--rungs", "1,2,4", "--batch", "6", "--seeds", "2", "--jobs", "2",
              "--set", "batch_size=32")  # fmt: skip
    return ["search", "--data", f"idx:{PLACE / 'idx'}", *chosen, "--out", str(out)]


def resume_line(out: Path) -> list[str] | None:
    return ["train", "--resume", str(out)] if (out / "last.pt").is_file() else None


def copy_run(out: Path) -> None:
    shutil.copytree(PLACE / "run", out)


def same(line: Callable[[Path], list[str]], *more: str) -> Callable[[Path], list[str]]:
    return lambda out: [*line(out), *more]


def export_line(out: Path) -> list[str]:
    return ["export", str(PLACE / "run"), "--format", "c", "--out", str(out)]


def report_line(out: Path) -> list[str]:
    return ["report", str(out)]


def download_line(out: Path) -> list[str]:
    return ["data", "mnist", "--data-dir", str(out)]


def grade_line(out: Path) -> list[str]:
    return ["grade", str(PLACE / "submissions"), "--budget", "era-8k", "--seconds", "600",
            "--out", str(out)]  # fmt: skip


COMMANDS = {
    "train": Command(train_line, ("model.safetensors", "metrics.csv", "result.json",
                                  "test_logits.safetensors", "README.md", "plots/*"), resume_line),
    "sweep": Command(sweep_line, ("*/*/model.safetensors", "*/*/metrics.csv", "*/*/result.json"),
                     sweep_line),
    "search": Command(search_line, ("trials.csv", "result.json", "networks/*", "best/*.toml",
                                    "best/runs/*/model.safetensors"), search_line),
    "download": Command(download_line, ("**/*.gz",), download_line),
    "export": Command(export_line, ("*",), same(export_line, "--force")),
    "report": Command(report_line, ("README.md", "summary.txt", "plots/*", "badges/*"),
                      report_line, copy_run),
    "grade": Command(grade_line, ("grades.json", "grades.csv", "grades.html"), grade_line),
}  # fmt: skip

SECONDS = re.compile(
    r'"(seconds|images_per_second|run)": [^,\n]+|\b\d+(\.\d+)? s\b|'
    r"[\d,]+ images/s"
)


def evidence(command: Command, out: Path) -> dict[str, str]:
    """The digests of what must be equal, by file; without seconds and the folder's own name."""
    found = {}
    for path in sorted(path for glob in command.parts for path in out.glob(glob)):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix in (".json", ".md", ".csv", ".html", ".txt", ".toml"):
                content = without_seconds(path, content.decode(), out).encode()
            found[str(path.relative_to(out))] = hashlib.sha256(content).hexdigest()[:16]
    return found


def without_seconds(path: Path, text: str, out: Path) -> str:
    text = text.replace(str(out), "OUT").replace(out.name, "OUT")
    lines = [line.split(",") for line in text.splitlines()]
    if path.suffix == ".csv" and "seconds" in lines[0]:
        drop = lines[0].index("seconds")
        return "\n".join(",".join(line[:drop] + line[drop + 1 :]) for line in lines)
    if path.suffix == ".html":
        return re.sub(r"<td[^>]*>[\d.]+</td>", "", text)
    return SECONDS.sub("", text)


def prepare() -> None:
    """What the commands read: images, a network, a finished run, submissions, files to download."""
    (PLACE / "submissions").mkdir(parents=True, exist_ok=True)
    (PLACE / "net.toml").write_text(NETWORK)
    (PLACE / "space.toml").write_text(SPACE)
    (PLACE / "budget.toml").write_text('title = "a tiny budget"\nmax_params = 2_000\n')
    for width in (4, 400):
        (PLACE / "submissions" / f"net{width}.py").write_text(SUBMISSION.format(width=width))
    (PLACE / "idx").mkdir(exist_ok=True)
    chance = np.random.default_rng(0)
    for split, count in (("train", 300), ("t10k", 60)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = chance.integers(0, 256, (count, 28, 28), dtype=np.uint8) // (
            1 + labels[:, None, None]
        )
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
            content = gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)
            (PLACE / "idx" / f"{split}-{kind}-ubyte.gz").write_bytes(content)
    if not (PLACE / "run" / "result.json").is_file():
        shutil.rmtree(PLACE / "run", ignore_errors=True)
        code, said, _ = run(train_line(PLACE / "run"))
        assert code == 0, said


class Slowly(http.server.SimpleHTTPRequestHandler):
    """Serves the files to download, a piece at a time."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        while piece := source.read(16_384):
            outputfile.write(piece)
            time.sleep(0.02)

    def log_message(self, *_: Any) -> None:
        pass


def serve() -> None:
    """Publishes the images as `mnist` on this machine's own address, for all that is forked."""
    from smidgen.data import published

    handler = functools.partial(Slowly, directory=str(PLACE / "idx"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    files = [PLACE / "idx" / f"{name}.gz" for name in published.FILES]
    digests = [hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest() for file in files]
    published.PUBLISHED["mnist"] = replace(
        published.PUBLISHED["mnist"],
        mirrors=(f"http://127.0.0.1:{server.server_port}/",),
        digests=tuple(f"sha256:{digest}" for digest in digests),
    )


def start(line: list[str], said: Path, user: int = 0) -> int:
    """Starts a command in a group of processes of its own; returns its process id."""
    process = os.fork()
    if process:
        while os.getpgid(process) != process:
            time.sleep(0.001)
        return process
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with said.open("wb") as file:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        if user:
            os.setgid(user)
            os.setuid(user)
        sys.argv = ["smidgen", *line]
        from smidgen.cli import main

        os.setsid()
        code = 0
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def wait(process: int, limit_s: float) -> int | None:
    """The exit code of a process, negative for a signal; None if it still runs after so long."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def run(line: list[str], user: int = 0) -> tuple[int, str, float]:
    """Runs a command to its end: exit code, what it said, and the seconds that it took."""
    said, began = PLACE / f"said-{os.getpid()}.txt", time.monotonic()
    process = start(line, said, user)
    code = wait(process, LONGEST_S)
    if code is None:
        os.killpg(process, signal.SIGKILL)
        code = wait(process, 60)
        return 124, "took too long", LONGEST_S
    return code, said.read_text(errors="replace"), time.monotonic() - began


def stop(command: Command, out: Path, how: str, chance: random.Random, usual_s: float) -> str:
    """Runs the command so that it is stopped; returns what is wrong with how it ended, or ""."""
    if how == "full":
        mount(out.parent, "size=64m")
        command.before(out)
        free = int(1024 * 2 ** chance.uniform(2, 8))
        mount(out.parent, f"remount,size={shutil.disk_usage(out.parent).used + free}")
        code, said, _ = run(command.line(out))
        return judge_end(code, said, (0, 1, 2))
    if how == "denied":
        command.before(out)
        out.mkdir(parents=True, exist_ok=True)
        out.chmod(0o555)
        code, said, _ = run(command.line(out), NOBODY)
        out.chmod(0o755)
        if "ermission denied" not in said:
            return f"says nothing of the permission: {said.strip()[-200:]}"
        return judge_end(code, said, (2,))
    said_to, moment = PLACE / f"said-{os.getpid()}.txt", chance.uniform(0, usual_s)
    while True:
        command.before(out)
        process = start(command.line(out), said_to)
        code = wait(process, moment)
        if code is None:
            break
        moment *= 0.8  # it ended before: once more, and sooner
        shutil.rmtree(out, ignore_errors=True)
    if how == "kill":
        trainers = workers_of(process)
        if trainers and chance.random() < 1 / 3:
            os.kill(chance.choice(trainers), signal.SIGKILL)
            return judge_end(wait(process, LONGEST_S), said_to.read_text(errors="replace"), (0,))
        with_all_it_started = chance.random() < 0.5
        (os.killpg if with_all_it_started else os.kill)(process, signal.SIGKILL)
        wait(process, 60)
        return ""
    os.killpg(process, signal.SIGINT)
    code = wait(process, 60)
    if code is None:
        os.killpg(process, signal.SIGKILL)
        wait(process, 60)
        return "still runs a minute after Ctrl-C"
    return judge_end(code, said_to.read_text(errors="replace"), (0, 1, 130, -2))


def workers_of(process: int) -> list[int]:
    """The processes that joblib has started for it."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(each) for each in children if b"Loky" in Path(f"/proc/{each}/cmdline").read_bytes()]


def mount(folder: Path, options: str) -> None:
    """A disk in memory at that folder, or another size for the one there."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True)


def judge_end(code: int | None, said: str, allowed: tuple[int, ...]) -> str:
    """What is wrong with how a command ended, or ""."""
    if "Traceback" in said or "Error:" in said:
        return f"a traceback: {said.strip().splitlines()[-1][:200]}"
    return "" if code in allowed else f"exit code {code}: {said.strip()[-200:]}"


def trial(
    name: str, how: str, number: int, wanted: dict[str, str], usual_s: float
) -> dict[str, Any]:
    """One command stopped and run again; the outcome is "equal" or what is wrong."""
    command, chance = COMMANDS[name], random.Random(f"{name} {how} {number}")
    folder = PLACE / f"trial-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    out = folder / "out"
    folder.mkdir()
    wrong = ""
    try:
        wrong = stop(command, out, how, chance, usual_s)
        if how == "full":
            mount(folder, "remount,size=64m")
        if not wrong:
            wrong = finish(command, out, wanted)
    finally:
        if how == "full":
            subprocess.run(("umount", "-l", str(folder)), check=False)
    return {"command": name, "stop": how, "trial": number, "outcome": wrong or "equal"}


def finish(command: Command, out: Path, wanted: dict[str, str]) -> str:
    """Goes on with what was stopped, to its end; what is wrong with what is left, or ""."""
    line = command.again(out)
    if line is None or not out.exists():
        shutil.rmtree(out, ignore_errors=True)
        command.before(out)
        line = command.line(out)
    code, said, _ = run(line)
    if wrong := judge_end(code, said, (0, 1)):
        return f"again: {wrong}"
    found = evidence(command, out)
    differing = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
    return f"differs: {', '.join(differing)}" if differing else ""


def reference(name: str) -> tuple[dict[str, str], float]:
    """What an uninterrupted run leaves, equal in two of them, and the seconds that one takes."""
    command, left, usual_s = COMMANDS[name], [], 0.0
    for _ in range(2):
        folder = PLACE / f"trial-{os.getpid()}"  # as its trials have: weights name their recipe
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command.before(folder / "out")
        code, said, usual_s = run(command.line(folder / "out"))
        if wrong := judge_end(code, said, (0, 1)):
            raise SystemExit(f"{name} does not run: {wrong}")
        left.append(evidence(command, folder / "out"))
    if left[0] != left[1] or not left[0]:
        differing = [part for part in left[0] if left[0][part] != left[1].get(part)]
        raise SystemExit(f"{name} leaves something else each time: {differing}")
    shutil.rmtree(folder)
    return left[0], usual_s


def read_outcomes() -> dict[tuple[str, str, int], str]:
    outcomes = {}
    for line in OUTCOMES.read_text().splitlines() if OUTCOMES.exists() else []:
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            outcomes[row["command"], row["stop"], row["trial"]] = row["outcome"]
    return outcomes


def write_figures() -> None:
    """Writes how often each command was stopped in each way, and what came of it."""
    outcomes = read_outcomes()
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for name, kept in json.loads(FIGURES.read_text()).items():
        for how, count in kept.items():
            if not any((name, how) == made[:2] for made in outcomes):
                counts[name][how].update(count)
    for (name, how, _), outcome in outcomes.items():
        counts[name][how]["equal" if outcome == "equal" else "wrong"] += 1
    FIGURES.write_text(json.dumps(counts, indent=2, sort_keys=True) + "\n")
    lines = ["| command | SIGKILL | Ctrl-C | full disk | no permission |",
             "| --- | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for name in COMMANDS:
        cells = [f"{c['equal']:,} of {c.total():,}" for how in STOPS for c in [counts[name][how]]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    mark = "<!-- reliability -->\n"
    before, _, after = PAGE.read_text().split(mark)
    table = "\n".join(lines)
    PAGE.write_text(f"{before}{mark}{table}\n{mark}{after}")
    print(table)


LOADED = (
    *("matplotlib.pyplot", "pooch", "requests", "rich.progress", "torch._dynamo"),
    *("smidgen.bench", "smidgen.cli", "smidgen.evaluate", "smidgen.export", "smidgen.grade"),
    *("smidgen.report", "smidgen.search.run", "smidgen.sweep"),
)


def load_everything() -> None:
    """Imports what the commands import, so that a fork has it."""
    os.environ |= {"OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1", "COLUMNS": "100"}
    for name in LOADED:
        importlib.import_module(name)
    import torch

    from smidgen.train.native import library

    torch.set_num_threads(1)
    library()  # for those who may not read this user's cache, too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="trials of each command")
    parser.add_argument("--only", choices=COMMANDS, help="this command")
    parser.add_argument("--stop", choices=STOPS, default="kill")
    options = parser.parse_args()
    if options.count:
        load_everything()
        prepare()
        serve()
    done, references = read_outcomes(), {}
    for number, name in itertools.product(range(options.count), COMMANDS):
        if (name, options.stop, number) in done or options.only not in (None, name):
            continue
        if name not in references:
            references[name] = reference(name)
            print(f"{name} takes {references[name][1]:.1f} s", file=sys.stderr, flush=True)
        outcome = trial(name, options.stop, number, *references[name])
        with OUTCOMES.open("a") as file:
            print(json.dumps(outcome), file=file)
        end = "" if outcome["outcome"] == "equal" else f" {outcome['outcome']}\n"
        place = f"\r{name} {number + 1} of {options.count}  "
        print(place, end=end, file=sys.stderr, flush=True)
    write_figures()


if __name__ == "__main__":
    main()
