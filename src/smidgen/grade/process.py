"""Grades submissions: one process records a network, another rebuilds and judges it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from smidgen.budget import Budget, load_budget
from smidgen.entry import is_trained
from smidgen.errors import BudgetError, RunError
from smidgen.grade.answers import LARGEST_MB, Judged, is_whole, named, one_line, unpack
from smidgen.grade.copying import Copied, copy_submission
from smidgen.grade.sandbox import Isolation, choose_isolation
from smidgen.grade.worker import Worker, is_too_much
from smidgen.inputs import InputShape
from smidgen.source import SUFFIXES

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
    digest: str = ""  # of all that the grade depends on

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
    """The Python files, notebooks and subfolders of a folder, sorted, hidden ones left out.

    Raises RunError where there are none.
    """
    try:
        entries = sorted(Path(folder).iterdir())
    except OSError as problem:
        raise RunError(
            f"cannot read the folder {str(folder)!r}: {problem.strerror}; check the path"
        ) from None
    found = [
        path
        for path in entries
        if not path.name.startswith((".", "__")) and (path.is_dir() or path.suffix in SUFFIXES)
    ]
    if not found:
        raise RunError(
            f"{str(folder)!r} holds no submissions; each is one .py file, notebook or subfolder"
        )
    return found


def grade_folder(
    folder: Path | str,
    budget: str,
    limits: Limits | None = None,
    jobs: int | None = None,
    input_shape: InputShape | None = None,
    isolation: Isolation | None = None,
    earlier: Mapping[str, Grade] | None = None,
) -> Iterator[Grade]:
    """The grade of every submission in the folder, as they come.

    `budget` is a shipped budget's name or a TOML file; `jobs` submissions are graded side by side,
    one for each core if it is None. Without an `input_shape` each network's is guessed. A grade
    among the `earlier` ones, by name, stands where nothing has changed since; a timeout is tried
    again. Raises RunError for a folder without submissions and BudgetError for a budget that
    cannot be understood.
    """
    from joblib import cpu_count  # slow, and the processes of a grading import this module too

    if os.name != "posix":
        raise BudgetError("grade needs the process limits of Linux or macOS; use one, or WSL")
    loaded = load_budget(budget)
    submissions = find_submissions(folder)
    job = _job(loaded, limits or Limits(), input_shape, isolation or choose_isolation())
    yield from _grade_side_by_side(submissions, job, earlier or {}, jobs or cpu_count())


def _grade_side_by_side(
    submissions: list[Path], job: dict[str, Any], earlier: Mapping[str, Grade], jobs: int
) -> Iterator[Grade]:
    idle: SimpleQueue[Worker] = SimpleQueue()

    def grade(path: Path) -> Grade:
        worker = idle.get()
        try:
            return _grade(path, job, worker, earlier.get(one_line(path.name)))
        finally:
            idle.put(worker)

    with contextlib.ExitStack() as workers:
        for _ in range(jobs):
            idle.put(workers.enter_context(Worker(Isolation(job["isolation"]))))
        pool = ThreadPoolExecutor(jobs)
        try:
            for done in as_completed([pool.submit(grade, path) for path in submissions]):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def grade_one(
    submission: Path,
    budget: str,
    limits: Limits,
    input_shape: InputShape | None = None,
    isolation: Isolation | None = None,
    earlier: Grade | None = None,
) -> Grade:
    """The grade of one submission. Whatever it is or does, that is all that comes of it."""
    isolation = isolation or choose_isolation()
    with Worker(isolation) as worker:
        job = _job(load_budget(budget), limits, input_shape, isolation)
        return _grade(submission, job, worker, earlier)


def _job(
    budget: Budget, limits: Limits, input_shape: InputShape | None, isolation: Isolation
) -> dict[str, Any]:
    """What both processes of a submission are told, besides its name."""
    return asdict(limits) | {
        "budget": budget.model_dump_json(exclude_unset=True),
        "last_epochs": budget.last_epochs,
        "input": list(input_shape) if input_shape else None,
        "isolation": isolation.kind,
    }


def _grade(submission: Path, job: dict[str, Any], worker: Worker, earlier: Grade | None) -> Grade:
    name, start = one_line(submission.name), time.monotonic()
    job = job | {"name": submission.name}
    try:
        with worker.given() as given:
            copied = copy_submission(submission, given, job["file_mb"])
            digest = _digest(copied, job)
            if earlier and earlier.digest == digest and earlier.status != "timeout":
                return earlier
            grade = _grade_copy(name, copied, job | {"given": str(given)}, worker)
    except OSError as problem:
        return Grade(name, "error", 0.0, one_line(f"cannot be copied: {problem}"))
    except Exception as problem:  # nothing that one submission is may end the others' grading
        return Grade(name, "error", 0.0, one_line(f"cannot be graded: {named(problem)}"))
    seconds = time.monotonic() - start
    left_out = f"{copied.left_out} files left out" if copied.left_out else ""
    note = "; ".join(filter(None, (grade.note, left_out)))
    return replace(grade, seconds=seconds, note=note, digest=digest)


def _digest(copied: Copied, job: dict[str, Any]) -> str:
    """What a grade depends on, as one text: the submission, the job, and this program."""
    version = metadata.version("smidgen")
    parts = [copied.digest, str(copied.left_out), repr(sorted(job.items())), version]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _grade_copy(name: str, copied: Copied, job: dict[str, Any], worker: Worker) -> Grade:
    code, record = worker.do(job)
    broken = _broken(name, code, record, job)
    if broken:
        return broken
    # What a submission says of its training counts for no more than the files that say it.
    code, answer = worker.do(job | {"is_trained": is_trained(copied.path)}, record)
    broken = _broken(name, code, answer, job)
    if broken:
        return replace(broken, note=f"its network {broken.note} while it was judged")
    judged = Judged.model_validate_json(unpack(answer)[0])
    rules = [rule.model_dump() for rule in judged.rules]
    return Grade(name, judged.status, 0.0, one_line(judged.note), judged.figures, rules)


def _broken(name: str, code: int | None, answer: bytes, job: dict[str, Any]) -> Grade | None:
    """The grade of a process that did not come to its end with an answer."""
    if code is None or code == -signal.SIGXCPU:
        return Grade(name, "timeout", 0.0, f"did not end within {job['seconds']:g} seconds")
    if code == -signal.SIGSYS:
        return Grade(name, "forked", 0.0, "tries to start processes")
    if code < 0:
        return Grade(name, "crashed", 0.0, f"died of {_signal(-code)}")
    if is_too_much(answer):
        return Grade(name, "error", 0.0, f"sends more than {LARGEST_MB} MB")
    if code > 0 or not is_whole(answer):
        return Grade(name, "exited", 0.0, f"exited with code {code} before the check ended")
    return None


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
