"""The filter of system calls, interpreted step by step as the kernel does, on both machines."""

from __future__ import annotations

import os
import platform

import pytest

from smidgen.grade import kernel

ALLOWED, KILLED = 0x7FFF0000, 0x80000000  # of seccomp(2)
REFUSED, UNKNOWN = 0x00050000 | 1, 0x00050000 | 38  # with EPERM; with ENOSYS
X86, ARM = 0xC000003E, 0xC00000B7  # of linux/audit.h
THREAD = 0x10000  # of clone(2)

# The machine, the number of a system call, its first argument, and what becomes of it; the numbers
# are those of asm/unistd_64.h and asm-generic/unistd.h.
CALLS = {
    "x86_64": [
        ("read", 0, 0, ALLOWED), ("execve", 59, 0, REFUSED), ("socket", 41, 2, REFUSED),
        ("fork", 57, 0, KILLED), ("vfork", 58, 0, KILLED), ("clone3", 435, 0, UNKNOWN),
        ("clone of a process", 56, 17, KILLED), ("clone of a thread", 56, THREAD | 1, ALLOWED),
        ("signal to itself", 234, os.getpid(), ALLOWED), ("signal to another", 234, 1, REFUSED),
        ("own limits", 302, 0, ALLOWED), ("another's limits", 302, 1, REFUSED),
        ("own cores", 203, 0, ALLOWED), ("another's cores", 203, 1, REFUSED),
        ("another's schedule", 144, 1, REFUSED), ("priority", 141, 0, REFUSED),
        ("a session", 112, 0, REFUSED), ("read, of the x32 calls", 0x40000000, 0, KILLED),
    ],
    "aarch64": [
        ("read", 63, 0, ALLOWED), ("execve", 221, 0, REFUSED), ("socket", 198, 2, REFUSED),
        ("clone3", 435, 0, UNKNOWN), ("clone of a process", 220, 17, KILLED),
        ("clone of a thread", 220, THREAD | 1, ALLOWED),
        ("signal to itself", 131, os.getpid(), ALLOWED), ("signal to another", 131, 1, REFUSED),
        ("own limits", 261, 0, ALLOWED), ("another's limits", 261, 1, REFUSED),
        ("own cores", 122, 0, ALLOWED), ("another's cores", 122, 1, REFUSED),
        ("another's schedule", 119, 1, REFUSED), ("priority", 140, 0, REFUSED),
        ("a session", 157, 0, REFUSED),
    ],
}  # fmt: skip


@pytest.mark.parametrize("machine", CALLS)
def test_the_filter_refuses_what_starts_processes_and_reaches_others(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    own, other = (X86, ARM) if machine == "x86_64" else (ARM, X86)
    for name, number, argument, outcome in CALLS[machine]:
        assert decided(own, number, argument) == outcome, name
        assert decided(other, number, argument) == KILLED, name


def decided(machine: int, call: int, argument: int) -> int:
    """What the program returns for a call; its words are those of struct seccomp_data."""
    words = {0: call, 4: machine, 16: argument}
    program, at, loaded = kernel._filter(), 0, 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        match code:
            case 0x20:  # load a word
                loaded = words[operand]
            case 0x06:  # return
                return operand
            case 0x15:  # jump if equal
                at += if_true if loaded == operand else if_false
            case 0x35:  # if greater or equal
                at += if_true if loaded >= operand else if_false
            case 0x45:  # if bits are set
                at += if_true if loaded & operand else if_false
            case _:
                raise AssertionError(f"instruction {code:#x}")
