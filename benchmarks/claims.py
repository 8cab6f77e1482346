"""Trains every system of the founding documents and sets what they claim beside what is measured.

    python benchmarks/claims.py            # writes docs/claims.md; about half an hour on two cores
    python benchmarks/claims.py --ship     # and takes the weights of the best recipes into the zoo

Finished trainings are kept in runs/claims, so that a killed run goes on where it stopped. One
seed each: these figures say whether a document's claim holds, not how good a recipe is.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smidgen.anatomy import count_parameters
from smidgen.data import Data, load_data
from smidgen.metrics import wilson_interval
from smidgen.recipe import load_recipe, override
from smidgen.run import Run
from smidgen.train import fit
from smidgen.train.record import hardware, versions
from smidgen.zoo import create_model

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs" / "claims"
SHIPPED = (
    "tiny_mnist", "mnist_net", "mnist_net_25k", "mnist_net_13k",
    "mnist_classifier", "skip_13k", "tiny_net",
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A figure that must exceed a bound after a training (or, without one, of the model)."""

    document: str
    says: str
    figure: str
    bound: float
    recipe: str
    changes: dict[str, Any] = field(default_factory=dict)


FIFTH = {"epochs": 5, "batch_size": 256, "optimizer.lr": 0.01, "watch_test": True}
CLAIMS = [
    Claim("TinyMNIST", "test > 95 % in one epoch", "test_accuracy", 0.95, "tiny_mnist"),
    Claim("TinyMNIST", "train > 95 % in one epoch", "train_accuracy", 0.95, "tiny_mnist"),
    Claim("TinyMNIST", "train > 95 % in one epoch", "train_accuracy", 0.95, "tiny_mnist_best"),
    Claim("TinyMNIST", "test > 95 % in one epoch", "test_accuracy", 0.95, "tiny_mnist_best"),
    Claim("MNISTNet", "test > 95 % in one epoch", "test_accuracy", 0.95, "mnist_net"),
    Claim("MNISTNet", "test > 95 % in one epoch", "test_accuracy", 0.95, "mnist_net_best"),
    Claim("MNISTNet, < 25,000", "> 95 % in one epoch", "test_accuracy", 0.95, "mnist_net_25k"),
    Claim("MNISTNet, < 25,000", "ours: ≥ 98.3 %", "test_accuracy", 0.983, "mnist_net_25k_best"),
    Claim("MNISTNet, ~13,000", "> 95 % in one epoch", "test_accuracy", 0.95, "mnist_net_13k"),
    Claim("MNISTNet, ~13,000", "ours: ≥ 98.3 %", "test_accuracy", 0.983, "mnist_net_13k_best"),
    Claim("TinyNet", "95–96 % after epoch 1", "first_epoch", 0.95, "tiny_net", FIFTH),
    Claim("TinyNet", "> 98 % after 5 epochs", "test_accuracy", 0.98, "tiny_net", FIFTH),
    Claim("TinyNet", "> 98 %", "test_accuracy", 0.98, "tiny_net_best"),
    Claim("skip network", "test 99.43 %, epoch 10", "test_accuracy", 0.9943, "skip_13k_best"),
    Claim("MNISTClassifier", "ours: ≥ 99.2 %", "test_accuracy", 0.992, "mnist_classifier_best"),
    Claim("skip network", "test 99.43 %, epoch 10", "test_accuracy", 0.9943, "skip_13k"),
    Claim("skip network", "train > 99.4 %", "train_accuracy", 0.994, "skip_13k"),
    Claim("MNISTClassifier", "ours: ≥ 99.2 %", "test_accuracy", 0.992, "mnist_classifier"),
]
COUNTS = {
    "tiny_mnist": "9,146",
    "mnist_net": "~24,500, ~13,000, < 25,000, < 15K",
    "mnist_net_25k": "< 25,000",
    "mnist_net_13k": "~13,000, < 15K",
    "mnist_classifier": "< 20,000",
    "skip_13k": "13,272",
    "tiny_net": "22,514",
    "net": "> 1,000,000",
}


def train(claim: Claim, data: Data) -> Run:
    """The claim's run, trained now unless it has finished before."""
    out = RUNS / "-".join([claim.recipe, *(f"{value}" for value in claim.changes.values())])
    if (out / "result.json").is_file():
        return Run.open(out)
    shutil.rmtree(out, ignore_errors=True)
    print(f"training {out.name}", flush=True)
    return fit(override(load_recipe(claim.recipe), claim.changes), data, out)


def measure(run: Run, figure: str) -> float:
    """The figure of a run, a fraction."""
    if figure == "first_epoch":
        return run.metrics()[0]["test_accuracy"] or 0.0
    return float(run.result()[figure])


def table(data: Data) -> str:
    """The claims as Markdown, trained where they have not been."""
    lines = [
        "| document | it says | recipe | measured | 95 % interval | holds | seconds |",
        "| --- | --- | --- | ---: | --- | --- | ---: |",
    ]
    for claim in CLAIMS:
        run = train(claim, data)
        value, result = measure(run, claim.figure), run.result()
        n = len(data.train if claim.figure == "train_accuracy" else data.test)
        low, high = wilson_interval(round(value * n), n)
        lines.append(
            f"| {claim.document} | {claim.says} | `{run.path.name}` | {value:.2%} | "
            f"{low:.2%} to {high:.2%} | {'yes' if value >= claim.bound else '**no**'} | "
            f"{result['seconds']:.0f} |"
        )
    return "\n".join(lines)


def counts() -> str:
    """The parameter counts as Markdown."""
    lines = ["| model | document | counted |", "| --- | --- | ---: |"]
    for name, says in COUNTS.items():
        counted = count_parameters(create_model(name))
        lines.append(f"| `{name}` | {says} | {counted:,} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ship", action="store_true", help="take the best weights into the zoo")
    ship = parser.parse_args().ship
    claims = table(load_data("mnist"))
    machine = hardware()
    (ROOT / "docs" / "claims.md").write_text(
        "# What the five documents claim, and what is measured\n\n"
        "Written by `python benchmarks/claims.py`. Real MNIST, trained on all 60,000 images, one\n"
        "seed, the last epoch's weights; the test set is read once, except where the document\n"
        "speaks of its first epoch. The interval is Wilson's over the images. `train` is the\n"
        "running accuracy over the last epoch, with dropout and augmentation.\n\n"
        f"{claims}\n\n## Parameters\n\n{counts()}\n\n"
        f"Measured on {machine['cpu']}, {machine['cores']} cores; "
        f"{', '.join(f'{name} {version}' for name, version in versions().items())}.\n",
        encoding="utf-8",
    )
    if ship:
        for model in SHIPPED:
            weights = RUNS / f"{model}_best" / "model.safetensors"
            folder = ROOT / "src" / "smidgen" / "zoo" / "weights"
            shutil.copyfile(weights, folder / f"{model}.safetensors")


if __name__ == "__main__":
    main()
