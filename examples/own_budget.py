"""A budget of your own, and which models of the zoo keep it.

python own_budget.py
"""

from pathlib import Path

import smidgen

BUDGET = """\
title = "a cheap board: 8 kB of weights, 12 kB of activations, half a million MACs"
max_weight_bytes_int8 = 8_192
max_peak_activation_bytes_int8 = 12_288
max_macs = 500_000
forbid = ["linear"]
"""

Path("board.toml").write_text(BUDGET)
kept = []
for name in smidgen.list_models():
    if name.startswith("smidgen_cifar"):
        continue  # for images in colour
    verdict = smidgen.check(name, "board.toml")
    if verdict.passed:
        kept.append(name)
    else:
        broken = [f"{rule.rule} {rule.actual}" for rule in verdict.rules if not rule.passed]
        print(f"{name}: {', '.join(broken)}")
print(f"within the budget: {', '.join(kept)}")
