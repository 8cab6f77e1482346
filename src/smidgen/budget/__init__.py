"""A budget: what a network may weigh, how it must be built, how well it must do, in TOML.

    budget = load_budget("era-8k")             # shipped, or a path to a .toml file
    verdict = judge(budget, anatomy, behaviour)  # every rule with its limit and what was measured

This module loads without torch. It is given what was measured and measures nothing itself.
"""

from smidgen.budget.judge import Firmware, Rule, Score, Training, Verdict, judge
from smidgen.budget.rules import Budget, list_budgets, load_budget

__all__ = [
    "Budget",
    "Firmware",
    "Rule",
    "Score",
    "Training",
    "Verdict",
    "judge",
    "list_budgets",
    "load_budget",
]
