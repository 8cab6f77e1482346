"""How long a network takes for one image and for a thousand, in torch, ONNX Runtime and C."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from smidgen.export.c import write_c
from smidgen.export.footprint import quantize_on_noise
from smidgen.export.onnx import open_onnx, write_onnx
from smidgen.export.toolchain import compile_host, run
from smidgen.inputs import InputShape, Preprocess

BATCHES = (1, 1000)
NATIVE = ("-O3", "-march=native")


def latency(
    model: nn.Module, preprocess: Preprocess, rounds: int = 200
) -> dict[str, dict[str, float]]:
    """Median milliseconds for a batch of 1 and of 1,000, by runner.

    Runners are eager torch and ONNX Runtime, each with one thread or with all, whichever is faster,
    and the C code in one thread, built with -O3 -march=native; it has no batches, so 1,000 images
    are 1,000 calls. The pixels do not matter: no runner's time depends on them. Raises
    MissingExtraError without gcc or the extra `export`, and ExportError for a network that cannot
    be exported.
    """
    shape = preprocess.shape
    return {
        "eager torch": _torch(model.eval(), shape, rounds),
        "ONNX Runtime": _onnx(model, preprocess, rounds),
        "C": _c(model, preprocess),
    }


def _torch(model: nn.Module, shape: InputShape, rounds: int) -> dict[str, float]:
    before = torch.get_num_threads()
    times = []
    try:
        for threads in {1, before}:
            torch.set_num_threads(threads)
            with torch.inference_mode():
                times.append(_times(model, shape, rounds))
    finally:
        torch.set_num_threads(before)
    return _best(times)


def _onnx(model: nn.Module, preprocess: Preprocess, rounds: int) -> dict[str, float]:
    data = write_onnx(model, preprocess)
    times = []
    for threads in (1, 0):  # 0: as many as there are cores
        session = open_onnx(data, threads)
        times.append(_times(partial(_run_session, session), preprocess.shape, rounds))
    return _best(times)


def _run_session(session: Any, images: torch.Tensor) -> object:
    return session.run(None, {"image": images.numpy()})


def _c(model: nn.Module, preprocess: Preprocess) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in write_c(quantize_on_noise(model, preprocess, "timed")).items():
            (folder / file).write_text(text, encoding="utf-8")
        program = compile_host(folder, "latency.c", folder / "latency", NATIVE)
        nanoseconds = run([program]).split()
    return {_name(n): float(ns) / 1e6 for n, ns in zip(BATCHES, nanoseconds, strict=True)}


def _times(
    answer: Callable[[torch.Tensor], object], shape: InputShape, rounds: int
) -> dict[str, float]:
    found = {}
    for count in BATCHES:
        images = torch.zeros(count, *shape)
        times = []
        for _ in range(rounds if count == 1 else rounds // 20):
            started = time.perf_counter()
            answer(images)
            times.append(time.perf_counter() - started)
        found[_name(count)] = 1e3 * median(times)
    return found


def _best(times: list[dict[str, float]]) -> dict[str, float]:
    return {name: min(each[name] for each in times) for name in times[0]}


def _name(count: int) -> str:
    return f"batch of {count:,}"
