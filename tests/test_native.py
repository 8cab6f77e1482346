"""The kernels against torch, in double precision where a gradient is judged."""

from __future__ import annotations

import contextlib
import math
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels_elsewhere import COMPILER, EMULATOR
from torch import Tensor, nn
from torch_oracle import (
    MEAN,
    STD,
    assert_as_torch,
    by_kernels,
    digest_of_drawn,
    flat,
    inputs_of,
    some_images,
    step_of_drawn,
)

from smidgen.augment import draw, resample
from smidgen.data import Split
from smidgen.mnist import GLYPH, INPUT_SHAPE
from smidgen.network import guess_input
from smidgen.recipe import Augment, Recipe
from smidgen.train.batches import Shard
from smidgen.train.flat import FlatParameters, ShardSums
from smidgen.train.native import (
    NativeThreads,
    UnsupportedError,
    compile_network,
    kernel_backends,
)
from smidgen.zoo import create_model, list_models

PREPROCESS = GLYPH.with_statistics(MEAN, STD)
DRAWN = 300

pytestmark = pytest.mark.skipif(
    not (shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")),
    reason="the kernels are built by a C compiler, and there is none",
)


class Branches(nn.Module):
    """One convolution used twice, a sum, a concatenation and functions instead of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 5, stride=2, padding=1)
        self.shared = nn.Conv2d(6, 6, 3, padding=1, groups=3, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(2))
        self.pool = nn.AvgPool2d(3)  # (N, 12, 4, 4), one row and column of 13 unread
        self.head = nn.Linear(12 * 4 * 4, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.stem(x))  # (N, 6, 13, 13)
        second = torch.relu(first + self.norms[0](self.shared(first)))
        third = self.norms[1](self.shared(second)) + first
        both = F.relu(torch.cat([third, second], 1))
        return self.head(self.pool(both).flatten(1))


def narrow() -> nn.Module:
    """No padding, an even kernel, batch norm without weights, a hidden linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 4, bias=False),
        nn.BatchNorm2d(3, affine=False, momentum=0.3, eps=1e-3),
        nn.MaxPool2d(3),  # (N, 3, 8, 8), one row and column of 25 unread
        nn.Conv2d(3, 5, (3, 1), padding=(2, 0)),  # (N, 5, 10, 8)
        nn.ReLU(),
        nn.AvgPool2d(2),  # (N, 5, 5, 4)
        nn.Flatten(),
        nn.Linear(100, 9),
        nn.ReLU(),
        nn.Linear(9, 10),
    )


def gainless(channels: int) -> nn.Module:
    """A batch norm with an offset and no gain."""
    norm = nn.BatchNorm2d(channels)
    norm.register_parameter("weight", None)
    return norm


def leaky() -> nn.Module:
    """Leaky ReLUs after a norm, a pool, a linear layer; after what two layers read; a norm without
    a gain."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.LeakyReLU(0.2),
        nn.Conv2d(3, 4, 3),
        nn.MaxPool2d(4),  # (N, 4, 6, 6)
        nn.LeakyReLU(0.4),
        gainless(4),
        nn.LeakyReLU(0.3),
        nn.Flatten(),
        nn.Linear(144, 9),
        nn.LeakyReLU(0.5),
        nn.Linear(9, 10),
    )


NETWORKS = {name: lambda name=name: create_model(name) for name in list_models() if name != "net"}
NETWORKS |= {"branches": Branches, "narrow": narrow, "leaky": leaky}


class Branching(nn.Sequential):
    """What it computes depends on the image."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 10))

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return logits.relu() if logits.sum() > 0 else logits


class Forgotten(Branching):
    """A batch norm whose output nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        self.norm(x)
        return self[1](self[0](x))


def without_dropout(module: nn.Module) -> nn.Module:
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return module.train()


@pytest.mark.parametrize("count", [3, 16, 21])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_is_that_of_torch(name: str, count: int) -> None:
    torch.manual_seed(1)
    module, labels = without_dropout(NETWORKS[name]()), torch.arange(count) % 10
    # A fault is there in every batch; a pool that ties but for rounding, in float32 alone, in few.
    for seed in (3, 4):
        with contextlib.suppress(AssertionError):
            return assert_as_torch(module, some_images(count, guess_input(module), seed), labels)
    return assert_as_torch(module, some_images(count, guess_input(module), 5), labels)


def colour_network() -> nn.Module:
    """For images 3 × 20 × 31 of seven classes."""
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 18 * 29, 7)
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("count", [1, 3, 17, 21])
def test_the_loss_of_mixed_images_is_torchs(count: int, weighted: bool) -> None:
    torch.manual_seed(1)
    labels = torch.arange(count) % 7
    mixed = {"partners": (3 * labels + 1) % 7, "shares": torch.rand(count)}
    mixed |= {"weights": 3 * torch.rand(count)} if weighted else {}
    assert_as_torch(colour_network(), some_images(count, (3, 20, 31)), labels, mixed)


class Doubled(nn.Module):
    """A map added to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4 * 26 * 26, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        return self.head((y + y).flatten(1))


class ImageBeside(nn.Module):
    """The image and what a convolution makes of it, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.pool = nn.Conv2d(1, 3, 3, padding=1), nn.AvgPool2d(4)
        self.head = nn.Linear(4 * 7 * 7, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(torch.cat([x, self.stem(x)], 1)).flatten(1))


def two_relus(*before: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), *before, nn.ReLU(), nn.LeakyReLU(0.5), nn.Flatten(), nn.LazyLinear(10)
    )


@pytest.mark.parametrize(
    "module",
    [
        Doubled(),
        ImageBeside(),
        two_relus(nn.MaxPool2d(2)),
        two_relus(nn.AvgPool2d(2)),
        two_relus(nn.BatchNorm2d(4)),
    ],
)
def test_a_gradient_that_was_wrong_once_is_right(module: nn.Module) -> None:
    module(torch.zeros(2, 1, 28, 28))  # lazy layers take their shapes
    assert_as_torch(module.train(), some_images(21), torch.arange(21) % 10)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_kernels_of_three_by_three_have_torchs_gradient(data: st.DataObject) -> None:
    """Tiles at odd edges, with and without padding, in groups, and too few rows for a tile."""
    inputs, outputs = (data.draw(st.integers(3, 13), label=name) for name in ("inputs", "outputs"))
    high, wide = (data.draw(st.integers(3, 12), label=name) for name in ("high", "wide"))
    groups, padding = data.draw(st.sampled_from([1, 1, 2])), data.draw(st.integers(0, 3))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    inner = nn.Conv2d(groups * inputs, groups * outputs, 3, padding=padding, groups=groups)
    module = nn.Sequential(nn.Conv2d(1, groups * inputs, 1), inner, nn.Flatten(), nn.LazyLinear(7))
    count = data.draw(st.sampled_from([1, 16, 37]), label="count")
    images = some_images(count, (1, high, wide))
    module(torch.zeros(1, 1, high, wide))  # the lazy layer takes its shape
    assert_as_torch(module.train(), images, torch.arange(count) % 7)


def test_drawn_networks_have_torchs_gradient() -> None:
    """A few of the networks that benchmarks/random_networks.py draws."""
    refused = 0
    for seed in range(DRAWN):
        verdict = step_of_drawn(seed)
        assert not verdict.startswith("wrong"), (seed, verdict)
        refused += verdict.startswith("refused")
    assert refused < 0.3 * DRAWN


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not shutil.which("gcc"), reason="gcc's flags of x86-64"
)
@pytest.mark.parametrize(("build", "count"), [("avx2", 12), ("plain", 12), ("neon", 10)])
def test_other_builds_have_torchs_gradient(build: str, count: int) -> None:
    """On a machine without AVX-512, on one without AVX, and on arm64; the tenth is filtered."""
    flags = Path("/proc/cpuinfo").read_text()
    if build == "avx2" and "avx2" not in flags:
        pytest.skip("the processor has no AVX2")
    if build == "neon" and not (shutil.which(COMPILER) and shutil.which(EMULATOR)):
        pytest.skip("gcc or qemu for arm64 is missing: gcc-aarch64-linux-gnu, qemu-user")
    command = [sys.executable, str(Path(__file__).with_name("kernel_builds.py")), build]
    done = subprocess.run([*command, "--count", str(count)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{build}, 8 lanes: {count} networks, 0 wrong" in done.stdout
    if build != "plain" and "fma" in flags:  # the same bits; "plain" rounds twice
        assert f"digest {digest_of_drawn(range(count))}" in done.stdout


def test_planning_leaves_a_module_as_it_is() -> None:
    frozen = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(1352, 10))
    frozen[1].eval()
    refused = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.Flatten(), nn.Linear(1352, 10))
    compile_network(frozen, INPUT_SHAPE)
    with pytest.raises(UnsupportedError, match="gelu"):
        compile_network(refused, INPUT_SHAPE)
    assert [layer.training for layer in frozen.modules()] == [True, True, False, True, True]
    assert all(layer.training for layer in refused.modules())


@pytest.mark.parametrize(
    "settings",
    [
        Augment(rotation=180.0, translation=0.5, scale=0.5, shear=30.0),
        Augment(crop_size=22, crop_probability=0.5),
        Augment(rotation=5.0, elastic=1.5, cutout=6),
        Augment(elastic=3.0),
        Augment(cutout=9),
        Augment(),
    ],
)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 31)])
def test_images_are_augmented_as_torch_does(settings: Augment, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(1)
    # Its gradient holds the images.
    module = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 10))
    images, labels = some_images(20, shape), torch.arange(20) % 10
    draws = draw(20, shape[1:], settings, torch.Generator().manual_seed(5))
    found = by_kernels(module, images, labels, draws=draws, augment=settings)
    logits = module(inputs_of(resample(images, draws, settings)).float())
    F.cross_entropy(logits, labels, label_smoothing=0.1).backward()
    gradient = flat([parameter.grad for parameter in module.parameters()])
    torch.testing.assert_close(found["gradient"], gradient, rtol=1e-3, atol=1e-4)


def test_dropout_drops_the_same_forward_and_backward() -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.Dropout(0.25), nn.Linear(400, 10))
    images, labels = some_images(1), torch.tensor([3])
    first = by_kernels(module, images, labels, seed=1)["gradient"]
    into, out_of = first[: 784 * 400].view(400, 784), first[784 * 400 + 400 : -10].view(10, 400)
    dropped = (out_of == 0).all(dim=0)
    assert torch.equal((into == 0).all(dim=1), dropped)
    assert 70 <= dropped.sum() <= 130  # 100 expected, standard deviation 8.7
    hidden = module[1](inputs_of(images).float().flatten(1))[0]
    slopes = out_of[3] / (hidden / 0.75)  # the gradient of logit 3, where the unit is kept
    assert slopes[~dropped].std() < 1e-4 * slopes[~dropped].mean().abs()
    assert torch.equal(by_kernels(module, images, labels, seed=1)["gradient"], first)
    assert not torch.equal(by_kernels(module, images, labels, seed=2)["gradient"], first)


def test_every_image_has_dropout_of_its_own() -> None:
    module = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(784, 10))
    images = torch.full((2, 1, 28, 28), 255, dtype=torch.uint8)
    shares = []
    for kept in range(2):  # the gradient of one image alone: the other's label is a certain loss
        gradient = by_kernels(module, images[: kept + 1], torch.zeros(kept + 1, dtype=torch.int64))
        shares.append(gradient["gradient"][:784] == 0)
    assert 300 < shares[0].sum() < 480  # 392 expected, standard deviation 14
    assert 130 < shares[1].sum() < 260  # both dropped: 196 expected, standard deviation 12


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (nn.Sequential(nn.Conv2d(1, 10, 3)), "does not end in logits"),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).requires_grad_(False), "are frozen"),
        (Branching(), "from one image to another"),
        (Forgotten(), "norm: batch_norm whose output nothing reads"),
    ],
)
def test_what_the_kernels_cannot_train_is_named(module: nn.Module, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        compile_network(module, INPUT_SHAPE)


def test_threads_compute_what_one_thread_does() -> None:
    """Five shards on two threads and the caller's, again and again; and no shard at all."""
    torch.manual_seed(1)
    weights = FlatParameters(without_dropout(create_model("tiny_mnist")))
    recipe = Recipe(model="any", batch_size=50, workers=5)
    shards = [
        Shard(Split(some_images(10).roll(i, 0), torch.arange(10)), {}, 50, torch.Generator())
        for i in range(5)
    ]

    def gradients(threads: int) -> list[Tensor]:
        sums = [ShardSums(weights) for _ in shards]
        backends = kernel_backends(weights, recipe, PREPROCESS, sums)
        pool = NativeThreads(threads)
        pool.run([], [])
        for _ in range(3):
            pool.run(backends, shards)
        pool.destroy()
        return [each.vector for each in sums]

    alone, together = gradients(0), gradients(2)
    assert not torch.equal(alone[0], alone[1])
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))
