"""Loads a TARGET, as the commands take it, as a network that is ready to use."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smidgen.data import Data, find_data
from smidgen.entry import find_entry
from smidgen.errors import DataError, ModelError, RunError, SmidgenError, shown
from smidgen.hub import fetch, is_hub_id
from smidgen.inputs import InputShape, Preprocess, class_names
from smidgen.mnist import CLASSES, GLYPH
from smidgen.network import forward, guess_input, noise, private_copy
from smidgen.run import Run, read_weights
from smidgen.source import is_network, is_source, short_name
from smidgen.stand_ins import stand_in_for_missing
from smidgen.zoo import create_model, default_input, has_weights, network_input, weights_header

_KEYS = {"model", "data", "classes", "input", "preprocess", "mean", "std"}


@dataclass(frozen=True)
class Target:
    """A network in eval mode, and what it needs to be fed and understood.

    `preprocess` says what images it takes; `classes` names the logits in their order; `data`
    is what it was trained on.
    """

    name: str
    model: nn.Module
    preprocess: Preprocess
    classes: tuple[str, ...]
    data: str
    run: Run | None
    trained: bool

    @property
    def title(self) -> str:
        """Its name without the folder and the ending of the file that it comes from."""
        return short_name(self.name)

    def require_classes(self, data: Data, error: type[SmidgenError]) -> None:
        """Raises `error` where the network was trained for other classes than the data's."""
        if self.classes != data.classes:
            raise error(
                f"{self.name!r} was trained for {', '.join(self.classes)}, not for the classes of "
                f"{data.name!r}; use it with its own data, {self.data}"
            )

    def own_data(self, directory: Path | str | None = None) -> str:
        """The name of the data that it was trained on.

        Of JPEG copies of CIFAR-10 that are not on this machine it is that of CIFAR-10 itself, which
        anyone can have; a warning says so.
        """
        if self.data != "cifar10_jpeg" or find_data(self.data, directory):
            return self.data
        warnings.warn(
            f"the JPEG copies of CIFAR-10 that {self.name} was trained on are not on this machine; "
            "CIFAR-10 itself is used",
            stacklevel=2,
        )
        return "cifar10"


def target_of(module: nn.Module, data: Data) -> Target:
    """A module as a target that was trained on that data; the module itself stays as it is.

    Raises ModelError for one that does not take the data's images, or has not one logit for each
    class.
    """
    name, shape = type(module).__name__, data.preprocess.shape
    model = private_copy(module, shape).eval()
    answered = tuple(forward(model, noise(2, shape)).shape)
    if answered != (2, len(data.classes)):
        raise ModelError(
            f"{name} answers {answered[1:]} for an image; {data.name!r} has {len(data.classes)} "
            f"classes, so forward must return (N, {len(data.classes)})"
        )
    return Target(name, model, data.preprocess, data.classes, data.name, run=None, trained=True)


def load(target: str | Path, weights: bool = True, input_shape: InputShape | None = None) -> Target:
    """The network that a zoo name, a run folder, a bundle, or a file stands for.

    A bundle is a folder, or `owner/name` on the Hugging Face hub, which needs the extra `hub`.

    A zoo name means its shipped weights. With `weights` false the network may have none: it is then
    a zoo model drawn from a fixed seed, a network's file (`net.toml`), which takes images of
    `input_shape`, of its own where that is not said, or a class or function in a Python file or a
    notebook (`path/to/file.py:Net`), for which they are guessed, or a folder with one such file.
    Raises ModelError and RunError for what is not there, or does not fit.
    """
    if not isinstance(target, str | Path):
        raise ModelError(
            f"a target is a model's name, a run or bundle folder or a file, not a "
            f"{type(target).__name__}"
        )
    target = str(target)
    if is_network(target):
        shape = input_shape or network_input(target)
        return untrained(target, _seeded(target, pretrained=weights, input=shape), shape)
    if is_source(target):
        with stand_in_for_missing(Path(target).parent):
            model = create_model(target, pretrained=weights)
        return untrained(target, model, input_shape)
    if os.path.isfile(os.path.join(target, "config.json")):  # unlike Path's, for any text
        return _from_bundle(Path(target))
    if os.path.isdir(target):
        entry = None if weights else find_entry(Path(target))
        if entry is not None and entry != target:
            return load(entry, weights, input_shape)
        return _from_run(Run.open(target))
    if is_hub_id(target):
        return _from_bundle(fetch(target))
    if not weights and not has_weights(target):
        return untrained(target, _seeded(target), input_shape or default_input(target))
    model = create_model(target, pretrained=True)
    _, data, classes, preprocess = _read_header(weights_header(target))
    return Target(target, model, preprocess, classes, data, run=None, trained=True)


def _seeded(name: str, **options: Any) -> nn.Module:
    """The model, with the same weights at each call where they are drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return create_model(name, **options)


def _from_bundle(path: Path) -> Target:
    from smidgen.schema import parse_json, read_text  # with pydantic, a tenth of a second to import

    source = path / "config.json"
    config = parse_json(read_text(source, RunError), repr(str(source)), RunError)
    if not isinstance(config, dict):
        raise RunError(f"{str(source)!r} is no JSON object; export the bundle again")
    try:
        header = {
            key: config[key] if isinstance(config[key], str) else json.dumps(config[key])
            for key in _KEYS & config.keys()
        }
    except RecursionError:
        raise RunError(f"{str(source)!r} is nested too deeply; export the bundle again") from None
    if is_source(header.get("model", "")):
        raise RunError(
            f"{str(source)!r} names the Python file {shown(header['model'])}, which opening a "
            "bundle does not run; name a model of the zoo"
        )
    if is_network(header.get("model", "")):  # it lies in the bundle, whatever its folder is called
        header["model"] = str(path / Path(header["model"]).name)
    return _with_weights(header, read_weights(path / "model.safetensors")[0], path, None)


def _from_run(run: Run) -> Target:
    header = run.weights_header() | {"model": run.model}
    return _with_weights(header, run.state_dict(), run.path, run)


def _with_weights(
    header: Mapping[str, str], state: dict[str, Tensor], path: Path, run: Run | None
) -> Target:
    try:
        name, data, classes, preprocess = _read_header(header)
    except DataError as problem:
        raise RunError(f"the header of the weights in {str(path)!r}: {problem}") from None
    model = create_model(name, classes=len(classes), input=preprocess.shape)
    try:
        model.load_state_dict(state)
    except RuntimeError as problem:
        reason = " ".join(str(problem).split())[:300]
        raise RunError(f"the weights in {str(path)!r} are not of {name!r}: {reason}") from None
    answers = forward(private_copy(model.eval(), preprocess.shape), noise(1, preprocess.shape))
    if not answers.isfinite().all():
        raise RunError(f"with the weights in {str(path)!r}, {name!r} answers NaN; train it again")
    return Target(name, model, preprocess, classes, data, run, trained=True)


def _read_header(header: Mapping[str, str]) -> tuple[str, str, tuple[str, ...], Preprocess]:
    """The model, the data, the classes and the preprocessing; raises DataError for anything else.

    `header` is that of weights, or a bundle's config.json with its values as texts.
    """
    for key in ("model", "data", "classes", "mean", "std"):
        if key not in header:
            raise DataError(f"{key!r} is missing; export or train it again")
    try:
        classes = class_names(json.loads(header["classes"]))
    except (ValueError, RecursionError):
        raise DataError(f"classes = {shown(header['classes'])}; it is a list of names") from None
    return header["model"], header["data"], classes, Preprocess.from_header(header)


def untrained(name: str, model: nn.Module, input_shape: InputShape | None) -> Target:
    """An untrained module as a target, for images of that shape or those it seems made for."""
    shape = input_shape or guess_input(model)
    if shape == GLYPH.shape:
        return Target(name, model.eval(), GLYPH, CLASSES, "mnist", run=None, trained=False)
    preprocess = Preprocess("photo", shape, (0.5,), (0.25,)).with_statistics(0.5, 0.25)
    return Target(name, model.eval(), preprocess, (), "", run=None, trained=False)
