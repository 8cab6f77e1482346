"""Grades submissions: one process records a network, another rebuilds and judges it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import IO, Any, Literal

from smidgen.budget import load_budget
from smidgen.entry import is_trained
from smidgen.errors import BudgetError, RunError
from smidgen.grade.answers import LARGEST_MB, Judged, is_whole, named, one_line, unpack
from smidgen.grade.copying import Copied, copy_submission
from smidgen.grade.kernel import die_with_parent
from smidgen.grade.sandbox import Isolation, choose_isolation, wrapped
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
    load_budget(budget)
    submissions = find_submissions(folder)
    grade = partial(
        grade_one, budget=budget, limits=limits or Limits(), input_shape=input_shape,
        isolation=isolation or choose_isolation(),
    )  # fmt: skip
    pool = ThreadPoolExecutor(jobs or cpu_count())
    try:
        waiting = [
            pool.submit(grade, path, earlier=(earlier or {}).get(one_line(path.name)))
            for path in submissions
        ]
        for done in as_completed(waiting):
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
    name, start = one_line(submission.name), time.monotonic()
    job = asdict(limits) | {
        "name": submission.name,
        "budget": load_budget(budget).model_dump_json(exclude_unset=True),
        "last_epochs": load_budget(budget).last_epochs,
        "input": list(input_shape) if input_shape else None,
        "isolation": (isolation or choose_isolation()).kind,
    }
    try:
        with _scratch() as scratch:
            copied = copy_submission(submission, scratch / "given", limits.file_mb)
            digest = _digest(copied, job)
            if earlier and earlier.digest == digest and earlier.status != "timeout":
                return earlier
            grade = _grade_copy(name, copied, job, scratch)
    except OSError as problem:
        return Grade(name, "error", 0.0, one_line(f"cannot be copied: {problem}"))
    except Exception as problem:  # nothing that one submission is may end the others' grading
        return Grade(name, "error", 0.0, one_line(f"cannot be graded: {named(problem)}"))
    seconds = time.monotonic() - start
    left_out = f"{copied.left_out} files left out" if copied.left_out else ""
    note = "; ".join(filter(None, (grade.note, left_out)))
    return replace(grade, seconds=seconds, note=note, digest=digest)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """An empty folder with the folders `given` and `work`, gone afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix="smidgen-grade-"))
    try:
        for name in ("given", "work"):
            (scratch / name).mkdir()
        yield scratch
    finally:
        with contextlib.suppress(RecursionError):  # of folders that a submission made
            shutil.rmtree(scratch, ignore_errors=True)


def _digest(copied: Copied, job: dict[str, Any]) -> str:
    """What a grade depends on, as one text: the submission, the job, and this program."""
    version = metadata.version("smidgen")
    parts = [copied.digest, str(copied.left_out), repr(sorted(job.items())), version]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _grade_copy(name: str, copied: Copied, job: dict[str, Any], scratch: Path) -> Grade:
    code, answer = _run("child", job, scratch, subprocess.DEVNULL)
    broken = _broken(name, code, answer, job)
    if broken:
        return broken
    with tempfile.TemporaryFile() as file:
        file.write(answer)
        file.seek(0)
        # What a submission says of its training counts for no more than the files that say it.
        job = job | {"is_trained": is_trained(copied.path)}
        code, answer = _run("judge", job, scratch, file)
    broken = _broken(name, code, answer, job)
    if broken:
        return replace(broken, note=f"its network {broken.note} while it was judged")
    judged = Judged.model_validate_json(unpack(answer)[0])
    rules = [rule.model_dump() for rule in judged.rules]
    return Grade(name, judged.status, 0.0, one_line(judged.note), judged.figures, rules)


def _run(
    program: str, job: dict[str, Any], scratch: Path, stdin: int | IO[bytes]
) -> tuple[int | None, bytes]:
    """The exit code of a process (negative: a signal; None: it hung), and what it answered."""
    isolation = Isolation(job["isolation"])
    is_wrapped = isolation.kind == "bubblewrap"
    given, work = scratch / "given", scratch / "work"
    reader, writer = os.pipe()
    command = [sys.executable, "-P", "-m", f"smidgen.grade.{program}"]
    command.append(json.dumps(job | {"answer": writer, "given": str(given)}))
    # bubblewrap must not be ended while it sets up a sandbox, which then waits for ever; it binds
    # itself to this process after that, and what runs in it looks whether this process is there.
    bind = None if is_wrapped else partial(die_with_parent, os.getpid())
    deadline = time.monotonic() + job["seconds"]
    with contextlib.closing(os.fdopen(reader, "rb", 0)):
        try:
            process = subprocess.Popen(
                wrapped(command, isolation, given),
                cwd=work,
                env=_environment(Path("/tmp/work") if is_wrapped else work),
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(writer,),
                start_new_session=True,
                preexec_fn=bind,
            )
        finally:
            os.close(writer)
        try:
            answer = _read(reader, deadline)
            if _is_too_much(answer):
                return 0, answer
            return _code(process.wait(max(0.0, deadline - time.monotonic())), isolation), answer
        except subprocess.TimeoutExpired:
            return None, b""
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _read(reader: int, deadline: float) -> bytes:
    """An answer, up to its end, to the end of the time or to the size that is read at most."""
    answer = bytearray()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while not is_whole(answer) and not _is_too_much(answer):
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(1000 * left):
            break
        part = os.read(reader, 2**20)
        if not part:
            break
        answer += part
    return bytes(answer)


def _is_too_much(answer: bytes | bytearray) -> bool:
    return len(answer) > LARGEST_MB * 2**20


def _code(code: int, isolation: Isolation) -> int:
    """The exit code of the process itself, which bubblewrap reports as a shell does."""
    return 128 - code if isolation.kind == "bubblewrap" and code > 128 else code


def _environment(work: Path) -> dict[str, str]:
    """All that a process inherits: paths of programs and of smidgen, and its working folder."""
    return {
        "PATH": os.defpath,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(work),
        "TMPDIR": str(work),
        "USER": "submission",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _broken(name: str, code: int | None, answer: bytes, job: dict[str, Any]) -> Grade | None:
    """The grade of a process that did not come to its end with an answer."""
    if code is None or code == -signal.SIGXCPU:
        return Grade(name, "timeout", 0.0, f"did not end within {job['seconds']:g} seconds")
    if code == -signal.SIGSYS:
        return Grade(name, "forked", 0.0, "tries to start processes")
    if code < 0:
        return Grade(name, "crashed", 0.0, f"died of {_signal(-code)}")
    if _is_too_much(answer):
        return Grade(name, "error", 0.0, f"sends more than {LARGEST_MB} MB")
    if code > 0 or not is_whole(answer):
        return Grade(name, "exited", 0.0, f"exited with code {code} before the check ended")
    return None


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
