"""A network's document as a tree of parts, each with the shape of what it makes.

The tree is what a network is made of and what it is weighed by: `build` makes the modules of it,
and the search counts it without making any. This file loads without torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from smidgen.blocks import document as D
from smidgen.errors import ModelError
from smidgen.inputs import InputShape

Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution with square kernels."""

    shape: Shape
    inputs: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = False


@dataclass(frozen=True, slots=True)
class Norm:
    """Batch norm; without its gain if not `gain`."""

    shape: Shape
    gain: bool = True


@dataclass(frozen=True, slots=True)
class Pool:
    """A max or average pool of windows side by side."""

    shape: Shape
    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class GlobalAverage:
    """The mean of each channel."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Flatten:
    """All numbers of a map in a row: the shape stays, as (features, 1, 1)."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Linear:
    shape: Shape
    inputs: int


@dataclass(frozen=True, slots=True)
class Activation:
    shape: Shape
    name: str


@dataclass(frozen=True, slots=True)
class Dropout:
    shape: Shape
    probability: float


@dataclass(frozen=True, slots=True)
class Chain:
    """Parts one after the other."""

    shape: Shape
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Residual:
    """activation(x + body(x))."""

    shape: Shape
    body: Chain
    activation: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """activation(norm(body(x))) for each of the norms, by one body; each turn makes a `shape`.

    `kind` is the document's word for the body.
    """

    shape: Shape
    kind: str
    turns: tuple[Part, ...]  # the body with the shapes of each turn
    norms: tuple[Norm, ...]
    activation: str


Part = (
    Convolution | Norm | Pool | GlobalAverage | Flatten | Linear | Activation | Dropout
    | Chain | Residual | Repeated
)  # fmt: skip


def expand(network: D.Network, input: InputShape, classes: int) -> Chain:
    """The parts of a network that takes images of that shape and tells so many classes apart.

    Raises ModelError, with the place in the document, where a map becomes smaller than nothing, and
    where a residual or shared layer does not keep what it reads.
    """
    shape = input.channels, input.height, input.width
    return Chain((classes, 1, 1), tuple(_all(network.layers, shape, "", classes)))


def _all(layers: Sequence[D.Layer], shape: Shape, prefix: str, classes: int) -> Iterator[Part]:
    """The parts of layers that read a map of that shape; `prefix` is where the list stands."""
    for number, layer in enumerate(layers):
        place = f"{prefix}layers[{number}]"
        shared = isinstance(layer, D.Conv | D.Separable) and layer.share
        times = 1 if shared else getattr(layer, "repeat", 1)
        for _ in range(times):
            for part in _parts(layer, shape, place, classes):
                yield part
                shape = part.shape


def _parts(layer: D.Layer, shape: Shape, place: str, classes: int) -> Sequence[Part]:
    """The parts that a layer puts into the list, once."""
    match layer:
        case D.Conv() | D.Separable() if layer.share:
            return [_repeated(layer, shape, place)]
        case D.Conv() | D.Separable() | D.Bottleneck():
            return _convolving(layer, shape, place)
        case D.Group():
            inner = tuple(_all(layer.layers, shape, f"{place}.", classes))
            body = Chain(inner[-1].shape, inner)
            return [_wrapped(layer, body, shape, place)]
        case D.Pool():
            made = shape[0], shape[1] // layer.pool, shape[2] // layer.pool
            _require_a_map(made, shape, f"{place}.pool = {layer.pool}")
            return [_one([Pool(made, layer.kind, layer.pool), *_activation(layer, made)])]
        case D.Dropout():
            return [Dropout(shape, layer.dropout)]
        case D.Activation():
            return _activation(layer, shape)
        case D.Head():
            return _head(layer.head, shape, classes)


def _convolving(
    layer: D.Conv | D.Separable | D.Bottleneck, shape: Shape, place: str
) -> Sequence[Part]:
    body = _body(layer, shape, place)
    made = body[-1].shape
    if layer.residual:
        return [_wrapped(layer, Chain(made, tuple(body)), shape, place)]
    if not isinstance(layer, D.Bottleneck):
        body += _activation(layer, made)
    return body if layer.flat else [_one(body)]


def _wrapped(layer: D.Convolving | D.Group, body: Chain, shape: Shape, place: str) -> Part:
    """The body with a way around it where the layer is residual."""
    activation = "none" if isinstance(layer, D.Bottleneck) else layer.activation
    if not layer.residual:
        return Chain(body.shape, (*body.parts, *_activation(layer, body.shape)))
    if body.shape != shape:
        raise ModelError(
            f"{place}.residual adds what the layer reads, {_said(shape)}, to what it makes, "
            f"{_said(body.shape)}; they must be the same"
        )
    return Residual(shape, body, activation)


def _body(layer: D.Conv | D.Separable | D.Bottleneck, shape: Shape, place: str) -> list[Part]:
    """The convolutions of a layer and their norms."""
    channels = shape[0]
    match layer:
        case D.Conv():
            made = _window(layer, shape, layer.conv, place)
            has_bias = layer.norm == "none"
            edges = layer.kernel, layer.stride, layer.edge
            return [Convolution(made, channels, *edges, bias=has_bias), *_norm(layer, made)]
        case D.Separable():
            wide = _window(layer, shape, channels, place)
            made = (layer.separable, *wide[1:])
            pointwise = Convolution(made, channels, bias=layer.norm == "none")
            return [_depthwise(layer, wide), pointwise, *_norm(layer, made)]
        case D.Bottleneck():
            inner = channels * layer.expand
            expanded = (inner, *shape[1:])
            wide = _window(layer, shape, inner, place)
            made = (layer.bottleneck, *wide[1:])
            first = [
                Convolution(expanded, channels), Norm(expanded), *_activation(layer, expanded)
            ] if layer.expand > 1 else []  # fmt: skip
            across = [_depthwise(layer, wide), Norm(wide), *_activation(layer, wide)]
            return [*first, *across, Convolution(made, inner), Norm(made)]


def _repeated(layer: D.Conv | D.Separable, shape: Shape, place: str) -> Repeated:
    """One convolution, applied again and again."""
    turns, norms = list[Part](), list[Norm]()
    for _ in range(layer.repeat):
        *body, norm = _body(layer, shape, place)
        assert isinstance(norm, Norm)
        if norm.shape[0] != shape[0]:
            raise ModelError(
                f"{place}.share applies the layer to what it makes, {norm.shape[0]} channels, but "
                f"it reads {shape[0]}; they must be the same"
            )
        turns.append(_one(body))
        norms.append(norm)
        shape = norm.shape
    kind = "conv" if isinstance(layer, D.Conv) else "separable"
    return Repeated(shape, kind, tuple(turns), tuple(norms), layer.activation)


def _head(head: D.HeadName, shape: Shape, classes: int) -> list[Part]:
    channels, height, width = shape
    logits = (classes, 1, 1)
    match head:
        case "gap":
            scores = Convolution((classes, height, width), channels, bias=True)
            return [scores, GlobalAverage(logits), Flatten(logits)]
        case "gap_linear":
            pooled = (channels, 1, 1)
            return [GlobalAverage(pooled), Flatten(pooled), Linear(logits, channels)]
        case "linear":
            features = channels * height * width
            return [Flatten((features, 1, 1)), Linear(logits, features)]


def _depthwise(layer: D.Convolving, made: Shape) -> Convolution:
    channels = made[0]
    return Convolution(made, channels, layer.kernel, layer.stride, layer.edge, channels)


def _norm(layer: D.Conv | D.Separable, shape: Shape) -> list[Part]:
    return [] if layer.norm == "none" else [Norm(shape, gain=layer.norm == "batch")]


def _activation(layer: D.Convolving | D.Pool | D.Group | D.Activation, shape: Shape) -> list[Part]:
    return [] if layer.activation == "none" else [Activation(shape, layer.activation)]


def _one(parts: Sequence[Part]) -> Part:
    """Several parts as a chain; one part as itself."""
    return parts[0] if len(parts) == 1 else Chain(parts[-1].shape, tuple(parts))


def _window(layer: D.Convolving, shape: Shape, channels: int, place: str) -> Shape:
    """The shape after the layer's windows."""
    reach = 2 * layer.edge - layer.kernel
    height, width = ((side + reach) // layer.stride + 1 for side in shape[1:])
    made = channels, height, width
    _require_a_map(made, shape, f"{place}.kernel = {layer.kernel}")
    return made


def _require_a_map(made: Shape, shape: Shape, value: str) -> None:
    if min(made[1:]) < 1:
        raise ModelError(
            f"{value} leaves nothing of a map of {shape[1]} × {shape[2]}; choose a smaller one, "
            "a larger padding, or fewer pools and strides before"
        )


def _said(shape: Shape) -> str:
    return " × ".join(map(str, shape))
