"""A TARGET, as the commands take it, becomes a network that is ready to use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from smidgen.errors import RunError
from smidgen.run import Run
from smidgen.zoo import create_model, weights_header


@dataclass(frozen=True)
class Target:
    """A network in eval mode, and what it needs to be fed and understood.

    Images are normalised with `mean` and `std`; `classes` names the logits in their order; `data`
    is what it was trained on.
    """

    name: str
    model: nn.Module
    mean: float
    std: float
    classes: tuple[str, ...]
    data: str
    run: Run | None
    trained: bool


def load(target: str) -> Target:
    """The network that a zoo name (its shipped weights) or a run folder stands for.

    Raises ModelError and RunError for what is not there, or does not fit.
    """
    if Path(target).is_dir():
        return _from_run(Run.open(target))
    model = create_model(target, pretrained=True)
    return _described(target, model, weights_header(target), None)


def _from_run(run: Run) -> Target:
    state, header = run.state_dict(), run.weights_header()
    classes = json.loads(header["classes"])
    options: dict[str, Any] = {} if len(classes) == 10 else {"classes": len(classes)}
    model = create_model(header["model"], **options)
    try:
        model.load_state_dict(state)
    except RuntimeError as problem:
        raise RunError(
            f"the weights in {str(run.path)!r} are not of {header['model']!r}: {problem}"
        ) from None
    return _described(header["model"], model.eval(), header, run)


def _described(name: str, model: nn.Module, header: dict[str, str], run: Run | None) -> Target:
    return Target(
        name=name,
        model=model,
        mean=float(header["mean"]),
        std=float(header["std"]),
        classes=tuple(json.loads(header["classes"])),
        data=header["data"],
        run=run,
        trained=True,
    )
