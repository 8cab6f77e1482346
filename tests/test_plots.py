"""The pictures, by what their axes hold."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import torch
from made_up_runs import CLASSES, images, logits_for, tiny_data

from smidgen.augment import augment
from smidgen.data import Split
from smidgen.recipe import Augment
from smidgen.report import plots
from smidgen.report.trial import Answers


def row(**scores: float) -> dict[str, float | None]:
    empty = dict.fromkeys(f"{s}_{q}" for s in plots.NAMES for q in ("loss", "accuracy"))
    return empty | {"train_loss": 0.3, "train_accuracy": 0.9} | scores


def test_curves_show_the_error_of_every_seed_and_their_mean() -> None:
    first = [row(val_loss=0.1, val_accuracy=0.97), row(val_loss=0.1, val_accuracy=0.988)]
    second = [row(val_loss=0.3, val_accuracy=0.95), row(val_loss=0.3, val_accuracy=0.98)]
    accuracy = plots.curves([first, second], final_test=0.991).axes[1]
    heights = {line.get_label(): list(line.get_ydata()) for line in accuracy.lines}
    assert heights["validation  98.40 %"] == pytest.approx([0.04, 0.016])
    assert heights["test  99.10 %"] == pytest.approx([0.009])
    assert len(accuracy.lines) == 2 * 3 + 1
    ticks = [label.get_text() for label in accuracy.get_yticklabels()]
    assert ticks == ["90 %", "95 %", "98 %", "99 %", "99.5 %"]


def test_curves_of_one_epoch_have_one_tick() -> None:
    figure = plots.curves([[row(train_accuracy=1.0)]], final_test=None)
    figure.draw_without_rendering()
    assert [int(tick) for tick in figure.axes[0].get_xticks() if 0.5 <= tick <= 1.5] == [1]
    assert figure.axes[1].lines[0].get_ydata() == pytest.approx([1e-4])  # 100 % has no logarithm


def test_curves_do_not_draw_the_final_test_twice() -> None:
    watched = plots.curves([[row(test_loss=0.1, test_accuracy=0.98)]], final_test=0.98)
    assert [line.get_label() for line in watched.axes[1].lines] == [
        "training  90.00 %",
        "test  98.00 %",
    ]


def test_the_grid_holds_ten_of_each_class_with_their_labels() -> None:
    axes = plots.examples(tiny_data().train, CLASSES).axes[0]
    assert [text.get_text() for text in axes.texts] == [c for c in CLASSES for _ in range(10)]
    canvas = axes.images[0].get_array()[..., 1]
    assert np.array_equal(canvas[:28, :28], tiny_data().train.images[0, 0])
    assert np.array_equal(canvas[:28, 34:62], tiny_data().train.images[10, 0])


def test_originals_stand_above_their_augmented_copies() -> None:
    split, settings = tiny_data().train, Augment(rotation=30)
    figure = plots.augmented(split, settings, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    chosen = split.images[torch.randperm(120, generator=generator)[:30]]
    copies = augment(chosen, settings, generator).round().byte()
    assert len(figure.axes) == 3
    second = figure.axes[1].images[0].get_array()[..., 1]
    assert np.array_equal(second[:28, :28], chosen[10, 0])
    assert np.array_equal(second[30:58, :28], copies[10, 0])
    assert [text.get_text() for text in figure.axes[1].texts] == ["original", "augmented"]


def test_augmented_pairs_of_a_few_images() -> None:
    few = Split(images(4), torch.arange(4))
    assert len(plots.augmented(few, Augment(rotation=5), torch.Generator()).axes) == 1


def test_the_confusion_matrix_colours_mistakes_only() -> None:
    labels = torch.arange(200) % 10
    answers = Answers(logits_for(labels, [3, 13, 7])[None], labels)
    axes = plots.confusion(answers, CLASSES).axes[0]
    coloured = axes.images[0].get_array()
    assert (coloured[3, 4], coloured[7, 8], coloured.sum()) == (2, 1, 3)
    assert axes.get_title(loc="left") == "3 mistakes in 200 answers"
    assert "90.0 %" in [text.get_text() for text in axes.texts]


def test_mistakes_are_captioned_with_truth_answer_and_probability() -> None:
    labels = torch.tensor([7, 2])
    answers = Answers(torch.stack([torch.eye(10)[1], torch.eye(10)[2]])[None] * 5, labels)
    axes = plots.mistakes(answers, images(2), CLASSES).axes[0]
    assert [text.get_text() for text in axes.texts] == ["7 → 1\n94.3 %"]  # e⁵ / (e⁵ + 9)


def test_dollars_in_class_names_are_no_formula() -> None:
    labels = torch.tensor([0, 1, 0])
    answers = Answers(torch.tensor([[0.0, 1], [1, 0], [1, 0]])[None], labels)
    names = ("$_", "a name that is far too long")
    for figure in (
        plots.confusion(answers, names),
        plots.mistakes(answers, images(3), names),
        plots.examples(Split(images(3), labels), names),
    ):
        figure.draw_without_rendering()
        texts = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
        assert any("$_" in text for text in texts)
        assert any("a name that…" in text for text in texts)


def test_pictures_say_what_they_are_and_that_an_axis_is_stretched() -> None:
    data = tiny_data()
    loss, accuracy = plots.curves([[row(val_loss=0.1, val_accuracy=0.97)]], None).axes
    assert "logarithmic" in loss.get_ylabel()
    assert "stretched" in accuracy.get_ylabel()
    (axes,) = plots.examples(data.train, CLASSES).axes
    assert axes.get_title(loc="left") == "100 of 120 training images and their classes"
    drawn = plots.augmented(data.train, Augment(rotation=5), torch.Generator())
    assert drawn.get_suptitle().startswith("Training images")
    answers = Answers(logits_for(data.test.labels, [3, 13, 7])[None], data.test.labels)
    (axes,) = plots.mistakes(answers, data.test.images, CLASSES).axes
    assert "the surest first" in axes.get_title(loc="left")
