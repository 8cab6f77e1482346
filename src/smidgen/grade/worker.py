"""Starts the process that does a grading's jobs, `forks`, and reads what it answers."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from smidgen.grade.answers import LARGEST_MB, is_whole, write_answer
from smidgen.grade.kernel import die_with_parent, has_seccomp
from smidgen.grade.sandbox import Isolation, wrapped, writable


class Worker:
    """A process that does one job after the other, each in a fork of itself.

    A job records a submission or judges a record. To import torch takes longer than either does
    for most networks: it is done once. Where the process hangs or dies, cannot remove all that a
    submission has written, or could have been reached by it, another is started for the next job.
    """

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._process: subprocess.Popen[bytes] | None = None
        self._folders, self._resources = contextlib.ExitStack(), contextlib.ExitStack()

    def __enter__(self) -> Worker:
        self._given = self._folders.enter_context(_folder())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        self._folders.close()

    @contextlib.contextmanager
    def given(self) -> Iterator[Path]:
        """An empty folder that the process may read, for one submission; gone afterwards."""
        with _folder(self._given) as folder:
            yield folder

    def start(self) -> None:
        """Starts the process, if none runs; it imports its libraries meanwhile."""
        if self._process and self._process.poll() is None:
            return
        self._end()
        work = self._resources.enter_context(_folder())
        self._writable = writable(self._isolation, work)
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = self._resources.enter_context(ours)
        with its:
            self._process = _start(its.fileno(), self._isolation, self._given, work)
        self._resources.callback(_kill, self._process)

    def do(self, job: dict[str, Any], record: bytes | None = None) -> tuple[int | None, bytes]:
        """The exit code of the job's process (negative: a signal; None: it hung), its answer.

        It judges the record, or else records the submission.
        """
        self.start()
        deadline = time.monotonic() + job["seconds"]
        text = json.dumps(job | {"writable": list(map(str, self._writable))}).encode()
        try:
            with tempfile.TemporaryFile() as file, _pipe() as (reader, writer):
                write_answer(file.fileno(), record or b"")
                file.seek(0)
                handles = [writer] if record is None else [writer, file.fileno()]
                try:
                    socket.send_fds(self._socket, [text], handles)
                finally:
                    os.close(writer)
                answer = _read(reader, deadline)
                if is_too_much(answer):
                    self._end()
                    return 0, answer
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                code, is_empty = map(int, self._socket.recv(64).split())
        except TimeoutError:
            self._end()
            return None, b""
        except (OSError, ValueError):  # it ended without the code that it says otherwise
            self._end()
            return -signal.SIGKILL, b""
        if not is_empty or (record is None and not has_seccomp()):
            self._end()
        return code, answer

    def _end(self) -> None:
        self._resources.close()
        self._process = None


@contextlib.contextmanager
def _folder(parent: Path | None = None) -> Iterator[Path]:
    """An empty folder, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="smidgen-grade-", dir=parent))
    try:
        yield folder
    finally:
        with contextlib.suppress(RecursionError):  # of folders that a submission made
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe; who has passed on the second one closes it."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)


def _start(handle: int, isolation: Isolation, given: Path, work: Path) -> subprocess.Popen[bytes]:
    """Starts the process, with one open file besides the standard ones."""
    is_wrapped = isolation.kind == "bubblewrap"
    command = [sys.executable, "-P", "-m", "smidgen.grade.forks", str(handle)]
    # bubblewrap must not be ended while it sets up a sandbox, which then waits for ever; it binds
    # itself to this process after that, and what runs in it looks whether this process is there.
    bind = None if is_wrapped else partial(die_with_parent, os.getpid())
    return subprocess.Popen(
        wrapped(command, isolation, given),
        cwd=work,
        env=_environment(writable(isolation, work)[0]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(handle,),
        start_new_session=True,
        preexec_fn=bind,
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(reader: int, deadline: float) -> bytes:
    """An answer, up to its end, to the end of the time or to the size that is read at most."""
    answer = bytearray()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while not is_whole(answer) and not is_too_much(answer):
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(1000 * left):
            break
        part = os.read(reader, 2**20)
        if not part:
            break
        answer += part
    return bytes(answer)


def is_too_much(answer: bytes | bytearray) -> bool:
    """Whether an answer is larger than what is read."""
    return len(answer) > LARGEST_MB * 2**20


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
