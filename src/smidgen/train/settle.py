"""Where and how to train: the device, the processes, and what is fastest for this network here.

Which memory format, precision and number of workers is fastest depends on the widths of the
network and on the machine. So it is measured, once for each network, batch size and machine, and
remembered; the recipe of the run records the choice.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import os
import time
from pathlib import Path

import pooch
import torch
import torch.distributed as dist
from torch import nn

from smidgen.augment import draw
from smidgen.data import Split
from smidgen.errors import RecipeError, RunError
from smidgen.preprocess import SIDE
from smidgen.recipe import Recipe
from smidgen.run import write_whole
from smidgen.train.engine import Network, Process
from smidgen.train.native import UnsupportedError, compile_network, library
from smidgen.train.record import hardware, versions

ROUNDS = 3
SECONDS_PER_TRIAL = 0.08
# A choice that costs exactness must win clearly; one that does not, just beyond the noise.
HANDICAP = {"bfloat16": 1.15, "channels_last": 1.03}


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one, then MPS, then the CPU.

    Raises RecipeError for a device that is unknown or not there.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(),
                 "mps": torch.backends.mps.is_available()}  # fmt: skip
    if name == "auto":
        return torch.device(next(d for d in ("cuda", "mps", "cpu") if available[d]))
    kind = name.partition(":")[0]
    if not available.get(kind):
        there = ", ".join(device for device, here in available.items() if here)
        raise RecipeError(
            f"--device {name!r} is not available on this machine; choose from {there}"
        )
    return torch.device(name)


def join_processes() -> Process:
    """This process's place under torchrun, once it has met the others; alone elsewhere."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Process(dist.get_rank(), count) if count > 1 else Process()


def settle(recipe: Recipe, module: nn.Module, device: torch.device, process: Process) -> Recipe:
    """The recipe with workers, precision and memory format chosen, where it left them open.

    Raises RecipeError for a batch that is smaller than the number of workers.
    """
    if recipe.workers > recipe.batch_size:
        raise RecipeError(
            f"batch_size = {recipe.batch_size} is smaller than workers = {recipe.workers}; "
            "each worker needs at least one image of every batch"
        )
    if recipe.workers % process.count:
        raise RecipeError(
            f"workers = {recipe.workers} is no multiple of the {process.count} processes"
        )
    candidates = _candidates(recipe, module, device, process)
    if len(candidates) == 1 or process.count > 1:
        return candidates[0]
    key = _key(candidates, module)
    known = _remembered()
    if key not in known:
        known[key] = candidates.index(_fastest(candidates, module, device))
        _remember(known)
    return candidates[known[key]]


def _candidates(
    recipe: Recipe, module: nn.Module, device: torch.device, process: Process
) -> list[Recipe]:
    """Every way the recipe leaves open, the plainest first."""
    workers, formats, precisions = [recipe.workers], [recipe.memory_format], [recipe.precision]
    ways: list[dict[str, str]] = []
    if recipe.backend != "torch":
        ways = _native(recipe, module, device)
    if not recipe.workers:
        most = min(os.cpu_count() or 1, max(recipe.batch_size // 8, 1))
        workers = [1, most] if device.type == "cpu" and most > 1 else [1]
        if process.count > 1:
            workers = [process.count]
    if recipe.memory_format == "auto":
        formats = ["contiguous", "channels_last"]
    if recipe.precision == "auto":
        precisions = ["float32", "bfloat16"] if device.type != "mps" else ["float32"]
    if recipe.backend != "native":
        ways += [
            {"backend": "torch", "memory_format": f, "precision": p}
            for f, p in itertools.product(formats, precisions)
        ]
    return [
        recipe.model_copy(update={"workers": w} | way)
        for w, way in itertools.product(workers, ways)
    ]


def _native(recipe: Recipe, module: nn.Module, device: torch.device) -> list[dict[str, str]]:
    """The way of our own kernels, where they can go it.

    Raises RecipeError if the recipe asks for them and they cannot.
    """
    reason = None
    if device.type != "cpu":
        reason = f"they run on a CPU, not on {device.type}"
    elif recipe.precision == "bfloat16" or recipe.memory_format == "channels_last":
        reason = "they know float32, contiguous"
    elif library() is None:
        reason = "there is no C compiler (cc, gcc or clang) that builds them; install one"
    else:
        try:
            compile_network(module, SIDE, SIDE)
        except UnsupportedError as problem:
            reason = str(problem)
    if reason is None:
        return [{"backend": "native", "memory_format": "contiguous", "precision": "float32"}]
    if recipe.backend == "native":
        raise RecipeError(f"backend = 'native' cannot train {recipe.model!r}: {reason}")
    return []


def _fastest(candidates: list[Recipe], module: nn.Module, device: torch.device) -> Recipe:
    """The candidate with the least time per batch, the median over rounds taken in turn."""
    networks = [
        Network(copy.deepcopy(module), recipe, 0.0, 1.0, device, Process()) for recipe in candidates
    ]
    batch = Split(
        torch.randint(0, 256, (candidates[0].batch_size, 1, 28, 28), dtype=torch.uint8,
                      generator=torch.Generator().manual_seed(0)).to(device),
        torch.zeros(candidates[0].batch_size, dtype=torch.int64, device=device),
    )  # fmt: skip
    times: list[list[float]] = [[] for _ in networks]
    for _, (network, taken) in itertools.product(range(ROUNDS), zip(networks, times, strict=True)):
        taken.append(_time_batches(network, batch))

    def handicapped(i: int) -> float:
        recipe = candidates[i]
        cost = HANDICAP.get(recipe.precision, 1.0) * HANDICAP.get(recipe.memory_format, 1.0)
        return sorted(times[i])[ROUNDS // 2] * cost

    return candidates[min(range(len(candidates)), key=handicapped)]


def _time_batches(network: Network, batch: Split) -> float:
    """Seconds a batch."""
    generator = torch.Generator().manual_seed(0)
    with network:
        network.start_epoch(0)
        draws = draw(len(batch), network.recipe.augment, generator)
        network.backward(batch, draws)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < SECONDS_PER_TRIAL:
            network.backward(batch, draws).tolist()
            count += 1
        return (time.perf_counter() - started) / count


def _key(candidates: list[Recipe], module: nn.Module) -> str:
    choices = [(c.workers, c.backend, c.memory_format, c.precision) for c in candidates]
    facts = (str(module), candidates[0].batch_size, choices, hardware(), versions())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _trials_file() -> Path:
    return Path(os.environ.get("SMIDGEN_CACHE", pooch.os_cache("smidgen"))) / "trials.json"


def _remembered() -> dict[str, int]:
    try:
        known: dict[str, int] = json.loads(_trials_file().read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return known


def _remember(known: dict[str, int]) -> None:
    path = _trials_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.write_text(json.dumps(known), encoding="utf-8"))
    except (OSError, RunError):
        pass  # a cache folder that cannot be written only costs the next run its trial
