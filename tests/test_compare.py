"""Runs beside each other: which differ, and which cannot be told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import tiny_data, write_run
from PIL import Image
from typer.testing import CliRunner

from smidgen import metrics, report
from smidgen.cli import app
from smidgen.data import load_data
from smidgen.errors import RunError


def compared(*runs: Path) -> list[report.Comparison]:
    return report.compare([report.open_trial(run) for run in runs], tiny_data())


def test_a_run_cannot_be_told_apart_from_itself(one_seed: Path) -> None:
    (comparison,) = compared(one_seed, one_seed)
    assert (comparison.difference, comparison.interval, comparison.p_value) == (0, (0, 0), 1)
    assert comparison.verdict == "cannot be told apart"


def test_two_runs_are_compared_by_mcnemar(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", tiny_data(), list(range(2, 18))).path
    second = write_run(tmp_path / "b", tiny_data(), [2, 3, 50]).path
    (comparison,) = compared(first, second)
    assert comparison.test == "McNemar"
    # 14 images only the second gets right, 1 only the first: P(at most 1 of 15) twice.
    assert comparison.p_value == pytest.approx(2 * (1 + 15) / 2**15)
    assert comparison.difference == pytest.approx(13 / 200)
    assert comparison.interval[0] > 0
    assert comparison.verdict == "better"
    (reversed_,) = compared(second, first)
    assert reversed_.verdict == "worse"


def test_a_few_images_are_not_enough(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", tiny_data(), [0, 1, 2, 3, 4]).path
    second = write_run(tmp_path / "b", tiny_data(), []).path
    (comparison,) = compared(first, second)
    assert comparison.p_value == pytest.approx(2 / 2**5)
    assert not comparison.differs


def test_seeds_are_compared_by_welch_and_by_the_images(three_seeds: Path, tmp_path: Path) -> None:
    for seed in range(3):
        wrong = list(range(100, 130 + 2 * seed))
        write_run(tmp_path / f"bad/seed-{seed}", tiny_data(), wrong, seed)
    (comparison,) = compared(three_seeds, tmp_path / "bad")
    assert comparison.test == "Welch"
    assert comparison.p_value == metrics.welch_t_test([0.99, 0.98, 0.97], [0.85, 0.84, 0.83])
    assert comparison.difference == pytest.approx(-0.14)
    assert comparison.verdict == "worse"


def test_one_seed_is_held_against_the_spread_of_many(three_seeds: Path) -> None:
    # The images say that the third seed is worse than the three together; the seeds do not.
    (comparison,) = compared(three_seeds, three_seeds / "seed-2")
    assert comparison.test == "Student"
    assert comparison.p_value == metrics.student_t_test([0.99, 0.98, 0.97], 0.97)
    assert comparison.interval[1] < 0
    assert comparison.verdict == "cannot be told apart"


def test_every_further_comparison_asks_for_more_certainty(one_seed: Path) -> None:
    assert [each.confidence for each in compared(one_seed, one_seed, one_seed)] == [0.975, 0.975]


def test_what_cannot_be_compared_is_refused(one_seed: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="needs at least two runs"):
        report.open_trials([one_seed], None)
    other = write_run(tmp_path / "other", tiny_data("digits"), []).path
    with pytest.raises(
        RunError, match=r"different data cannot be compared: .*one on 'mnist', .*other on"
    ):
        report.open_trials([one_seed, other], None)


def test_the_comparison_is_drawn_with_its_verdicts(one_seed: Path, three_seeds: Path) -> None:
    trials = [report.open_trial(path) for path in (one_seed, three_seeds)]
    figure = report.draw_comparison(trials, report.compare(trials, tiny_data()))
    left, right = figure.axes
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert [label.split("\n")[1] for label in labels] == ["one seed", "3 seeds"]
    assert [text.get_text() for text in right.texts] == ["cannot be told apart", "the first"]


@pytest.fixture
def digits_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, now the current one, with runs `a` and `b` on the embedded digits."""
    data = load_data("digits")
    write_run(tmp_path / "a", data, [0, 1])
    write_run(tmp_path / "b", data, list(range(40)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_compare_prints_tables_and_draws_the_picture(digits_runs: Path) -> None:
    result = call("compare", "a", "b")
    assert "against a" in result.stdout
    assert "worse" in result.stdout
    assert "says whether these weights differ" in result.stdout
    with Image.open("comparison.png") as picture:
        assert picture.format == "PNG"


def test_compare_gives_one_document(digits_runs: Path) -> None:
    document = json.loads(call("compare", "a", "b", "--plot", "x.png", "--json").stdout)
    assert document["data"] == "digits"
    assert [run["test_accuracy"]["n"] for run in document["runs"]] == [1, 1]
    (comparison,) = document["comparisons"]
    assert (comparison["reference"], comparison["other"]) == ("a", "b")
    assert comparison["differs"]
    assert Path("x.png").is_file()


def test_a_run_that_is_compared_with_itself_is_told_so(digits_runs: Path) -> None:
    said = call("compare", "a", "a", "b")
    assert "a and a give the same answers to the bit" in " ".join(said.stderr.split())
    assert said.stderr.count("same answers") == 1
    assert "same answers" not in call("compare", "a", "b", "--json").stderr
