"""The drawings by hand that judge the page: their file, and what the page sees of them."""

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, SEEN, installed, replay, wait_for_answer
from make_handwriting import CHOOSING, NO_DIGITS, read_drawings, smooth
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import handwriting

DRAWINGS = handwriting.all_drawings()
DIGITS = [one for one in DRAWINGS if one["digit"] is not None]
OTHERS = [one for one in DRAWINGS if one["digit"] is None]

needs_node = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")


def test_the_file_is_what_the_text_says():
    text = Path(__file__).with_name("handwriting.txt").read_text("utf-8")
    assert read_drawings(text) == DRAWINGS


def test_a_line_of_the_text_by_hand():
    (drawing,) = read_drawings("# plain\n\n7 10,20,50 : 0,0 100,0! 50,100 / 20,50 60,50\n")
    assert drawing == {
        "digit": 7,
        "name": "7",
        "style": "plain",
        "strokes": [[[0.1, 0.2], [0.6, 0.2], [0.35, 0.7]], [[0.2, 0.45], [0.4, 0.45]]],
        "used_to_choose": False,
    }


def test_every_fifth_of_what_is_no_digit_may_be_used():
    text = "# shape\n" + "a tree 10,20,50 : 0,0 1,1\n" * 11
    drawings = read_drawings(text)
    assert [i for i, one in enumerate(drawings) if one["used_to_choose"]] == [4, 9]
    assert {(one["digit"], one["name"]) for one in drawings} == {(None, "a tree")}


def test_a_smooth_line_goes_through_its_points_and_is_straight_where_they_are():
    points = np.array([[0, 0], [1, 0], [2, 0], [2, 3], [2, 7]], float)
    line = smooth(points, [2])
    assert all((np.abs(line - point).sum(axis=1) < 1e-12).any() for point in points)
    assert (np.minimum(np.abs(line[:, 1]), np.abs(line[:, 0] - 2)) < 1e-12).all()
    assert len(line) == 4 * 3 + 1
    bent = smooth(points, [])
    assert (np.minimum(np.abs(bent[:, 1]), np.abs(bent[:, 0] - 2)) > 1e-3).any()


def test_there_are_enough_of_each():
    shown = [one for one in DIGITS if not one["used_to_choose"]]
    others = [one for one in OTHERS if not one["used_to_choose"]]
    assert len(shown) >= 220
    assert len({one["style"] for one in shown}) >= 10
    assert len(others) >= 70
    assert {one["style"] for one in others} == set(NO_DIGITS)
    assert {one["style"] for one in DIGITS if one["used_to_choose"]} == set(CHOOSING)


def test_every_style_has_all_ten_digits_and_two_ways_of_one_and_seven():
    for style in {one["style"] for one in DIGITS}:
        counts = Counter(one["digit"] for one in DIGITS if one["style"] == style)
        assert sorted(counts) == list(range(10))
        assert counts[1] >= 2
        assert counts[7] >= 2
        assert len({one["used_to_choose"] for one in DIGITS if one["style"] == style}) == 1


def test_every_drawing_lies_on_the_paper():
    for drawing in DRAWINGS:
        assert set(drawing) == {"digit", "name", "style", "strokes", "used_to_choose"}
        for stroke in drawing["strokes"]:
            points = np.array(stroke)
            assert points.shape == (len(stroke), 2)
            assert len(points) >= 2
            assert points.min() >= 0
            assert points.max() <= 1


def test_no_two_drawings_are_the_same_at_any_place_and_size():
    assert len({shape_of(one) for one in DRAWINGS}) == len(DRAWINGS)


def shape_of(drawing):
    points = np.concatenate(drawing["strokes"])
    points = (points - points.min(axis=0)) / np.ptp(points, axis=0).max()
    return json.dumps(np.round(points, 2).tolist())


@needs_node
@pytest.mark.skipif(not installed(), reason=f"chromium is not at {CHROMIUM}")
def test_node_sees_what_the_browser_sees(first_desk):
    some = DRAWINGS[:: len(DRAWINGS) // 12]
    first_desk.mouse.move(5, 5)  # the browser now knows the pointer that is replayed
    for drawing, images in zip(some, handwriting.see(some), strict=True):
        replay(first_desk, drawing["strokes"], handwriting.where_drawn(drawing))
        wait_for_answer(first_desk)
        shown = np.array(first_desk.evaluate(SEEN)).reshape(28, 28)
        assert np.abs(shown - images[-1].astype(int)).max() <= 1, drawing["name"]


@needs_node
def test_node_says_what_the_page_says_of_a_seven_and_a_grid():
    seven = next(one for one in DIGITS if one["digit"] == 7)
    grid = next(one for one in OTHERS if one["name"] == "grid")
    document = handwriting.describe_for_node(["smidgen_8k"])
    assert handwriting.judge_in_node(document, [seven, grid]) == [["7"], [""]]


def test_the_table_counts_what_is_shown_right():
    drawings = [
        {"digit": 1, "style": "plain"},
        {"digit": 7, "style": "plain"},
        {"digit": None, "style": "shape"},
        {"digit": None, "style": "shape"},
    ]
    verdicts = [["1", ""], ["1", "7"], ["", "3"], ["", ""]]
    rows = handwriting.tabulate(["a", "b"], drawings, verdicts).splitlines()
    for row in (
        "| plain | 2 | 1 | 1 |",
        "| **all digits** | 2 | 50.0% | 50.0% |",
        "| **ones** | 1 | 100.0% | 0.0% |",
        "| **sevens** | 1 | 0.0% | 100.0% |",
        "| taken for none of these | 2 | 0.0% | 50.0% |",
        "| shape | 2 | 2 | 1 |",
        "| **all** | 2 | 100.0% | 50.0% |",
    ):
        assert row in rows


def test_the_picture_shows_a_stroke_where_it_lies(tmp_path):
    line = [[[0.2, 0.5], [0.8, 0.5]]]
    drawings = [{"style": "plain", "strokes": line, "used_to_choose": False}] * 2
    handwriting.draw_sheet(drawings, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("L"))
    cell, title = handwriting.CELL, handwriting.TITLE
    assert pixels.shape == (title + cell, handwriting.ACROSS * cell)
    for left in (0, cell):
        row = pixels[title + cell // 2, left : left + cell]
        assert (row[cell // 4 : 3 * cell // 4] < 60).all()
        assert (row[3 : cell // 8] > 230).all()
    assert (pixels[title:, 2 * cell :] > 230).all()
