"""Short versions of what the documents claim, on real MNIST. The whole: benchmarks/claims.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from smidgen.data import Data, Split
from smidgen.evaluate import evaluate
from smidgen.recipe import load_recipe, override
from smidgen.train import fit


def short(data: Data, images: int) -> Data:
    """The data with its first `images` training images alone."""
    train = Split(data.train.images[:images], data.train.labels[:images])
    return Data(data.name, train, data.test, data.classes, data.preprocess)


def test_tiny_mnist_keeps_its_documents_promise(mnist: Data, tmp_path: Path) -> None:
    result = fit(load_recipe("tiny_mnist"), mnist, tmp_path / "run").result()
    assert result["images_seen"] == 60_000
    assert result["test_accuracy"] > 0.97


def test_tiny_mnist_best_learns_in_its_first_epoch(mnist: Data, tmp_path: Path) -> None:
    result = fit(load_recipe("tiny_mnist_best"), mnist, tmp_path / "run").result()
    assert result["train_accuracy"] >= 0.95
    assert result["test_accuracy"] >= 0.98


@pytest.mark.parametrize(
    ("recipe", "changes", "images", "bound"),
    [
        ("mnist_net_13k_best", {}, 12_000, 0.85),
        ("skip_13k_best", {"epochs": 1, "optimizer.lr": 0.05}, 12_000, 0.85),
        ("mnist_classifier", {"epochs": 1}, 12_000, 0.80),
        # Within fewer steps the running statistics lag, and the last bit of a sum decides.
        (
            "tiny_net",
            {"epochs": 1, "batch_size": 128, "optimizer.lr": 0.01, "workers": 2},
            24_000,
            0.80,
        ),
    ],
)
def test_the_others_learn_within_a_fraction_of_an_epoch(
    mnist: Data, tmp_path: Path, recipe: str, changes: dict[str, Any], images: int, bound: float
) -> None:
    chosen = override(load_recipe(recipe), changes)
    result = fit(chosen, short(mnist, images), tmp_path / "run").result()
    assert result["test_accuracy"] > bound


FRONTIER = Path(__file__).parents[1] / "benchmarks" / "frontier"
SHIPPED = {  # of each row of the frontier what its first seed reached; of the others a bound
    "tiny_mnist": 0.98,
    "mnist_net_25k": 0.983,
    "mnist_net_13k": 0.983,
    "mnist_classifier": 0.992,
    "smidgen_teacher": 0.996,
    "tiny_net": 0.985,
} | {
    record["model"]: record["seeds"][0]["test_accuracy"]
    for record in (json.loads(path.read_text("utf-8")) for path in FRONTIER.glob("*.json"))
    if record.get("data", "mnist") == "mnist"
}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_weights_are_as_good_as_we_say(mnist: Data, name: str) -> None:
    score = evaluate(name, mnist)
    assert score["accuracy"] >= SHIPPED[name] - 1.5e-4  # another processor may tip an image
    assert score["ece"] < 0.02


def test_normalised_training_images_have_no_mean_and_unit_deviation(mnist: Data) -> None:
    greys = mnist.train.images.double() / 255
    (mean,), (std,) = mnist.preprocess.mean, mnist.preprocess.std
    normalised = (greys - mean) / std
    assert normalised.mean().item() == pytest.approx(0, abs=1e-3)
    assert normalised.std().item() == pytest.approx(1, abs=1e-3)
    assert torch.bincount(mnist.train.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
