"""Whether the kernels compute what torch computes, tried on a network before they train it.

Rounding alone can decide a near tie of a pool or a ReLU the other way, which moves the gradient of
a tensor by up to 4 % in a few batches of the zoo's networks. A fault of the kernels is there in
every batch; the three that have been known moved a tensor by 7 % and more. So the smallest
difference over the first batches counts.
"""

from __future__ import annotations

import copy
import warnings
from itertools import islice

import torch
from torch import nn

from smidgen.data import Split
from smidgen.errors import TrainingError
from smidgen.inputs import Preprocess
from smidgen.recipe import Recipe
from smidgen.train.batches import Shard, epoch_batches
from smidgen.train.distributed import is_main_process
from smidgen.train.flat import FlatParameters, ShardSums, trainable, views
from smidgen.train.native import kernel_backends
from smidgen.train.torch_backend import TorchBackend

TOLERANCE = 0.03
BATCHES = 8  # tried until one is within the tolerance: nearly always the first
IMAGES = 20  # of each batch, which fill some of the kernels' vectors whole and one in part
NEGLIGIBLE = 0.01  # of the whole gradient's norm; a tensor's below that may be rounding alone


def report_difference(recipe: Recipe, difference: float) -> None:
    """Warns that torch trains instead of the kernels, whose gradient differs by that.

    Raises TrainingError if the recipe asks for the kernels by name.
    """
    found = f"its gradient of {recipe.model!r} differs from torch's by {100 * difference:.0f} %"
    if recipe.backend == "native":
        raise TrainingError(f"backend = 'native': {found}; train with --set backend=torch")
    if is_main_process():
        warnings.warn(f"backend = 'torch' trains instead of 'native': {found}", stacklevel=2)


def smallest_difference(
    module: nn.Module, recipe: Recipe, split: Split, preprocess: Preprocess
) -> float:
    """The smallest `gradient_difference` over the training's first batches, of 20 images each.

    It ends with the first batch that is within the tolerance. `module` is not changed.
    """
    smallest = float("inf")
    for batch, draws in islice(epoch_batches(split, recipe, 0), BATCHES):
        own = {name: values[:IMAGES] for name, values in draws.items()}
        shard = Shard(batch.rows(slice(IMAGES)), own, len(batch), generator=None)
        smallest = min(smallest, gradient_difference(module, recipe, preprocess, shard))
        if smallest <= TOLERANCE:
            break
    return smallest


def gradient_difference(
    module: nn.Module, recipe: Recipe, preprocess: Preprocess, shard: Shard
) -> float:
    """How far the kernels' gradient of any parameter tensor is from torch's, relative to its norm.

    Both are of the same images and parameters, in float32; the largest difference of a tensor
    counts. Give a shard without a generator: the two would drop different numbers.
    """
    recipe = recipe.model_copy(update={"batch_size": len(shard.split), "workers": 1})
    weights = FlatParameters(copy.deepcopy(module))
    by_kernels, by_torch = ShardSums(weights), ShardSums(weights)
    [backend] = kernel_backends(weights, recipe, preprocess, [by_kernels])
    backend.backward(shard)
    TorchBackend(weights, recipe, preprocess, by_torch).backward(shard)
    tensors = trainable(module)
    pairs = zip(views(tensors, by_kernels.gradient), views(tensors, by_torch.gradient), strict=True)
    least = NEGLIGIBLE * by_torch.gradient.norm() + torch.finfo().tiny
    parts = [float((ours - theirs).norm() / (theirs.norm() + least)) for ours, theirs in pairs]
    return max(parts, default=0.0)
