"""What all of them train: the same network from the same weights, on the same random images."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from smidgen.inputs import Preprocess
from smidgen.mnist import INPUT_SHAPE
from smidgen.train.native import compile_network
from smidgen.train.native import instructions as I
from smidgen.zoo import create_model, default_input

MEAN, DEVIATION = 0.5, 0.25
LEARNING_RATE, MOMENTUM = 0.01, 0.9
CLASSES = 10


class Layer(NamedTuple):
    """An operation on feature maps, with its weights as (height, width, inputs, outputs)."""

    kind: str
    source: int
    other: int  # the second operand, or what a batch norm adds to its result; -1: none
    output: int
    has_relu: bool
    slope: float  # of that ReLU, below 0
    kernel: tuple[int, int]
    padding: tuple[int, int]
    groups: int
    eps: float
    weight: NDArray[np.float32] | None
    bias: NDArray[np.float32] | None


def module_of(name: str) -> nn.Module:
    """The network with its first weights; without dropout, which would make each loss another."""
    torch.manual_seed(0)
    module = create_model(name)
    for parent in list(module.modules()):
        for key, child in parent.named_children():
            if isinstance(child, nn.Dropout):
                setattr(parent, key, nn.Identity())
    return module


def preprocess_of(name: str) -> Preprocess:
    shape = default_input(name) or INPUT_SHAPE
    return Preprocess("photo", shape, (MEAN,) * shape[0], (DEVIATION,) * shape[0])


def images_of(name: str, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Random images (N, C, H, W) and labels."""
    random, shape = np.random.default_rng(0), preprocess_of(name).shape
    images = random.integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, random.integers(0, CLASSES, count)


def normalised(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return ((images.astype(np.float32) / 255 - MEAN) / DEVIATION).astype(np.float32)


def layers_of(name: str) -> list[Layer]:
    """The network for those who have no torch; stride 1, windows that do not overlap."""
    module = module_of(name)
    program = compile_network(module, preprocess_of(name).shape)
    flat = np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])
    kinds = {
        I.CONVOLUTION: "convolution", I.LINEAR: "convolution", I.BATCH_NORM: "batch norm",
        I.MAX_POOL: "max pool", I.AVERAGE_POOL: "average pool", I.ADD: "add",
    }  # fmt: skip
    found = []
    for i in program.instructions:
        assert (i.stride_height, i.stride_width) == (1, 1)
        inputs, high, wide = program.maps[i.source].shape
        outputs, kernel = program.maps[i.output].channels, (i.kernel_height, i.kernel_width)
        shape: tuple[int, ...] = (outputs,)
        if i.operation == I.LINEAR:  # a convolution whose kernel is as large as the map
            kernel = high, wide
        if i.operation in (I.CONVOLUTION, I.LINEAR):
            shape = (outputs, inputs // i.groups, *kernel)
        weight = bias = None
        if i.weight >= 0:
            weight = flat[i.weight :][: np.prod(shape)].reshape(shape)
            weight = weight.transpose(2, 3, 1, 0) if len(shape) == 4 else weight
        if i.bias >= 0:
            bias = flat[i.bias :][:outputs]
        found.append(
            Layer(
                kinds[i.operation], i.source, i.other, i.output, bool(i.has_relu), i.slope, kernel,
                (i.pad_height, i.pad_width), i.groups, i.eps, weight, bias,
            )
        )  # fmt: skip
    return found


def check(name: str, loss: float, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Ends the process where it is not the loss that torch has for these images."""
    with torch.no_grad():
        logits = module_of(name).train()(torch.from_numpy(normalised(images)))
    wanted = F.cross_entropy(logits, torch.from_numpy(labels)).item()
    if abs(loss - wanted) > 1e-4 * wanted:
        raise SystemExit(f"the first loss of {name} is {loss}, torch's is {wanted}")


def serve(version: str, epoch: Callable[[], Any]) -> None:
    """Trains an epoch for each line that it reads, and says the seconds; the first ones warm up."""
    for _ in range(2):
        epoch()
    print(json.dumps(version), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        epoch()
        print(time.perf_counter() - began, flush=True)
