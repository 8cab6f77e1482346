"""How a network holds under corruption, how far to trust its confidence, what it turns away.

corrupted_scores([load("smidgen_8k")], load_data("mnist").test)[0].mean_accuracy
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import torch
from numpy.random import RandomState
from torch import Tensor

from smidgen.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from smidgen.data import Data, Split
from smidgen.detector import fit_detector
from smidgen.errors import ExportError
from smidgen.inference import accuracy, logits
from smidgen.metrics import accuracy_by_coverage, expected_calibration_error, reliability
from smidgen.quantize import quantize_for
from smidgen.target import Target

COVERAGES = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.5)
STRANGERS_SEED = 11

Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class CorruptedScores:
    """Accuracy and calibration error of each corruption, at the strengths 1 to 5."""

    accuracy: dict[str, list[float]]
    calibration_error: dict[str, list[float]]

    @property
    def mean_accuracy(self) -> float:
        """The mean corruption accuracy: over all corruptions and strengths."""
        return fmean(map(fmean, self.accuracy.values()))

    @property
    def mean_calibration_error(self) -> float:
        """The mean of the expected calibration error over all corruptions and strengths."""
        return fmean(map(fmean, self.calibration_error.values()))


def silent(done: int, total: int) -> None:
    pass


def corrupted_scores(
    targets: Sequence[Target], split: Split, watch: Watch = silent
) -> list[CorruptedScores]:
    """The scores of each network on the images under every corruption.

    Each corruption is made once for all networks, which take the same images. `watch` is called
    with how many corruptions at one strength are done, of how many.
    """
    scores = [CorruptedScores({}, {}) for _ in targets]
    for place, name in enumerate(CORRUPTIONS):
        for score in scores:
            score.accuracy[name], score.calibration_error[name] = [], []
        for strength in range(1, STRENGTHS + 1):
            images = corrupt(split.images, name, strength)
            for target, score in zip(targets, scores, strict=True):
                answers = logits(target.model, images, target.preprocess)
                error = expected_calibration_error(answers.softmax(dim=1), split.labels)
                score.accuracy[name].append(accuracy(answers, split.labels))
                score.calibration_error[name].append(error)
            watch(place * STRENGTHS + strength, len(CORRUPTIONS) * STRENGTHS)
    return scores


def robustness(
    target: Target, data: Data, answers: Tensor, watch: Watch = silent
) -> dict[str, Any]:
    """Robustness on the test images, as `smidgen evaluate --robust --json` prints it.

    `answers` are the network's logits (N, K) for the test images as they are.
    """
    labels = data.test.labels
    probabilities = answers.softmax(dim=1)
    (scores,) = corrupted_scores([target], data.test, watch)
    curve = accuracy_by_coverage(probabilities, labels, COVERAGES)
    return {
        "mean_corruption_accuracy": scores.mean_accuracy,
        "mean_corruption_ece": scores.mean_calibration_error,
        "corruptions": scores.accuracy,
        "reliability": [asdict(each) for each in reliability(probabilities, labels)],
        "coverage": [asdict(each) for each in curve],
        "detector": turned_away(target, data),
    }


def turned_away(target: Target, data: Data) -> dict[str, Any] | None:
    """What the detector of a page of this network does with test images and with strangers.

    `kept` is the share of test images that it lets pass, `turned_away` that of strangers of each
    kind that it does not. None where a page has no detector, as of photos and of few images, and
    for a network that no page can run.
    """
    if data.preprocess.kind == "photo":
        return None
    try:
        graph = quantize_for(data, target.model, target.preprocess, target.title)
    except ExportError:
        return None
    detector = fit_detector(data, graph)
    if detector is None:
        return None

    def refused(images: Tensor) -> float:
        return float((detector.excess(images.numpy()[:, 0]) > 0).mean())

    return {
        "kept": 1 - refused(data.test.images),
        "turned_away": {kind: refused(each) for kind, each in strangers(data.test).items()},
    }


def strangers(split: Split) -> dict[str, Tensor]:
    """Images of none of the classes, made of those of a split, uint8 (N, 1, H, W), by their kind.

    `noise` draws each level evenly; `quarters` exchanges the quarters of an image crosswise;
    `pairs` lays the image of another class over it, the lighter level of each pixel.
    """
    images, labels = split.images, split.labels
    random = RandomState(STRANGERS_SEED)
    noise = torch.from_numpy(random.randint(0, 256, tuple(images.shape)).astype("uint8"))
    others = torch.from_numpy(random.permutation(len(labels)))
    differs = labels != labels[others]
    height, width = images.shape[2:]
    return {
        "noise": noise,
        "quarters": images.roll((height // 2, width // 2), dims=(2, 3)),
        "pairs": torch.maximum(images, images[others])[differs],
    }
