"""The process that checks one submission: it limits itself and writes one JSON document.

The grader runs this file as a program. All large libraries are imported before the submission, so
that the time and the memory which they take are not counted as the submission's.
"""

from __future__ import annotations

import ast
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from smidgen.budget import load_budget
from smidgen.check import measure
from smidgen.errors import ModelError, SmidgenError
from smidgen.inputs import InputShape

_FORK = {"os.fork", "os.forkpty"}
_REFUSED = _FORK | {
    "os.exec", "os.kill", "os.killpg", "os.posix_spawn", "os.system",
    "socket.bind", "socket.connect", "subprocess.Popen",
}  # fmt: skip


def main() -> None:
    """Checks the submission that the JSON on the command line names."""
    job = json.loads(sys.argv[1])
    forks: list[str] = []
    itself = os.getpid()
    with os.fdopen(job["answer"], "w", encoding="utf-8") as answer:
        _limit(job)
        _refuse(forks)
        document = _check(job["target"], job["budget"], job["input"])
        if os.getpid() != itself:
            os._exit(0)  # a copy of this process, forked by C code, must not answer
        if forks or _has_children():
            document |= {"status": "forked", "note": "tries to start copies of its process"}
        json.dump(document, answer)
    # Ends the submission's threads and skips its exit handlers.
    os._exit(0)


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _limit(job: dict[str, Any]) -> None:
    limits = {
        resource.RLIMIT_AS: job["memory_mb"] * 2**20,
        resource.RLIMIT_CPU: int(job["seconds"]) + 1,
        resource.RLIMIT_FSIZE: job["file_mb"] * 2**20,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))


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


def _check(target: str, budget: str, sizes: list[int] | None) -> dict[str, Any]:
    figures: dict[str, int] = {}
    try:
        rules = load_budget(budget)
        shape = InputShape.of(sizes) if sizes else None
        measured = measure(_entry(Path(target)), rules.last_epochs, input_shape=shape)
        anatomy = measured.anatomy
        figures = {
            "params": anatomy.params,
            "macs": anatomy.macs,
            "receptive_field": anatomy.receptive_field,
        }
        verdict = measured.judge(rules).to_dict()
    except BaseException as problem:  # a submission may raise anything, SystemExit too
        kind = "" if isinstance(problem, SmidgenError) else f"{type(problem).__name__}: "
        note = " ".join(f"{kind}{problem}".split())
        return {"status": "error", "note": note, "figures": figures, "rules": []}
    status = "passed" if verdict["passed"] else "failed"
    return {"status": status, "note": "", "figures": figures, "rules": verdict["rules"]}


def _entry(submission: Path) -> str:
    """The target inside a submission: itself, or the one file of a folder that defines a network.

    Raises ModelError where that is not clear.
    """
    known = any((submission / name).exists() for name in ("recipe.toml", "config.json"))
    if submission.is_file() or known or any(submission.glob("seed-*/result.json")):
        return str(submission)
    if (submission / "model.py").is_file():
        return str(submission / "model.py")
    networks = [path for path in sorted(submission.glob("*.py")) if _defines_module(path)]
    if len(networks) != 1:
        names = ", ".join(path.name for path in networks) or "no file"
        raise ModelError(f"{names} in the folder defines a network; put it in one model.py")
    return str(networks[0])


def _defines_module(path: Path) -> bool:
    """Whether the source has a class with a base called Module, without running it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return False
    return any(
        ast.unparse(base).rpartition(".")[2] == "Module"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    )


if __name__ == "__main__":
    main()
