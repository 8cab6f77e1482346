"""What a trained network makes of images: scores on a test set, labels for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from smidgen.data import Data, load_data
from smidgen.errors import DataError, ModelError
from smidgen.inference import count_correct, logits
from smidgen.metrics import confusion_matrix, expected_calibration_error, wilson_interval
from smidgen.preprocess import read_image
from smidgen.robustness import Watch, robustness, silent
from smidgen.target import Target, load, target_of


def evaluate(
    target: Target | nn.Module | str | Path,
    data: Data | str | None = None,
    robust: bool = False,
    watch: Watch = silent,
) -> dict[str, Any]:
    """Scores on test images: accuracy, correct, n, interval, loss, confusion, ece.

    With `robust`, `robustness` is added: accuracies under sixteen corruptions at five strengths,
    reliability, accuracy by coverage, and what the detector of the data turns away. `watch` is
    called with how many corruptions at one strength are done, of how many.

    A target is what `load` takes, or a module; `data` a data set or its name, by default what the
    network was trained on, which a module does not say; it is fed as the data say. The interval
    is Wilson's at 95 %; `confusion` counts true classes in rows. Raises DataError where the data's
    classes are not the network's, ModelError for a module without data.
    """
    target, data = _opened(target, data)
    target.require_classes(data, DataError)
    labels = data.test.labels
    answers = logits(target.model, data.test.images, target.preprocess)
    correct = int(count_correct(answers, labels))
    confusion = confusion_matrix(answers.argmax(dim=1), labels, len(data.classes))
    scores: dict[str, Any] = {
        "accuracy": correct / len(labels),
        "correct": correct,
        "n": len(labels),
        "interval": list(wilson_interval(correct, len(labels))),
        "loss": F.cross_entropy(answers, labels).item(),
        "confusion": confusion.tolist(),
        "ece": expected_calibration_error(answers.softmax(dim=1), labels),
    }
    if robust:
        scores["robustness"] = robustness(target, data, answers, watch)
    return scores


def _opened(
    target: Target | nn.Module | str | Path, data: Data | str | None
) -> tuple[Target, Data]:
    data = load_data(data) if isinstance(data, str) else data
    if isinstance(target, nn.Module):
        if data is None:
            raise ModelError(
                f"{type(target).__name__} does not say what it was trained on; name the data, as "
                "in evaluate(model, 'mnist')"
            )
        return target_of(target, data), data
    if not isinstance(target, Target):
        target = load(target)
    return target, data or load_data(target.own_data())


def predict(
    target: Target | str | Path, pictures: Path | str | Sequence[Path | str]
) -> list[dict[str, Any]]:
    """For each picture: image, label, probability, and probabilities by class.

    A target is what `load` takes or gives; a picture a PNG, JPEG, WebP, BMP or GIF file of any
    size. A grey one is three equal channels to a network of colours. Raises DataError for a
    picture that cannot be read.
    """
    target = target if isinstance(target, Target) else load(target)
    paths = [Path(each) for each in ([pictures] if isinstance(pictures, str | Path) else pictures)]
    images = torch.from_numpy(np.stack([read_image(path, target.preprocess) for path in paths]))
    probabilities = logits(target.model, images, target.preprocess).softmax(dim=1)
    best = probabilities.max(dim=1)
    return [
        {
            "image": str(path),
            "label": target.classes[label],
            "probability": probability,
            "probabilities": dict(zip(target.classes, row, strict=True)),
        }
        for path, label, probability, row in zip(
            paths, best.indices.tolist(), best.values.tolist(), probabilities.tolist(), strict=True
        )
    ]
