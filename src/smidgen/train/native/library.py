"""The kernels, compiled by this machine's C compiler for this machine's processor."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from ctypes import POINTER, Structure, c_char_p, c_float, c_int32, c_int64, c_uint32, c_void_p
from importlib import resources
from pathlib import Path

import pooch

FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-shared", "-fPIC", "-pthread")
SOURCES = (
    "kernels.c",
    "conv.c",
    "depthwise.c",
    "norm.c",
    "activations.c",
    "layers.c",
    "images.c",
    "thread_pool.c",
)


class CFeatureMap(Structure):
    """`feature_map` of kernels.c."""

    _fields_ = [
        *((name, c_int32) for name in ("channels", "height", "width", "padding")),
        ("values", c_int64),
        ("gradient", c_int64),
    ]


class CInstruction(Structure):
    """`instruction` of kernels.c."""

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
    """`network` of kernels.c."""

    _fields_ = [
        ("instructions", c_int32),
        ("classes", c_int32),
        ("map", POINTER(CFeatureMap)),
        ("instruction", POINTER(CInstruction)),
        *((name, c_void_p) for name in (
            "arena", "packed", "saved", "sums", "input_offsets", "output_offsets",
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
    """The compiled kernels, or None where there is no compiler, or one that fails.

    They are compiled once, in a few seconds, and kept in the user's cache folder.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    folder = resources.files(__package__)
    texts = [(folder / name).read_bytes() for name in SOURCES]
    facts = (texts, FLAGS, compiler, platform.platform(), _processor())
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("SMIDGEN_CACHE", pooch.os_cache("smidgen")))
    path = cache / f"kernels-{key}.so"
    try:
        if not path.is_file():
            _compile(compiler, path)
        loaded = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError):
        return None
    loaded.smidgen_activation.argtypes = [c_char_p, c_int32]
    loaded.smidgen_activation.restype = c_int32
    loaded.smidgen_create_pool.argtypes = [c_int32]
    loaded.smidgen_create_pool.restype = c_void_p
    loaded.smidgen_run_pool.argtypes = [c_void_p, POINTER(POINTER(CNetwork)), c_int32]
    loaded.smidgen_destroy_pool.argtypes = loaded.smidgen_pool_threads.argtypes = [c_void_p]
    loaded.smidgen_run_pool.restype = loaded.smidgen_destroy_pool.restype = None
    return loaded


def _compile(compiler: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        built = Path(folder) / path.name
        with resources.as_file(resources.files(__package__)) as sources:
            command = [compiler, *FLAGS, "-o", str(built), str(sources / SOURCES[0]), "-lm"]
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        built.replace(path)


def _processor() -> str:
    """The processor's features, since machines that differ in them may share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
