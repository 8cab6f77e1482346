from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import smidgen
from PIL import Image
from typer.testing import CliRunner

from smidgen import cli
from smidgen.cli import app
from smidgen.data import Data
from smidgen.recipe import load_recipe, override, parse_recipe

ROOT = Path(__file__).parents[1]
TRAIN_KEYS = {
    "run", "model", "data", "params", "epochs", "images_seen", "seed", "train_accuracy",
    "val_accuracy", "test_accuracy", "seconds", "images_per_second",
}  # fmt: skip
EVALUATE_KEYS = {"accuracy", "correct", "n", "interval", "loss", "confusion", "ece"}


def document(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the embedded digits, trained by the command line."""
    out = tmp_path_factory.mktemp("cli") / "run"
    done = smidgen(
        "train", "tiny_mnist", "--data", "digits", "--epochs", 2, "--batch-size", 64, "--lr", 0.01,
        "--step-size", 1, "--gamma", 0.1, "--no-cuda", "--seed", 3, "--out", out, "--json",
    )  # fmt: skip
    result = document(done)
    assert result.keys() >= TRAIN_KEYS
    assert (result["model"], result["data"], result["seed"]) == ("tiny_mnist", "digits", 3)
    assert result["images_seen"] == 2 * 1497
    assert "epoch 2/2" in done.stderr
    return out


def test_train_keeps_the_fifth_documents_flags(run: Path) -> None:
    from smidgen.run import Run

    kept = Run.open(run)
    assert kept.recipe.schedule.model_dump() == {"name": "step", "step_size": 1, "gamma": 0.1}
    assert kept.recipe.batch_size == 64
    assert [row["lr"] for row in kept.metrics()] == [0.01, pytest.approx(0.001)]
    files = {path.name for path in run.iterdir()}
    assert files >= {"README.md", "recipe.toml", "metrics.csv", "model.safetensors", "last.pt",
                     "result.json", "summary.txt", "plots"}  # fmt: skip
    plots = {path.stem for path in (run / "plots").iterdir()}
    assert plots >= {"curves", "examples", "augmented", "confusion", "mistakes", "reliability"}


def test_evaluate_scores_a_run(run: Path) -> None:
    score = document(smidgen("evaluate", run, "--json"))
    assert score.keys() == EVALUATE_KEYS
    assert score["n"] == 300
    assert score["accuracy"] == score["correct"] / 300
    assert score["interval"][0] < score["accuracy"] < score["interval"][1]
    assert sum(map(sum, score["confusion"])) == 300
    assert score["accuracy"] == pytest.approx(
        json.loads((run / "result.json").read_text())["test_accuracy"]
    )


def test_evaluate_reads_shipped_weights(mnist: Data) -> None:
    score = document(smidgen("evaluate", "tiny_mnist", "--json"))
    assert score["n"] == 10_000
    assert score["accuracy"] > 0.98


def test_predict_reads_dark_on_light_too(tmp_path: Path, mnist: Data) -> None:
    for number, ink in enumerate(("light", "dark")):
        picture = mnist.test.images[number, 0].numpy()
        grey = picture if ink == "light" else 255 - picture
        enlarged = Image.fromarray(np.kron(grey, np.ones((9, 9), dtype=np.uint8)))
        enlarged.convert("RGB").save(tmp_path / f"{ink}.png")
    done = smidgen("predict", "tiny_mnist", tmp_path / "light.png", tmp_path / "dark.png", "--json")
    for number, prediction in enumerate(document(done)["predictions"]):
        assert prediction.keys() == {"image", "label", "probability", "probabilities"}
        assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert prediction["label"] == str(mnist.test.labels[number].item())


def test_models_lists_the_zoo() -> None:
    listed = {row["model"]: row for row in document(smidgen("models", "--json"))["models"]}
    # Convolutions 28² × 8 × 9 and 14² × 16 × 72, a linear layer 784 × 10; 34 biases of 4 bytes.
    assert listed["tiny_mnist"] == {
        "model": "tiny_mnist", "params": 9146, "weights": True, "macs": 290080,
        "weight_bytes_int8": 9200, "test_accuracy": 0.9864,
    }  # fmt: skip
    assert listed["net"]["test_accuracy"] is None
    sizes = [row["params"] for row in listed.values()]
    assert sizes == sorted(sizes)
    text = smidgen("models", "tiny*").stdout
    assert "22,334" in text
    assert "98.64 %" in text


@pytest.mark.parametrize(
    ("key", "figure", "sign"),
    [("macs", "macs", 1), ("bytes", "weight_bytes_int8", 1), ("accuracy", "test_accuracy", -1)],
)
def test_models_are_sorted_as_asked(key: str, figure: str, sign: int) -> None:
    rows = document(smidgen("models", "smidgen_[0-9]*", "--sort", key, "--json"))["models"]
    values = [sign * row[figure] for row in rows]
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["params<=9146"], {"tiny_mnist"}),
        (["params<9,146"], set()),
        (["accuracy > 0.9864"], {"tiny_net"}),
        (["accuracy>=0.9864", "macs<1_000_000"], {"tiny_mnist"}),
        (["bytes<22476.5"], {"tiny_mnist", "tiny_net"}),
    ],
)
def test_models_are_filtered_by_figures(filters: list[str], names: set[str]) -> None:
    options = [word for text in filters for word in ("--filter", text)]
    done = CliRunner().invoke(app, ["models", "tiny*", *options, "--json"])
    assert {row["model"] for row in json.loads(done.stdout)["models"]} == names


@pytest.mark.parametrize("command", [["models"], ["models", "--sort", "macs"], ["doctor"]])
def test_a_table_has_no_colour_and_cuts_nothing_at_eighty_columns(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smidgen.cli.output.WIDTH_OF_FILES", 80)
    monkeypatch.setenv("NO_COLOR", "1")
    text = CliRunner().invoke(app, command).stdout
    table = [line for line in text.splitlines() if line[:1] in "┃│"]
    assert table
    assert max(map(len, table)) <= 80
    assert "…" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("name", ["net", "mnist_net", "smidgen_8k"])
def test_describe_cuts_no_number_at_eighty_columns(name: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("smidgen.cli.output.WIDTH_OF_FILES", 80)
    anatomy = json.loads(CliRunner().invoke(app, ["describe", name, "--json"]).stdout)
    text = CliRunner().invoke(app, ["describe", name]).stdout
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for figure in (anatomy["params"], anatomy["macs"]):
        assert f"{figure:,}" in text
    for layer in anatomy["layers"]:
        assert f"{layer['macs']:,}" in text
    assert text.count("share") == 2
    for layer in anatomy["layers"]:
        assert "×".join(map(str, layer["output_shape"])) in text


def test_seeds_run_side_by_side(tmp_path: Path) -> None:
    arguments = (
        "train", "tiny_mnist", "--data", "digits", "--seeds", 2, "--epochs", 1, "--batch-size", 64,
        "--out", tmp_path / "series", "--json",
    )  # fmt: skip
    summary = document(smidgen(*arguments))
    assert summary["test_accuracy"].keys() >= {"mean", "sd", "min", "n", "interval"}
    assert [run["seed"] for run in summary["runs"]] == [0, 1]
    accuracies = [run["test_accuracy"] for run in summary["runs"]]
    assert summary["test_accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert summary["test_accuracy"]["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    first = (tmp_path / "series" / "seed-0" / "model.safetensors").stat().st_mtime_ns
    assert document(smidgen(*arguments))["runs"] == summary["runs"]  # nothing is trained again
    assert (tmp_path / "series" / "seed-0" / "model.safetensors").stat().st_mtime_ns == first


def test_a_sweep_ranks_on_validation(tmp_path: Path) -> None:
    done = smidgen(
        "sweep", "tiny_mnist", "--grid", "optimizer.lr=0.00001,0.01", "--set", "data=digits",
        "--set", "epochs=2", "--out", tmp_path / "sweep", "--json",
    )  # fmt: skip
    rows = document(done)["rows"]
    assert [row["recipe"] for row in rows] == ["optimizer.lr=0.01", "optimizer.lr=1e-05"]
    kept = json.loads((Path(rows[0]["run"]) / "seed-0" / "result.json").read_text())
    assert rows[0]["val_accuracy"] == kept["val_accuracy"] > rows[1]["val_accuracy"]


def test_quickstart_falls_back_on_the_digits_and_says_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    done = smidgen(
        "quickstart", "--out", tmp_path / "run", "--data-dir", empty, "--json",
        HTTPS_PROXY="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9",
    )  # fmt: skip
    result = document(done)
    assert result["data"] == "digits"
    assert result["test_accuracy"] > 0.9
    assert "MNIST could not be had" in done.stderr
    assert "NOT MNIST" in done.stderr
    assert "What next?" in done.stderr
    assert "digits" in (tmp_path / "run" / "README.md").read_text()


def test_a_plan_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    typed = ["train", "tiny_mnist", "--data", "digits", "--epochs", "2", "--plan"]
    planned = json.loads(CliRunner().invoke(app, [*typed, "--json"]).stdout)
    assert (planned["epochs"], planned["images"], planned["seeds"]) == (2, 1497, 1)
    text = CliRunner().invoke(app, [*typed, "--seeds", "3"]).stdout
    assert "9,146 parameters" in text
    assert "for each of 3 seeds" in text
    assert list(tmp_path.iterdir()) == []


def test_quiet_leaves_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # Its teacher knows other data, of which a warning says that it was left out.
    typed = ["train", "smidgen_1epoch", "--data", "digits", "--epochs", "1"]
    assert cli.run([*typed, "--out", "one", "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert [line.split()[0] for line in said.out.splitlines()] == [
        "train", "test", "23,404", "one",
    ]  # fmt: skip
    assert cli.run([*typed, "--out", "one", "--quiet"]) == 2
    assert "'one' is not empty" in capsys.readouterr().err


def test_recipe_prints_what_train_trains_by(run: Path) -> None:
    done = smidgen(
        "recipe", "tiny_mnist", "--data", "digits", "--epochs", 2, "--batch-size", 64, "--lr", 0.01,
        "--step-size", 1, "--gamma", 0.1, "--seed", 3,
    )  # fmt: skip
    printed, kept = (parse_recipe(tomllib.loads(text), "test")
                     for text in (done.stdout, (run / "recipe.toml").read_text()))  # fmt: skip
    # A training keeps what the recipe left to it.
    chosen = {"workers": kept.workers, "backend": kept.backend}
    assert printed.model_copy(update=chosen) == kept
    again = CliRunner().invoke(app, ["recipe", "tiny_net", "--set", "seed=4", "--json"])
    assert json.loads(again.stdout) == override(load_recipe("tiny_net"), {"seed": 4}).model_dump()


@pytest.mark.parametrize(
    "name", [str(ROOT / "examples" / "networks" / "smidgen_8k.toml"), "model.py:Net"]
)
def test_a_model_without_a_recipe_has_the_default_one(name: str) -> None:
    done = CliRunner().invoke(app, ["recipe", name, "--json"])
    assert json.loads(done.stdout) == override(load_recipe("default"), {"model": name}).model_dump()


def test_the_version_is_said_without_torch() -> None:
    code = (
        "import sys\nsys.argv = ['smidgen', '--version']\n"
        "from smidgen.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"smidgen {metadata.version('smidgen')}\n"


def test_an_interrupted_training_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from smidgen.cli import watching

    @contextmanager
    def stopping(*_: Any) -> Iterator[Any]:
        yield stop

    def stop(progress: Any) -> None:
        if progress.finished_epoch and progress.epoch == last + 1:
            raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    typed = ["train", "tiny_mnist", "--data", "digits", "--epochs", "2", "--out", "one"]
    with monkeypatch.context() as patch:
        patch.setattr(watching, "_on_terminal", stopping)
        last = 1
        assert cli.run(typed) == 130
        advice = "smidgen train --resume one goes on after the last whole epoch"
        assert capsys.readouterr().err.splitlines()[-1] == f"smidgen: interrupted; {advice}"
        last = 0
        assert cli.run([*typed[:-1], "two"]) == 130
        assert "no epoch was finished, so that nothing is kept" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()
    assert cli.run(["train", "--resume", "one", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images_seen"] == 2 * 1497
