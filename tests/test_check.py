"""check on targets and run folders, the figures of a README, and the commands."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import smidgen
from smidgen.anatomy import describe
from smidgen.budget import Budget, Score, Training, Verdict
from smidgen.check import check, measure
from smidgen.claims import check_claims
from smidgen.cli import app, main
from smidgen.errors import RunError
from smidgen.metrics import wilson_interval
from smidgen.run import Run
from smidgen.zoo import create_model

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 10, 3)

    def forward(self, x):
        print("a debugging line left behind")
        return self.conv(x).mean((2, 3))
"""


def rules(verdict: Verdict) -> dict[str, Any]:
    return {rule.rule: (rule.limit, rule.actual, rule.passed) for rule in verdict.rules}


def watched_run(folder: Path, to: Path, accuracies: list[float], **result: Any) -> Path:
    """A copy of a run in which the test set was watched, with other figures."""
    shutil.copytree(folder, to)
    run = Run.open(to)
    rows = run.metrics()
    run.write_metrics(
        [
            {**rows[0], "epoch": epoch, "test_accuracy": accuracy}
            for epoch, accuracy in enumerate(accuracies, start=1)
        ]
    )
    recipe = (to / "recipe.toml").read_text().replace("epochs = 2", f"epochs = {len(accuracies)}")
    (to / "recipe.toml").write_text(recipe)
    run.write_result(run.result() | {"test_accuracy": accuracies[-1]} | result)
    return to


def test_run_folder_is_judged_by_its_training(run_folder: Path, tmp_path: Path) -> None:
    run = watched_run(
        run_folder, tmp_path / "watched", [0.5, 0.95, 0.9], images_seen=720, test_reads=4
    )
    budget = Budget(
        title="test",
        max_epochs=3,
        max_images_seen=700,
        min_first_epoch_accuracy=0.5,
        min_accuracy=0.95,
        min_last_accuracy=0.9,
        last_epochs=2,
        max_test_reads=1,
    )
    verdict = check(str(run), budget)
    judged = rules(verdict)
    assert judged["max_epochs"] == (3, 3, True)
    assert judged["max_images_seen"] == (700, 720, False)
    assert judged["min_first_epoch_accuracy"] == (0.5, 0.5, True)
    assert judged["min_accuracy"] == (0.95, 0.9, False)
    assert judged["min_last_accuracy"] == (0.9, 0.9, True)
    assert judged["max_test_reads"] == (1, 4, False)
    assert verdict.unmeasured == ()
    low, high = (100 * bound for bound in wilson_interval(54, 60))  # 0.9 of 60 test images
    (accuracy,) = [rule for rule in verdict.rules if rule.rule == "min_accuracy"]
    assert accuracy.note.startswith(
        f"95 % interval {low:.2f} to {high:.2f} % over 60 images; 5.00 "
    )


def test_run_that_did_not_watch_the_test_set_leaves_epochs_unmeasured(run_folder: Path) -> None:
    budget = Budget(title="test", min_accuracy=0.0, min_last_accuracy=0.9)
    verdict = check(str(run_folder), budget)
    assert verdict.unmeasured == ("min_last_accuracy",)
    assert "min_accuracy" in rules(verdict)


def test_epoch_that_holds_several_passes_is_named(run_folder: Path, tmp_path: Path) -> None:
    run = watched_run(run_folder, tmp_path / "r", [0.9], epochs=1, images_seen=660)
    judged = rules(check(str(run), Budget(title="test")))
    assert judged["one_pass_per_epoch"] == (220, 660, False)  # 220 of 240 digits are fitted


def test_an_older_run_has_the_images_per_epoch_that_it_saw(
    run_folder: Path, tmp_path: Path
) -> None:
    run = Run.open(run_folder)
    assert run.result()["images_per_epoch"] == 220
    run.write_result({k: v for k, v in run.result().items() if k != "images_per_epoch"})
    judged = rules(check(str(run_folder), Budget(title="test")))
    assert judged["one_pass_per_epoch"] == (440, 440, True)


def test_series_of_seeds_is_judged_by_its_mean(run_folder: Path, tmp_path: Path) -> None:
    for seed, accuracy in enumerate([0.90, 0.92]):
        watched_run(run_folder, tmp_path / "series" / f"seed-{seed}", [0.8, accuracy])
    budget = Budget(title="test", min_accuracy=0.91, min_last_accuracy=0.8, last_epochs=1)
    verdict = check(str(tmp_path / "series"), budget)
    judged = rules(verdict)
    assert judged["min_accuracy"] == (0.91, pytest.approx(0.91), True)
    assert judged["min_last_accuracy"] == (0.8, 0.9, True)
    (accuracy,) = [rule for rule in verdict.rules if rule.rule == "min_accuracy"]
    # Student's t with one degree of freedom: 12.706 · 0.01414 / √2 on each side.
    assert accuracy.note == "95 % interval 78.29 to 103.71 % over 2 seeds"


def test_unfinished_run_is_refused(run_folder: Path) -> None:
    (run_folder / "result.json").unlink()
    with pytest.raises(RunError, match=r"has not finished: it holds no result.json; go on with"):
        check(str(run_folder), "era-8k")


# ---- claims

LIST = """
(conv1) 3x3, RF=3
(pool1) 2x2, RF=4
(conv2) 3x3, RF=6
(pool2) 2x2, RF=7
"""


def claims(text: str, model: str = "tiny_mnist", training: Training | None = None) -> list[Any]:
    found = check_claims(text, describe(create_model(model)), training)
    return [(claim.figure, claim.claimed, claim.passed) for claim in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # tiny_mnist has 9,146 parameters and sees 34 pixels
        ("9,146 trainable parameters", ("params", "9,146", True)),
        ("**Parameters**: 9146", ("params", "9146", True)),
        ("| Total params | **9,147** |", ("params", "9,147", False)),
        ("fewer than 10K parameters", ("params", "fewer than 10K", True)),
        ("under 9k params", ("params", "under 9k", False)),
        ("over 1M parameters", ("params", "over 1M", False)),
        ("~9,500 parameters", ("params", "~9,500", True)),
        ("~10,000 parameters", ("params", "~10,000", False)),
        ("9.1k parameters", ("params", "9.1k", True)),
        ("9.3k parameters", ("params", "9.3k", False)),
        ("the receptive field is 34", ("receptive_field", "34", True)),
        ("reaches RF=28", ("receptive_field", "28", False)),
    ],
)
def test_stated_figure_is_set_beside_the_measured_one(
    text: str, expected: tuple[str, str, bool]
) -> None:
    assert claims(text) == [expected]


@pytest.mark.parametrize(
    "text", ["# 2024", "kernel 3, padding 1", "5 % dropout keeps the accuracy up", "batch size 512"]
)
def test_other_numbers_are_no_claims(text: str) -> None:
    assert claims(text) == []


def test_listed_fields_are_read_in_the_order_of_the_layers() -> None:
    # Of tiny_mnist: convolution 3, pool 4, convolution 8, pool 10, and a linear layer.
    assert [passed for *_, passed in claims(LIST + "linear layer, RF=34\n")] == [
        True, True, False, False, True,
    ]  # fmt: skip
    assert [passed for *_, passed in claims(LIST)] == [None] * 4  # one line short: no telling


def test_accuracies_are_held_to_the_training() -> None:
    whole = Score(0.9952, (0.99, 1.0), "10,000 images")
    training = Training(15, 900_000, 60_000, Score(0.961, (0.9, 1), "x"), 0.98, whole, None, 1)
    text = (
        "Test accuracy: 99.52%\n"
        "> 99.4% test accuracy\n"
        "Accuracy 99.6 %\n"
        "95%+ accuracy in the first epoch\n"
        "Test accuracy after the 1st epoch: ~95–96%\n"
        "Training accuracy: 99.1 %\n"
    )
    assert [passed for *_, passed in claims(text, training=training)] == [
        True, True, False, True, True, False,
    ]  # fmt: skip
    assert {passed for *_, passed in claims(text)} == {None}


# ---- commands


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout


def test_describe_prints_the_document_of_the_contract() -> None:
    code, output = run("describe", "skip_13k", "--json")
    document = json.loads(output)
    assert code == 0
    contract = {
        "model", "params", "trainable_params", "stored_numbers", "macs", "receptive_field",
        "weight_bytes", "peak_activation_bytes", "layers",
    }  # fmt: skip
    assert contract <= document.keys()
    assert (document["model"], document["params"]) == ("skip_13k", 13_272)
    row = {"name", "type", "output_shape", "params", "macs", "receptive_field", "jump"}
    assert all(row <= layer.keys() for layer in document["layers"])


def test_describe_prints_tables() -> None:
    assert "9,146" in run("describe", "tiny_mnist")[1]
    assert (
        "| 10 | Linear | 10 | 7,850 |" in run("describe", "tiny_mnist", "--format", "markdown")[1]
    )


def test_check_exits_with_one_where_a_rule_is_broken() -> None:
    code, output = run("check", "net", "--budget", "era-8k", "--json")
    document = json.loads(output)
    assert (code, document["passed"]) == (1, False)
    assert run("check", "mnist_net_13k", "--budget", "mnist-net")[0] == 0


def test_what_a_network_prints_is_kept_out_of_the_document(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(NET)
    code, output = run("check", f"{path}:Net", "--budget", "era-25k-first-epoch", "--json")
    assert code == 0
    assert json.loads(output)["passed"] is True
    code, output = run("describe", str(path), "--json")
    assert json.loads(output)["params"] == 100


def test_check_writes_for_continuous_integration() -> None:
    _, output = run("check", "net", "--budget", "era-8k", "--format", "github")
    assert output.startswith(
        "::error title=net · era-8k%3A max_params::limit 7,999, actual 1,191,370"
    )
    _, output = run("check", "net", "--budget", "era-8k", "--format", "junit")
    assert output.startswith("<?xml")


def test_check_lists_the_budgets_and_checks_claims(tmp_path: Path) -> None:
    assert "era-8k" in run("check", "--list")[1]
    assert (
        json.loads(run("check", "--list", "--json")[1])["budgets"]["era-8k"]["max_params"] == 7999
    )
    readme = tmp_path / "README.md"
    readme.write_text("9,146 parameters\n\nless than 9,000 parameters\n")
    code, output = run("check", "tiny_mnist", "--claims", str(readme), "--json")
    document = json.loads(output)
    assert (code, document["passed"], document["rules"]) == (1, False, [])
    assert [claim["passed"] for claim in document["claims"]] == [True, False]
    assert "line 3" in run("check", "tiny_mnist", "--claims", str(readme))[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "net"], "check needs a target and --budget NAME"),
        (["check", "net", "--budget", "era8k"], "unknown budget 'era8k'; did you mean 'era-8k'?"),
        (["check", "net", "--claims", "none.md"], "cannot read 'none.md'"),
        (["describe", "none.py:Net"], "there is no file 'none.py'"),
        (["describe", "skip_13"], "unknown model 'skip_13'; did you mean 'skip_13k'?"),
        (["grade", "none", "--budget", "era-8k"], "cannot read the folder 'none'"),
    ],
)
def test_misuse_is_one_line_and_exit_two(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["smidgen", *arguments])
    with pytest.raises(SystemExit, match=r"^2$"):
        main()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"smidgen: {said}")
    assert len(printed.err.splitlines()) == 1


def test_check_imports_nothing_slow() -> None:
    """check takes three seconds at most, and torch alone more than one of them."""
    code = (
        "import sys\nfrom smidgen.check import check\n"
        "assert check('skip_13k', 'skip-13k').passed\n"
        "slow = {'torch._dynamo', 'sympy', 'matplotlib', 'sklearn', 'scipy', 'joblib', 'PIL'}\n"
        "sys.exit(' '.join(slow & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_public_functions() -> None:
    assert smidgen.check("skip_13k", "skip-13k").passed
    assert smidgen.describe(create_model("tiny_net")).params == 22_334
    assert measure("tiny_net").training is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe1,000 parameters", "it is not UTF-8"),
        (b"x" * (2**18 + 1), "is too large; at most 262,144 bytes are read"),
    ],
)
def test_a_readme_that_is_no_text_is_one_line(
    tmp_path: Path, content: bytes, said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "README.md").write_bytes(content)
    arguments = ["smidgen", "check", "net", "--claims", str(tmp_path / "README.md")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match=r"^2$"):
        main()
    printed = capsys.readouterr()
    assert said in printed.err
    assert (printed.out, len(printed.err.splitlines())) == ("", 1)


def test_a_line_of_digits_is_read_as_fast_as_any_other() -> None:
    """A thousand digits took five seconds, and each doubling eight times as long."""
    anatomy = smidgen.describe(create_model("net"))
    lines = ("1" * 100_000, "params" + " " * 100_000, "params " + "is " * 30_000, "1 a " * 25_000)
    for line in lines:
        check_claims(f"{line}\nparameters: 7\n", anatomy, None)
    found = check_claims("1" * 4000 + "\n7,416 parameters\n", anatomy, None)
    assert [(claim.line, claim.claimed) for claim in found] == [(2, "7,416")]


def test_a_claim_holds_no_control_character() -> None:
    anatomy = smidgen.describe(create_model("net"))
    (claim,) = check_claims("total params (<\x1f8k)", anatomy, None)
    assert claim.claimed == "< 8k"
