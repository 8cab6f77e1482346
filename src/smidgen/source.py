"""Networks from anyone's Python file or notebook: `path/to/file.py:ClassOrFunction`."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from smidgen.errors import ModelError, did_you_mean, shown
from smidgen.ipynb import Notebook, read_notebook

SUFFIXES = (".py", ".ipynb")


def is_source(target: str) -> bool:
    """Whether a TARGET names a Python file or a notebook."""
    return _split(target)[0].suffix in SUFFIXES


def is_network(target: str) -> bool:
    """Whether a TARGET names a network's file, written as `blocks` reads it."""
    return target.endswith(".toml")


def short_name(target: str) -> str:
    """What a TARGET is called: of a network from a file its class or function, else the file."""
    path, name = _split(target)
    return name or (path.stem if is_source(target) or is_network(target) else target)


def build(target: str, **options: Any) -> nn.Module:
    """The module that the class or function in that file makes when it is called.

    Of the options it gets those that it has parameters for. Without a name the file must hold
    exactly one module class that needs no other arguments. The file is executed, with its folder
    importable; of a notebook its definitions are, and a warning names what was left out. Raises
    ModelError, in one line, for a file that cannot be read or imported or that trains when
    imported, for a name that is not there or a choice that is ambiguous, and for a constructor that
    fails or needs arguments.
    """
    path, name = _split(target)
    if not os.path.isfile(path):  # unlike Path's, for any name
        raise ModelError(
            f"there is no file {shown(str(path))}; a target is FILE.py or FILE.py:NAME"
        )
    with _importable(path.resolve().parent), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # the same file gives the same weights
        module = _import(path)
        maker = _named(module, path, name) if name else _only_class(module, path)
        network = maker if isinstance(maker, nn.Module) else _make(maker, path, options)
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{name} in {str(path)!r} gives {type(network).__name__}; "
            "name a class or function that makes a torch.nn.Module"
        )
    return network


def files_of(target: str) -> dict[str, bytes]:
    """The target's file and those beside it that it imported, by their paths from its folder.

    Call it after `build`.
    """
    path = _split(target)[0].resolve()
    files = {path.name: path.read_bytes()}
    for name, module in list(sys.modules.items()):
        beside = Path(getattr(module, "__file__", None) or "")
        if path.parent in beside.parents and not name.startswith(("smidgen", "__")):
            files[str(beside.relative_to(path.parent))] = beside.read_bytes()
    return {name: content for name, content in files.items() if "site-packages" not in name}


def target_of(model: type[nn.Module] | nn.Module) -> str:
    """The target `FILE.py:NAME` that stands for a class, or for the class of a module.

    Raises ModelError for a class that is not at the top of a Python file.
    """
    kind = model if isinstance(model, type) else type(model)
    try:
        path = inspect.getsourcefile(kind)
    except (OSError, TypeError):
        path = None
    if path is None or "." in kind.__qualname__ or not Path(path).is_file():
        raise ModelError(
            f"{kind.__qualname__} is not at the top of a Python file, from which a run could be "
            f"opened again; put it into one, name NOTEBOOK.ipynb:{kind.__name__}, or name a model"
        )
    return f"{path}:{kind.__name__}"


def _split(target: str) -> tuple[Path, str]:
    path, colon, name = target.rpartition(":")
    return (Path(path), name) if colon and path.endswith(SUFFIXES) else (Path(target), "")


def _import(path: Path) -> ModuleType:
    """The file as a module, executed now."""
    spec = importlib.util.spec_from_file_location(
        f"smidgen_target_{path.stem}", path, loader=_loader(path)
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    steps: list[object] = []

    def refuse(optimizer: object, *_: object) -> None:
        steps.append(optimizer)
        raise ModelError("it trains")

    watch = register_optimizer_step_pre_hook(refuse)
    failure: BaseException | None = None
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as problem:
        failure = problem
    finally:
        watch.remove()
    if steps:
        raise ModelError(
            f'{str(path)!r} trains when it is imported; move that under if __name__ == "__main__":'
        ) from failure
    if failure is not None:
        raise ModelError(
            f"cannot import {str(path)!r}: {_said(failure)}; `python {path}` says where"
        ) from failure
    return module


def _loader(path: Path) -> importlib.abc.Loader | None:
    """What executes the definitions of a notebook; None for a Python file, which Python does."""
    if path.suffix != ".ipynb":
        return None
    notebook = read_notebook(path)
    if notebook.left_out:
        warnings.warn(said_left_out(notebook), stacklevel=2)
    return _NotebookLoader(notebook.source, str(path.resolve()))


def said_left_out(notebook: Notebook) -> str:
    """What of a notebook was not run, in one line; the first few by name."""
    named = [shown(line[:60]) for line in notebook.left_out[:3]]
    more = [f"{len(notebook.left_out) - 3} more"] if len(notebook.left_out) > 3 else []
    return f"of the notebook, definitions were taken; left out: {', '.join([*named, *more])}"


class _NotebookLoader(importlib.abc.Loader):
    def __init__(self, source: str, path: str) -> None:
        self._source, self._path = source, path

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, self._path, "exec"), vars(module))


def _named(module: ModuleType, path: Path, name: str) -> Any:
    found = getattr(module, name, None)
    if not callable(found):
        near = did_you_mean(name, [*_classes(module), *_functions(module)])
        raise ModelError(f"no class or function {name!r} in {str(path)!r}{near}")
    return found


def _make(maker: Callable[..., Any], path: Path, options: dict[str, Any]) -> Any:
    """What the class or function makes, called with the options that it knows."""
    called = getattr(maker, "__name__", "it")
    known = {name: options[name] for name in options.keys() & _parameters(maker)}
    needed = [name for name in _needed(maker) if name not in known]
    if needed:
        raise ModelError(
            f"{called} in {str(path)!r} needs arguments ({', '.join(needed)}); give them "
            f"defaults, or write a function without arguments and name it: {path}:NAME"
        )
    try:
        return maker(**known)
    except (Exception, SystemExit) as problem:
        raise ModelError(f"{called}() in {str(path)!r} fails: {_said(problem)}") from problem


def _only_class(module: ModuleType, path: Path) -> Callable[[], Any]:
    classes = _classes(module)
    if not classes:
        raise ModelError(
            f"{str(path)!r} defines no torch.nn.Module class; name what makes one: {path}:NAME"
        )
    ready = {name: found for name, found in classes.items() if not _needed(found)} or classes
    if len(ready) > 1:
        choices = ", ".join(f"{path}:{name}" for name in ready)
        raise ModelError(f"{str(path)!r} defines several networks; choose one of {choices}")
    return next(iter(ready.values()))


def _classes(module: ModuleType) -> dict[str, type[nn.Module]]:
    """The module classes that the file itself defines, in its order."""
    return {
        name: found
        for name, found in vars(module).items()
        if isinstance(found, type)
        and issubclass(found, nn.Module)
        and found.__module__ == module.__name__
    }


def _functions(module: ModuleType) -> list[str]:
    return [
        name
        for name, found in vars(module).items()
        if inspect.isfunction(found) and found.__module__ == module.__name__
    ]


def _needed(maker: Callable[..., Any]) -> list[str]:
    """The arguments that have no default."""
    parameters = _parameters(maker).values()
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in optional]


def _parameters(maker: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(maker).parameters
    except ValueError:
        return {}


def _said(problem: BaseException) -> str:
    """An exception in one line."""
    if isinstance(problem, SystemExit):
        return "it exits"
    message = (str(problem).strip() or "no message").splitlines()[0]
    return f"{type(problem).__name__}: {message}"


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Inside this context the files beside the target can be imported."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
