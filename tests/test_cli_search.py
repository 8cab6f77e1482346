"""`smidgen search` from the command line: a whole search of digits, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smidgen.cli import app
from smidgen.errors import SmidgenError

pytest.importorskip("optuna", reason="a search needs optuna, of the extra `search`")

SPACE = """
title = "a tiny space"
layers = [
    { conv = { from = 4, to = 12, step = 2 }, stride = 4 },
    { conv = { from = 4, to = 16, step = 2 }, repeat = { from = 0, to = 1 } },
    { head = "gap_linear" },
]
[recipe]
"optimizer.lr" = { choose = [0.05, 0.1] }
"""


@pytest.fixture
def document(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command in this process; returns the document that it prints."""

    def run(*arguments: object) -> Any:
        app([*map(str, arguments), "--json"], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    return run


def refused(*arguments: object) -> str:
    """What the command complains of."""
    with pytest.raises(SmidgenError, match=r".") as caught:
        app([*map(str, arguments)], standalone_mode=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def files(tmp_path: Path) -> list[object]:
    (tmp_path / "space.toml").write_text(SPACE)
    (tmp_path / "budget.toml").write_text('title = "a test"\nmax_params = 1000\n')
    named = ["--space", tmp_path / "space.toml", "--budget", tmp_path / "budget.toml"]
    return ["search", "--data", "digits", *named, "--rungs", "1,2", "--batch", 3, "--jobs", 1]


def test_a_search_ends_in_a_winner_that_can_be_used(
    files: list[object], document: Any, tmp_path: Path
) -> None:
    out, best = tmp_path / "out", tmp_path / "best"
    effort = ["--trials", 5, "--seeds", 2, "--set", "epochs=2", "--out", out]
    found = document(*files, *effort, "--emit", best)
    assert (found["trained"], found["best"]["test_accuracy"]["n"]) == (5, 2)
    assert found["trials"] == found["trained"] + found["rejected"] + found["repeated"]
    assert json.loads((out / "result.json").read_text()) == found
    assert f"{found['best']['params']:,}" in (out / "report.html").read_text()
    for point in found["front"]:
        described = document("describe", point["network"])
        assert (described["params"], described["macs"]) == (point["params"], point["macs"])
        assert described["params"] <= 1000
    accuracies = [point["val_accuracy"] for point in found["front"]]
    assert accuracies == sorted(set(accuracies))
    finalists = found["finalists"]
    assert len(finalists) == 2  # all of the last rung
    assert max(each["val_accuracy"] for each in finalists) == accuracies[-1]
    means = [each["final_val_accuracy"]["mean"] for each in finalists]
    assert means == sorted(means, reverse=True)
    assert finalists[0].items() <= found["best"].items()
    runs = [json.loads(path.read_text()) for path in out.glob("finalists/*/result.json")]
    assert len(runs) == 2 * 2
    assert {run["test_accuracy"] for run in runs} == {None}, "a finalist saw the test images"
    kept = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert len(kept) == 5 + 2  # one of three and one of two went on
    run = document("evaluate", best)
    first = json.loads((out / "best" / "runs" / "seed-0" / "result.json").read_text())
    assert run["accuracy"] == first["test_accuracy"]
    assert document("describe", best / "net.toml")["params"] == first["params"]
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    storage = JournalStorage(JournalFileBackend(str(out / "journal.log")))
    study = optuna.load_study(study_name="search", storage=storage)
    assert len(study.trials) == found["trials"]
    again = document("search", "--resume", out, "--trials", 5, "--seeds", 2)
    assert again["front"] == found["front"]
    assert again["best"] == found["best"]


def test_shells_of_a_database_find_one_winner(
    files: list[object], document: Any, tmp_path: Path
) -> None:
    url, out = f"sqlite:///{tmp_path / 'study.db'}", tmp_path / "out"
    effort = ["--storage", url, "--trials", 3, "--seeds", 2, "--set", "epochs=1", "--out", out]
    found = document(*files, *effort)
    assert (found["trained"], found["best"]["test_accuracy"]["n"]) == (3, 2)
    assert (out / "trials.csv").read_text().count(",trained,") == 3
    again = document(*files, *effort)  # of a shell that comes when all is done
    assert again | {"seconds": 0} == found | {"seconds": 0}
    for wrong in (["--time", "1m"], ["--trials", 3, "--tensorboard"]):
        assert "--storage" in refused(*files, "--storage", url, *wrong, "--out", out)


def test_a_plan_is_for_people(files: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    app([*map(str, files), "--trials", "7", "--plan", "--quiet"], standalone_mode=False)
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == f"{5 * (7 * 2)} networks at most"
    assert second.endswith(" of 1,000 drawn ones fit")


def test_a_plan_trains_one_candidate(
    files: list[object], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rules = 'forbid = ["linear"]\nmax_epochs = 15\nmin_accuracy = 0.9\nmax_macs = 10_000_000\n'
    with (tmp_path / "budget.toml").open("a") as file:
        file.write(rules)
    app([*map(str, files), "--trials", "7", "--plan", "--json"], standalone_mode=False)
    printed = capsys.readouterr()
    left = "forbid, max_epochs, min_accuracy\n"
    assert f"not searched for, left to `smidgen check`: {left}" in printed.err
    planned = json.loads(printed.out)
    assert planned["networks"] == 5 * (7 * 2)  # widths, and a layer that may be left out
    assert 0 < planned["fit"] < planned["drawn"] == 1_000
    assert planned["epochs"] == 2 * (3 * 1 + 1 * 2) + (1 * 1 + 1 * 2)
    expected = planned["epochs"] * planned["seconds_per_epoch"] / planned["cores"]
    assert planned["seconds"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "era-8k", "--time", "soon"], "--time 'soon' is no time; write 90s"),
        (["--budget", "era-8k", "--rungs", "3,1"], "--rungs '3,1' do not rise"),
        (["--budget", "era-8k", "--sampler", "cma"], "sampler = 'cma'"),
        (["--budget", "era-8k", "--space", "chian"], "unknown space 'chian'; did you mean"),
        (["--budget", "era-8k", "--seeds", "1"], "--seeds 1 gives no spread"),
        (["--budget", "era-8k", "--rungs", "1;3"], "--rungs '1;3' are no epochs; write 1,3,9"),
        (["--budget", "era-8k", "--emit", "."], "--emit '.' is there already; choose another"),
        (["--budget", "era-8k", "--trials", "0"], "--trials 0: a search trains at least 1"),
        (["--budget", "era-8k", "--jobs", "0"], "--jobs 0 train nothing"),
        (["--budget", "era-8k", "--backend", "rai"], "unknown backend 'rai'; did you mean 'ray'?"),
        (["--resume", "nowhere"], "'nowhere' holds no search"),
        ([], "name a --budget, or go on"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: list[str], said: str) -> None:
    assert said in refused("search", "--data", "digits", *arguments)


def test_a_space_of_which_nothing_fits(files: list[object], tmp_path: Path) -> None:
    (tmp_path / "budget.toml").write_text('title = "none"\nmax_params = 80\n')
    said = refused(*files, "--out", tmp_path / "out")
    # The smallest: 4 channels of 3 × 3 with two numbers each of the norm, then 4 × 10 + 10.
    assert "none of 10,000 candidates of 'a tiny space' fits the budget 'none'" in said
    assert "the nearest has params = 94, the limit is 80" in said
    assert not (tmp_path / "out").exists()


def test_another_search_in_the_folder_is_refused(files: list[object], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").touch()
    said = refused(*files, "--out", tmp_path / "out")
    assert "is not empty; choose another --out" in said
