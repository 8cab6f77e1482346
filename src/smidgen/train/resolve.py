"""What a recipe leaves open, chosen by rules and not by a clock.

So a recipe and a seed give the same weights whatever else the machine has to do.
"""

from __future__ import annotations

import torch
from torch import nn

from smidgen.errors import RecipeError
from smidgen.inputs import Preprocess
from smidgen.recipe import Recipe
from smidgen.train.distributed import Process
from smidgen.train.native import UnsupportedError, compile_network, library

SHARD = 16  # images, which fill a vector of the kernels
MOST_SHARDS = 4


def resolve(
    recipe: Recipe,
    module: nn.Module,
    preprocess: Preprocess,
    device: torch.device,
    process: Process,
) -> Recipe:
    """The recipe with its number of workers and its backend chosen where it leaves them open.

    The kernels train where they can. A CPU gets a shard for each 16 images, up to four, however
    many cores there are. Raises RecipeError for a number of workers that the batch or the processes
    do not allow, and for a backend that cannot train the network here.
    """
    workers = recipe.workers or default_workers(recipe.batch_size, device, process.world_size)
    if workers > recipe.batch_size:
        raise RecipeError(
            f"batch_size = {recipe.batch_size} is smaller than workers = {workers}; "
            "each worker needs at least one image of every batch"
        )
    if workers % process.world_size:
        raise RecipeError(
            f"workers = {workers} is no multiple of the {process.world_size} processes"
        )
    backend = recipe.backend
    if backend != "torch":
        reason = _why_no_kernels(recipe, module, preprocess, device)
        if reason and backend == "native":
            raise RecipeError(f"backend = 'native' cannot train {recipe.model!r}: {reason}")
        backend = "torch" if reason else "native"
    return recipe.model_copy(update={"workers": workers, "backend": backend})


def default_workers(batch_size: int, device: torch.device, world_size: int) -> int:
    """The shards of a batch where the recipe does not say; each process has as many."""
    shards = min(-(-batch_size // SHARD), MOST_SHARDS) if device.type == "cpu" else 1
    return -(-shards // world_size) * world_size


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
