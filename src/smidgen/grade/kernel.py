"""What Linux lets a process give up for good: files (Landlock) and system calls (seccomp).

By the kernel's own calls, without a library. See landlock(7) and seccomp(2).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # Landlock's, on every machine
_ABI_ONLY = 1
_PATH_BENEATH = 1
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a folder
_OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14  # execute, write, read, truncate
# The rights over files that each version of Landlock knows.
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals

_NO_NEW_PRIVILEGES, _GET_SECCOMP, _PARENT_DEATH_SIGNAL, _DUMPABLE = 38, 21, 1, 4  # of prctl
_KILLED = 9
_SET_FILTER, _ALL_THREADS = 1, 1
_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_CLONE_THREAD = 0x10000

_OF_ITSELF = (  # what a process may do to itself alone
    "tgkill", "prlimit64", "sched_setparam", "sched_setscheduler", "sched_setaffinity",
    "sched_setattr",
)  # fmt: skip

# By machine: its number in the kernel, then the numbers of system calls.
_MACHINES = {
    "x86_64": (0xC000003E, {
        "clone": 56, "clone3": 435, "fork": 57, "vfork": 58, "tgkill": 234, "prlimit64": 302,
        "seccomp": 317, "sched_setparam": 142, "sched_setscheduler": 144, "sched_setaffinity": 203,
        "sched_setattr": 314,
    }, {
        "execve": 59, "execveat": 322, "socket": 41, "connect": 42, "bind": 49, "sendto": 44,
        "sendmsg": 46, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
        "kill": 62, "tkill": 200, "rt_sigqueueinfo": 129, "pidfd_send_signal": 424,
        "pidfd_open": 434, "pidfd_getfd": 438, "io_uring_setup": 425, "unshare": 272, "setns": 308,
        "mount": 165, "keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321,
        "perf_event_open": 298, "userfaultfd": 323, "open_by_handle_at": 304, "setpriority": 141,
        "ioprio_set": 251, "setsid": 112, "setpgid": 109,
    }),
    "aarch64": (0xC00000B7, {
        "clone": 220, "clone3": 435, "tgkill": 131, "prlimit64": 261, "seccomp": 277,
        "sched_setparam": 118, "sched_setscheduler": 119, "sched_setaffinity": 122,
        "sched_setattr": 274,
    }, {
        "execve": 221, "execveat": 281, "socket": 198, "connect": 203, "bind": 200, "sendto": 206,
        "sendmsg": 211, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271,
        "kill": 129, "tkill": 130, "rt_sigqueueinfo": 138, "pidfd_send_signal": 424,
        "pidfd_open": 434, "pidfd_getfd": 438, "io_uring_setup": 425, "unshare": 97, "setns": 268,
        "mount": 40, "keyctl": 219, "add_key": 217, "request_key": 218, "bpf": 280,
        "perf_event_open": 241, "userfaultfd": 282, "open_by_handle_at": 265, "setpriority": 140,
        "ioprio_set": 30, "setsid": 157, "setpgid": 154,
    }),
}  # fmt: skip


def landlock_version() -> int:
    """The version of Landlock that the kernel speaks; 0 where it has none."""
    if sys.platform != "linux":
        return 0
    return max(0, _call(_CREATE_RULESET, None, 0, _ABI_ONLY))


def has_seccomp() -> bool:
    """Whether system calls can be given up on this kernel and machine."""
    known = sys.platform == "linux" and platform.machine() in _MACHINES
    return known and ctypes.CDLL(None).prctl(_GET_SECCOMP, 0, 0, 0, 0) >= 0


def die_with_parent(parent: int | None = None) -> None:
    """Has the kernel end this process when the one that started it ends, however that ends.

    With the parent's number the process also ends if the parent has ended before the kernel knew.
    """
    if sys.platform == "linux":
        _checked(ctypes.CDLL(None, use_errno=True).prctl(_PARENT_DEATH_SIGNAL, _KILLED, 0, 0, 0))
        if parent is not None and os.getppid() != parent:
            os._exit(1)


def refuse_tracing() -> None:
    """Keeps the memory and the files of this process and its forks from others of its user."""
    if sys.platform == "linux":
        _checked(ctypes.CDLL(None, use_errno=True).prctl(_DUMPABLE, 0, 0, 0, 0))


def give_up_files(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Leaves this process, for good, no files but those below the given paths.

    Raises OSError where the kernel refuses.
    """
    version = landlock_version()
    rights = _RIGHTS[max(known for known in _RIGHTS if known <= version)]
    handled = [rights, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0]
    attributes = struct.pack("QQQ", *handled)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _checked(_call(_CREATE_RULESET, attributes, size, 0))
    for paths, access in ((readable, _READ), (writable, rights)):
        for path in paths:
            _allow(ruleset, path, access & rights)
    _give_up_privileges()
    _checked(_call(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no right
    access = access if path.is_dir() else access & _OF_FILES
    rule = struct.pack("=Qi", access, handle)
    _checked(_call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    os.close(handle)


def give_up_calls() -> None:
    """Takes from this process and its threads the calls for processes, networks and the like.

    They fail with EPERM; starting a process ends this one by SIGSYS. Raises OSError where the
    kernel refuses.
    """
    calls = _MACHINES[platform.machine()][1]
    program = b"".join(struct.pack("HBBI", *each) for each in _filter())
    buffer = ctypes.create_string_buffer(program)
    count = len(program) // 8
    header = struct.pack("HxxxxxxP", count, ctypes.addressof(buffer))
    _give_up_privileges()
    _checked(_call(calls["seccomp"], _SET_FILTER, _ALL_THREADS, header))


def _filter() -> list[tuple[int, int, int, int]]:
    """The filter's instructions: (code, steps to skip if true, if false, operand)."""
    machine, calls, refused = _MACHINES[platform.machine()]
    refuse, kill = (_RETURN, 0, 0, _FAIL | _EPERM), (_RETURN, 0, 0, _KILL)
    allow, first_argument = (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, 16)
    filter_ = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, machine), kill, (_LOAD, 0, 0, 0)]
    if machine == _MACHINES["x86_64"][0]:
        filter_ += [(_AT_LEAST, 0, 1, 0x40000000), kill]  # the calls of another convention
    for number in refused.values():
        filter_ += [(_EQUAL, 0, 1, number), refuse]
    for name in {"fork", "vfork"} & calls.keys():
        filter_ += [(_EQUAL, 0, 1, calls[name]), kill]
    # What clone3 is for stands in memory, which a filter cannot read; libc then uses clone.
    filter_ += [(_EQUAL, 0, 1, calls["clone3"]), (_RETURN, 0, 0, _FAIL | _ENOSYS)]
    filter_ += [(_EQUAL, 0, 4, calls["clone"]), first_argument]
    filter_ += [(_HAS_BITS, 0, 1, _CLONE_THREAD), allow, kill]
    for name in _OF_ITSELF:
        filter_ += [(_EQUAL, 0, 5, calls[name]), first_argument]
        filter_ += [(_EQUAL, 1, 0, 0), (_EQUAL, 0, 1, os.getpid()), allow, refuse]
    return [*filter_, allow]


def _give_up_privileges() -> None:
    _checked(ctypes.CDLL(None, use_errno=True).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))


def _call(number: int, *arguments: int | bytes | None) -> int:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    plain = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return int(call(ctypes.c_long(number), *plain))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
