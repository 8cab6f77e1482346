"""A trial's figures as people read them; card, README block and badges share these words."""

from __future__ import annotations

from smidgen import metrics
from smidgen.report.trial import Trial

KNOWN_DATA = {
    "mnist": ("MNIST", "ylecun/mnist"),
    "fashion_mnist": ("Fashion-MNIST", "zalando-datasets/fashion_mnist"),
    "kmnist": ("KMNIST", None),
    "cifar10": ("CIFAR-10", "uoft-cs/cifar10"),
    "cifar10_jpeg": ("JPEG copies of CIFAR-10", None),
    "digits": ("the embedded 8 × 8 digits (not MNIST)", None),
}

NOT_MNIST = """\
> [!WARNING]
> **This is not MNIST.** The run was trained and tested on the 1,797 small digits that come with
> scikit-learn, because they need no download. Its accuracy says nothing about MNIST."""


def data_title(name: str) -> str:
    """What people call a data set."""
    return KNOWN_DATA[name][0] if name in KNOWN_DATA else f"`{name}`"


def percent(fraction: float | None) -> str:
    """A fraction in percent.

    >>> percent(0.9943)
    '99.43 %'
    """
    return "–" if fraction is None else f"{100 * fraction:.2f} %"


def accuracy(trial: Trial) -> str:
    """The test accuracy: mean ± standard deviation over seeds, or the one that there is."""
    mean, sd = trial.summary["mean"], trial.summary["sd"]
    return percent(mean) if sd is None else f"{100 * mean:.2f} ± {100 * sd:.2f} %"


def interval(trial: Trial) -> str:
    """The 95 % interval and what it is an interval of."""
    low, high = trial.interval
    kind = "Wilson, over images" if trial.seeds == 1 else "Student's t, over seeds"
    return f"{100 * low:.2f} to {100 * high:.2f} % ({kind})"


def certainty(trial: Trial) -> str:
    """One or two sentences on how far the test accuracy is to be trusted."""
    n = trial.test_images
    error = 100 * metrics.standard_error(trial.summary["mean"], n)
    if trial.seeds == 1:
        return (
            f"One seed: another one will differ. The standard error of a single test run on "
            f"{n:,} images is {error:.2f} points, so two such runs less than {2.8 * error:.2f} "
            "points apart can hardly be told apart."
        )
    low = percent(min(trial.test_accuracies))
    return (
        f"Mean ± standard deviation over {trial.seeds} seeds, all of them counted; the lowest is "
        f"{low}. That the test images are only {n:,} adds a standard error of {error:.2f} points."
    )
