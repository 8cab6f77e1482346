"""Trains a row of the frontier again from nothing, over seeds fixed in advance.

    python benchmarks/frontier.py smidgen_8k --seeds 5          # train, and keep the figures
    python benchmarks/frontier.py smidgen_8k --seeds 5 --ship   # and ship the first seed's weights
    python benchmarks/frontier.py smidgen_cifar_78k --seed 1    # one seed more, on all cores
    python benchmarks/frontier.py smidgen_teacher               # one run, and ship its weights
    python benchmarks/frontier.py                               # draw docs/frontier.md alone

The recipes were chosen on the validation split; here they train on all training images. Seeds 0 to
N - 1, the last epoch's weights or their average; the test set is read, never chosen on. Finished
seeds are kept in runs/frontier, so that a killed series goes on where it stopped. With --seed the
figures of other seeds by the same recipe stay, so that a long row may be trained on several days.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from frontier_picture import draw

from smidgen.data import load_data
from smidgen.files import sha256
from smidgen.metrics import over_seeds
from smidgen.recipe import Recipe, load_recipe, override, to_toml
from smidgen.run import Run
from smidgen.sweep import fit_seeds
from smidgen.train import fit, resume

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "frontier"
WEIGHTS = ROOT / "src" / "smidgen" / "zoo" / "weights"
# recipe: budget in words, demanded mean
GOALS = {
    "smidgen_575": ("≤ 575, any epochs", 0.982),
    "smidgen_697": ("≤ 697, any epochs", 0.987),
    "smidgen_1k": ("≤ 1,000, any epochs", 0.990),
    "smidgen_1936": ("≤ 1,936, any epochs", 0.9925),
    "smidgen_4142": ("≤ 4,142, any epochs", 0.9945),
    "smidgen_8k": ("< 8,000, ≤ 15 epochs", 0.9952),
    "smidgen_8k_written": ("< 8,000, other hands too", 0.9949),
    "smidgen_mcu": ("8 kB of weights, 4 kB of RAM", 0.9950),
    "skip_13k_best": ("13,272, ≤ 10 epochs", 0.9955),
    "smidgen_20k": ("< 20,000, ≤ 20 epochs", 0.9962),
    "smidgen_1epoch": ("< 25,000, one epoch", 0.9930),
    "smidgen_25k": ("< 25,000, any epochs", 0.9970),
}
TWIN = "smidgen_8k_written"  # too near to smidgen_8k for a place in the picture
PHOTOS = {
    "smidgen_fashion_8k": ("Fashion-MNIST, < 8,000", 0.915),
    "smidgen_fashion_25k": ("Fashion-MNIST, < 25,000", 0.933),
    "smidgen_cifar_25k": ("CIFAR-10 as JPEG, < 25,000", 0.83),
    "smidgen_cifar_78k": ("CIFAR-10 as JPEG, ≤ 78,666", 0.88),
}
LEAST = 3  # seeds of a row
LOSSY = {"cifar10": "cifar10_jpeg"}  # the copies that are at hand
TEACHER = "smidgen_teacher"  # no budget, no row: one run


def train(name: str, seeds: int, only: int | None, ship: bool) -> None:
    """Trains the row's seeds and writes what they reached to benchmarks/frontier/NAME.json."""
    recipe = load_recipe(name)
    data = LOSSY.get(recipe.data, recipe.data)
    recipe = override(recipe, {"full": True, "watch_test": True, "data": data})
    runs = []
    for run in trained(name, recipe, seeds, only):
        print(f"{run.path.name}: {run.result()['test_accuracy']:.2%}", flush=True)
        runs.append(run)
    results = [run.result() for run in runs]
    same = ("model", "data", "params", "epochs", "images_seen", "workers", "precision", "backend")
    record = {key: results[0][key] for key in (*same, "hardware", "versions")}
    record["recipe"] = sha256(to_toml(recipe).encode())[:16]
    before = records([name]).get(name, {}) if only is not None else {}
    others = before["seeds"] if before.get("recipe") == record["recipe"] else []
    reached = {
        result["seed"]: {
            "seed": result["seed"],
            "test_accuracy": result["test_accuracy"],
            "seconds": round(result["seconds"], 1),
            "by_epoch": [row["test_accuracy"] for row in run.metrics()],
        }
        for run, result in zip(runs, results, strict=True)
    }
    known = {other["seed"]: other for other in others} | reached
    record["seeds"] = [known[seed] for seed in sorted(known)]
    path = FIGURES / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    first = next((run for run in runs if run.recipe.seed == 0), None)
    if ship and first:
        shutil.copyfile(
            first.path / "model.safetensors", WEIGHTS / f"{record['model']}.safetensors"
        )


def trained(name: str, recipe: Recipe, seeds: int, only: int | None) -> Iterator[Run]:
    """The runs of the seeds, side by side, or of one alone."""
    folder = ROOT / "runs" / "frontier" / name
    if only is None:
        yield from fit_seeds(recipe, seeds, folder)
    else:
        path, data = folder / f"seed-{only}", load_data(recipe.data)
        own = override(recipe, {"seed": only})
        yield resume(path, data) if path.exists() else fit(own, data, path)


def train_teacher() -> None:
    """Trains the network that the rows' recipes learn from, and ships it."""
    run = fit(load_recipe(TEACHER), load_data("mnist"), ROOT / "runs" / "frontier" / TEACHER)
    print(f"{TEACHER}: {run.result()['test_accuracy']:.2%}")
    shutil.copyfile(run.path / "model.safetensors", WEIGHTS / f"{TEACHER}.safetensors")


def records(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The rows of these that have been trained, by the names of their recipes."""
    found = {name: FIGURES / f"{name}.json" for name in names}
    return {n: json.loads(p.read_text(encoding="utf-8")) for n, p in found.items() if p.is_file()}


def public() -> list[dict[str, Any]]:
    """The public records."""
    document = tomllib.loads((FIGURES / "public.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = document["record"]
    return found


def table(goals: Mapping[str, tuple[str, float]]) -> list[str]:
    """The lines of a table of our rows."""
    ours = records(goals)
    lines = [
        "| budget | recipe | parameters | epochs | mean | sd | min | n | 95 % of the mean "
        "| worst of the last 5 epochs | goal | reached |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: | --- |",
    ]
    for name, (budget, goal) in goals.items():
        row = ours.get(name)
        if row is None or len(row["seeds"]) < LEAST:
            state = f"{len(row['seeds'])} of {LEAST} seeds trained" if row else "not trained yet"
            lines.append(f"| {budget} | {state} |{' – |' * 8} {goal:.2%} | **no** |")
            continue
        score = over_seeds([seed["test_accuracy"] for seed in row["seeds"]])
        worst = min(min(seed["by_epoch"][-5:]) for seed in row["seeds"])
        low, high = score.interval
        lines.append(
            f"| {budget} | `{name}` | {row['params']:,} | {row['epochs']} | {score.mean:.3%} | "
            f"{score.sd:.3%} | {score.min:.2%} | {score.n} | {low:.3%} to {high:.3%} | "
            f"{worst:.2%} | {goal:.2%} | {'yes' if score.mean >= goal else '**no**'} |"
        )
    return lines


def public_table() -> list[str]:
    """The lines of the table of public records."""
    return [
        "| public record | parameters | accuracy | protocol |",
        "| --- | ---: | ---: | --- |",
        *(
            f"| {row['who']} | {row['params']:,} | {row['accuracy']:.2%} | {row['protocol']} |"
            for row in public()
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "name", nargs="?", choices=[*GOALS, *PHOTOS, TEACHER], help="the row's recipe"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, help="only this one; other seeds' figures stay")
    parser.add_argument("--ship", action="store_true", help="ship the first seed's weights")
    arguments = parser.parse_args()
    if arguments.name == TEACHER:
        train_teacher()
    elif arguments.name:
        train(arguments.name, arguments.seeds, arguments.seed, arguments.ship)
    draw(records(GOALS.keys() - {TWIN}), public(), ROOT / "docs" / "frontier.png")
    tried = (FIGURES / "tried.md").read_text(encoding="utf-8")
    lines = [
        "# The frontier",
        "",
        "Test accuracy at a number of parameters, as an honest mean. Written by",
        "`python benchmarks/frontier.py`; each figure is in `benchmarks/frontier`. Recipes were",
        "chosen on the validation split, then trained on all training images for seeds fixed in",
        "advance; the last epoch's weights or their average.",
        "",
        "## MNIST",
        "",
        *table(GOALS),
        "",
        *public_table(),
        "",
        "![Accuracy over parameters](frontier.png)",
        "",
        "## Photos",
        "",
        "CIFAR-10 is trained and tested on lossy JPEG copies of its pictures: these figures are",
        "not those of the published set.",
        "",
        *table(PHOTOS),
        "",
        tried,
    ]
    (ROOT / "docs" / "frontier.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
