"""Images a second, of the engine and of its parts."""

from __future__ import annotations

import itertools
import math
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from smidgen.anatomy import describe
from smidgen.augment import augment
from smidgen.bench.standard import train_standard
from smidgen.data import Data, Split
from smidgen.inputs import InputShape, Preprocess
from smidgen.mnist import INPUT_SHAPE
from smidgen.network import one_thread_per_operator
from smidgen.recipe import Augment, Recipe, load_recipe, override
from smidgen.train import fit, new_module, train_epoch
from smidgen.train.data_parallel import DataParallel
from smidgen.train.distributed import Process
from smidgen.train.native import library
from smidgen.train.optimizer import Optimizer
from smidgen.train.progress import Meter
from smidgen.train.resolve import resolve
from smidgen.zoo import default_input

CPU = torch.device("cpu")
AFFINE = Augment(rotation=10.0, translation=0.1, scale=0.1, shear=5.0)


def against_standard_loop(data: Data, rounds: int = 5, images: int = 12_800) -> dict[str, Any]:
    """Images a second of tiny_mnist by its document's recipe: standard loop, engine, ratios.

    The standard loop runs with 0 and with 2 loader workers, torch's own threads in its operators.
    """
    recipe = load_recipe("tiny_mnist")
    split = Split(data.train.images[:images], data.train.labels[:images])
    runners: dict[str, Callable[[], float]] = {
        "engine": lambda: engine_rate(recipe, split, data),
        "standard, 0 workers": lambda: _standard_rate(recipe, split, data, 0),
        "standard, 2 workers": lambda: _standard_rate(recipe, split, data, 2),
    }
    runners["engine"]()  # warms up
    rates: dict[str, list[float]] = {name: [] for name in runners}
    for _, (name, run) in itertools.product(range(rounds), runners.items()):
        rates[name].append(run())
    ratios = {
        f"engine / {name}": median(
            mine / theirs for mine, theirs in zip(rates["engine"], rates[name], strict=True)
        )
        for name in list(runners)[1:]
    }
    return {"images_per_second": {name: median(r) for name, r in rates.items()}, "ratios": ratios}


def scaling(models: list[str], data: Data, rounds: int = 5) -> dict[str, Any]:
    """Training throughput on one core and on all cores, and the ratio, by model."""
    split = Split(data.train.images[:6_400], data.train.labels[:6_400])
    cores = os.cpu_count() or 1
    found = {}
    for name in models:
        recipe = _recipe(name)
        engine_rate(recipe, split, data)
        pairs = [[_rate_on(n, recipe, split, data) for n in (1, cores)] for _ in range(rounds)]
        found[name] = {
            "one core": median(one for one, _ in pairs),
            f"{cores} cores": median(many for _, many in pairs),
            "ratio": median(many / one for one, many in pairs),
        }
    return found


def _rate_on(cores: int, recipe: Recipe, split: Split, data: Data) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        return engine_rate(recipe, split, data)
    finally:
        torch.set_num_threads(before)


def roofline(models: list[str], data: Data, rounds: int = 3) -> dict[str, Any]:
    """Training FLOP/s of each model as a share of the most that the cores which train it can do.

    Of fused multiply-adds in float32 (`share`; NaN where there are no kernels), and of torch's
    matrix product (`matmul_share`). A model that takes other images than those of `data` trains on
    random ones.
    """
    cores, found = os.cpu_count() or 1, {}
    for name in models:
        own = _taken_by(name, data)
        recipe = _resolved(override(_recipe(name), {"precision": "float32"}), own)
        used = min(recipe.workers, cores) / cores
        flops = training_flops(new_module(recipe, own), own.preprocess.shape)
        count = max(recipe.batch_size, min(6_400, int(4e11 / flops)))
        split = Split(own.train.images[:count], own.train.labels[:count])
        engine_rate(recipe, split, own)
        taken = [
            (
                engine_rate(recipe, split, own),
                used * (multiply_add_flops() or math.nan),
                used * matmul_flops(),
            )
            for _ in range(rounds)
        ]
        found[name] = {
            "images_per_second": median(rate for rate, _, _ in taken),
            "flops_per_image": flops,
            "peak_flops_per_second": median(peak for _, peak, _ in taken),
            "share": median(rate * flops / peak for rate, peak, _ in taken),
            "matmul_flops_per_second": median(product for _, _, product in taken),
            "matmul_share": median(rate * flops / product for rate, _, product in taken),
        }
    return found


def _taken_by(model: str, data: Data) -> Data:
    """The data, or random images of the shape that the model takes if nobody says otherwise."""
    shape = default_input(model)
    if shape in (None, data.preprocess.shape):
        return data
    assert shape is not None
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (6_400, *shape), dtype=torch.uint8, generator=random)
    labels = torch.randint(len(data.classes), (6_400,), generator=random)
    fed = Preprocess("photo", shape, (0.5,) * shape[0], (0.25,) * shape[0])
    return replace(data, train=Split(images, labels), preprocess=fed, origin=None)


def engine_rate(recipe: Recipe, split: Split, data: Data) -> float:
    """Images a second of one epoch of the engine over the split."""
    chosen = _resolved(recipe, data)
    module = new_module(chosen, data)
    engine = DataParallel(module, chosen, data.preprocess, CPU, Process())
    optimizer = Optimizer(engine.weights, chosen.optimizer)
    with engine:
        meter = Meter(0, chosen, len(split), 0.0, lambda progress: None)
        train_epoch(engine, optimizer, split, 0, meter)
        meter.finish()
    return len(split) / meter.seconds()


def training_flops(module: nn.Module, shape: InputShape) -> float:
    """Floating-point operations of one image, forward and backward.

    A layer's products are counted three times, for its output, its weights' gradient and its
    input's; the first layer's twice, since nobody asks for the gradient of the image. (torch's own
    counter takes the backward pass of a grouped convolution for that of a full one.)
    """
    products = [layer.macs for layer in describe(module, shape).layers if layer.macs]
    return 2.0 * (3 * sum(products) - products[0])


def multiply_add_flops(rounds: int = 30_000_000) -> float | None:
    """FLOP/s of fused multiply-adds in float32 vectors, on each core; None without the kernels."""
    kernels, cores = library(), os.cpu_count() or 1
    if kernels is None:
        return None
    with ThreadPoolExecutor(cores) as pool:
        started = time.perf_counter()
        each: list[int] = list(pool.map(kernels.smidgen_multiply_add, [rounds] * cores))
        seconds = time.perf_counter() - started
    return rounds * sum(each) / seconds


def matmul_flops(size: int = 1024, repeats: int = 20) -> float:
    """FLOP/s of float32 matrix products, one on each core at a time."""
    cores = os.cpu_count() or 1
    factors = [torch.rand(size, size) for _ in range(cores)]

    def multiply(factor: torch.Tensor) -> None:
        for _ in range(repeats):
            factor @ factor

    with one_thread_per_operator(), ThreadPoolExecutor(cores) as pool:
        list(pool.map(multiply, factors))
        started = time.perf_counter()
        list(pool.map(multiply, factors))
        seconds = time.perf_counter() - started
    return cores * repeats * 2 * size**3 / seconds


def growth(data: Data, rounds: int = 5, images: int = 12_800, epochs: int = 10) -> dict[str, float]:
    """Seconds of an epoch of tiny_mnist over `images` and over twice as many, and their ratio.

    And the most memory this process has held, in megabytes, after two epochs and after `epochs`.
    """
    recipe = _resolved(load_recipe("tiny_mnist"), data)
    once, twice = (
        Split(data.train.images[:count], data.train.labels[:count])
        for count in (images, 2 * images)
    )
    engine_rate(recipe, twice, data)
    pairs = [
        [len(split) / engine_rate(recipe, split, data) for split in (once, twice)]
        for _ in range(rounds)
    ]
    memory = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (2, epochs):
            fit(override(recipe, {"epochs": count}), data, Path(folder) / str(count))
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return {
        f"seconds for {images:,} images": median(one for one, _ in pairs),
        f"seconds for {2 * images:,} images": median(two for _, two in pairs),
        "ratio": median(two / one for one, two in pairs),
        "megabytes after 2 epochs": memory[0],
        f"megabytes after {epochs} epochs": memory[1],
    }


def augmentation(rounds: int = 5, batch_size: int = 256) -> dict[str, float]:
    """Images a second of rotation, translation, scale and shear, on one core and on all."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(
        0, 256, (batch_size, *INPUT_SHAPE), dtype=torch.uint8, generator=generator
    )
    repeats = 40

    def change(worker: int) -> None:
        own = torch.Generator().manual_seed(worker)
        for _ in range(repeats):
            augment(images, AFFINE, own)

    found: dict[str, float] = {}
    for cores in sorted({1, os.cpu_count() or 1}):
        times = []
        with one_thread_per_operator(), ThreadPoolExecutor(cores) as pool:
            for _ in range(rounds):
                started = time.perf_counter()
                list(pool.map(change, range(cores)))
                times.append(time.perf_counter() - started)
        name = f"{cores} {'core' if cores == 1 else 'cores'}"
        found[name] = cores * repeats * batch_size / median(times)
    return found


def _standard_rate(recipe: Recipe, split: Split, data: Data, loader_workers: int) -> float:
    module = new_module(recipe, data)
    *_, (images, seconds) = train_standard(module, split, recipe, data.preprocess, loader_workers)
    return images / seconds


def _recipe(model: str) -> Recipe:
    return override(load_recipe(model), {"augment": {}})


def _resolved(recipe: Recipe, data: Data) -> Recipe:
    return resolve(recipe, new_module(recipe, data), data.preprocess, CPU, Process())
