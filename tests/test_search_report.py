"""The page of a search: what it draws, links and escapes, and how it looks in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from browser import AXE, CHROMIUM, faint, installed, schemes, violations

pytest.importorskip("optuna", reason="a search needs optuna, of the extra `search`")

from smidgen.budget import Budget
from smidgen.cli import app
from smidgen.errors import SearchError
from smidgen.mnist import GLYPH
from smidgen.recipe import parse_recipe
from smidgen.search.axes import axis_of, line_of_values, percent, plain, whole
from smidgen.search.folder import Tables, opened
from smidgen.search.importance import importances
from smidgen.search.page import front_of
from smidgen.search.report import write_search_report
from smidgen.search.space import Space
from smidgen.search.study import Images, Settings, Study
from smidgen.search.table import Row, read_table, to_csv
from smidgen.trials.driver import Driver
from smidgen.trials.workers import Task

HOSTILE = "<script>alert(1)</script> & 'x' \"y\""
SPACE = Space(
    title=HOSTILE,
    layers=[
        {"conv": {"from": 4, "to": 16}, "stride": 2},
        {"conv": "$width", "repeat": {"from": 0, "to": 1}},
        {"head": "gap_linear"},
    ],
    ranges={"width": {"from": 4, "to": 16}},
    recipe={
        "optimizer.lr": {"from": 0.01, "to": 0.3, "log": True},
        "optimizer.name": {"choose": ["sgd", "adam"]},
    },
)
SETTINGS = Settings(
    data="digits", space=SPACE, budget=Budget(title="<b>small</b>", max_params=2_000),
    recipe=parse_recipe({"model": "net.toml", "data": "digits"}, "test"), rungs=[1, 3], batch=6,
)  # fmt: skip


def study_in(out: Path, trials: int) -> Study:
    """A search whose accuracies are made up: wide first layers and small rates are better."""
    study = Study(SETTINGS, Images(GLYPH, 10))

    def run(tasks: Sequence[Task]) -> Iterator[tuple[Task, float]]:
        values = {trial.key: trial.candidate.values for trial in study.trials}
        for task in tasks:
            rate = float(values[task.key]["optimizer.lr"])
            error = rate / task.recipe.epochs + 0.1 / float(values[task.key]["layers[0].conv"])
            yield task, 1 - error

    with opened(out, SETTINGS, "fingerprint"):
        list(Driver(study, out, run, trials).trainings())
        Tables(out).write(study)
    return study


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    out = tmp_path_factory.mktemp("search")
    return out, study_in(out, 40)


def test_a_table_is_read_as_it_was_written(searched: tuple[Path, Study]) -> None:
    out, study = searched
    rows = read_table((out / "trials.csv").read_text(), SETTINGS)
    assert len(rows) == len(study.trials)
    for row, trial in zip(rows, study.trials, strict=True):
        assert (row.network, row.outcome) == (trial.key, trial.outcome)
        assert row.values == trial.candidate.values
        assert row.accuracies == trial.accuracies
        assert row.weight["params"] == trial.weight.params
        known = {"flash_bytes", "ram_bytes"} <= set(row.weight)
        assert known == (trial.outcome != "rejected")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("number,", "numbers,", r"line 1: its columns are not those of the search; --resume"),
        ("trained,", "../../evil,", r"line \d+: '\w{12}', '../../evil' is no trial"),
        (",sgd", ",rmsprop", r"'rmsprop' is not in its range"),
        (",0.9", ",7.9", r"'7\.9\d*' is no accuracy"),
        ("\r\n", ",1\r\n", "its columns are not"),
    ],
)
def test_a_damaged_table_is_refused(
    searched: tuple[Path, Study], before: str, after: str, said: str
) -> None:
    with pytest.raises(SearchError, match=r"^trials\.csv, .*" + said):
        read_table(to_csv(searched[1]).replace(before, after), SETTINGS)


def row(network: str, params: int, *accuracies: float) -> Row:
    return Row(
        network, "trained", {"params": params}, dict(zip((1, 3), accuracies, strict=False)), {}
    )


def test_the_front_by_hand() -> None:
    rows = [
        row("a", 500, 0.5, 0.9),
        row("b", 600, 0.5, 0.8),  # larger and worse than a
        row("c", 900, 0.5, 0.95),
        row("d", 500, 0.5, 0.85),  # as large as a, and worse
        row("e", 100, 0.99),  # was not trained to the end
    ]
    assert [each.network for each in front_of(rows, "params", 3)] == ["a", "c"]


def test_axes_by_hand() -> None:
    errors = axis_of([0.004, 0.3])
    labels = [tick.label for tick in errors.ticks(percent, apart=6)]
    assert [tick.label for tick in errors.ticks(percent, apart=16)] == [
        "0.5 %", "2 %", "5 %", "20 %",
    ]  # fmt: skip
    assert labels == ["0.5 %", "1 %", "2 %", "5 %", "10 %", "20 %"]
    assert (errors.place(0.004 / 1.08), errors.place(0.3 * 1.08)) == (0, 100)
    counts = axis_of([6_000, 14_000])
    assert [tick.label for tick in counts.ticks(whole)] == [
        "6,000",
        "8,000",
        "10,000",
        "12,000",
        "14,000",
    ]
    assert (counts.place(5_600), counts.place(10_000), counts.place(14_400)) == (0, 50, 100)
    assert [whole(200_000), whole(1.5e6)] == ["200 k", "1.5 M"]
    assert [plain(5e-5), plain(12)] == ["0.00005", "12"]
    assert [tick.label for tick in axis_of([7]).ticks(whole)] == ["7"]
    line = line_of_values("activation", ["relu", None, "hardswish"], log=False)
    assert [(tick.place, tick.label) for tick in line.ticks] == [
        (0, "–"), (12, "hardswish"), (100, "relu"),
    ]  # fmt: skip
    assert line.places == [100, 0, 12]


def test_what_matters_is_found(searched: tuple[Path, Study]) -> None:
    out, _ = searched
    rows = read_table((out / "trials.csv").read_text(), SETTINGS)
    found = importances(SPACE, rows, 1)
    assert set(found) == set(SPACE.all_ranges())
    assert sum(found.values()) == pytest.approx(1)
    assert next(iter(found)) == "optimizer.lr"  # up to 0.3 of error; the width at most 0.025
    assert importances(SPACE, [row for row in rows if row.outcome == "trained"][:19], 1) == {}


def test_the_page_of_a_search_under_way(searched: tuple[Path, Study], capsys: Any) -> None:
    out, study = searched
    app(["report", str(out), "--json"], standalone_mode=False)
    files = [str(out / "report.html"), str(out / "front.png")]
    assert json.loads(capsys.readouterr().out) == {"run": str(out), "files": files}
    page = (out / "report.html").read_text()
    assert "The search has not ended" in page
    links = set(re.findall(r'href="(networks/[^"]*)"', page))
    trained = {trial.key for trial in study.trials if trial.outcome == "trained"}
    assert links == {f"networks/{key}.toml" for key in trained}
    assert all((out / link).is_file() for link in links)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#x27;x&#x27;" in page
    assert "&lt;b&gt;small&lt;/b&gt;" in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_names_the_winner(tmp_path: Path) -> None:
    study = study_in(tmp_path, 8)
    last = max(trial.epochs for trial in study.trials)
    best = max((t for t in study.trials if t.epochs == last), key=lambda t: t.val_accuracy or 0)
    figures = {"params": 1_234, "stored_numbers": 1_200, "macs": 5, "flash_bytes": None}
    point = figures | {"network": f"{best.key}.toml", "ram_bytes": None, "val_accuracy": 0.9}
    score = {"mean": 0.98765, "sd": 0.00321, "n": 5}
    final = {"mean": 0.9912, "sd": 0.0012, "n": 5}
    winner = point | {"epochs": 9, "test_accuracy": score, "final_val_accuracy": final}
    other = point | {"network": "n/0123.toml", "final_val_accuracy": final | {"mean": 0.9903}}
    document = {"seconds": 5_400.0, "front": [point], "finalists": [winner, other], "best": winner}
    (tmp_path / "result.json").write_text(json.dumps(document))
    page = write_search_report(tmp_path)[0].read_text()
    for text in (
        "98.77 ± 0.32 %", "test accuracy, 5 seeds", "1,234", "It took 1 h 30 min",
        "99.12 ± 0.12 %", "validation accuracy, 5 seeds",
        '<a href="networks/0123.toml"><code>0123</code></a> 99.03 %',
    ):  # fmt: skip
        assert text in page
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(SearchError, match=r"result\.json: the key 'seconds' is missing"):
        write_search_report(tmp_path)


def test_what_has_no_page_is_refused(tmp_path: Path, searched: tuple[Path, Study]) -> None:
    with pytest.raises(SearchError, match=r"is a search; name its winner: .*runs"):
        app(["report", str(searched[0]), "--inject", "README.md"], standalone_mode=False)
    with opened(tmp_path, SETTINGS, "fingerprint"):
        Tables(tmp_path).write(Study(SETTINGS, Images(GLYPH, 10)))
    with pytest.raises(SearchError, match=r"cannot read .*trials\.csv"):
        write_search_report(tmp_path)


@pytest.mark.skipif(not installed(), reason=f"chromium is not at {CHROMIUM}")
def test_the_page_is_readable(page: Any, searched: tuple[Path, Study]) -> None:
    address = write_search_report(searched[0])[0].as_uri()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: request.url != address and problems.append(request.url))
    page.goto(address)
    assert page.locator(".chart:visible").get_attribute("class") == "chart params"
    page.locator("label.flash_bytes").click()
    assert page.locator(".chart:visible").get_attribute("class") == "chart flash_bytes"
    sizes = page.evaluate("[...document.querySelectorAll('text')].map(t => "
                          "parseFloat(getComputedStyle(t).fontSize))")  # fmt: skip
    assert min(sizes) >= 13
    for width in (360, 800, 1400):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for _ in schemes(page):
            assert faint(page) == {}
            assert not AXE.is_file() or violations(page) == []
    assert problems == []
