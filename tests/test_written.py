"""Written digits, drawn from strokes; the oracle of the pen is the page's JavaScript."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_runs import tiny_data
from numpy.random import RandomState
from test_html import ask, node

from smidgen.errors import RecipeError
from smidgen.recipe import load_recipe, override
from smidgen.train import fit, resume
from smidgen.train.written import with_written
from smidgen.written import DIGITS, SHAPES, draw_digits, draw_scribbles, draw_shapes
from smidgen.written.pen import PEN, curve, ink_of

__all__ = ["node"]  # the fixture

HOOK = [[(60, 60), (150, 55), (110, 230)], [(80, 120), (140, 118)]]  # 90 × 175: scaled by 1
STYLES = [style for styles in (*DIGITS, *SHAPES.values()) for style in styles]


def ink(strokes):
    arrays = [np.array(stroke, dtype=np.float64) for stroke in strokes]
    return ink_of(arrays, [np.full(len(stroke), PEN / 2) for stroke in arrays])


def test_a_line_is_as_long_as_the_box_and_as_high_as_the_pen():
    rows, columns = np.nonzero(ink([[(40, 100), (140, 100)]]))
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (200, 25)


def test_the_pen_is_that_of_the_page(node):
    script = """
    import { inkOf } from "./strokes.js";
    const inks = input.map(inkOf);
    console.log(JSON.stringify(inks.map((ink) => ({ ...ink, data: Array.from(ink.data) }))));
    """
    random = RandomState(0)
    drawn = [[random.uniform(0, 280, (9, 2)).tolist() for _ in range(2)] for _ in range(5)]
    hook, *others = ask(node, script, [HOOK, *drawn])
    assert ink(HOOK).ravel().tolist() == hook["data"]
    for strokes, theirs in zip(drawn, others, strict=True):
        ours = ink(strokes)
        assert ours.shape == (theirs["height"], theirs["width"])
        # Ours lie on a grid of 1/64: moved by up to 1/128 in x and y, at 255 levels for each unit.
        assert np.abs(ours.ravel() - theirs["data"]).max() <= 4


def test_a_curve_passes_through_its_points_by_hand():
    points = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    path = curve(points)
    assert path.shape == (11, 2)
    assert path[[0, 5, 10]].tolist() == points.tolist()
    # At t = 2/5 of the first part, before it (-1, -1), after it (2, 0):
    # (2·0 + (1 + 1)·t + (-2 + 4 - 0)·t² + (0 + 1 - 3 + 0)·t³) / 2 = t + t² - t³ in y
    assert path[2] == pytest.approx([0.4, 0.4 + 0.16 - 0.064])


@pytest.mark.parametrize("style", STYLES)
def test_a_style_lies_in_its_box_and_a_corner_stands_between_two_lines(style):
    for stroke in style:
        points = np.array(stroke)
        assert points.min() >= 0
        assert points.max() <= 1
        repeated = np.flatnonzero((points[1:] == points[:-1]).all(axis=1))
        assert len(points) >= 2
        assert all(np.diff([-1, *repeated, len(points) - 1]) >= 2)


def test_drawn_digits_have_mnists_frame():
    images, labels = draw_digits(60, RandomState(1))
    assert (images.dtype, images.shape) == (np.uint8, (60, 28, 28))
    assert labels.tolist() == list(range(10)) * 6
    for image in images:
        rows, columns = np.nonzero(image)
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20)  # the faintest edge rounds to 0
        assert image.max() == 255
        mass = image.sum()
        centre = (
            np.arange(28) @ image.sum(axis=1) / mass,
            image.sum(axis=0) @ np.arange(28) / mass,
        )
        assert max(np.abs(np.array(centre) - 14)) <= 0.5


def test_the_same_numbers_draw_the_same_images():
    assert (draw_digits(12, RandomState(7))[0] == draw_digits(12, RandomState(7))[0]).all()
    assert (draw_shapes(SHAPES, RandomState(7)) == draw_shapes(SHAPES, RandomState(7))).all()
    assert (draw_scribbles(9, RandomState(7)) == draw_scribbles(9, RandomState(7))).all()
    assert (draw_digits(10, RandomState(7))[0] != draw_digits(10, RandomState(8))[0]).any()
    assert draw_digits(0, RandomState(7))[0].shape == (0, 28, 28)
    assert draw_scribbles(0, RandomState(7)).shape == (0, 28, 28)


@pytest.fixture
def digits_recipe(recipe):
    return override(recipe, {"written": 20})


def test_drawn_digits_stand_after_the_training_images(digits_recipe):
    data = tiny_data()
    soft = torch.rand(len(data.train), 10)
    split = with_written(replace(data.train, soft=soft), digits_recipe, data)
    count = len(data.train)
    assert len(split) == count + 20
    assert split.labels[count:].tolist() == list(range(10)) * 2
    assert torch.equal(split.images[:count], data.train.images)
    assert torch.equal(split.soft, torch.cat([soft, torch.eye(10), torch.eye(10)]))
    again = with_written(data.train, digits_recipe, data)
    assert torch.equal(again.images, split.images)
    assert again.soft is None
    other = with_written(data.train, override(digits_recipe, {"seed": 1}), data)
    assert not torch.equal(other.images, split.images)


def test_a_training_counts_what_is_drawn_and_resumes_to_the_same_weights(digits_recipe, tmp_path):
    data, recipe = tiny_data(), override(digits_recipe, {"epochs": 2})
    run = fit(recipe, data, tmp_path / "whole")
    assert load_recipe(run.path / "recipe.toml").written == 20
    assert run.result()["images_per_epoch"] == len(data.fit_split()[0]) + 20
    assert run.result()["images_seen"] == 2 * run.result()["images_per_epoch"]
    plain = fit(override(recipe, {"written": 0}), data, tmp_path / "plain")
    assert (plain.path / "model.safetensors").read_bytes() != weights_of(run)

    def stop(progress):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, data, tmp_path / "cut", watch=stop)
    assert weights_of(resume(tmp_path / "cut", data)) == weights_of(run)


def weights_of(run):
    return (run.path / "model.safetensors").read_bytes()


def test_data_that_are_not_the_ten_digits_are_refused(digits_recipe, tmp_path):
    clothes = replace(tiny_data(), name="clothes", classes=tuple("abcdefghij"))
    with pytest.raises(RecipeError, match=r"^written = 20 adds .*'clothes'.* --set written=0$"):
        fit(digits_recipe, clothes, tmp_path / "run")
    assert not (tmp_path / "run").exists()
