"""What a finished training writes down: weights, scores, and where it ran."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from smidgen.data import Data, Split
from smidgen.inference import accuracy, logits
from smidgen.run import Run
from smidgen.train.engine import Network


def score(name: str, network: Network, split: Split | None) -> dict[str, float | None]:
    """`NAME_loss` and `NAME_accuracy` of the weights that would be kept; None without a split."""
    if split is None:
        return {f"{name}_loss": None, f"{name}_accuracy": None}
    images, labels = split.images.to(network.device), split.labels.to(network.device)
    answers = logits(network.averaged, images, network.mean, network.std)
    return {
        f"{name}_loss": F.cross_entropy(answers, labels).item(),
        f"{name}_accuracy": accuracy(answers, labels),
    }


def finish(run: Run, network: Network, data: Data, test_reads: int) -> None:
    """Writes the weights, the final look at the test set and the result."""
    recipe, module = network.recipe, network.averaged
    header = {
        "model": recipe.model,
        "data": data.name,
        "mean": repr(data.mean),
        "std": repr(data.std),
        "classes": json.dumps(data.classes),
    }
    run.write_weights(module.state_dict(), header)
    answers = logits(module, data.test.images.to(network.device), data.mean, data.std).cpu()
    run.write_test_logits(answers)
    last = run.metrics()[-1]
    seconds = last["seconds"] or 0.0
    run.write_result(
        {
            "run": str(run.path),
            "model": recipe.model,
            "data": data.name,
            "params": network.parameters.numel(),
            "epochs": recipe.epochs,
            "images_seen": round(last["images_seen"] or 0),
            "seed": recipe.seed,
            "train_accuracy": last["train_accuracy"],
            "val_accuracy": last["val_accuracy"],
            "test_accuracy": accuracy(answers, data.test.labels),
            "seconds": seconds,
            "images_per_second": (last["images_seen"] or 0) / max(seconds, 1e-9),
            "full": recipe.full,
            "test_reads": test_reads,
            "workers": recipe.workers,
            "precision": recipe.precision,
            "memory_format": recipe.memory_format,
            "backend": recipe.backend,
            "mean": data.mean,
            "std": data.std,
            "classes": list(data.classes),
            "hardware": hardware(network.device),
            "versions": versions(),
        }
    )


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
