"""The exceptions smidgen raises for a user's mistake. Anything else is a bug.

SmidgenError
├── DataError         a data set or an image that cannot be found, read or trusted
├── RecipeError       a recipe key or value that is not allowed
├── ModelError        a model that is unknown, cannot be built or does not fit its input
├── RunError          a run folder or checkpoint that is missing, damaged or of another model
├── TrainingError     a training that cannot go on
├── BudgetError       a budget file that cannot be understood (a *failed* budget is a verdict)
├── SearchError       a space of networks that cannot be understood, or holds none that fits
├── ExportError       a network that cannot be exported, or an export that is not its equal
└── MissingExtraError an optional dependency that is not installed

Every message holds the offending value, what is allowed, and the next step. The command line
prints it as one line and exits with 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator


class SmidgenError(Exception):
    """Base of every error that a user can mend."""


class DataError(SmidgenError):
    """A data set or an image that cannot be found, read or trusted."""


class RecipeError(SmidgenError):
    """A recipe key or value that is not allowed."""


class ModelError(SmidgenError):
    """A model that is unknown, cannot be built or does not fit its input."""


class RunError(SmidgenError):
    """A run folder or checkpoint that is missing, damaged or of another model."""


class TrainingError(SmidgenError):
    """A training that cannot go on."""


class BudgetError(SmidgenError):
    """A budget file that cannot be understood."""


class SearchError(SmidgenError):
    """A space of networks that cannot be understood, or holds none that fits."""


class ExportError(SmidgenError):
    """A network that cannot be exported, or an export that is not its equal."""


class MissingExtraError(SmidgenError):
    """An optional dependency that is not installed."""


def did_you_mean(value: str, allowed: Iterable[str]) -> str:
    """The tail of an "unknown name" message: the nearest allowed name, or all of them.

    >>> did_you_mean("tiny_mnst", ["tiny_mnist", "net"])
    "; did you mean 'tiny_mnist'?"
    >>> did_you_mean("lr", ["optimizer.lr", "optimizer.momentum"])
    "; did you mean 'optimizer.lr'?"
    >>> did_you_mean("resnet152", ["a", "b"])
    '; choose from a, b'
    """
    names = sorted(set(allowed))
    near = [name for name in names if name.endswith(f".{value}")]
    near += difflib.get_close_matches(value, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; choose from {', '.join(names)}"


def shown(value: object) -> str:
    """A value from outside for a message: its repr, cut off after 100 characters.

    >>> shown("tiny")
    "'tiny'"
    >>> shown([0] * 1000)[-9:]
    ', 0, 0...'
    """
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of 4,301 digits
        return f"a value of type {type(value).__name__} that is too large to be shown"
    return text if len(text) <= 100 else f"{text[:97]}..."


def with_causes(problem: BaseException) -> Iterator[BaseException]:
    """An exception, and one after the other those that it was raised from or in the handling of."""
    found: BaseException | None = problem
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
