"""The programs that build and run exports: compilers, the emulator, a JavaScript engine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from smidgen.errors import ExportError, MissingExtraError

PACKAGES = {  # Debian's, by program
    "gcc": "gcc libc6-dev",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "arm-none-eabi-size": "binutils-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "node": "nodejs",
}
MACHINES = {  # the emulated board for each core; that of the M0+ has an M0, which runs its code
    "cortex-m0plus": "microbit",
    "cortex-m3": "mps2-an385",
    "cortex-m4": "mps2-an386",
}
# Four megabytes of flash and of RAM, for networks of any size; an M4 runs the code of all three.
LARGE_MACHINE = "mps2-an386"
LARGE_MEMORY = ("-Wl,--defsym=FLASH_LENGTH=4M", "-Wl,--defsym=RAM_LENGTH=4M")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
HARNESS = Path(str(resources.files("smidgen") / "export" / "harness"))
TEMPLATES = HARNESS.with_name("templates")


def find(program: str) -> str:
    """The path of a program. Raises MissingExtraError, which says how to install it."""
    path = shutil.which(program)
    if path is None:
        raise MissingExtraError(
            f"{program} is not installed; on Debian: apt-get install {PACKAGES[program]}"
        )
    return path


def is_installed(*programs: str) -> bool:
    """Whether all of the programs can be found."""
    return all(shutil.which(program) for program in programs)


def run(
    command: Sequence[str | Path], cwd: Path | None = None, given: bytes = b"", time_s: float = 600
) -> bytes:
    """What a command prints, `given` on its standard input.

    Raises ExportError, with the first thing it complained of, if it fails or takes too long.
    """
    words = [find(str(command[0])), *map(str, command[1:])]
    try:
        done = subprocess.run(words, cwd=cwd, input=given, capture_output=True, timeout=time_s)
    except subprocess.TimeoutExpired:
        raise ExportError(f"{command[0]} did not end within {time_s:.0f} s") from None
    if done.returncode != 0:
        complaint = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise ExportError(f"{command[0]} failed ({done.returncode}): {complaint[:400]}")
    return done.stdout


def compile_host(
    model: Path, main: str, program: Path, flags: Sequence[str], source: str = "model.c"
) -> Path:
    """The program built by gcc from a source in the folder `model` and a main of the harness."""
    sources = (model / source, HARNESS / main)
    run(["gcc", *STRICT, *flags, "-I", model, *sources, "-o", program])
    return program


def compile_firmware(
    model: Path, main: str, program: Path, core: str, large: bool = False, source: str = "model.c"
) -> Path:
    """The firmware for a bare Cortex-M, at -Os, from a source in `model` and a main of the harness.

    It is linked for the memory of a small board, or with `large` for networks of any size.
    """
    # Without idioms: at this size gcc's calls of memcpy and memset cost more than the loops.
    flags = ("-Os", f"-mcpu={core}", "-mthumb", "-fno-tree-loop-distribute-patterns")
    layout = ("-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-T", HARNESS / "link.ld")
    sources = (HARNESS / "startup.c", HARNESS / main, model / source)
    built = ("-I", model, *sources, "-o", program)
    run(["arm-none-eabi-gcc", *STRICT, *flags, *layout, *(LARGE_MEMORY if large else ()), *built])
    return program
