"""Finished runs that nobody trained, whose figures can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from smidgen.data import Data, Split
from smidgen.mnist import CLASSES, GLYPH
from smidgen.recipe import Augment, Recipe
from smidgen.run import Run
from smidgen.zoo import create_model


def images(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)


def tiny_data(name: str = "mnist", test: int = 200) -> Data:
    train = Split(images(120), torch.arange(120) % 10)
    tested = Split(images(test, seed=1), torch.arange(test) % 10)
    return Data(name, train, tested, CLASSES, GLYPH.with_statistics(0.1, 0.3))


def logits_for(labels: Tensor, wrong: list[int]) -> Tensor:
    """Logits that are right but for the images named, which get the next class."""
    answers = labels.clone()
    answers[wrong] = (answers[wrong] + 1) % 10
    return torch.nn.functional.one_hot(answers, 10).float() * 4


def write_run(
    path: Path,
    data: Data,
    wrong: list[int],
    seed: int = 0,
    epochs: int = 2,
    rotation: float = 10.0,
) -> Run:
    recipe = Recipe(
        model="tiny_mnist",
        data=data.name,
        seed=seed,
        epochs=epochs,
        augment=Augment(rotation=rotation),
    )
    run = Run.create(path, recipe)
    for epoch in range(1, epochs + 1):
        scores = {"loss": 1 / epoch, "accuracy": 1 - 0.1 / epoch}
        run.append_metrics(
            {"epoch": epoch, "images_seen": 110 * epoch, "lr": 0.1, "seconds": 1.5 * epoch}
            | {
                f"{split}_{key}": value
                for split in ("train", "val")
                for key, value in scores.items()
            }
        )
    logits = logits_for(data.test.labels, wrong)
    run.write_test_logits(logits)
    header = {"model": "tiny_mnist", "data": data.name, "mean": "0.1", "std": "0.3"}
    weights = create_model("tiny_mnist").state_dict()
    run.write_weights(weights, header | {"classes": json.dumps(CLASSES)})
    run.write_result(
        {
            "run": str(path), "model": "tiny_mnist", "data": data.name, "params": 9146,
            "epochs": epochs, "images_seen": 110 * epochs, "seed": seed, "train_accuracy": 0.95,
            "val_accuracy": 0.95, "test_accuracy": 1 - len(wrong) / len(data.test),
            "seconds": 1.5 * epochs, "images_per_second": 73.3, "full": False, "test_reads": 1,
            "workers": 2, "precision": "float32", "memory_format": "contiguous", "mean": 0.1,
            "std": 0.3, "classes": list(CLASSES), "hardware": {"cpu": "an abacus", "cores": 2},
            "versions": {"smidgen": "0.1.0", "python": "3.11", "torch": "2.13"},
        }
    )  # fmt: skip
    return run
