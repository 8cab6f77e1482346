"""A network as a document: a list of layers, read from TOML and written as TOML.

    input = [1, 28, 28]
    layers = [
        { conv = 16, activation = "none" },
        { pool = 2, activation = "relu" },
        { separable = 28, padding = 0, repeat = 2 },
        { head = "gap" },
    ]

docs/networks.md has a table of all layers and keys. This file loads without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from smidgen.errors import DataError, ModelError, did_you_mean
from smidgen.inputs import InputShape
from smidgen.schema import Frozen, read_toml, validate

Width = Annotated[int, Field(ge=1, le=4096)]
Kernel = Annotated[int, Field(ge=1, le=31)]
Stride = Annotated[int, Field(ge=1, le=8)]
Padding = Annotated[int, Field(ge=0, le=15)]
Repeat = Annotated[int, Field(ge=1, le=64)]
ActivationName = Literal["none", "relu", "leaky_relu", "relu6", "hardswish"]
HeadName = Literal["gap", "gap_linear", "linear"]


class Convolving(Frozen):
    """What the layers that convolve have in common.

    Without a `padding` a kernel of odd sides and stride 1 keeps the map's sides. `residual` adds
    what was read, before the activation. `flat` puts the parts of the layer into the list of
    layers itself, which changes the names of the parameters and nothing else.
    """

    kernel: Kernel = 3
    stride: Stride = 1
    padding: Padding | None = None
    activation: ActivationName = "relu"
    residual: bool = False
    repeat: Repeat = 1
    flat: bool = False

    @property
    def edge(self) -> int:
        """The padding on each side."""
        return (self.kernel - 1) // 2 if self.padding is None else self.padding

    @model_validator(mode="after")
    def _values_agree(self) -> Convolving:
        if self.edge >= self.kernel:
            raise ValueError(
                f"padding = {self.padding} with kernel = {self.kernel} would convolve zeros alone; "
                "it is less than the kernel"
            )
        if self.flat and self.residual:
            raise ValueError("flat and residual exclude each other; leave one out")
        if self.stride > 1 and self.residual:
            raise ValueError(
                f"residual adds maps of the same sides, which stride = {self.stride} does not keep"
            )
        return self


class Shareable(Convolving):
    """`share` applies one convolution `repeat` times, each time with a norm of its own.

    `norm` = "gainless" is a batch norm without its gain, and "none" a bias instead of a norm.
    """

    norm: Literal["batch", "gainless", "none"] = "batch"
    share: bool = False

    @model_validator(mode="after")
    def _shared_values_agree(self) -> Shareable:
        if self.share and self.repeat < 2:
            raise ValueError("share = true needs repeat = 2 or more")
        if self.share and self.norm == "none":
            raise ValueError('share = true needs a norm; norm = "none" has none')
        if self.share and (self.residual or self.flat):
            raise ValueError("share excludes residual and flat; leave one out")
        return self


class Conv(Shareable):
    """A convolution of so many outputs."""

    conv: Width


class Separable(Shareable):
    """A convolution in each channel, then one of 1 × 1 to so many outputs (Sifre 2014)."""

    separable: Width


class Bottleneck(Convolving):
    """A 1 × 1 convolution to `expand` times the channels, one in each channel, and a 1 × 1 one to
    so many outputs, without an activation at the end (Sandler et al. 2018)."""

    bottleneck: Width
    expand: Annotated[int, Field(ge=1, le=16)] = 4


class Pool(Frozen):
    """A pool of windows of so many pixels a side, which do not overlap; a remainder is dropped."""

    pool: Annotated[int, Field(ge=2, le=64)]
    kind: Literal["max", "average"] = "max"
    activation: ActivationName = "none"


class Dropout(Frozen):
    """Each number is dropped with that probability while the network learns."""

    dropout: Annotated[float, Field(gt=0, lt=1)]


class Activation(Frozen):
    """An activation by itself."""

    activation: Literal["relu", "leaky_relu", "relu6", "hardswish"]


class Head(Frozen):
    """The end of a network: from a map to one logit for each class.

    "gap" scores each place by a 1 × 1 convolution and averages the scores; "gap_linear" averages
    the map first; "linear" is a linear layer over the whole map.
    """

    head: HeadName


def _kind_of(layer: Any) -> str:
    """The name of the model that reads a layer, as pydantic will show it in the place of an error.

    The "@" tells it from a key.
    """
    keys = layer if isinstance(layer, dict) else type(layer).model_fields
    return "@" + next((kind for kind in KINDS if kind in keys), "activation")


def _has_one_kind(layer: Any) -> Any:
    """The layer itself. Raises ValueError where it is no layer, or more than one."""
    if isinstance(layer, Frozen):
        return layer
    if not isinstance(layer, dict):
        raise ValueError(f"a layer is a table such as {{ conv = 16 }}, not {layer!r}")
    kinds = [kind for kind in KINDS if kind in layer]
    if len(kinds) > 1:
        raise ValueError(f"{' and '.join(kinds)} are layers of their own; write one in each table")
    if not kinds and "activation" not in layer:
        said = f"unknown layer {next(iter(layer))!r}" if layer else "an empty table is no layer"
        raise ValueError(said + did_you_mean(next(iter(layer), ""), [*KINDS, "activation"]))
    known = (KINDS | {"activation": Activation})[kinds[0] if kinds else "activation"].model_fields
    for key in layer:
        if key not in known:
            own = kinds[0] if kinds else "activation"
            raise ValueError(f"{own} has no key {key!r}{did_you_mean(key, known)}")
    return layer


def _stands_in_a_group(layer: Any) -> Any:
    """The layer itself. Raises ValueError for a group and for a head."""
    for kind in ("layers", "head"):
        if isinstance(layer, dict) and kind in layer:
            raise ValueError(f"{kind} cannot stand inside of layers; move it out")
    return layer


_AnySingle = (
    Annotated[Conv, Tag("@conv")]
    | Annotated[Separable, Tag("@separable")]
    | Annotated[Bottleneck, Tag("@bottleneck")]
    | Annotated[Pool, Tag("@pool")]
    | Annotated[Dropout, Tag("@dropout")]
    | Annotated[Activation, Tag("@activation")]
)
Single = Annotated[
    _AnySingle,
    Discriminator(_kind_of),
    BeforeValidator(_has_one_kind),
    BeforeValidator(_stands_in_a_group),
]


class Group(Frozen):
    """Layers as one; `residual` adds what was read to what they make, before the activation."""

    layers: Annotated[list[Single], Field(min_length=1, max_length=256)]
    residual: bool = False
    activation: ActivationName = "none"
    repeat: Repeat = 1


Layer = Annotated[
    _AnySingle | Annotated[Group, Tag("@layers")] | Annotated[Head, Tag("@head")],
    Discriminator(_kind_of),
    BeforeValidator(_has_one_kind),
]

KINDS: dict[str, type[Frozen]] = {
    "conv": Conv,
    "separable": Separable,
    "bottleneck": Bottleneck,
    "pool": Pool,
    "dropout": Dropout,
    "layers": Group,
    "head": Head,
}


class Network(Frozen):
    """A network: its layers in order, the last of them the head.

    `input` (channels, height, width) and `classes` stand in where no data set says its own.
    """

    input: list[int] | None = None
    classes: Annotated[int, Field(ge=2, le=1000)] | None = None
    layers: Annotated[list[Layer], Field(min_length=1, max_length=256)]

    @field_validator("input")
    @classmethod
    def _can_be_fed(cls, sizes: list[int] | None) -> list[int] | None:
        try:
            return sizes if sizes is None else list(InputShape.of(sizes))
        except DataError as problem:
            raise ValueError(str(problem)) from None

    @field_validator("layers")
    @classmethod
    def _one_head_at_the_end(cls, layers: Sequence[Layer]) -> Sequence[Layer]:
        heads = [place for place, layer in enumerate(layers) if isinstance(layer, Head)]
        if heads != [len(layers) - 1]:
            found = f"a head at layers[{heads[0]}]" if heads else "no head"
            raise ValueError(f'{found}; the last layer alone is one, such as {{ head = "gap" }}')
        return layers


def load_network(path: Path | str) -> Network:
    """The network in a TOML file.

    Raises ModelError for a file that cannot be read or is not TOML, and for every key or value that
    is not allowed, with its place (`layers[3].kernel`).
    """
    document = read_toml(Path(path), ModelError)
    if "layers" not in document and "model" in document:
        raise ModelError(f"{str(path)!r} is a recipe, not a network; name it with --recipe {path}")
    return parse_network(document, str(path))


def parse_network(document: dict[str, Any], source: str) -> Network:
    """The network that a parsed TOML document holds; `source` names it in error messages."""
    return validate(Network, document, source, ModelError)


def to_toml(network: Network) -> str:
    """The network as TOML that `load_network` reads back to an equal network, a layer a line."""
    document = network.model_dump(exclude_defaults=True)
    return tomli_w.dumps(document | {"layers": [_kind_first(each) for each in document["layers"]]})


def _kind_first(layer: dict[str, Any]) -> dict[str, Any]:
    """The layer's keys as a person writes them."""
    if "layers" in layer:
        layer = layer | {"layers": [_kind_first(each) for each in layer["layers"]]}
    return dict(sorted(layer.items(), key=lambda item: item[0] not in KINDS))
