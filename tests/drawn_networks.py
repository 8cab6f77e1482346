"""Networks drawn from a seed: what whatever reads a network is tested on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smidgen.inputs import InputShape, Preprocess

Shape = tuple[int, int, int]

ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (
    nn.ReLU,
    lambda: nn.LeakyReLU(0.1),
    lambda: nn.LeakyReLU(0.5),
    nn.ReLU6,
    nn.Hardswish,
)


SHAPES = ((1, 12, 11), (3, 9, 13), (1, 8, 16), (3, 10, 10))  # the image's channels and sides
COUNTS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 21, 33)  # of images: blocks of lanes full, or in part


def draw_shape(seed: int) -> Shape:
    """The shape of a drawn network's images: grey or colour, sides odd and even."""
    chance = random.Random(seed)
    return chance.choice((1, 3)), chance.randint(8, 17), chance.randint(8, 17)


def draw_batch(seed: int) -> int:
    """How many images a drawn network is given."""
    return random.Random(seed).choice(COUNTS)


def photos(images: Tensor, mean: float, std: float) -> Preprocess:
    """What feeds a network with images of that shape, uint8 (N, C, H, W); no channel as another."""
    shape = InputShape(*images.shape[1:])
    means = tuple(mean + 0.1 * channel for channel in range(shape.channels))
    deviations = tuple(std + 0.05 * channel for channel in range(shape.channels))
    return Preprocess("photo", shape, means, deviations)


@dataclass(frozen=True)
class Step:
    """One operation of a drawn network: a layer's position, or the name of a function."""

    operation: int | str
    inputs: tuple[int, ...]


class Drawn(nn.Module):
    """A network that goes through its steps; tensor 0 is the image, step i makes tensor i + 1."""

    def __init__(self, layers: list[nn.Module], steps: list[Step]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.steps = steps

    def forward(self, image: Tensor) -> Tensor:
        made = [image]
        for step in self.steps:
            made.append(self.make(step, [made[i] for i in step.inputs]))
        return made[-1]

    def make(self, step: Step, inputs: list[Tensor]) -> Tensor:
        if isinstance(step.operation, int):
            return self.layers[step.operation](inputs[0])  # type: ignore[no-any-return]
        if step.operation == "cat":
            return torch.cat(inputs, 1)
        one, other = inputs
        return one * other if step.operation == "multiply" else one + other

    def extra_repr(self) -> str:
        return "; ".join(f"{s.operation}{s.inputs}" for s in self.steps)


class _Drawing:
    """A network in the making: its layers, its steps, and the shape of each tensor."""

    def __init__(self, chance: random.Random, shape: Shape, products: bool) -> None:
        self.chance, self.products = chance, products
        self.layers: list[nn.Module] = []
        self.steps: list[Step] = []
        self.shapes: list[Shape] = [shape]
        self.channels_of: dict[int, int] = {}  # what a layer that may be used again reads

    def add(self, operation: int | str, inputs: tuple[int, ...], shape: Shape) -> int:
        self.steps.append(Step(operation, inputs))
        self.shapes.append(shape)
        return len(self.shapes) - 1

    def layer(self, layer: nn.Module, source: int) -> int:
        self.layers.append(layer)
        return self.add(len(self.layers) - 1, (source,), _shape_after(layer, self.shapes[source]))

    def grow(self) -> None:
        kinds = [self.convolution, self.convolution, self.norm, self.activation, self.activation,
                 self.pool, self.sum, self.sum, self.concatenation, self.again, self.depthwise,
                 self.activations, self.residual, self.column]  # fmt: skip
        self.chance.choice([*kinds, self.product, self.gate] if self.products else kinds)()

    def source(self) -> int:
        """A tensor to read: mostly the last one, sometimes any, the image among them."""
        last = len(self.shapes) - 1
        return last if self.chance.random() < 0.6 else self.chance.randint(0, last)

    def convolution(self) -> None:
        source, chance = self.source(), self.chance
        channels, height, width = self.shapes[source]
        kernel = [min(chance.choice([1, 1, 2, 3, 3, 3, 5]), side) for side in (height, width)]
        padding = [chance.randint(0, side // 2) for side in kernel]
        groups = chance.choice([g for g in (1, 1, 2, 3, channels) if channels % g == 0])
        outputs = groups * chance.randint(1, max(1, 9 // groups))
        stride = chance.choice([1, 1, 1, 2, (2, 1), 3])
        bias = chance.random() < 0.5
        self.layer(
            nn.Conv2d(channels, outputs, kernel, stride, padding, groups=groups, bias=bias), source
        )
        if stride == 1 and outputs == channels:
            self.channels_of[len(self.layers) - 1] = channels

    def depthwise(self) -> None:
        """A convolution of each channel by itself, 3 × 3 or 5 × 5."""
        source = self.source()
        channels, kernel = self.shapes[source][0], self.chance.choice([3, 5])
        stride = self.chance.choice([1, 1, 2])
        outputs = channels * self.chance.choice([1, 1, 1, 2])
        layer = nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, groups=channels)
        self.layer(layer, source)

    def column(self) -> None:
        """A convolution over the whole width, or height: its map is one pixel wide, or high."""
        source = self.source()
        channels, height, width = self.shapes[source]
        kernel = (min(3, height), width) if self.chance.random() < 0.5 else (height, min(3, width))
        self.layer(nn.Conv2d(channels, self.chance.randint(1, 5), kernel), source)

    def activations(self) -> None:
        """One activation after the other."""
        first = self.layer(self.chance.choice(ACTIVATIONS)(), self.source())
        self.layer(self.chance.choice(ACTIVATIONS)(), first)

    def residual(self) -> None:
        """Convolution and batch norm, the sum with what they read, and often a ReLU."""
        source = self.source()
        channels = self.shapes[source][0]
        groups = self.chance.choice([1, channels])
        layer = nn.Conv2d(channels, channels, 3, 1, 1, groups=groups, bias=False)
        norm = self.layer(nn.BatchNorm2d(channels), self.layer(layer, source))
        both = (norm, source) if self.chance.random() < 0.5 else (source, norm)
        made = self.add("add", both, self.shapes[source])
        if self.chance.random() < 0.6:
            self.layer(self.chance.choice(ACTIVATIONS)(), made)

    def norm(self) -> None:
        source = self.source()
        self.layer(
            nn.BatchNorm2d(self.shapes[source][0], affine=self.chance.random() < 0.8), source
        )

    def activation(self) -> None:
        self.layer(self.chance.choice(ACTIVATIONS)(), self.source())

    def pool(self) -> None:
        source = self.source()
        if min(self.shapes[source][1:]) >= 4:
            kind = self.chance.choice([nn.MaxPool2d, nn.AvgPool2d])
            self.layer(kind(self.chance.choice([2, 2, 3])), source)

    def sum(self) -> None:
        one = self.source()
        same = [i for i, shape in enumerate(self.shapes) if shape == self.shapes[one]]
        self.add("add", (one, self.chance.choice([one, *same, same[-1]])), self.shapes[one])

    def product(self) -> None:
        one = self.source()
        same = [i for i, shape in enumerate(self.shapes) if shape == self.shapes[one]]
        self.add("multiply", (one, self.chance.choice([one, *same])), self.shapes[one])

    def gate(self) -> None:
        """Squeeze-and-excitation: a factor between 0 and 1 for each channel."""
        source = self.source()
        channels = self.shapes[source][0]
        squeezed = self.layer(nn.AdaptiveAvgPool2d(1), source)
        mixed = self.layer(nn.Conv2d(channels, channels, 1), squeezed)
        factor = self.layer(self.chance.choice([nn.Sigmoid, nn.Hardsigmoid])(), mixed)
        self.add("multiply", (source, factor), self.shapes[source])

    def concatenation(self) -> None:
        one = self.source()
        sides = self.shapes[one][1:]
        fitting = [i for i, shape in enumerate(self.shapes) if shape[1:] == sides]
        other = self.chance.choice(fitting)
        channels = self.shapes[one][0] + self.shapes[other][0]
        if channels <= 16:
            self.add("cat", (one, other), (channels, *sides))

    def again(self) -> None:
        """A layer that was used before."""
        source = self.source()
        channels, *sides = self.shapes[source]
        fitting = [i for i, n in self.channels_of.items() if n == channels and min(sides) >= 5]
        if fitting:
            layer = self.chance.choice(fitting)
            self.add(layer, (source,), _shape_after(self.layers[layer], self.shapes[source]))

    def finish(self, classes: int) -> None:
        """One to three heads of the last map, or of the last and others."""
        last = len(self.shapes) - 1
        made = self.head(last, classes)
        for _ in range(self.chance.choice([0, 0, 0, 1, 1, 2])):
            other = self.head(self.chance.choice([last, self.chance.randint(0, last)]), classes)
            made = self.add("add", (made, other), (classes, 1, 1))

    def prune(self) -> None:
        """Takes out what the last tensor does not depend on."""
        needed = {len(self.steps)}
        for i in reversed(range(len(self.steps))):
            needed |= set(self.steps[i].inputs) if i + 1 in needed else set()
        kept = [i for i in range(len(self.steps)) if i + 1 in needed]
        places = {0: 0} | {i + 1: place + 1 for place, i in enumerate(kept)}
        steps = [self.steps[i] for i in kept]
        used = sorted({step.operation for step in steps if isinstance(step.operation, int)})
        self.layers = [self.layers[i] for i in used]
        self.steps = [
            Step(
                used.index(step.operation) if isinstance(step.operation, int) else step.operation,
                tuple(places[i] for i in step.inputs),
            )
            for step in steps
        ]

    def head(self, source: int, classes: int) -> int:
        channels, height, width = self.shapes[source]
        if self.chance.random() < 0.5 or channels * height * width > 3000:
            source = self.layer(nn.Conv2d(channels, classes, 1), source)
            source = self.layer(nn.AdaptiveAvgPool2d(1), source)
            return self.layer(nn.Flatten(), source)
        source = self.layer(nn.Flatten(), source)
        if self.chance.random() < 0.3:
            source = self.layer(self.chance.choice(ACTIVATIONS)(), source)
        return self.layer(nn.Linear(channels * height * width, classes), source)


def _shape_after(layer: nn.Module, shape: Shape) -> Shape:
    """The output's shape for one image, that of a vector as (features, 1, 1)."""
    fresh = layer.eval()
    with torch.no_grad():
        made = fresh(
            torch.zeros(1, shape[0]) if isinstance(layer, nn.Linear) else torch.zeros(1, *shape)
        )
    layer.train()
    return (*made.shape[1:], 1, 1)[:3]  # type: ignore[return-value]


def draw_network(
    seed: int, input_shape: Shape = (1, 12, 11), classes: int = 5, products: bool = False
) -> Drawn:
    """A network of up to a dozen operations, its weights drawn from the seed as well.

    With `products` maps are also multiplied with each other, and gated. In most networks every
    operation has a part in the logits.
    """
    chance = random.Random(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawing = _Drawing(chance, input_shape, products)
        drawing.convolution()
        for _ in range(chance.randint(1, 12)):
            drawing.grow()
        drawing.finish(classes)
        if chance.random() < 0.9:
            drawing.prune()
        return Drawn(drawing.layers, drawing.steps)
