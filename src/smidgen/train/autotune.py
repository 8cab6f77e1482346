"""The fastest backend, memory format, precision and number of workers for a network, measured.

Which is fastest depends on the widths of the network and on the machine. So what a recipe leaves
open is measured once for each network, batch size and machine, and kept in a cache; the recipe of
the run records the choice.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import json
import math
import os
import time
from pathlib import Path

import torch
from torch import nn

from smidgen.augment import draw
from smidgen.data import Split
from smidgen.errors import RecipeError, RunError
from smidgen.files import cache_folder, make_folder, write_whole
from smidgen.inputs import Preprocess
from smidgen.recipe import Recipe
from smidgen.train.data_parallel import DataParallel
from smidgen.train.distributed import Process
from smidgen.train.native import UnsupportedError, compile_network, library
from smidgen.train.record import hardware, versions

ROUNDS = 3
SECONDS_PER_TRIAL = 0.08
# How many times as fast a choice must be: clearly where it costs exactness, else beyond the noise.
REQUIRED_SPEEDUP = {"bfloat16": 1.15, "channels_last": 1.03}


def tune(
    recipe: Recipe,
    module: nn.Module,
    preprocess: Preprocess,
    device: torch.device,
    process: Process,
) -> Recipe:
    """The recipe with what it left open chosen: workers, backend, precision and memory format.

    Processes that train together do not measure, so that all choose the same. Raises RecipeError
    for a number of workers that the batch or the processes do not allow, and for a backend that
    cannot train the network here.
    """
    if recipe.workers > recipe.batch_size:
        raise RecipeError(
            f"batch_size = {recipe.batch_size} is smaller than workers = {recipe.workers}; "
            "each worker needs at least one image of every batch"
        )
    if recipe.workers % process.world_size:
        raise RecipeError(
            f"workers = {recipe.workers} is no multiple of the {process.world_size} processes"
        )
    candidates = _candidates(recipe, module, preprocess, device, process)
    if len(candidates) == 1 or process.world_size > 1:
        return candidates[0]
    key = _key(candidates, module, preprocess)
    cache = _read_cache()
    if cache.get(key) not in range(len(candidates)):
        cache[key] = candidates.index(_fastest(candidates, module, preprocess, device))
        _write_cache(cache)
    return candidates[cache[key]]


def untimed(recipe: Recipe, module: nn.Module, preprocess: Preprocess) -> Recipe:
    """The recipe with what it left open chosen without a measurement, the same at any time.

    One worker trains it, by the kernels where they can, in float32.
    """
    given = {"workers": 1, "precision": "float32", "memory_format": "contiguous"}
    fixed = recipe.model_copy(update=given)
    return _candidates(fixed, module, preprocess, torch.device("cpu"), Process())[0]


def _candidates(
    recipe: Recipe,
    module: nn.Module,
    preprocess: Preprocess,
    device: torch.device,
    process: Process,
) -> list[Recipe]:
    """Every combination that the recipe allows, the preferred one first where none is measured."""
    workers, formats, precisions = [recipe.workers], [recipe.memory_format], [recipe.precision]
    if not recipe.workers:
        most = min(os.cpu_count() or 1, max(recipe.batch_size // 8, 1))
        workers = [1, most] if device.type == "cpu" and most > 1 else [1]
        if process.world_size > 1:
            workers = [process.world_size]
    if recipe.memory_format == "auto":
        formats = ["contiguous", "channels_last"]
    if recipe.precision == "auto":
        precisions = ["float32", "bfloat16"] if device.type != "mps" else ["float32"]
    settings = []
    if recipe.backend != "torch" and _has_kernels(recipe, module, preprocess, device):
        settings += [("native", "contiguous", "float32")]
    if recipe.backend != "native":
        settings += [("torch", *pair) for pair in itertools.product(formats, precisions)]
    names = ("workers", "backend", "memory_format", "precision")
    return [
        recipe.model_copy(update=dict(zip(names, (count, *setting), strict=True)))
        for count, setting in itertools.product(workers, settings)
    ]


def _has_kernels(
    recipe: Recipe, module: nn.Module, preprocess: Preprocess, device: torch.device
) -> bool:
    """Whether the native kernels can train the network as the recipe asks.

    Raises RecipeError if they cannot and the recipe asks for them by name.
    """
    reason = _why_no_kernels(recipe, module, preprocess, device)
    if reason and recipe.backend == "native":
        raise RecipeError(f"backend = 'native' cannot train {recipe.model!r}: {reason}")
    return reason is None


def _why_no_kernels(
    recipe: Recipe, module: nn.Module, preprocess: Preprocess, device: torch.device
) -> str | None:
    if device.type != "cpu":
        return f"they run on a CPU, not on {device.type}"
    if recipe.precision == "bfloat16" or recipe.memory_format == "channels_last":
        return "they know float32, contiguous"
    if library() is None:
        return "there is no C compiler (cc, gcc or clang) that builds them; install one"
    try:
        compile_network(module, preprocess.shape)
    except UnsupportedError as problem:
        return str(problem)
    return None


def _fastest(
    candidates: list[Recipe], module: nn.Module, preprocess: Preprocess, device: torch.device
) -> Recipe:
    """The candidate with the least time per batch, the median over rounds taken in turn."""
    engines = [
        DataParallel(copy.deepcopy(module), recipe, preprocess, device, Process())
        for recipe in candidates
    ]
    batch_size = candidates[0].batch_size
    images = torch.randint(
        0, 256, (batch_size, *preprocess.shape), dtype=torch.uint8,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    batch = Split(images, torch.zeros(batch_size, dtype=torch.int64)).to(device)
    times: list[list[float]] = [[] for _ in engines]
    for _, (engine, taken) in itertools.product(range(ROUNDS), zip(engines, times, strict=True)):
        taken.append(_time_batches(engine, batch))

    def cost(i: int) -> float:
        settings = candidates[i].precision, candidates[i].memory_format
        required = [REQUIRED_SPEEDUP.get(setting, 1.0) for setting in settings]
        return sorted(times[i])[ROUNDS // 2] * math.prod(required)

    return candidates[min(range(len(candidates)), key=cost)]


def _time_batches(engine: DataParallel, batch: Split) -> float:
    """Seconds a batch."""
    generator = torch.Generator().manual_seed(0)
    with engine:
        engine.start_epoch(0)
        draws = draw(len(batch), batch.images.shape[2:], engine.recipe.augment, generator)
        engine.backward(batch, draws)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < SECONDS_PER_TRIAL:
            engine.backward(batch, draws).tolist()
            count += 1
        return (time.perf_counter() - started) / count


def _key(candidates: list[Recipe], module: nn.Module, preprocess: Preprocess) -> str:
    choices = [(c.workers, c.backend, c.memory_format, c.precision) for c in candidates]
    facts = (
        str(module),
        preprocess.shape,
        candidates[0].batch_size,
        choices,
        hardware(),
        versions(),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _cache_file() -> Path:
    return cache_folder() / "trials.json"


def _read_cache() -> dict[str, int]:
    """The numbers of the candidates that won; nothing of a cache that is damaged."""
    try:
        cache = json.loads(_cache_file().read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return cache if isinstance(cache, dict) else {}


def _write_cache(cache: dict[str, int]) -> None:
    # A cache that cannot be written only costs the next run its measurement.
    with contextlib.suppress(RunError):
        make_folder(_cache_file().parent)
        write_whole(_cache_file(), json.dumps(cache))
