"""Scores every shipped model under corruption, as `smidgen evaluate --robust` does.

    python benchmarks/robustness.py               # the shipped models that have no figures yet
    python benchmarks/robustness.py smidgen_8k    # these again; the others keep their rows

Each is tested on all test images of the data that it was trained on. Figures are kept in
benchmarks/robustness.json with the fingerprint of the weights, after every model; the table in
docs/robustness.md and the figures for the models' cards are written from them.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from smidgen.anatomy import count_parameters
from smidgen.data import load_data
from smidgen.evaluate import evaluate
from smidgen.files import write_whole
from smidgen.target import load
from smidgen.zoo import has_weights, list_models, weights_header

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "robustness.json"
PAGE = ROOT / "docs" / "robustness.md"
CARDS = ROOT / "src" / "smidgen" / "zoo" / "weights" / "robustness.json"
FAMILIES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "motion_blur", "glass_blur", "pixelate"),
    "place": ("rotate", "shear", "scale", "translate"),
    "light": ("brightness", "contrast", "fog"),
    "cover": ("stripe", "zigzag"),
}


def measure(name: str) -> dict[str, Any]:
    """What the page says of one model."""
    target = load(name)
    data = load_data(target.data)
    score = evaluate(target, data, robust=True)
    found = score["robustness"]
    return {
        "params": count_parameters(target.model),
        "weights": weights_header(name)["fingerprint"],
        "data": target.data,
        "accuracy": score["accuracy"],
        "ece": score["ece"],
        **{key: found[key] for key in ("mean_corruption_accuracy", "mean_corruption_ece")},
        "corruptions": found["corruptions"],
        "coverage": found["coverage"],
        "detector": found["detector"],
    }


def is_current(name: str, models: dict[str, Any]) -> bool:
    """Whether the figures are of the weights that ship."""
    return name in models and models[name]["weights"] == weights_header(name)["fingerprint"]


def table(models: dict[str, Any]) -> list[str]:
    """The lines of the table: the most robust model first."""
    ranked = sorted(models.items(), key=lambda item: -item[1]["mean_corruption_accuracy"])
    lines = [
        "| model | parameters | clean | **corrupted** | "
        + " | ".join(FAMILIES)
        + " | calibration, clean | corrupted | surest 90 % |",
        "| --- |" + " ---: |" * (len(FAMILIES) + 6),
    ]
    for name, found in ranked:
        families = [
            fmean(fmean(found["corruptions"][each]) for each in members)
            for members in FAMILIES.values()
        ]
        lines.append(
            f"| `{name}` | {found['params']:,} | {found['accuracy']:.2%} | "
            f"**{found['mean_corruption_accuracy']:.2%}** | "
            + " | ".join(f"{share:.1%}" for share in families)
            + f" | {found['ece']:.2%} | {found['mean_corruption_ece']:.1%} | "
            f"{surest(found):.2%} |"
        )
    return lines


def surest(found: dict[str, Any]) -> float:
    """The accuracy on the surest nine tenths of the images."""
    accuracy: float = next(c["accuracy"] for c in found["coverage"] if c["coverage"] == 0.9)
    return accuracy


def for_cards(models: dict[str, Any]) -> dict[str, Any]:
    """What the package has of each model, for its card."""
    keys = ("mean_corruption_accuracy", "ece", "mean_corruption_ece")
    return {
        name: {key: round(found[key], 4) for key in keys}
        | {"surest_90": round(surest(found), 4), "fingerprint": found["weights"]}
        for name, found in sorted(models.items())
    }


def detectors(models: dict[str, Any]) -> list[str]:
    """A sentence for each network whose page would have a detector."""
    return [
        f"The detector of a page of `{name}` lets {found['detector']['kept']:.2%} of the test "
        "images pass and turns away "
        + ", ".join(
            f"{share:.1%} of `{kind}`" for kind, share in found["detector"]["turned_away"].items()
        )
        + "."
        for name, found in models.items()
        if found["detector"]
    ]


def write(models: dict[str, Any]) -> None:
    """Writes the table between its two comments, and the figures for the cards."""
    lines = [*table(models), "", *detectors(models)]
    between = re.compile(r"(<!-- written by: .*? -->\n).*(<!-- end -->)", re.DOTALL)
    text = PAGE.read_text("utf-8")
    new = between.sub(lambda found: found[1] + "\n".join(lines) + "\n" + found[2], text)
    PAGE.write_text(new, encoding="utf-8")
    lines = [
        f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in for_cards(models).items()
    ]
    write_whole(CARDS, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def main() -> None:
    models = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    shipped = [name for name in list_models() if has_weights(name)]
    for name in sys.argv[1:] or [name for name in shipped if not is_current(name, models)]:
        print(name, flush=True)
        models[name] = measure(name)
        print(f"  {models[name]['mean_corruption_accuracy']:.2%}", flush=True)
        write_whole(FIGURES, (json.dumps(models, indent=1) + "\n").encode())
        write(models)


if __name__ == "__main__":
    main()
