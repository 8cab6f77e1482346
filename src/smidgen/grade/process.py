"""Starts a process for each submission, waits for it, and reads its result."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

from joblib import cpu_count

from smidgen.budget import load_budget
from smidgen.errors import BudgetError, RunError
from smidgen.inputs import InputShape

Status = Literal["passed", "failed", "error", "timeout", "crashed", "exited", "forked"]


@dataclass(frozen=True)
class Limits:
    """What one submission may use."""

    seconds: float = 30.0
    memory_mb: int = 4096  # of address space, of which torch itself maps about a gigabyte
    file_mb: int = 16


@dataclass(frozen=True)
class Grade:
    """The result of one submission.

    passed, failed: it was checked, and `rules` holds its verdict. error: it could not be loaded
    or run, `note` says why. timeout, crashed, exited: its process hung, died of a signal, or
    ended before the check did. forked: it tried to start a copy of its process.
    """

    submission: str
    status: Status
    seconds: float
    note: str = ""
    figures: dict[str, int] = field(default_factory=dict)  # params, macs, receptive_field
    rules: list[dict[str, Any]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    @property
    def broken(self) -> list[str]:
        """The names of the rules that it breaks."""
        return [rule["rule"] for rule in self.rules if not rule["passed"]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}


def find_submissions(folder: Path | str) -> list[Path]:
    """The Python files and subfolders of a folder, sorted, hidden ones left out.

    Raises RunError where there are none.
    """
    try:
        entries = sorted(Path(folder).iterdir())
    except OSError as problem:
        raise RunError(f"cannot read the folder {str(folder)!r}: {problem.strerror}") from None
    found = [
        path
        for path in entries
        if not path.name.startswith((".", "__")) and (path.is_dir() or path.suffix == ".py")
    ]
    if not found:
        raise RunError(
            f"{str(folder)!r} holds no submissions; each is one .py file or one subfolder"
        )
    return found


def grade_folder(
    folder: Path | str,
    budget: str,
    limits: Limits | None = None,
    jobs: int | None = None,
    input_shape: InputShape | None = None,
) -> Iterator[Grade]:
    """The grade of every submission in the folder, in the order of their names, as they come.

    `budget` is a shipped budget's name or a TOML file; `jobs` processes run side by side, one for
    each core if it is None. Without an `input_shape` each network's is guessed. Raises RunError
    for a folder without submissions and BudgetError for a budget that cannot be understood.
    """
    if os.name != "posix":
        raise BudgetError("grade needs the process limits of Linux or macOS; use one, or WSL")
    load_budget(budget)
    budget = str(Path(budget).resolve()) if budget.endswith(".toml") else budget
    submissions = find_submissions(folder)
    with ThreadPoolExecutor(jobs or cpu_count()) as pool:
        grade = partial(
            grade_one, budget=budget, limits=limits or Limits(), input_shape=input_shape
        )
        yield from pool.map(grade, submissions)


def grade_one(
    submission: Path, budget: str, limits: Limits, input_shape: InputShape | None = None
) -> Grade:
    """The grade of one submission, checked in its own process in a copy of its own."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(
        prefix="smidgen-grade-", ignore_cleanup_errors=True
    ) as scratch:
        try:
            copied = _copy(submission, Path(scratch), limits)
        except (OSError, shutil.Error) as problem:
            return Grade(submission.name, "error", 0.0, f"cannot be copied: {problem}")
        # The file has no name, so nothing but the process itself can write its verdict.
        with tempfile.TemporaryFile() as answer:
            job = {"target": copied.name, "budget": budget, "input": input_shape}
            code = _run(copied, job, limits, answer)
            answer.seek(0)
            written = answer.read()
    return _interpret(submission.name, code, written, time.monotonic() - start, limits)


def _copy(submission: Path, scratch: Path, limits: Limits) -> Path:
    """A copy of the submission in the scratch folder, without what is hidden or too large."""
    largest = limits.file_mb * 2**20
    copied = scratch / submission.name

    def left_out(folder: str, names: list[str]) -> list[str]:
        paths = [(name, Path(folder, name)) for name in names]
        return [n for n, p in paths if n[0] == "." or (p.is_file() and p.stat().st_size > largest)]

    if submission.is_dir():
        shutil.copytree(submission, copied, symlinks=True, ignore=left_out)
    elif submission.stat().st_size > largest:
        raise OSError(f"it is larger than {limits.file_mb} MB")
    else:
        shutil.copyfile(submission, copied)
    return copied


def _run(copied: Path, job: dict[str, Any], limits: Limits, answer: IO[bytes]) -> int | None:
    """The exit code of the process that checks it (negative: a signal), None if it hung."""
    job |= {"answer": answer.fileno()}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "smidgen.grade.child", json.dumps(job | asdict(limits))],
        cwd=copied.parent,
        env=_environment(copied.parent),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(answer.fileno(),),
        start_new_session=True,
    )
    try:
        return process.wait(limits.seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(scratch: Path) -> dict[str, str]:
    """All that the process inherits: paths of programs and of smidgen, and its scratch folder."""
    return {
        "PATH": os.defpath,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
    }


def _interpret(
    name: str, code: int | None, written: bytes, seconds: float, limits: Limits
) -> Grade:
    if code is None or code == -signal.SIGXCPU:
        return Grade(name, "timeout", seconds, f"did not end within {limits.seconds:g} seconds")
    if code < 0:
        return Grade(name, "crashed", seconds, f"died of {signal.Signals(-code).name}")
    try:
        document = json.loads(written)
        status, note = document["status"], document["note"]
        return Grade(name, status, seconds, note, document["figures"], document["rules"])
    except (ValueError, KeyError, TypeError):
        return Grade(name, "exited", seconds, f"exited with code {code} before the check ended")
