"""Empty modules in the place of missing ones that a network's file imports and perhaps never needs.

Many files begin with torchvision, torchsummary, tqdm or the like, for a training that is not
run here.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn


class StandIn:
    """What anything in a missing module is: it can be called and looked into, and no more."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> StandIn:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(self._module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        decorates = len(args) == 1 and not kwargs and isinstance(args[0], type)
        return args[0] if decorates else StandIn(self._module)

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _refuse(self, *_: object) -> NoReturn:
        raise ModuleNotFoundError(f"No module named {self._module!r}")

    __iter__ = __len__ = __bool__ = __getitem__ = __mro_entries__ = __float__ = __int__ = _refuse


class _Empty(ModuleType):
    """An empty module, of which everything is a stand-in."""

    def __getattr__(self, name: str) -> StandIn:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(self.__name__.partition(".")[0])


@contextmanager
def stand_in_for_missing(folder: Path) -> Iterator[None]:
    """Inside this context, files below `folder` can import what is not installed.

    A warning names it. Nothing else finds the empty modules afterwards.
    """
    finder = StandInFinder(folder)
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _Empty)]:
            if name.partition(".")[0] in finder.missing:
                del sys.modules[name]
        if finder.missing:
            warnings.warn(
                f"not installed, empty modules stood in: {', '.join(finder.missing)}", stacklevel=2
            )


class StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an empty module where a file below `folder` imports one that is not installed.

    `missing` holds the names of those that it stood in for, in their order.
    """

    def __init__(self, folder: Path) -> None:
        self.folders = {folder.absolute(), folder.resolve()}
        self.missing: list[str] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        top = name.partition(".")[0]
        if top not in self.missing:
            if top != name or not self._is_importer(sys._getframe(1)):
                return None
            self.missing.append(top)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def _is_importer(self, frame: Any) -> bool:
        """Whether the import statement that led here stands in a file of the submission."""
        while frame is not None and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        return frame is not None and not self.folders.isdisjoint(
            Path(frame.f_code.co_filename).parents
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass
