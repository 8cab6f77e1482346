"""Scores of a classifier, and how far to trust them: intervals, calibration, paired tests.

Two things make a test accuracy uncertain, and each has its own interval here. The *images* are a
sample of all that could be drawn: `wilson_interval` for one run, `paired_bootstrap` for two runs
on the same images. The *seed* is one of many: `over_seeds`, which needs at least two runs.

Accuracies are fractions. Labels and predictions are int64 (N,), logits and probabilities (N, C).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

import numpy as np
import torch
from torch import Tensor

from smidgen.errors import RunError

Interval = tuple[float, float]


def confusion_matrix(predictions: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How often each true class (row) was taken for each class (column), int64 (C, C)."""
    return torch.bincount(labels * classes + predictions, minlength=classes**2).view(-1, classes)


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class, float64 (C,) in [0, 1]; 0 where the quotient is 0 / 0."""

    precision: Tensor
    recall: Tensor
    f1: Tensor


def per_class(confusion: Tensor) -> ClassScores:
    """Precision, recall and F1 of each class of a confusion matrix (rows are true classes)."""
    hits = confusion.diagonal().double()
    predicted, actual = confusion.sum(0), confusion.sum(1)
    return ClassScores(
        precision=hits / predicted.clamp(min=1),
        recall=hits / actual.clamp(min=1),
        f1=2 * hits / (predicted + actual).clamp(min=1),
    )


@dataclass(frozen=True)
class ConfidenceBin:
    """The images whose confidence lies in (low, high]; their means are 0 where there are none."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 15) -> list[ConfidenceBin]:
    """The reliability diagram: accuracy by confidence, an image's highest probability.

    Bins have equal widths, (0, 1/bins], (1/bins, 2/bins] and so on.
    """
    confidence, predictions = probabilities.double().max(1)
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    index = torch.bucketize(confidence, edges[1:-1])
    counts = torch.bincount(index, minlength=bins)
    right = (predictions == labels).double()
    sums = torch.zeros(2, bins, dtype=torch.float64)
    sums.index_add_(1, index, torch.stack([confidence, right]))
    means = sums / counts.clamp(min=1)
    rows = zip(edges[:-1], edges[1:], counts, *means, strict=True)
    return [
        ConfidenceBin(low.item(), high.item(), int(n), mean.item(), share.item())
        for low, high, n, mean, share in rows
    ]


def expected_calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """How far confidence is from accuracy, in [0, 1], on average over the images.

    The error of a bin of the reliability diagram is the distance between its mean confidence and
    its accuracy, weighted by its share of the images (Guo et al. 2017, eq. 3).
    """
    diagram = reliability(probabilities, labels, bins)
    return sum(each.n * abs(each.confidence - each.accuracy) for each in diagram) / len(labels)


@dataclass(frozen=True)
class Coverage:
    """The accuracy on this share of the images, the surest ones, all at least so confident."""

    coverage: float
    accuracy: float
    confidence: float


def accuracy_by_coverage(
    probabilities: Tensor, labels: Tensor, coverages: Sequence[float]
) -> list[Coverage]:
    """The accuracy where the least confident images are left without an answer.

    The curve of selective classification (El-Yaniv & Wiener 2010). A coverage is a share of the
    images above 0, rounded up to whole images; of equals, the earlier is answered.
    """
    confidence, predictions = probabilities.max(1)
    order = confidence.argsort(descending=True, stable=True)
    right = (predictions == labels)[order].double().cumsum(0)
    curve = []
    for coverage in coverages:
        answered = max(1, math.ceil(round(coverage * len(labels), 6)))
        accuracy = right[answered - 1].item() / answered
        curve.append(Coverage(coverage, accuracy, confidence[order[answered - 1]].item()))
    return curve


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share: where the accuracy on unlimited new images would lie.

    Wilson 1927; unlike the textbook p ± z·√(p(1 − p)/n) it holds near 100 % too.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def chance_difference(correct: int, n: int, confidence: float = 0.95) -> float:
    """How far apart two accuracies that are both correct / n, on n images each, may be by chance.

    √((p − l)² + (u − p)²), where l and u are the ends of Wilson's interval of p (Newcombe 1998,
    method 10); above 0 even where all images are classified correctly.
    """
    low, high = wilson_interval(correct, n, confidence)
    return math.hypot(correct / n - low, high - correct / n)


def paired_bootstrap(
    first: Tensor, second: Tensor, generator: np.random.Generator, confidence: float = 0.95
) -> Interval:
    """The percentile bootstrap interval of mean(second) − mean(first) (Efron 1979), over images.

    Both are (N,) over the same images: 1 where a run is right and 0 where it is wrong, or the
    share of a model's seeds that are right. Drawing N differences with replacement is drawing how
    often each distinct one comes, which is multinomial; there are few, so this takes milliseconds.
    """
    difference = (second.double() - first.double()).numpy()
    distinct, counts = np.unique(difference, return_counts=True)
    n, shares = len(difference), counts / len(difference)
    # 10,000 resamples, a hundred at a time: bounds the memory when all differences are distinct.
    sums = [generator.multinomial(n, shares, 100) @ distinct for _ in range(100)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(sums) / n, [tail, 1 - tail])
    return float(low), float(high)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """The two-sided p-value that two classifiers err equally often, from where they differ.

    The counts are the images that only the first, and only the second, got right. If neither is
    better, each such image is a fair coin toss (McNemar 1947, in the exact binomial form).
    """
    n = only_first + only_second
    coefficient = total = 1
    for k in range(1, min(only_first, only_second) + 1):
        coefficient = coefficient * (n - k + 1) // k
        total += coefficient
    return float(min(1.0, 2 * total / 2**n))


@dataclass(frozen=True)
class SeedSummary:
    """One figure over the seeds of a recipe; `sd` is the sample's (n − 1)."""

    mean: float
    sd: float
    min: float
    n: int
    interval: Interval


def over_seeds(values: Sequence[float], confidence: float = 0.95) -> SeedSummary:
    """The mean over seeds with its spread and Student's t interval of the mean.

    The interval says where the mean over unlimited seeds would lie, on the same test images. It is
    not cut at 1. Raises RunError for fewer than two values.
    """
    from scipy.special import stdtrit  # slow to import, so only where it is used

    _need_two(values)
    mean, sd, n = fmean(values), stdev(values), len(values)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * sd / math.sqrt(n)
    return SeedSummary(mean, sd, min(values), n, (mean - half, mean + half))


def pass_probability(values: Sequence[float], threshold: float) -> float:
    """The probability that one more seed reaches the threshold, in [0, 1].

    From Student's predictive distribution: if seeds are normal, a new one lies t · sd · √(1 + 1/n)
    from the mean, with n − 1 degrees of freedom. When all values are equal this is 0 or 1. Raises
    RunError for fewer than two values.
    """
    from scipy.special import stdtr

    _need_two(values)
    mean, sd, n = fmean(values), stdev(values), len(values)
    if sd == 0:
        return float(mean >= threshold)
    return float(stdtr(n - 1, (mean - threshold) / (sd * math.sqrt(1 + 1 / n))))


def student_t_test(values: Sequence[float], single: float) -> float:
    """The two-sided p-value that one run is one more seed of a recipe (Student 1908).

    The spread is the recipe's, because one run has none. Without any spread the p-value
    is 1 where the figures are equal and 0 otherwise. Raises RunError for fewer than two values.
    """
    from scipy.special import stdtr

    _need_two(values)
    gap, sd, n = abs(fmean(values) - single), stdev(values), len(values)
    if sd == 0:
        return float(gap == 0)
    return float(2 * stdtr(n - 1, -gap / (sd * math.sqrt(1 + 1 / n))))


def welch_t_test(first: Sequence[float], second: Sequence[float]) -> float:
    """The two-sided p-value that two recipes have the same mean over seeds (Welch 1947).

    The spreads may differ. Without any spread it is 1 for equal means and 0 otherwise. Raises
    RunError where either has fewer than two values.
    """
    from scipy.special import stdtr

    _need_two(first)
    _need_two(second)
    a, b = stdev(first) ** 2 / len(first), stdev(second) ** 2 / len(second)
    gap = abs(fmean(first) - fmean(second))
    if a + b == 0:
        return float(gap == 0)
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    return float(2 * stdtr(freedom, -gap / math.sqrt(a + b)))


def _need_two(values: Sequence[float]) -> None:
    if len(values) < 2:
        raise RunError(
            f"a spread over seeds needs at least 2 runs, not {len(values)}; "
            "train more of them: smidgen train MODEL --seeds 5"
        )
