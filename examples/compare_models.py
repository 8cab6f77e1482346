"""Two models, three seeds each: is one really better, or are seeds and images to thank?

python compare_models.py [DATA [EPOCHS]]

The same as two commands: `smidgen train NAME --seeds 3 --out runs/NAME`, `smidgen compare`.
"""

import sys
from pathlib import Path

import smidgen
from smidgen.report import compare, open_trials

NAMES = ("tiny_mnist", "smidgen_4142")  # the first is what the other is compared with
data = sys.argv[1] if len(sys.argv) > 1 else "mnist"
epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 3

for name in NAMES:
    for seed in range(3):
        settings = {"data": data, "epochs": epochs, "seed": seed}
        smidgen.train(name, recipe="default", out=f"runs/{name}/seed-{seed}", **settings)

trials, images = open_trials([Path("runs", name) for name in NAMES], None)
for name, trial in zip(NAMES, trials, strict=True):
    mean, sd = trial.summary["mean"], trial.summary["sd"]
    print(f"{name}: {trial.results[0]['params']:,} parameters, {mean:.2%} ± {sd:.2%}")
for found in compare(trials, images):
    low, high = found.interval
    print(
        f"{NAMES[1]} is {100 * found.difference:+.2f} points ({100 * low:+.2f} to "
        f"{100 * high:+.2f}, {found.test}, p = {found.p_value:.3f}): {found.verdict}"
    )
