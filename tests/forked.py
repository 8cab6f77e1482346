"""Processes that begin with everything imported, which takes longer than what most of them do.

Each is forked from one that has imported and done nothing else.
"""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["smidgen.cli", "smidgen.train", "smidgen.evaluate", "smidgen.sweep", "smidgen.report",
     "smidgen.search.run", "matplotlib.pyplot", "forked"]
)  # fmt: skip


def start(call: Callable[..., object], *arguments: object, said: Path) -> ForkServerProcess:
    """Starts a call, whose output and errors are added to the file."""
    process = _CONTEXT.Process(target=_run, args=(call, arguments, [said, said], dict(os.environ)))
    process.start()
    return process


def smidgen(
    *arguments: object, cwd: Path | None = None, seconds: float = 120, **environment: str
) -> CompletedProcess[str]:
    """What the command does, as `subprocess.run` says it."""
    words = list(map(str, arguments))
    with tempfile.TemporaryDirectory() as name:
        said = [Path(name, each) for each in ("out", "err")]
        own = {**os.environ, **environment}
        process = _CONTEXT.Process(target=_run, args=(_main, [words, cwd or Path()], said, own))
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            raise TimeoutExpired(words, seconds)
        texts = [path.read_text("utf-8") for path in said]
        return CompletedProcess(words, process.exitcode, *texts)


def _run(
    call: Callable[..., object], arguments: list[object], said: list[Path], own: Mapping[str, str]
) -> None:
    for handle, path in zip((1, 2), said, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), handle)
    os.environ.clear()
    os.environ.update(own)
    try:
        call(*arguments)
    finally:  # what the exit of a process does that multiprocessing leaves out
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()


def _main(words: list[str], folder: Path) -> None:
    from smidgen.cli import main

    os.chdir(folder)
    sys.argv = ["smidgen", *words]
    main()
