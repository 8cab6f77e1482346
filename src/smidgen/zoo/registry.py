"""Models by their names, and the weights that ship with them."""

from __future__ import annotations

import fnmatch
import functools
import inspect
import json
import os
from collections.abc import Callable
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from typing import Any

from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from smidgen.errors import ModelError, did_you_mean, shown
from smidgen.inputs import InputShape
from smidgen.mnist import INPUT_SHAPE, NUM_CLASSES
from smidgen.source import build, is_network, is_source

Builder = Callable[..., nn.Module]

_builders: dict[str, Builder] = {}


def register_model(builder: Builder) -> Builder:
    """The function itself, now known to `create_model` under its own name.

    Raises ModelError if another function has taken the name.
    """
    name = builder.__name__
    if _builders.setdefault(name, builder) is not builder:
        raise ModelError(f"a model named {name!r} is registered already; choose another name")
    return builder


def list_models(pattern: str = "*") -> list[str]:
    """The registered names that match a shell pattern, sorted."""
    _load_entry_points()
    return sorted(fnmatch.filter(_builders, pattern))


def create_model(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
    """A new module, in train mode when fresh and in eval mode when pretrained.

    `options` go to the model's function (`classes=26`, `input=(3, 32, 32)`, or `in_chans=3` for
    another number of channels), or, of a class or function in a file (`path/to/file.py:Net`), those
    that it has parameters for; in place of what a network's file (`net.toml`) says itself. Fresh
    weights are drawn from torch's global generator, as everywhere in torch; pretrained ones for
    other classes have a fresh last layer. Raises ModelError for an unknown name, for classes or an
    input that the model is not made for, and for `pretrained=True` where no weights are shipped.
    """
    if is_source(name) or is_network(name):
        if pretrained:
            raise ModelError(
                f"{name!r} is a network without trained weights; "
                "name a zoo model, a run folder or a bundle folder"
            )
        return _from_network(name, options) if is_network(name) else _from_source(name, options)
    _load_entry_points()
    if name not in _builders:
        raise ModelError(_unknown(name))
    model = _builders[name](**_accepted(name, options))
    if pretrained:
        _load_shipped(model, name)
        model.eval()
    return model


def _unknown(name: str) -> str:
    """What is wrong with a name that is no model's."""
    if os.path.isfile(name):  # unlike Path's, for any text
        known = "name a model, a run folder, FILE.py or net.toml"
        return f"{shown(name)} is a file and no network; {known}"
    if os.path.isdir(name):
        return f"{shown(name)} is a folder and no model; `smidgen models` lists the models"
    if os.sep in name:
        return f"there is no folder or file {shown(name)}; check the path"
    return f"unknown model {shown(name)}{did_you_mean(name, _builders)}"


def default_input(name: str) -> InputShape | None:
    """What a registered model takes if nobody says otherwise; None where it has no `input`."""
    parameter = inspect.signature(_builders[name]).parameters.get("input")
    return parameter.default if parameter else None


def _accepted(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that the model's function takes; MNIST's classes and input need no parameter."""
    parameters = inspect.signature(_builders[name]).parameters
    if "in_chans" in options:
        sides = options.get("input", default_input(name) or INPUT_SHAPE)[1:]
        options["input"] = InputShape(options.pop("in_chans"), *sides)
    for key, default in (("classes", NUM_CLASSES), ("input", INPUT_SHAPE)):
        if key not in options or key in parameters:
            continue
        if options[key] != default:
            raise ModelError(
                f"{name!r} is made for {key} = {default}, not {options[key]}; choose a model that "
                "takes any, such as smidgen_residual"
            )
        del options[key]
    return options


def _load_shipped(model: nn.Module, name: str) -> None:
    """Loads the shipped weights; of the last layer only where the classes are as many."""
    state, own = weights(name), model.state_dict()
    other = [key for key, tensor in state.items() if tensor.shape != own[key].shape]
    last = list(own)[-1].rpartition(".")[0]
    if any(key.rpartition(".")[0] != last for key in other):
        raise ModelError(
            f"the weights of {name!r} are for another input: {other[0]} is "
            f"{tuple(state[other[0]].shape)}, not {tuple(own[other[0]].shape)}; leave it out"
        )
    model.load_state_dict({k: t for k, t in state.items() if k not in other}, strict=not other)


def network_input(path: str) -> InputShape:
    """The images that a network's file says it takes, MNIST's where it says nothing."""
    from smidgen.blocks.document import load_network  # pydantic is slow to import

    return InputShape(*(load_network(path).input or INPUT_SHAPE))


def _from_network(path: str, options: dict[str, Any]) -> nn.Module:
    from smidgen.blocks.build import make
    from smidgen.blocks.document import load_network

    network = load_network(path)
    shape = InputShape(*options.pop("input", network.input or INPUT_SHAPE))
    shape = shape._replace(channels=options.pop("in_chans", shape.channels))
    classes = options.pop("classes", network.classes or NUM_CLASSES)
    if options:
        raise ModelError(f"{path!r} has no option {next(iter(options))!r}; write it in the file")
    try:
        return make(network, shape, classes)
    except ModelError as problem:
        raise ModelError(f"{path}: {problem} (for images of {shape})") from None


def _from_source(target: str, options: dict[str, Any]) -> nn.Module:
    classes = options.get("classes", NUM_CLASSES)
    shape = InputShape(*options.get("input", INPUT_SHAPE))
    named = {"classes": classes, "num_classes": classes, "input": shape, "in_chans": shape.channels}
    return build(target, **options | named)


def has_weights(name: str) -> bool:
    """Whether trained weights ship with the package under that name."""
    try:
        return _weights_file(name).is_file()
    except OSError:  # a text that can be no file's name
        return False


def weights(name: str) -> dict[str, Tensor]:
    """The shipped state dict of a model, float32. Raises ModelError where there is none."""
    return load_safetensors(_shipped(name).read_bytes())


def weights_header(name: str) -> dict[str, str]:
    """What the shipped weights say of themselves: model, data, mean, std, classes (as JSON)."""
    content = _shipped(name).read_bytes()
    size = int.from_bytes(content[:8], "little")  # https://huggingface.co/docs/safetensors
    header: dict[str, str] = json.loads(content[8 : 8 + size])["__metadata__"]
    return header


def shipped_accuracy(name: str) -> float | None:
    """The accuracy of the shipped weights on all test images of the data that they learned from, a
    fraction; None where it was not measured, or not for the weights that are shipped now.
    """
    measured = _measured("test_accuracies.json", name)
    return measured["test_accuracy"] if measured else None


def shipped_robustness(name: str) -> dict[str, float] | None:
    """How the shipped weights do on corrupted test images; None as for `shipped_accuracy`.

    `mean_corruption_accuracy` and `mean_corruption_ece`, `ece` without corruption, and
    `surest_90`, the accuracy on the surest nine tenths of the images: all are fractions.
    """
    measured = _measured("robustness.json", name)
    return measured and {key: measured[key] for key in measured if key != "fingerprint"}


def _measured(file: str, name: str) -> dict[str, Any] | None:
    """What a file has of a model, if it is of the weights that are shipped now."""
    text = (resources.files("smidgen") / "zoo" / "weights" / file).read_text("utf-8")
    measured: dict[str, Any] | None = json.loads(text).get(name)
    if not measured or not has_weights(name):
        return None
    return measured if measured["fingerprint"] == weights_header(name).get("fingerprint") else None


def _shipped(name: str) -> Traversable:
    if not has_weights(name):
        shipped = [model for model in list_models() if has_weights(model)]
        raise ModelError(
            f"no weights ship with {name!r}, only with {', '.join(shipped) or 'no model'}; "
            f"train it first: smidgen train {name}"
        )
    return _weights_file(name)


def _weights_file(name: str) -> Traversable:
    return resources.files("smidgen") / "zoo" / "weights" / f"{name}.safetensors"


@functools.cache
def _load_entry_points() -> None:
    for entry in metadata.entry_points(group="smidgen.models"):
        register_model(entry.load())
