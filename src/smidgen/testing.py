"""Budgets in anyone's pytest suite.

from smidgen.testing import assert_fits

def test_budget():
    assert_fits(Net(), "era-8k")
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from smidgen.anatomy import describe, probe
from smidgen.budget import Budget, judge, load_budget


def assert_fits(model: nn.Module, budget: str | Path | Budget) -> None:
    """Raises AssertionError, one line a rule, where the network breaks the budget.

    The budget is a shipped one's name, a TOML file or a Budget; its rules about training are left
    out. Raises BudgetError for a budget that cannot be understood and ModelError for a network
    that does not run.
    """
    rules = budget if isinstance(budget, Budget) else load_budget(budget)
    verdict = judge(rules, describe(model), probe(model))
    broken = [
        f"{rule.rule}: limit {rule.limit}, actual {rule.actual}; {rule.note}"
        for rule in verdict.rules
        if not rule.passed
    ]
    if broken:
        raise AssertionError("\n".join([f"{type(model).__name__} breaks: {rules.title}", *broken]))
