"""Runs a submission: it records the network, and sends it as plain data.

It judges nothing: what it sends is as trustworthy as the submission.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smidgen.check import load_with_runs, summarise
from smidgen.entry import find_entry
from smidgen.errors import ModelError, SmidgenError
from smidgen.grade.answers import named, one_line, pack, write_answer
from smidgen.grade.sandbox import limit
from smidgen.inputs import InputShape
from smidgen.ipynb import read_notebook
from smidgen.network.scribe import transcribe
from smidgen.source import said_left_out
from smidgen.stand_ins import StandInFinder

_FORK = {"os.fork", "os.forkpty"}
_REFUSED = _FORK | {
    "os.exec", "os.kill", "os.killpg", "os.posix_spawn", "os.system", "socket.bind",
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendmsg",
    "socket.sendto", "subprocess.Popen",
}  # fmt: skip


def record_submission(job: dict[str, Any], answer: int) -> None:
    """Records the submission that the job names, in a process of its own, into a pipe."""
    forks: list[str] = []
    itself = os.getpid()
    shutil.copytree(job["given"], Path.cwd(), dirs_exist_ok=True)
    limit(job, answer)
    _refuse(forks)
    document, tensors = _record(Path(job["name"]), job)
    if os.getpid() != itself:
        os._exit(0)  # a copy of this process, forked by C code, must not answer
    if forks or _has_children():
        document = {"status": "forked", "note": "tries to start copies of its process"}
        tensors = {}
    write_answer(answer, pack(document, tensors))


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _refuse(forks: list[str]) -> None:
    """Forbids Python from now on to start or kill processes and to open connections.

    PermissionError is what libraries handle that can do without (matplotlib calls `fc-list`).
    """

    def hook(event: str, _: object) -> None:
        if event in _REFUSED:
            if event in _FORK:
                forks.append(event)
            raise PermissionError(f"a submission may not call {event}")

    sys.addaudithook(hook)


def _record(submission: Path, job: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is to be sent: the network and its tensors, or what went wrong."""
    finder = StandInFinder(submission if submission.is_dir() else submission.parent)
    sys.meta_path.append(finder)
    if submission.is_dir():
        sys.path.append(str(submission.resolve()))
    try:
        document, tensors = _network(submission, job)
    except BaseException as problem:  # a submission may raise anything, SystemExit too
        said = str(problem) if isinstance(problem, SmidgenError) else named(problem)
        document, tensors = {"status": "error", "note": one_line(said)}, {}
    return document | {"missing": [one_line(name)[:200] for name in finder.missing[:100]]}, tensors


def _network(submission: Path, job: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    shape = InputShape.of(job["input"]) if job["input"] else None
    entry = find_entry(submission)
    if entry is None:
        raise ModelError("no file in the folder defines a network; put it in one model.py")
    loaded, runs = load_with_runs(entry, shape)
    network, tensors = transcribe(loaded.model, loaded.preprocess.shape)
    training = summarise(runs, job["last_epochs"]) if runs else None
    return {
        "status": "recorded",
        "note": "",
        "left_out": one_line(_left_out(entry)),
        "name": one_line(loaded.name)[:200],
        "network": network,
        "classes": len(loaded.classes) if loaded.trained else None,
        "training": asdict(training) if training else None,
    }, tensors


def _left_out(entry: str) -> str:
    notebook = read_notebook(Path(entry)) if entry.endswith(".ipynb") else None
    return said_left_out(notebook) if notebook and notebook.left_out else ""
