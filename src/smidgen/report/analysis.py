"""Target, result, analysis: the block that courses ask for, from the run's own figures."""

from __future__ import annotations

from smidgen import metrics
from smidgen.budget import Budget, Verdict
from smidgen.budget.judge import shown
from smidgen.escape import markdown
from smidgen.report.figures import accuracy, interval, percent
from smidgen.report.trial import Answers, Trial

Goal = tuple[Budget, Verdict]


def target_result_analysis(
    trial: Trial, answers: Answers, classes: tuple[str, ...], goal: Goal | None
) -> str:
    """The block as Markdown. A goal is a budget with its verdict over this trial."""
    analysis = [
        _gap(trial),
        _steadiness(trial),
        _confusions(answers, classes),
        _calibration(answers),
        *(_outlook(trial, goal[0]) if goal else ()),
    ]
    lines = [
        f"- **Target.** {_target(trial, goal)}",
        f"- **Result.** {accuracy(trial)}; 95 % interval {interval(trial)}.{_result(goal)}",
        f"- **Analysis.** {' '.join(sentence for sentence in analysis if sentence)}",
    ]
    return "\n".join(lines) + (_rules(goal[1]) if goal else "")


def _target(trial: Trial, goal: Goal | None) -> str:
    if goal:
        return f"{markdown(goal[0].title)}."
    result = trial.results[0]
    epochs = "one epoch" if result["epochs"] == 1 else f"{result['epochs']} epochs"
    return (
        f"The best test accuracy that {result['params']:,} parameters reach in {epochs} "
        f"({result['images_seen']:,} images seen), with nothing chosen on the test images."
    )


def _result(goal: Goal | None) -> str:
    if goal is None:
        return ""
    failed = [rule.rule for rule in goal[1].rules if not rule.passed]
    met = "is met" if not failed else f"is not met: {', '.join(failed)}"
    open_ = f"; not measured: {', '.join(goal[1].unmeasured)}" if goal[1].unmeasured else ""
    return f" The target {met}{open_}."


def _rules(verdict: Verdict) -> str:
    """Every rule of the budget in a table, below the block."""
    rows = [
        f"| {rule.rule} | {markdown(shown(rule.limit))} | {markdown(shown(rule.actual))} "
        f"| {'yes' if rule.passed else '**no**'} | {markdown(rule.note)} |"
        for rule in verdict.rules
    ]
    head = "| rule | limit | actual | passed | note |\n| --- | --- | --- | --- | --- |"
    return "\n".join(["\n", head, *rows])


def _outlook(trial: Trial, budget: Budget) -> list[str]:
    """How likely one more seed reaches the accuracy that the budget asks for."""
    if budget.min_accuracy is None or trial.seeds == 1:
        return []
    chance = metrics.pass_probability(trial.test_accuracies, budget.min_accuracy)
    return [
        f"One more seed would reach {percent(budget.min_accuracy)} with probability {chance:.2f}."
    ]


def _gap(trial: Trial) -> str:
    """What the distance between training and unseen images means."""
    train, name = trial.mean("train_accuracy"), "validation"
    unseen = trial.mean("val_accuracy")
    if unseen is None:
        name, unseen = "test", trial.mean("test_accuracy")
    if train is None or unseen is None:
        return ""
    points = 100 * (train - unseen)
    figures = f"Training accuracy {percent(train)}, {name} accuracy {percent(unseen)}:"
    if points > 0.5:
        return (
            f"{figures} it overfits by {points:.2f} points; augment more, or train for less long."
        )
    if points < -0.5:
        return (
            f"{figures} counted while it learns, with augmentation and dropout on, training is the "
            "harder of the two, so nothing points to overfitting."
        )
    return f"{figures} the two are close, so nothing points to overfitting."


def _steadiness(trial: Trial) -> str:
    """How steady the last epochs were: at most five, and none of the first half."""
    k = min(5, trial.results[0]["epochs"] // 2)
    for key, name in ("val_accuracy", "Validation"), ("test_accuracy", "Test"):
        values = [[row[key] for row in run.metrics()] for run in trial.runs]
        curves = [[value for value in curve if value is not None] for curve in values]
        if k >= 2 and curves == values:
            last = [accuracy for curve in curves for accuracy in curve[-k:]]
            seeds = " in every seed" if trial.seeds > 1 else ""
            return (
                f"{name} accuracy stays between {percent(min(last))} and {percent(max(last))} over "
                f"the last {k} epochs{seeds}."
            )
    return ""


def _confusions(answers: Answers, classes: tuple[str, ...]) -> str:
    """The most frequent mistake and the class that is found least often."""
    counts = answers.confusion
    mistakes = counts - counts.diagonal().diag()
    if not mistakes.any():
        return "Nothing is misclassified."
    true, predicted = divmod(int(mistakes.argmax()), len(classes))
    times, all_mistakes = int(mistakes[true, predicted]), int(mistakes.sum())
    recall = metrics.per_class(counts).recall
    hardest, names = int(recall.argmin()), [markdown(name) for name in classes]
    return (
        f"The most frequent mistake is {names[true]} taken for {names[predicted]} ({times} of "
        f"{all_mistakes:,}); {names[hardest]} has the lowest recall "
        f"({percent(recall[hardest].item())})."
    )


def _calibration(answers: Answers) -> str:
    confidence = answers.logits.softmax(2).amax(2).mean().item()
    share = answers.correct.double().mean().item()
    leaning = "too sure" if confidence > share else "too modest"
    return (
        f"Its mean confidence is {percent(confidence)} and its accuracy {percent(share)}: "
        f"{leaning} by {100 * abs(confidence - share):.2f} points."
    )
