"""What results look like in a notebook."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from made_up_runs import tiny_data, write_run

from smidgen.budget import Verdict
from smidgen.budget.judge import Rule
from smidgen.notebook import html_curves, html_table
from smidgen.recipe import Recipe
from smidgen.run import Run


def cells(html: str) -> list[list[str]]:
    """The texts of a table's rows; ParseError unless all of it is well-formed."""
    root = ElementTree.fromstring(f"<div>{html}</div>")
    return [[cell.text or "" for cell in row] for row in root.iter("tr")]


def test_a_table_keeps_names_names() -> None:
    table = html_table([("<b>", "a & b")], ("name", "x"), "the </table>")
    assert cells(table) == [["name", "x"], ["<b>", "a & b"]]


def test_a_curve_goes_from_the_lowest_to_the_highest() -> None:
    drawn = html_curves("accuracy", {"one": [0.5, None, 1.0], "none": [None] * 3, "flat": [0.75]})
    root = ElementTree.fromstring(drawn)
    # 360 × 160 pixels with a margin of 24: the first epoch left, the lowest value below.
    assert [line.get("points") for line in root.iter("polyline")] == [
        "24.0,136.0 336.0,24.0",
        "180.0,80.0",
    ]
    texts = [text.text for text in root.iter("text")]
    assert texts == ["accuracy: 50.00 to 100.00 %", "one", "flat"]
    assert html_curves("accuracy", {"one": [None]}) == ""


def test_a_run_shows_its_figures_and_curves(tmp_path: Path) -> None:
    html = write_run(tmp_path / "run", tiny_data(), [3, 13, 7])._repr_html_()
    shown = dict(cells(html))  # type: ignore[arg-type]
    assert shown["test accuracy"] == "98.50 %"  # 197 of 200
    assert shown["epochs"] == "2 of 2"
    assert shown["parameters"] == "9,146"
    assert html.count("<polyline") == 2  # training and validation


def test_a_run_that_has_not_finished_shows_how_far_it_is(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", Recipe(model="tiny_mnist", epochs=7))
    shown = dict(cells(run._repr_html_()))  # type: ignore[arg-type]
    assert shown == {"data": "mnist", "epochs": "0 of 7", "folder": str(run.path)}


def test_a_verdict_shows_each_rule() -> None:
    rules = (
        Rule("max_params", 8000, 9146, False, "fewer channels"),
        Rule("share", 0.5, 0.75, True),
    )
    verdict = Verdict(rules, ("epochs",))
    assert cells(verdict._repr_html_())[1:] == [
        ["max_params", "8,000", "9,146", "BROKEN", "fewer channels"],
        ["share", "50.00 %", "75.00 %", "ok", ""],
    ]
    assert "<caption>failed</caption>" in verdict._repr_html_()
    assert "Not measured: epochs" in verdict._repr_html_()
