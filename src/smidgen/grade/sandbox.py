"""What keeps a submission from the rest of the machine: the best of what is there."""

from __future__ import annotations

import functools
import os
import select
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from smidgen.errors import BudgetError
from smidgen.grade.kernel import (
    die_with_parent,
    give_up_calls,
    give_up_files,
    has_seccomp,
    landlock_version,
)

_WORK, _WORK_MB = "/tmp/work", 512  # where a sandbox can be written, of memory
_SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ld.so.cache",
    "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/sys/devices/system/cpu",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


@dataclass(frozen=True)
class Isolation:
    """How submissions are kept apart; `warning` says what they are not kept from, if anything."""

    kind: Literal["bubblewrap", "landlock", "limits"]
    warning: str = ""


def choose_isolation(strict: bool = False) -> Isolation:
    """The best isolation of this machine.

    bubblewrap: namespaces of its own, so no network, no other processes, none of the user's files.
    landlock: the same by rights that the process gives up. limits: of time, memory and file size.
    Raises BudgetError where it is only that and `strict` asks for more.
    """
    problem = bubblewrap_problem()
    if not problem:
        return Isolation("bubblewrap")
    if landlock_version() and has_seccomp():
        return Isolation("landlock")
    warning = (
        f"no sandbox ({problem}; the kernel lacks Landlock or seccomp): submissions can read and "
        "write what you can, and see your processes; install bubblewrap"
    )
    if strict:
        raise BudgetError(f"--isolation strict: {warning}")
    return Isolation("limits", warning)


@functools.cache
def bubblewrap_problem() -> str:
    """Why bubblewrap cannot be used, in a few words; nothing where it can."""
    if shutil.which("bwrap") is None:
        return "bwrap is not installed"
    try:
        command = [*_bubblewrap(Path("/usr")), sys.executable, "-c", ""]
        done = subprocess.run(command, check=False, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"bwrap cannot be run: {problem}"
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return "" if done.returncode == 0 else f"bwrap fails: {''.join(said[-1:])}"


def wrapped(command: list[str], isolation: Isolation, given: Path) -> list[str]:
    """The command as it is started under an isolation; it may read the folder `given`."""
    return [*_bubblewrap(given), *command] if isolation.kind == "bubblewrap" else command


def writable(isolation: Isolation, work: Path) -> list[Path]:
    """The folders in which a process may write; it starts in the first one."""
    return [Path(_WORK), Path("/dev/shm")] if isolation.kind == "bubblewrap" else [work]


def limit(job: dict[str, Any], answer: int) -> None:
    """Gives up, inside a process, all that its job and the pipe for its answer do not need.

    Time, memory and the size of files; the files of others, where nothing else keeps them away;
    and, where the kernel can, the system calls for processes, networks and the like.
    """
    import resource  # which Windows lacks

    limits = {
        resource.RLIMIT_AS: job["memory_mb"] * 2**20,
        resource.RLIMIT_CPU: int(job["seconds"]) + 1,
        resource.RLIMIT_FSIZE: job["file_mb"] * 2**20,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, most))
    die_with_parent()
    if _has_no_reader(answer):
        os._exit(1)
    if job["isolation"] == "landlock":
        own = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo")
        readable = [*_readable(), Path(job["given"]), *map(Path, own)]
        give_up_files(readable, [Path.cwd(), *map(Path, _DEVICES)])
    if has_seccomp():
        give_up_calls()


def _has_no_reader(pipe: int) -> bool:
    """Whether the grader, which reads this pipe, has ended before bubblewrap was bound to it."""
    poll = select.poll()
    poll.register(pipe, 0)
    return bool(poll.poll(0))


def _readable() -> list[Path]:
    """The system, Python, and what is installed: nothing of the user's."""
    python = (sys.prefix, sys.base_prefix, Path(__file__).parents[2])
    return [Path(path) for path in (*_SYSTEM, *python)]


def _bubblewrap(given: Path) -> list[str]:
    arguments: list[Any] = [
        "bwrap", "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534",
        "--die-with-parent", "--new-session", "--hostname", "sandbox",
        "--proc", "/proc", "--dev", "/dev", *_size(16), "--tmpfs", "/dev/shm",
        "--tmpfs", "/tmp", *_size(_WORK_MB), "--tmpfs", _WORK,
    ]  # fmt: skip
    for path in _readable():
        arguments += ["--ro-bind-try", path, path]
    arguments += ["--ro-bind", given, given, "--chdir", _WORK]
    for place in ("/tmp", "/dev", "/"):
        arguments += ["--remount-ro", place]
    return [*map(str, arguments), "--"]


def _size(megabytes: int) -> list[str]:
    """The option for the size of the next tmpfs, where bubblewrap has it (0.7 and later)."""
    return ["--size", str(megabytes * 2**20)] if _knows_sizes() else []


@functools.cache
def _knows_sizes() -> bool:
    done = subprocess.run(["bwrap", "--help"], check=False, capture_output=True)
    return b"--size" in done.stdout + done.stderr
