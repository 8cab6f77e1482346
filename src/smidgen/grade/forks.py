"""The process whose forks record submissions, and judge what is recorded.

The grader runs this file as a program. All large libraries are imported once, which takes longer
than most jobs. Each job is then done in a fork of its own, with its own limits, so that no code of
a submission runs in this process. None reaches it either: a fork gives up the calls for that where
it can (else the grader ends this process), this one cannot be traced, and what a fork has written
is removed before the next one.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from smidgen.grade.child import record_submission
from smidgen.grade.judge import judge_record
from smidgen.grade.kernel import refuse_tracing


def main() -> None:
    """Does the jobs that come through the socket which the command line names, until it is closed.

    Each message is a job, with the pipe for its answer and, to be judged, the file of a record.
    What is sent back is the exit code of the fork, and whether all that it wrote was removed.
    """
    refuse_tracing()
    with socket.socket(fileno=int(sys.argv[1])) as grader:
        while True:
            message, handles, _, _ = socket.recv_fds(grader, 2**20, 2)
            if not message:
                return
            job = json.loads(message)
            process = os.fork()
            if process == 0:
                grader.close()
                os.chdir(job["writable"][0])
                (judge_record if len(handles) > 1 else record_submission)(job, *handles)
                os._exit(0)  # ends the submission's threads and skips its exit handlers
            for handle in handles:
                os.close(handle)
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            grader.send(f"{code} {_is_emptied(map(Path, job['writable'])):d}".encode())


def _is_emptied(folders: Iterable[Path]) -> bool:
    """Removes what is in the folders; whether nothing is left of it."""
    try:
        for path in [path for folder in folders for path in folder.iterdir()]:
            if path.is_symlink() or not path.is_dir():
                path.unlink()
            else:
                shutil.rmtree(path)
    except (OSError, RecursionError):
        return False
    return True


if __name__ == "__main__":
    main()
