"""Every score against scipy, scikit-learn or a value worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics

from smidgen import metrics
from smidgen.errors import RunError

SEEDS = [0.9941, 0.9952, 0.9947, 0.9939, 0.9950]


def random_answers(n: int = 500, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(classes, (n,), generator=generator)
    guesses = torch.randint(classes, (n,), generator=generator)
    right = torch.rand(n, generator=generator) < 0.7
    return torch.where(right, labels, guesses), labels


def test_confusion_and_class_scores_agree_with_scikit_learn() -> None:
    predictions, labels = random_answers()
    confusion = metrics.confusion_matrix(predictions, labels, 10)
    assert np.array_equal(confusion, sklearn_metrics.confusion_matrix(labels, predictions))
    precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(labels, predictions)
    scores = metrics.per_class(confusion)
    assert scores.precision.tolist() == pytest.approx(precision)
    assert scores.recall.tolist() == pytest.approx(recall)
    assert scores.f1.tolist() == pytest.approx(f1)


def test_a_class_that_never_comes_scores_zero() -> None:
    confusion = metrics.confusion_matrix(torch.tensor([0, 0]), torch.tensor([0, 1]), 3)
    scores = metrics.per_class(confusion)
    assert scores.precision.tolist() == [0.5, 0, 0]
    assert scores.recall.tolist() == [1, 0, 0]
    assert scores.f1.tolist() == pytest.approx([2 / 3, 0, 0])


def test_calibration_error_by_hand() -> None:
    # Confidences 0.9 and 0.92 share a bin: mean 0.91, accuracy 0.5. 0.6 is alone and right.
    probabilities = torch.tensor([[0.9, 0.1], [0.92, 0.08], [0.4, 0.6]])
    labels = torch.tensor([0, 1, 1])
    error = metrics.expected_calibration_error(probabilities, labels)
    assert error == pytest.approx((2 * 0.41 + 0.4) / 3)


def test_reliability_by_hand() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.55, 0.45], [0.4, 0.6]])
    first, second = metrics.reliability(probabilities, torch.tensor([0, 1, 0, 1]), bins=2)
    assert (first.low, first.high, first.n, first.confidence, first.accuracy) == (0, 0.5, 0, 0, 0)
    assert (second.low, second.high, second.n) == (0.5, 1, 4)
    assert second.confidence == pytest.approx((0.9 + 0.8 + 0.55 + 0.6) / 4)
    assert second.accuracy == 0.75


def test_accuracy_by_coverage_by_hand() -> None:
    probabilities = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    labels = torch.tensor([1, 0, 1, 1])  # wrong at 0.6 and at 0.7
    curve = metrics.accuracy_by_coverage(probabilities, labels, (1.0, 0.75, 0.6, 0.5, 0.01))
    assert [each.accuracy for each in curve] == [0.5, 2 / 3, 2 / 3, 1, 1]
    assert [each.confidence for each in curve] == pytest.approx([0.6, 0.7, 0.7, 0.8, 0.9])
    assert [each.coverage for each in curve] == [1.0, 0.75, 0.6, 0.5, 0.01]


def test_a_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    # With 2 bins, 0.5 is in (0, 0.5] and 0.6 in (0.5, 1]; together their errors would cancel.
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.2, 0.2]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    error = metrics.expected_calibration_error(probabilities, labels, bins=2)
    assert error == pytest.approx((0.5 + 0.6) / 2)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(counts: tuple[int, int]) -> None:
    correct, n = counts
    interval = metrics.wilson_interval(correct, n)
    oracle = stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert interval == pytest.approx((oracle.low, oracle.high), abs=1e-12)
    assert 0 <= interval[0] <= correct / n <= interval[1] <= 1


def test_two_runs_at_994_may_be_021_points_apart() -> None:
    # The textbook's √2 · 1.96 · √(0.994 · 0.006 / 10,000) is 0.00214.
    assert metrics.chance_difference(9_940, 10_000) == pytest.approx(0.00217, abs=5e-6)


@pytest.mark.parametrize("correct", [0, 200])
def test_two_runs_without_an_error_may_differ_too(correct: int) -> None:
    # One end of Wilson's interval is the accuracy itself, the other z² / (n + z²) away.
    assert metrics.chance_difference(correct, 200) == pytest.approx(3.8415 / 203.8415, abs=1e-6)


def test_bootstrap_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).exponential(size=60)
    nothing = torch.zeros(60)
    ours = metrics.paired_bootstrap(nothing, torch.from_numpy(values), np.random.default_rng(2))
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(3)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.01 * values.std())


def test_paired_bootstrap_of_hits_matches_the_normal_interval() -> None:
    # 300 images only the second gets right, 100 only the first, of 10,000: difference 2 %.
    first, second = torch.zeros(10_000), torch.zeros(10_000)
    first[:100] = 1
    second[100:400] = 1
    low, high = metrics.paired_bootstrap(first, second, np.random.default_rng(0))
    half = 1.96 * math.sqrt((0.04 - 0.02**2) / 10_000)
    assert (low, high) == pytest.approx((0.02 - half, 0.02 + half), abs=2e-4)


def test_paired_bootstrap_of_the_same_answers_is_zero() -> None:
    answers = torch.tensor([1, 0, 1, 1])
    assert metrics.paired_bootstrap(answers, answers, np.random.default_rng(0)) == (0, 0)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int) -> None:
    n = only_first + only_second
    oracle = stats.binomtest(only_first, n).pvalue if n else 1.0
    assert metrics.mcnemar_exact(only_first, only_second) == pytest.approx(oracle, abs=1e-12)


def test_mcnemar_holds_for_thousands_of_differences() -> None:
    assert metrics.mcnemar_exact(1_000, 9_000) == 0
    assert metrics.mcnemar_exact(5_000, 5_000) == 1


def test_over_seeds_agrees_with_numpy_and_scipy() -> None:
    summary = metrics.over_seeds(SEEDS)
    assert summary.mean == pytest.approx(np.mean(SEEDS))
    assert summary.sd == pytest.approx(np.std(SEEDS, ddof=1))
    assert (summary.min, summary.n) == (0.9939, 5)
    assert summary.interval == pytest.approx(stats.ttest_1samp(SEEDS, 0).confidence_interval(0.95))


def test_pass_probability_is_students_predictive() -> None:
    scale = np.std(SEEDS, ddof=1) * math.sqrt(1 + 1 / 5)
    oracle = stats.t.sf(0.994, df=4, loc=np.mean(SEEDS), scale=scale)
    assert metrics.pass_probability(SEEDS, 0.994) == pytest.approx(oracle)
    assert metrics.pass_probability(SEEDS, float(np.mean(SEEDS))) == pytest.approx(0.5)


def test_pass_probability_without_spread_is_certain() -> None:
    assert metrics.pass_probability([0.99, 0.99], 0.99) == 1
    assert metrics.pass_probability([0.99, 0.99], 0.991) == 0


def test_pass_probability_is_honest_about_the_next_seed() -> None:
    """Over many batches of five seeds, the next one passes as often as was predicted."""
    draws = np.random.default_rng(5).normal(0.994, 0.0005, size=(2_000, 6))
    predicted = [metrics.pass_probability(row[:5].tolist(), 0.994) for row in draws]
    assert np.mean(predicted) == pytest.approx(np.mean(draws[:, 5] >= 0.994), abs=0.03)


def test_one_run_is_tested_by_students_predictive() -> None:
    scale = np.std(SEEDS, ddof=1) * math.sqrt(1 + 1 / 5)
    above = stats.t.sf(0.9970, df=4, loc=np.mean(SEEDS), scale=scale)
    assert metrics.student_t_test(SEEDS, 0.9970) == pytest.approx(2 * above)
    assert metrics.student_t_test(SEEDS, float(np.mean(SEEDS))) == pytest.approx(1)
    assert metrics.student_t_test([0.5, 0.5], 0.5) == 1
    assert metrics.student_t_test([0.5, 0.5], 0.75) == 0


def test_welch_agrees_with_scipy() -> None:
    other = [0.9921, 0.9960, 0.9944]
    oracle = stats.ttest_ind(SEEDS, other, equal_var=False).pvalue
    assert metrics.welch_t_test(SEEDS, other) == pytest.approx(oracle)


def test_welch_without_spread_is_certain() -> None:
    assert metrics.welch_t_test([0.5, 0.5], [0.5, 0.5]) == 1
    assert metrics.welch_t_test([0.5, 0.5], [0.25, 0.25]) == 0


@pytest.mark.parametrize("values", [[], [0.99]])
def test_one_seed_has_no_spread(values: list[float]) -> None:
    message = f"needs at least 2 runs, not {len(values)}"
    with pytest.raises(RunError, match=message):
        metrics.over_seeds(values)
    with pytest.raises(RunError, match=message):
        metrics.pass_probability(values, 0.99)
    with pytest.raises(RunError, match=message):
        metrics.student_t_test(values, 0.99)
    with pytest.raises(RunError, match=message):
        metrics.welch_t_test(SEEDS, values)
    with pytest.raises(RunError, match=message):
        metrics.welch_t_test(values, SEEDS)
