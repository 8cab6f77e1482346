"""Image classifiers that fit in a smidgen: designed, trained, verified and shipped on a budget.

    import smidgen

    run = smidgen.train("tiny_mnist", recipe="tiny_mnist_best")
    smidgen.evaluate(str(run.path))["accuracy"]

Names are imported when they are first used, so that `import smidgen` costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from smidgen.errors import (
    BudgetError,
    DataError,
    ExportError,
    MissingExtraError,
    ModelError,
    RecipeError,
    RunError,
    SearchError,
    SmidgenError,
    TrainingError,
    did_you_mean,
)

if TYPE_CHECKING:
    from smidgen.anatomy import describe
    from smidgen.check import check
    from smidgen.data import load_data
    from smidgen.evaluate import evaluate, predict
    from smidgen.export import export
    from smidgen.target import load
    from smidgen.train import train
    from smidgen.zoo import create_model, list_models, register_model

    __version__: str

__all__ = [
    "BudgetError",
    "DataError",
    "ExportError",
    "MissingExtraError",
    "ModelError",
    "RecipeError",
    "RunError",
    "SearchError",
    "SmidgenError",
    "TrainingError",
    "check",
    "create_model",
    "describe",
    "evaluate",
    "export",
    "list_models",
    "load",
    "load_data",
    "predict",
    "register_model",
    "train",
]

_MODULES = {
    "check": "check",
    "create_model": "zoo",
    "describe": "anatomy",
    "evaluate": "evaluate",
    "export": "export",
    "list_models": "zoo",
    "load": "target",
    "load_data": "data",
    "predict": "evaluate",
    "register_model": "zoo",
    "train": "train",
}


def __dir__() -> list[str]:
    return sorted({*__all__, *globals()})


if not TYPE_CHECKING:  # a type checker would take it as leave to name anything

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib import metadata

            return metadata.version("smidgen")
        if name not in _MODULES:
            near = did_you_mean(name, __all__)
            # With the name alone, Python's traceback adds no suggestion of its own.
            raise AttributeError(f"module 'smidgen' has no attribute {name!r}{near}", name=name)
        return getattr(importlib.import_module(f"smidgen.{_MODULES[name]}"), name)


class _Package(ModuleType):
    """Keeps `smidgen.train` the function; the import system would replace it by the module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
