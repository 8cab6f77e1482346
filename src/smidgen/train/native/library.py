"""The kernels, compiled by this machine's C compiler for this machine's processor."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, Structure, c_char_p, c_float, c_int32, c_int64, c_uint32, c_void_p
from importlib import resources
from pathlib import Path

from filelock import FileLock

from smidgen.errors import RunError
from smidgen.files import cache_folder, explained, sha256, write_whole

FLAGS = (
    *("-O2", "-march=native", "-std=gnu11", "-fno-math-errno", "-fPIC", "-pthread"),
    "-fno-ivopts",  # that pass costs a sixth of the compiler's time and makes no kernel faster
    "--param=avoid-fma-max-bits=0",  # else gcc multiplies and adds apart in vectors of some widths
)
UNITS = ("kernels.c", "products.c", "correlation.c")  # compiled side by side
INCLUDED = (
    "kernels.h",
    "winograd.c",
    "winograd_weights.c",
    "conv.c",
    "depthwise.c",
    "norm.c",
    "activations.c",
    "layers.c",
    "images.c",
    "thread_pool.c",
    "peak.c",
)
COMPILER_LIMIT_S = 600  # three seconds on an idle machine; others may keep it busy


class CFeatureMap(Structure):
    """`feature_map` of kernels.h."""

    _fields_ = [
        *((name, c_int32) for name in ("channels", "height", "width", "padding")),
        ("values", c_int64),
        ("gradient", c_int64),
    ]


class CInstruction(Structure):
    """`instruction` of kernels.h."""

    _fields_ = [
        *((name, c_int32) for name in (
            "operation", "source", "other", "output", "has_relu", "add_source", "add_other",
            "kernel_height", "kernel_width", "stride_height", "stride_width", "groups",
            "pad_height", "pad_width", "weight", "bias", "statistics", "saved", "function",
        )),
        ("setting", c_float * 2),
        *((name, c_float) for name in ("eps", "momentum", "p", "slope")),
    ]  # fmt: skip


class CNetwork(Structure):
    """`network` of kernels.h."""

    _fields_ = [
        ("instructions", c_int32),
        ("classes", c_int32),
        ("map", POINTER(CFeatureMap)),
        ("instruction", POINTER(CInstruction)),
        *((name, c_void_p) for name in (
            "arena", "packed", "saved", "sums", "tiles", "input_offsets", "output_offsets",
            "parameters", "gradient", "score", "statistics", "mean", "deviation",
        )),
        ("images", c_int32),
        ("batch", c_int32),
        *((name, c_void_p) for name in (
            "pixels", "label", "partner", "share", "image_weight", "soft", "matrices", "fields",
            "spread_down", "spread_across", "corners",
        )),
        ("coarse", c_int32),
        ("cutout", c_int32),
        *((name, c_float) for name in (
            "elastic", "smoothing", "weight", "temperature",
        )),
        ("seed", c_uint32),
    ]  # fmt: skip


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where there is no compiler.

    They are compiled once, in a few seconds, and kept in the user's cache folder. Where that fails,
    the reason is a warning and None comes back: torch computes what the kernels would.
    """
    compiler = find_compiler()
    if compiler is None:
        return None
    try:
        return _declare(ctypes.CDLL(str(_find_or_build(compiler))))
    except (AttributeError, OSError, RunError, subprocess.SubprocessError) as problem:
        reason = " ".join(str(problem).split())
        warnings.warn(f"torch trains, for there are no kernels: {reason}", stacklevel=2)
        return None


def _declare(loaded: ctypes.CDLL) -> ctypes.CDLL:
    """The library, its functions' types declared; AttributeError where one is missing."""
    loaded.smidgen_activation.argtypes = [c_char_p, c_int32]
    loaded.smidgen_activation.restype = c_int32
    loaded.smidgen_create_pool.argtypes = [c_int32]
    loaded.smidgen_create_pool.restype = c_void_p
    loaded.smidgen_run_pool.argtypes = [c_void_p, POINTER(POINTER(CNetwork)), c_int32]
    loaded.smidgen_destroy_pool.argtypes = loaded.smidgen_pool_threads.argtypes = [c_void_p]
    loaded.smidgen_multiply_add.argtypes = [c_int64]
    loaded.smidgen_multiply_add.restype = c_int32
    loaded.smidgen_run_pool.restype = loaded.smidgen_destroy_pool.restype = None
    return loaded


def find_compiler() -> str | None:
    """The path of the C compiler that builds the kernels, if there is one."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def built_library() -> Path | None:
    """The file of the kernels, if they have been built for this machine; it builds nothing."""
    compiler = find_compiler()
    path = _library_file(compiler) if compiler else None
    return path if path and _is_intact(path) else None


def _library_file(compiler: str) -> Path:
    """Where the library of these sources for this machine lies, whether or not it is built."""
    folder = resources.files(__package__)
    texts = [(folder / name).read_bytes() for name in (*UNITS, *INCLUDED)]
    facts = (texts, FLAGS, compiler, platform.platform(), _processor())
    return cache_folder() / "kernels" / f"{sha256(repr(facts).encode())[:16]}.so"


def _find_or_build(compiler: str) -> Path:
    """The library's file, intact; of several processes one builds it."""
    path = _library_file(compiler)
    _make_private(path.parent)
    if not _is_intact(path):
        with FileLock(path.with_suffix(".lock")):
            if not _is_intact(path):
                _compile(compiler, path)
    return path


def _make_private(folder: Path) -> None:
    """Makes a folder that only this user can read or write.

    Raises RunError if it is another user's, who could put any code there.
    """
    with explained(folder, "write"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid():
            raise RunError(
                f"{str(folder)!r} belongs to another user; name another folder in $SMIDGEN_CACHE"
            )
        if found.st_mode & 0o077:
            folder.chmod(0o700)


def _is_intact(path: Path) -> bool:
    """Whether a library is there as it was written, by this user, and nobody else can write it."""
    digest = path.with_suffix(".sha256")
    try:
        for file in (path, digest):
            found = file.lstat()
            is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
            if not is_ours or found.st_mode & 0o022:
                return False
        return digest.read_bytes() == _digest_line(path)
    except OSError:
        return False


def _digest_line(path: Path) -> bytes:
    """What lies beside a library: a line that `sha256sum --check` reads."""
    return f"{sha256(path.read_bytes())}  {path.name}\n".encode()


def _compile(compiler: str, path: Path) -> None:
    """Builds the library, and after it the digest without which it is not loaded."""
    print("smidgen: compiling the kernels for this machine, once", file=sys.stderr, flush=True)
    with (
        tempfile.TemporaryDirectory(dir=path.parent) as folder,
        resources.as_file(resources.files(__package__)) as sources,
        ThreadPoolExecutor() as pool,
    ):
        objects = [Path(folder, unit).with_suffix(".o") for unit in UNITS]
        parts = [["-c", sources / unit] for unit in UNITS]
        list(pool.map(lambda part, made: _call(compiler, *part, "-o", made), parts, objects))
        built = Path(folder, path.name)
        _call(compiler, "-shared", *objects, "-lm", "-o", built)
        write_whole(path, built.read_bytes())
    write_whole(path.with_suffix(".sha256"), _digest_line(path).decode())


def _call(compiler: str, *arguments: object) -> None:
    """Runs the compiler. Raises RunError where it fails, with the first line that it complains."""
    command = [compiler, *FLAGS, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=COMPILER_LIMIT_S)
    if done.returncode:
        complaint = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason"]
        raise RunError(f"{compiler} failed ({done.returncode}): {complaint[0]}")


def _processor() -> str:
    """The processor's features, since machines that differ in them may share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
