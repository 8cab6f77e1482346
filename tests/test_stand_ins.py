"""What stands in for a module that is not installed: it can be named and called, and no more."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from smidgen.stand_ins import StandIn, _Empty


@pytest.fixture
def plot() -> Any:
    return _Empty("no_such_plot.pyplot").style.use("ggplot")


def test_anything_in_it_can_be_named_called_and_entered(plot: Any) -> None:
    with plot.figure(dpi=100) as figure:
        assert isinstance(figure.axes, StandIn)


def test_a_class_that_it_decorates_stays_what_it_is(plot: Any) -> None:
    assert plot.register(int) is int
    assert isinstance(plot.register(int, force=True), StandIn)
    assert isinstance(plot.register(3), StandIn)


@pytest.mark.parametrize(
    "use", [bool, len, list, float, lambda it: it[0], lambda it: 1 if it else 0]
)
def test_what_computes_with_it_is_told_what_is_missing(plot: Any, use: Any) -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_plot'"):
        use(plot)


def test_it_has_no_special_methods_that_it_does_not_define(plot: Any) -> None:
    assert isinstance(copy.copy(plot), StandIn)
    assert not hasattr(plot, "__array__")
    assert not hasattr(_Empty("no_such_plot"), "__path__")
