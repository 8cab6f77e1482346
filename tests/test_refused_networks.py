"""What the integer graph and the training kernels do not know is refused, and named."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smidgen.errors import ExportError
from smidgen.inputs import InputShape
from smidgen.quantize.lower import lower
from smidgen.train.native import UnsupportedError, compile_network

SHAPE = InputShape(1, 10, 10)
MAP = (4, 8, 8)  # what the middle of the networks below is given
FEATURES = 256
KNOWN = ""

Step = Callable[[Tensor], Tensor]


class Between(nn.Module):
    """A convolution, any step, and a linear layer."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, MAP[0], 3)
        self.step = step
        self.last = nn.Linear(step(torch.rand(2, *MAP)).flatten(1).shape[1], 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.step(self.first(x)).flatten(1))
        return y


class Learned(nn.Module):
    """A step with one parameter."""

    def __init__(self, step: Callable[[Tensor, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.step, self.weight = step, nn.Parameter(torch.rand(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x, self.weight)


class Wide(nn.Module):
    """A flattened map beside the numbers of a linear layer, of as many features."""

    def __init__(self, step: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.step, self.linear = step, nn.Linear(FEATURES, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x.flatten(1), self.linear(x.flatten(1)))


# A step, what the integer graph says that it has not, and what the kernels say.
STEPS: dict[str, tuple[Step, str, str]] = {
    "transposed": (
        nn.ConvTranspose2d(4, 4, 3),
        "'conv_transpose2d' that is transposed",
        "conv_transpose2d that is transposed",
    ),
    "dilated": (nn.Conv2d(4, 4, 3, dilation=2), KNOWN, "conv2d that is transposed, dilated"),
    "one dimension": (
        nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 4, 3)),
        "'view' from (4, 8, 8) to (4, 64)",
        "view from (4, 8, 8) to (4, 64)",
    ),
    "rows joined": (
        lambda x: torch.cat([x, x], 2),
        "'cat' along another dimension than the channels",
        "cat along another dimension than the channels",
    ),
    "transpose": (lambda x: x.transpose(1, 2), "'transpose'", "transpose"),
    "view": (
        lambda x: x.reshape(-1, 8, 4, 8),
        "'view' from (4, 8, 8) to (8, 4, 8)",
        "view from (4, 8, 8) to (8, 4, 8)",
    ),
    "statistics of the batch": (
        nn.BatchNorm2d(4, track_running_stats=False),
        "'batch_norm' with the batch's own statistics",
        "batch_norm without statistics of the batch and running ones",
    ),
    "unequal parts": (
        nn.AdaptiveAvgPool2d(3),
        "'adaptive_avg_pool2d' into unequal parts",
        "adaptive_avg_pool2d",
    ),
    "padded pool": (
        nn.AvgPool2d(2, padding=1),
        "'avg_pool2d' of windows that are padded",
        "avg_pool2d of windows that overlap, are padded",
    ),
    "overlapping pool": (nn.MaxPool2d(3, stride=1), KNOWN, "max_pool2d of windows that overlap"),
    "largest channel": (
        lambda x: x.amax(1, keepdim=True), "'amax' over the dimensions (1,)", "amax",
    ),
    "sum of shapes": (
        lambda x: x + x.mean((2, 3), keepdim=True),
        "'add' of maps of different shapes",
        "add of different shapes",
    ),
    "sum with a factor": (
        lambda x: torch.add(x, F.relu(x), alpha=2), KNOWN, "add of different shapes, or with",
    ),
    "product of shapes": (
        lambda x: x * F.avg_pool2d(x, (1, 8)),
        "'mul' of shapes (4, 8, 8) and (4, 8, 1)",
        KNOWN,
    ),
    "constant map": (
        Learned(lambda x, w: x * w, 8, 8),
        "'mul' with a constant that is not one for each channel",
        "mul with an operand that does not depend on the image",
    ),
    "learned image": (
        Learned(lambda x, w: torch.cat([x, w.expand(len(x), -1, -1, -1)], 1), 4, 8, 8),
        "'cat' with an operand that does not depend on the image",
        "cat with an operand that does not depend on the image",
    ),
    "weight that is computed": (
        Learned(lambda x, w: F.conv2d(x, 2 * w), 4, 4, 3, 3), KNOWN, "a weight that is computed",
    ),
    "one of the images": (lambda x: x * x[:1], "'slice'", "slice"),
    "sum with a flattened map": (
        Wide(torch.add), "'add' of a flattened map and another", "add of a flattened map",
    ),
    "product with a flattened map": (
        Wide(torch.mul), "'mul' of a flattened map and another", "mul of a flattened map",
    ),
    "softmax inside": (lambda x: x.softmax(1), "'softmax'", "softmax"),
    "maps dropped": (nn.Dropout2d(0.1), KNOWN, "dropout of whole maps"),
    "gelu": (nn.GELU(), KNOWN, "gelu"),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_refused_by_name(name: str) -> None:
    step, by_integers, by_kernels = STEPS[name]
    network = Between(step)
    for read, wanted in ((lower, by_integers), (compile_network, by_kernels)):
        said = said_by(functools.partial(read, network, SHAPE))
        assert wanted in said
        assert bool(wanted) == bool(said)


def said_by(read: Callable[[], object]) -> str:
    """What a reader refuses a network with, or KNOWN."""
    try:
        read()
    except (ExportError, UnsupportedError) as problem:
        return str(problem)
    return KNOWN
