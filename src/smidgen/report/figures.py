"""A trial's figures as people read them; card, README block and badges share these words."""

from __future__ import annotations

from smidgen import metrics
from smidgen.escape import markdown_code
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
    """What people call a data set, as Markdown."""
    return KNOWN_DATA[name][0] if name in KNOWN_DATA else markdown_code(name)


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
    correct = round(trial.summary["mean"] * n)
    low, high = (100 * bound for bound in metrics.wilson_interval(correct, n))
    images = f"a single test run on {n:,} images leaves it anywhere from {low:.2f} to {high:.2f} %"
    if trial.seeds == 1:
        apart = 100 * metrics.chance_difference(correct, n)
        return (
            f"One seed: another one will differ. As to the accuracy on other images, {images} "
            f"(Wilson), and two such runs less than {apart:.2f} points apart can hardly be told "
            "apart."
        )
    least = percent(min(trial.test_accuracies))
    return (
        f"Mean ± standard deviation over {trial.seeds} seeds, all of them counted; the lowest is "
        f"{least}. As to the accuracy on other images, {images} (Wilson)."
    )
