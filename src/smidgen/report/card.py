"""The card: a run in words, with the metadata block that the Hugging Face hub reads."""

from __future__ import annotations

import shlex
from typing import Any

from smidgen import metrics
from smidgen.anatomy import Anatomy
from smidgen.data import Data
from smidgen.escape import markdown, plain, yaml
from smidgen.inputs import Preprocess
from smidgen.recipe import to_toml
from smidgen.report.analysis import Goal, target_result_analysis
from smidgen.report.figures import (
    KNOWN_DATA,
    NOT_MNIST,
    accuracy,
    certainty,
    data_title,
    interval,
    percent,
)
from smidgen.report.trial import Answers, Trial

SEEN = {
    "glyph": "in which one light shape stands in the middle of a dark background",
    "photo": "the largest part in the middle of a picture, averaged by area",
}
LIMITS = """\
- The network knows one thing: {height} × {width} {colour} images, {seen}.
  `smidgen predict` makes such images of other pictures.
- It answers with one of its classes whatever it is shown; on a picture that is none of them the
  probability means nothing."""
LIMITS_OF_TRAINING = """\
- The training accuracy is the running one of the last epoch, with dropout and augmentation on, as
  the field reports it. It is not comparable with the test accuracy, which has both off."""

PICTURES = {
    "curves": ("Curves", "Loss and accuracy of each epoch."),
    "confusion": ("Confusion matrix", "Rows are true classes, columns predicted ones."),
    "reliability": ("Reliability", "Accuracy by confidence; below the diagonal it is too sure."),
    "mistakes": ("Worst mistakes", "The wrong answers, the surest first."),
    "examples": ("The data", "Training images with their labels."),
    "augmented": ("Augmentation", "Training images, and below each what training made of it."),
}


def card(
    trial: Trial,
    answers: Answers,
    data: Data,
    anatomy: Anatomy,
    pictures: list[str],
    goal: Goal | None,
) -> str:
    """The card of a trial as Markdown; `pictures` are the names of those that were drawn."""
    result = trial.results[0]
    title = data_title(result["data"])
    sections = [
        _front_matter(trial),
        f"# {markdown(result['model'])} on {title}",
        f"**{accuracy(trial)}** of {trial.test_images:,} test images are classified correctly, "
        f"by {result['params']:,} parameters.",
        *([NOT_MNIST] if result["data"] == "digits" else []),
        f"> [!NOTE]\n> {certainty(trial)}",
        "## Target, result, analysis",
        target_result_analysis(trial, answers, data.classes, goal),
        "## Figures",
        _figures(trial, answers, data, anatomy),
        "## Classes",
        _class_scores(answers, data.classes),
        *(_picture(name) for name in PICTURES if name in pictures),
        "## Recipe",
        f"```toml\n{to_toml(trial.runs[0].recipe)}```",
        _again(trial),
        "## Machine",
        _machine(result),
        "## Limits",
        f"{limits(data.preprocess)}\n{LIMITS_OF_TRAINING}",
    ]
    return "\n\n".join(sections) + "\n"


def limits(preprocess: Preprocess) -> str:
    """What a network that takes such images cannot do, as Markdown."""
    channels, height, width = preprocess.shape
    colour = "grey" if channels == 1 else "colour"
    return LIMITS.format(height=height, width=width, colour=colour, seen=SEEN[preprocess.kind])


def _front_matter(trial: Trial) -> str:
    result = trial.results[0]
    over = f"mean over {trial.seeds} seeds" if trial.seeds > 1 else "one seed"
    return front_matter(result["model"], result["data"], trial.summary["mean"], over)


def front_matter(
    model: str, data: str, accuracy: float, over: str, license_: str | None = None
) -> str:
    """The metadata that the hub reads: YAML between two rules, every value on one line.

    `accuracy` is a fraction on the test images of the data; `over` says of what. `license_` is one
    of the hub's identifiers.
    """
    name, hub_name = KNOWN_DATA.get(data, (data, None))
    metric = {"type": "accuracy", "name": f"test accuracy, {over}", "value": round(accuracy, 6)}
    dataset = {"name": name, "type": hub_name or data, "split": "test"}
    task = {"type": "image-classification"}
    entries: dict[str, Any] = {
        **({"license": license_} if license_ else {}),
        "library_name": "smidgen",
        "pipeline_tag": "image-classification",
        "tags": ["smidgen", "tinyml", "image-classification"],
        **({"datasets": [hub_name]} if hub_name else {}),
        "metrics": ["accuracy"],
        "model-index": [
            {
                "name": model,
                "results": [{"task": task, "dataset": dataset, "metrics": [metric]}],
            }
        ],
    }
    lines = (f"{key}: {yaml(value)}" for key, value in entries.items())
    return "\n".join(["---", *lines, "---"])


def _figures(trial: Trial, answers: Answers, data: Data, anatomy: Anatomy) -> str:
    result = trial.results[0]
    fitted = result["images_seen"] // result["epochs"]
    validated = len(data.train) - fitted
    seeds = ", ".join(str(each["seed"]) for each in trial.results)
    errors = [
        metrics.expected_calibration_error(logits.softmax(1), answers.labels)
        for logits in answers.logits
    ]
    rows = {
        "test accuracy": accuracy(trial),
        "95 % interval": interval(trial),
        "seeds": f"{trial.seeds} ({seeds})",
        "validation accuracy": percent(trial.mean("val_accuracy")),
        "training accuracy": f"{percent(trial.mean('train_accuracy'))}, running, last epoch",
        "calibration error": f"{percent(sum(errors) / len(errors))} (ECE, 15 bins)",
        "parameters": f"{result['params']:,}; {anatomy.stored_numbers:,} numbers to store once "
        f"batch norm is folded, {anatomy.weight_bytes:,} bytes as float32",
        "work": f"{anatomy.macs:,} multiply–accumulates an image, "
        f"{anatomy.peak_activation_bytes:,} bytes of activations as float32",
        "receptive field": f"{anatomy.receptive_field} pixels",
        "data": f"{data_title(result['data'])}: {fitted:,} images to fit, {validated:,} to "
        f"validate, {trial.test_images:,} to test",
        "epochs": f"{result['epochs']} ({result['images_seen']:,} images seen)",
        "time": f"{trial.mean('seconds'):,.1f} s a seed, "
        f"{trial.mean('images_per_second'):,.0f} images/s",
        "test set": f"read {result['test_reads']} × in each run; nothing was chosen on it, the "
        "weights are the last epoch's or their average",
    }
    return "| | |\n| --- | --- |\n" + "\n".join(
        f"| {key} | {value} |" for key, value in rows.items()
    )


def _class_scores(answers: Answers, classes: tuple[str, ...]) -> str:
    confusion = answers.confusion
    scores = metrics.per_class(confusion)
    columns = [each.tolist() for each in (scores.precision, scores.recall, scores.f1)]
    names = map(markdown, classes)
    images = (confusion.sum(1) // len(answers.logits)).tolist()
    rows = [
        f"| {name} | {count:,} | {percent(precision)} | {percent(recall)} | {percent(f1)} |"
        for name, count, precision, recall, f1 in zip(names, images, *columns, strict=True)
    ]
    head = "| class | test images | precision | recall | F1 |\n| --- | --- | --- | --- | --- |"
    return "\n".join([head, *rows])


def _picture(name: str) -> str:
    title, caption = PICTURES[name]
    return f"## {title}\n\n{caption}\n\n![{title}](plots/{name}.png)"


def _again(trial: Trial) -> str:
    seeds = f" --seeds {trial.seeds}" if trial.seeds > 1 else ""
    recipe = "recipe.toml" if trial.seeds == 1 else f"{trial.runs[0].path.name}/recipe.toml"
    model, recipe = (shlex.quote(plain(each)) for each in (trial.results[0]["model"], recipe))
    return (
        "To train it again, in this folder:\n\n"
        f"```\nsmidgen train {model} --recipe {recipe}{seeds}\n```"
    )


def _machine(result: dict[str, Any]) -> str:
    hardware, versions = result["hardware"], result["versions"]
    where = hardware.get("gpu") or f"{hardware['cpu']}, {hardware['cores']} cores"
    software = ", ".join(f"{name} {version}" for name, version in versions.items())
    return markdown(
        f"{where}; workers {result['workers']}, {result['precision']}, "
        f"{result['memory_format']}; {software}."
    )
