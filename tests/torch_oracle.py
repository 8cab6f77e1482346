"""One step of training by the kernels, held against torch's in double precision."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Iterable

import pytest
import torch
import torch.nn.functional as F
from drawn_networks import draw_batch, draw_network, draw_shape, photos
from torch import Tensor, nn

from smidgen.mnist import INPUT_SHAPE
from smidgen.recipe import Augment, Recipe
from smidgen.train.batches import Batch, Shard
from smidgen.train.flat import FlatParameters, ShardSums, views
from smidgen.train.native import NativeThreads, UnsupportedError, kernel_backends
from smidgen.train.optimizer import Optimizer

MEAN, STD = 0.13, 0.31
PLAIN = Augment()
SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}


def some_images(count: int, shape: tuple[int, int, int] = INPUT_SHAPE, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)


def inputs_of(levels: Tensor) -> Tensor:
    preprocess = photos(levels, MEAN, STD)
    mean, std = (torch.tensor(each)[:, None, None] for each in (preprocess.mean, preprocess.std))
    return (levels.double() / 255 - mean) / std


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([torch.zeros(0), *(tensor.detach().flatten() for tensor in tensors)])


def by_kernels(
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    draws: dict[str, Tensor] | None = None,
    augment: Augment = PLAIN,
    seed: int = 0,
    mixed: dict[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Gradient, score, statistics and stepped parameters of one step, labels smoothed by 0.1."""
    weights = FlatParameters(copy.deepcopy(module))
    sums, generator = ShardSums(weights), torch.Generator().manual_seed(seed)
    recipe = Recipe(model="any", batch_size=len(labels) + 1, workers=1, label_smoothing=0.1,
                    augment=augment, optimizer=SGD)  # fmt: skip
    [backend] = kernel_backends(weights, recipe, photos(images, MEAN, STD), [sums])
    batch = Batch(images, labels, **mixed or {})
    backend.backward(Shard(batch, draws or {}, len(images), generator))
    found = {"gradient": sums.gradient, "score": sums.score, "statistics": sums.statistics}
    weights.parameters.grad = sums.gradient
    Optimizer(weights, recipe.optimizer).step(recipe.optimizer.lr)
    return found | {"parameters": weights.parameters.detach()}


def by_torch(
    module: nn.Module, images: Tensor, labels: Tensor, mixed: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The same of torch, in float64."""
    oracle = copy.deepcopy(module).double()
    logits = oracle(inputs_of(images))
    wanted = one_hot = torch.eye(logits.shape[1], dtype=torch.float64)[labels]
    weights = torch.ones(len(labels))
    if mixed:
        share, partners = mixed["shares"][:, None].double(), mixed["partners"]
        wanted = share * one_hot + (1 - share) * torch.eye(logits.shape[1])[partners]
        labels, weights = wanted.argmax(1), mixed.get("weights", weights)
    losses = F.cross_entropy(logits, wanted, label_smoothing=0.1, reduction="none")
    loss = (weights * losses).mean()
    loss.backward()
    for parameter in oracle.parameters():
        if parameter.grad is None:  # the loss does not depend on it
            parameter.grad = torch.zeros_like(parameter)
    gradient = flat([parameter.grad for parameter in oracle.parameters()])
    settings = {key: value for key, value in SGD.items() if key != "name"}
    torch.optim.SGD(oracle.parameters(), **settings).step()
    hits = (logits.argmax(dim=1) == labels).sum()
    return {
        "gradient": gradient,
        "score": torch.stack([loss.detach() * len(labels), hits.double()]),
        "statistics": flat([b for b in oracle.buffers() if b.is_floating_point()]),
        "parameters": flat(list(oracle.parameters())),
    }


def assert_as_torch(
    module: nn.Module, images: Tensor, labels: Tensor, mixed: dict[str, Tensor] | None = None
) -> None:
    """The two agree to rounding; every parameter's gradient is judged by itself.

    Where two pixels of a pool tie but for rounding, a gradient goes one way or the other.
    """
    found = by_kernels(module, images, labels, mixed=mixed)
    oracle = by_torch(module, images, labels, mixed)
    whole = oracle["gradient"].norm()
    assert (found["gradient"] - oracle["gradient"]).norm() < 2e-3 * whole
    tensors = list(module.parameters())
    ours, theirs = (views(tensors, each["gradient"].double()) for each in (found, oracle))
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() < 2e-3 * other.norm() + 1e-4 * whole
    assert found["score"][0].item() == pytest.approx(oracle["score"][0].item(), rel=1e-4)
    assert found["score"][1] == oracle["score"][1]
    torch.testing.assert_close(
        found["statistics"].double(), oracle["statistics"].double(), rtol=1e-4, atol=1e-6
    )
    moved = (found["parameters"] - oracle["parameters"]).norm()
    assert moved < 1e-6 * oracle["parameters"].norm() + 2e-3 * SGD["lr"] * 1.9 * whole


def step_of_drawn(seed: int) -> str:
    """What comes of the network drawn from a seed: "equal", "equal in batch 2" (or 3), "refused:"
    with the reason, or "wrong:" with the difference.

    A fault is there in every batch; a tie but for rounding, in float32 alone, in few.
    """
    shape, count = draw_shape(seed), draw_batch(seed)
    module, wrong = draw_network(seed, shape, products=seed % 4 == 0).train(), ""
    for trial in range(3):
        images = some_images(count, shape, 3 * seed + trial)
        try:
            assert_as_torch(module, images, torch.arange(count) % 5)
        except UnsupportedError as reason:
            return f"refused: {reason}"
        except ValueError as problem:  # torch's: a batch norm of a single number
            if count > 1 or "more than 1 value" not in str(problem):
                raise
            count = 2
        except AssertionError as problem:
            wrong = wrong or f"wrong: {problem}"
        else:
            return f"equal in batch {trial + 1}" if trial else "equal"
    return wrong


def sums_of_drawn(seed: int, threads: int) -> list[Tensor]:
    """What each of five shards of a batch adds up for a drawn network, on so many more threads.

    Raises UnsupportedError.
    """
    shape, count = draw_shape(seed), 10 if seed % 2 else 37
    module = draw_network(seed, shape, products=seed % 4 == 0).train()
    weights = FlatParameters(nn.Sequential(nn.Dropout(0.3), module) if seed % 3 == 0 else module)
    images, labels = some_images(count, shape, seed), torch.arange(count) % 5
    recipe = Recipe(model="any", batch_size=5 * count, workers=5)
    shards = [
        Shard(Batch(images.roll(i, 0), labels), {}, 5 * count, torch.Generator().manual_seed(i))
        for i in range(5)
    ]
    sums, preprocess = [ShardSums(weights) for _ in shards], photos(images, MEAN, STD)
    backends = kernel_backends(weights, recipe, preprocess, sums)
    pool = NativeThreads(threads)
    pool.run(backends, shards)
    pool.destroy()
    return [each.vector for each in sums]


def digest_of_drawn(seeds: Iterable[int]) -> str:
    """A digest of all that the shards of the drawn networks add up, by kernels on one thread."""
    digest = hashlib.sha256()
    for seed in seeds:
        with contextlib.suppress(UnsupportedError):
            for sums in sums_of_drawn(seed, 0):
                digest.update(sums.numpy().tobytes())
    return digest.hexdigest()[:16]


def shards_of_drawn(seed: int) -> str:
    """Whether the shards of a batch are the same on three threads as on one: "equal" or "wrong"."""
    try:
        pairs = zip(sums_of_drawn(seed, 0), sums_of_drawn(seed, 2), strict=True)
    except UnsupportedError as reason:
        return f"refused: {reason}"
    return "equal" if all(torch.equal(*pair) for pair in pairs) else "wrong: threads differ"
