"""What a finished training writes down: weights, scores, and where it ran."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from smidgen.data import Data, Split
from smidgen.escape import markdown
from smidgen.inference import accuracy, logits
from smidgen.recipe import Recipe
from smidgen.run import METRICS, Row, Run
from smidgen.train.checkpoint import Progressed
from smidgen.train.data_parallel import DataParallel


def score(name: str, engine: DataParallel, split: Split | None) -> dict[str, float | None]:
    """`NAME_loss` and `NAME_accuracy` of the weights that would be kept; None without a split."""
    if split is None:
        return {f"{name}_loss": None, f"{name}_accuracy": None}
    split = split.to(engine.device)
    answers = logits(engine.weights.averaged, split.images, engine.preprocess)
    return {
        f"{name}_loss": F.cross_entropy(answers, split.labels).item(),
        f"{name}_accuracy": accuracy(answers, split.labels),
    }


def card_so_far(recipe: Recipe, rows: Sequence[Row]) -> str:
    """The card of a run that has not finished, as Markdown: its epochs so far."""
    names = [name for name in METRICS if name != "epoch" and rows[-1].get(name) is not None]
    heading = ["epoch", *names]
    table = [heading, ["---:"] * len(heading)]
    table += [[f"{row['epoch']:.0f}", *(f"{row[name] or 0:.6g}" for name in names)] for row in rows]
    lines = ("| " + " | ".join(name.replace("_", " ") for name in row) + " |" for row in table)
    title = f"{markdown(recipe.model)} on {markdown(recipe.data)}, {len(rows)} of {recipe.epochs}"
    return "\n".join([f"# {title} epochs", "", *lines, ""])


def finish(run: Run, engine: DataParallel, data: Data, done: Progressed) -> None:
    """Writes the weights, the logits of the final look at the test set, if any, and the result."""
    module = engine.weights.averaged
    header = {
        "model": engine.recipe.model,
        "data": data.name,
        "classes": json.dumps(data.classes),
        **data.preprocess.header(),
    }
    run.write_weights(module.state_dict(), header)
    test_accuracy = None
    if len(data.test):
        images = data.test.images.to(engine.device)
        answers = logits(module, images, data.preprocess).cpu()
        run.write_test_logits(answers)
        test_accuracy = accuracy(answers, data.test.labels)
    run.remove("README.md")  # that of the epochs; a finished run's is written after its result
    run.write_result(_result(run, engine, data, done, test_accuracy))


def _result(
    run: Run, engine: DataParallel, data: Data, done: Progressed, test_accuracy: float | None
) -> dict[str, Any]:
    recipe, last, seconds = engine.recipe, done.rows[-1], done.seconds
    images_seen = last["images_seen"] or 0
    return {
        "run": str(run.path),
        "model": recipe.model,
        "data": data.name,
        "data_fingerprint": data.fingerprint,
        "params": engine.weights.parameters.numel(),
        "epochs": recipe.epochs,
        "images_seen": round(images_seen),
        "images_per_epoch": recipe.written
        + len(data.train if recipe.full else data.fit_split()[0]),
        "seed": recipe.seed,
        "train_accuracy": last["train_accuracy"],
        "val_accuracy": last["val_accuracy"],
        "test_accuracy": test_accuracy,
        "seconds": seconds,
        "images_per_second": images_seen / max(seconds, 1e-9),
        "full": recipe.full,
        "test_reads": done.test_reads + (test_accuracy is not None),
        "workers": recipe.workers,
        "precision": recipe.precision,
        "memory_format": recipe.memory_format,
        "backend": recipe.backend,
        **data.preprocess.document(),
        "classes": list(data.classes),
        "hardware": hardware(engine.device),
        "versions": versions(),
    }


def hardware(device: torch.device | None = None) -> dict[str, Any]:
    """What the machine calls its processor, its cores, and the accelerator if one was used."""
    described: dict[str, Any] = {"cpu": _cpu_name(), "cores": os.cpu_count()}
    if device is not None and device.type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
    return described


def versions() -> dict[str, str]:
    """The versions of smidgen, Python and torch."""
    return {
        "smidgen": metadata.version("smidgen"),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
