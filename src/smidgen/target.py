"""Loads a TARGET, as the commands take it, as a network that is ready to use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from smidgen.data import Data
from smidgen.errors import RunError, SmidgenError
from smidgen.inputs import InputShape, Preprocess
from smidgen.mnist import CLASSES, GLYPH
from smidgen.network import guess_input
from smidgen.run import Run, read_weights
from smidgen.source import is_network, is_source
from smidgen.zoo import create_model, has_weights, network_input, weights_header


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

    def require_classes(self, data: Data, error: type[SmidgenError]) -> None:
        """Raises `error` where the network was trained for other classes than the data's."""
        if self.classes != data.classes:
            raise error(
                f"{self.name!r} was trained for {', '.join(self.classes)}, not for the classes of "
                f"{data.name!r}; use it with its own data, {self.data}"
            )


def load(target: str, weights: bool = True, input_shape: InputShape | None = None) -> Target:
    """The network that a zoo name, a run folder, a bundle folder or a file stands for.

    A zoo name means its shipped weights. With `weights` false the network may have none: it is then
    a zoo model drawn from a fixed seed, a network's file (`net.toml`), which takes images of
    `input_shape`, of its own where that is not said, or a class or function in a file
    (`path/to/file.py:Net`), for which they are guessed.
    Raises ModelError and RunError for what is not there, or does not fit.
    """
    if is_network(target):
        shape = input_shape or network_input(target)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            model = create_model(target, pretrained=weights, input=shape)
        return _untrained(target, model, shape)
    if is_source(target):
        return _untrained(target, create_model(target, pretrained=weights), input_shape)
    if (Path(target) / "config.json").is_file():
        return _from_bundle(Path(target))
    if Path(target).is_dir():
        return _from_run(Run.open(target))
    if not weights and not has_weights(target):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return _untrained(target, create_model(target), input_shape)
    model = create_model(target, pretrained=True)
    return _described(target, model, weights_header(target), None)


def _from_bundle(path: Path) -> Target:
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        header = {
            key: each if isinstance(each, str) else json.dumps(each) for key, each in config.items()
        }
        for key in ("model", "data", "classes", "mean", "std"):
            header[key]
    except (OSError, ValueError, KeyError, AttributeError) as problem:
        raise RunError(
            f"the bundle {str(path)!r} has a config.json that cannot be used "
            f"({type(problem).__name__}: {problem}); export it again"
        ) from None
    return _with_weights(header, read_weights(path / "model.safetensors")[0], path, None)


def _from_run(run: Run) -> Target:
    header = run.weights_header() | {"model": run.model}
    return _with_weights(header, run.state_dict(), run.path, run)


def _with_weights(
    header: dict[str, str], state: dict[str, Tensor], path: Path, run: Run | None
) -> Target:
    preprocess = Preprocess.from_header(header)
    model = create_model(
        header["model"], classes=len(json.loads(header["classes"])), input=preprocess.shape
    )
    try:
        model.load_state_dict(state)
    except RuntimeError as problem:
        raise RunError(
            f"the weights in {str(path)!r} are not of {header['model']!r}: {problem}"
        ) from None
    return _described(header["model"], model.eval(), header, run)


def _untrained(name: str, model: nn.Module, input_shape: InputShape | None) -> Target:
    shape = input_shape or guess_input(model)
    if shape == GLYPH.shape:
        return Target(name, model.eval(), GLYPH, CLASSES, "mnist", run=None, trained=False)
    preprocess = Preprocess("photo", shape, (0.5,), (0.25,)).with_statistics(0.5, 0.25)
    return Target(name, model.eval(), preprocess, (), "", run=None, trained=False)


def _described(name: str, model: nn.Module, header: dict[str, str], run: Run | None) -> Target:
    preprocess, classes = Preprocess.from_header(header), json.loads(header["classes"])
    return Target(name, model, preprocess, tuple(classes), header["data"], run, trained=True)
