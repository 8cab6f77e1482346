"""Starts the two programs of a grading, `child` and `judge`, and reads what they answer."""

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
from smidgen.grade.kernel import die_with_parent
from smidgen.grade.sandbox import Isolation, wrapped


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder with the folders `given` and `work`, gone afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix="smidgen-grade-"))
    try:
        for name in ("given", "work"):
            (scratch / name).mkdir()
        yield scratch
    finally:
        with contextlib.suppress(RecursionError):  # of folders that a submission made
            shutil.rmtree(scratch, ignore_errors=True)


def run_child(job: dict[str, Any], scratch: Path) -> tuple[int | None, bytes]:
    """The exit code of a submission's process (negative: a signal; None: it hung), its answer."""
    isolation = Isolation(job["isolation"])
    deadline = time.monotonic() + job["seconds"]
    with _pipe() as (reader, writer):
        argument = json.dumps(job | {"answer": writer, "given": str(scratch / "given")})
        try:
            process = _start("child", argument, writer, isolation, scratch)
        finally:
            os.close(writer)
        try:
            answer = _read(reader, deadline)
            if is_too_much(answer):
                return 0, answer
            return _code(process.wait(max(0.0, deadline - time.monotonic())), isolation), answer
        except subprocess.TimeoutExpired:
            return None, b""
        finally:
            _end(process)


class Judge:
    """A process that judges one answer after the other, each in a fork of itself.

    To import torch takes longer than to judge most networks: it is done once. Where the process
    hangs or dies, another is started for the next answer.
    """

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._process: subprocess.Popen[bytes] | None = None
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def start(self) -> None:
        """Starts the process, if none runs; it imports its libraries meanwhile."""
        if self._process and self._process.poll() is None:
            return
        self.end()
        self._scratch = self._resources.enter_context(scratch_folder())
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = self._resources.enter_context(ours)
        with its:
            handle = its.fileno()
            self._process = _start("judge", str(handle), handle, self._isolation, self._scratch)
        self._resources.callback(_end, self._process)

    def end(self) -> None:
        """Ends the process."""
        self._resources.close()
        self._process = None

    def judge(self, answer: bytes, job: dict[str, Any]) -> tuple[int | None, bytes]:
        """As `run_child`, for the process that judges this answer."""
        self.start()
        deadline = time.monotonic() + job["seconds"]
        text = json.dumps(job | {"given": str(self._scratch / "given")}).encode()
        try:
            with tempfile.TemporaryFile() as file, _pipe() as (reader, writer):
                write_answer(file.fileno(), answer)
                file.seek(0)
                try:
                    socket.send_fds(self._socket, [text], [file.fileno(), writer])
                finally:
                    os.close(writer)
                judged = _read(reader, deadline)
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                return int(self._socket.recv(64)), judged
        except TimeoutError:
            self.end()
            return None, b""
        except (OSError, ValueError):  # it ended without the code that it says otherwise
            self.end()
            return -signal.SIGKILL, b""


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe; who has passed on the second one closes it."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)


def _start(
    program: str, argument: str, handle: int, isolation: Isolation, scratch: Path
) -> subprocess.Popen[bytes]:
    """Starts a program in the scratch folder, with one open file besides the standard ones."""
    is_wrapped = isolation.kind == "bubblewrap"
    given, work = scratch / "given", scratch / "work"
    command = [sys.executable, "-P", "-m", f"smidgen.grade.{program}", argument]
    # bubblewrap must not be ended while it sets up a sandbox, which then waits for ever; it binds
    # itself to this process after that, and what runs in it looks whether this process is there.
    bind = None if is_wrapped else partial(die_with_parent, os.getpid())
    return subprocess.Popen(
        wrapped(command, isolation, given),
        cwd=work,
        env=_environment(Path("/tmp/work") if is_wrapped else work),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(handle,),
        start_new_session=True,
        preexec_fn=bind,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
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
