"""What a report is made of, its card, and the README that it keeps true."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch
from made_up_runs import tiny_data, write_run
from PIL import Image
from typer.testing import CliRunner

from smidgen import metrics, report
from smidgen.budget import Budget, Rule, Verdict
from smidgen.cli import app
from smidgen.data import Data, Split, load_data
from smidgen.errors import RunError
from smidgen.inputs import InputShape, Preprocess
from smidgen.mnist import CLASSES, GLYPH
from smidgen.report.badge import badge
from smidgen.report.card import limits
from smidgen.report.trial import Answers
from smidgen.run import Run


def test_a_run_is_a_trial_of_one_seed(one_seed: Path) -> None:
    trial = report.open_trial(one_seed)
    assert (trial.seeds, trial.test_images, trial.test_accuracies) == (1, 200, [0.985])
    assert trial.interval == metrics.wilson_interval(197, 200)
    assert trial.summary["sd"] is None


def test_seeds_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for seed in (10, 2, 0):
        write_run(tmp_path / f"seed-{seed}", tiny_data(), [], seed)
    trial = report.open_trial(tmp_path)
    assert [result["seed"] for result in trial.results] == [0, 2, 10]


def test_seeds_have_students_interval(three_seeds: Path) -> None:
    summary = report.open_trial(three_seeds).summary
    assert summary["mean"] == pytest.approx(0.98)
    assert summary["sd"] == pytest.approx(0.01)
    assert (summary["min"], summary["n"]) == (0.97, 3)
    half = 4.302653 * 0.01 / 3**0.5  # Student's t of 97.5 % with two degrees of freedom
    assert summary["interval"] == pytest.approx((0.98 - half, 0.98 + half))


def test_what_is_no_finished_run_is_refused(tmp_path: Path, one_seed: Path) -> None:
    with pytest.raises(RunError, match="there is no folder"):
        report.open_trial(tmp_path / "nowhere")
    (one_seed / "test_logits.safetensors").unlink()
    with pytest.raises(RunError, match="kept no answers on the test images; train it again"):
        report.open_trial(one_seed)
    (one_seed / "result.json").unlink()
    with pytest.raises(RunError, match=r"holds no result\.json"):
        report.open_trial(one_seed)


def test_seeds_of_different_recipes_are_refused(three_seeds: Path) -> None:
    write_run(three_seeds / "seed-3", tiny_data(), [], seed=3, epochs=3)
    with pytest.raises(RunError, match="differ in more than their seed"):
        report.open_trial(three_seeds)


def test_other_test_images_are_refused(one_seed: Path) -> None:
    trial, data = report.open_trial(one_seed), tiny_data()
    shuffled = Split(data.test.images, data.test.labels.flip(0))
    others = Data("mnist", data.train, shuffled, CLASSES, GLYPH.with_statistics(0.1, 0.3))
    for other in (others, tiny_data(test=100)):
        with pytest.raises(RunError, match=r"are not those that .* was tested on"):
            report.read_answers(trial, other)


def test_the_worst_mistake_is_the_surest_one() -> None:
    logits = torch.tensor([[0.0, 1, 0], [0, 5, 0], [9, 0, 0], [0, 0, 3]])
    answers = Answers(logits[None], torch.tensor([0, 0, 0, 1]))
    assert answers.worst(9).tolist() == [1, 3, 0]
    assert answers.worst(1).tolist() == [1]
    # e² / (e² + 2) = 0.79 is surer than e³ / (e³ + e²·⁹ + 1) = 0.51, though its loss is lower.
    close = torch.tensor([[0.0, 2, 0], [0, 3, 2.9]])
    assert Answers(close[None], torch.tensor([0, 0])).worst(2).tolist() == [0, 1]


def test_seeds_answer_with_their_mean_probabilities() -> None:
    sure_of_0, leaning_to_1 = torch.tensor([[9.0, 0]]), torch.tensor([[0, 0.5]])
    answers = Answers(torch.stack([sure_of_0, leaning_to_1]), torch.tensor([1]))
    assert answers.correct.tolist() == [[False], [True]]
    assert answers.confusion.tolist() == [[0, 0], [1, 1]]
    assert answers.worst(5).tolist() == [0]


def test_a_report_writes_every_file_and_leaves_matplotlib_as_it_was(one_seed: Path) -> None:
    before = dict(matplotlib.rcParams)
    files = report.write_report(one_seed, tiny_data())
    assert dict(matplotlib.rcParams) == before
    assert sorted(str(file.relative_to(one_seed)) for file in files) == [
        "README.md", "badges/accuracy.svg", "badges/parameters.svg", "plots/augmented.png",
        "plots/confusion.png", "plots/curves.png", "plots/examples.png", "plots/mistakes.png",
        "plots/reliability.png", "summary.txt",
    ]  # fmt: skip
    for file in files:
        if file.suffix == ".png":
            with Image.open(file) as picture:
                assert picture.format == "PNG"
                assert min(picture.size) > 200
    links = re.findall(r"\]\((.+?)\)", (one_seed / "README.md").read_text("utf-8"))
    assert len(links) == 6
    assert all((one_seed / link).is_file() for link in links)


def test_a_report_leaves_out_what_has_nothing_to_show(tmp_path: Path) -> None:
    run = write_run(tmp_path / "clean", tiny_data(), [], rotation=0.0)
    names = {file.name for file in report.write_report(run, tiny_data())}
    assert "augmented.png" not in names
    assert "mistakes.png" not in names
    assert "Nothing is misclassified." in (run.path / "README.md").read_text("utf-8")


def read_card(path: Path, data: Data) -> tuple[dict[str, Any], str]:
    """The front matter, whose values are JSON, and the rest."""
    report.write_report(path, data)
    _, front, text = (path / "README.md").read_text("utf-8").split("---\n", 2)
    entries = (line.split(": ", 1) for line in front.strip().split("\n"))
    return {key: json.loads(value) for key, value in entries}, text


def test_the_card_of_one_seed_says_how_little_that_is(one_seed: Path) -> None:
    front, text = read_card(one_seed, tiny_data())
    assert "# tiny_mnist on MNIST" in text
    assert "**98.50 %** of 200 test images are classified correctly, by 9,146 parameters" in text
    # Wilson's interval of 197 in 200; two runs differ by √(2.82² + 0.99²) points by chance.
    assert "One seed: another one will differ." in text
    assert "on 200 images leaves it anywhere from 95.68 to 99.49 % (Wilson)" in text
    assert "less than 2.99 points apart can hardly be told apart" in text
    assert "(Wilson, over images)" in text
    assert "3 taken for 4 (2 of 3)" in text
    assert "**Target.**" in text
    assert "read 1 × in each run" in text
    assert "an abacus, 2 cores; workers 2, float32, contiguous" in text
    assert "rotation = 10.0" in text
    assert front["datasets"] == ["ylecun/mnist"]
    metric = front["model-index"][0]["results"][0]["metrics"][0]
    assert metric == {"type": "accuracy", "name": "test accuracy, one seed", "value": 0.985}


def test_the_card_of_seeds_gives_mean_and_spread(three_seeds: Path) -> None:
    front, text = read_card(three_seeds, tiny_data())
    assert "**98.00 ± 1.00 %** of 200 test images" in text
    assert "over 3 seeds, all of them counted; the lowest is 97.00 %" in text
    assert "95.52 to 100.48 % (Student's t, over seeds)" in text
    assert "| seeds | 3 (0, 1, 2) |" in text
    assert "--recipe seed-0/recipe.toml --seeds 3" in text
    metric = front["model-index"][0]["results"][0]["metrics"][0]
    assert metric["name"] == "test accuracy, mean over 3 seeds"
    assert metric["value"] == 0.98


def test_the_card_says_loudly_that_digits_are_not_mnist(tmp_path: Path) -> None:
    data = tiny_data("digits")
    front, text = read_card(write_run(tmp_path / "d", data, [1]).path, data)
    assert "> [!WARNING]\n> **This is not MNIST.**" in text
    assert "datasets" not in front


def test_a_budget_becomes_the_target(three_seeds: Path) -> None:
    budget = Budget(title="Under 10,000 parameters, 99 %", max_params=9_999, min_accuracy=0.99)
    few = Rule("max_params", 9_999, 9_146, True)
    short = Rule("min_accuracy", 0.99, 0.98, False, "1.00 points short")
    goal = budget, Verdict((few, short), unmeasured=("min_last_accuracy",))
    report.write_report(three_seeds, tiny_data(), goal)
    text = (three_seeds / "README.md").read_text("utf-8")
    assert "**Target.** Under 10,000 parameters, 99 %." in text
    assert "The target is not met: min_accuracy; not measured: min_last_accuracy." in text
    assert "| max_params | 9,999 | 9,146 | yes |  |" in text
    assert "| min_accuracy | 99.00 % | 98.00 % | **no** | 1.00 points short |" in text
    # Student's t with two degrees of freedom beyond 1 / √(4 / 3) standard deviations.
    assert "One more seed would reach 99.00 % with probability 0.24." in text


@pytest.mark.parametrize(
    ("train", "val", "words"),
    [
        (0.999, 0.98, "it overfits by 1.90 points"),
        (0.95, 0.98, "training is the harder of the two"),
        (0.981, 0.98, "the two are close"),
    ],
)
def test_the_analysis_reads_the_gap(one_seed: Path, train: float, val: float, words: str) -> None:
    run = Run(one_seed)
    run.write_result(run.result() | {"train_accuracy": train, "val_accuracy": val})
    assert words in read_card(one_seed, tiny_data())[1]


def test_the_analysis_reads_the_last_epochs(tmp_path: Path) -> None:
    run = write_run(tmp_path / "long", tiny_data(), [], epochs=4)
    text = read_card(run.path, tiny_data())[1]
    assert "Validation accuracy stays between 96.67 % and 97.50 % over the last 2 epochs." in text


def test_the_summary_adds_up(one_seed: Path) -> None:
    report.write_report(one_seed, tiny_data())
    lines = (one_seed / "summary.txt").read_text("utf-8").splitlines()
    assert lines[0] == "tiny_mnist"
    first = "0 Conv2d 8×28×28 80 0.9% 56,448 19.5% 3 1"  # 8 · 9 + 8; 28² · 9 · 8
    assert " ".join(lines[4].split()) == first
    assert " ".join(lines[-5].split()) == "total 9,146 290,080 34"
    assert lines[-3] == "9,146 of 9,146 parameters are trainable"


def test_a_badge_is_whole_xml_that_says_its_figure() -> None:
    root = ElementTree.fromstring(badge("a < b", "98.50 %"))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["a < b", "98.50 %"]
    assert root.get("aria-label") == "a < b: 98.50 %"


def test_a_block_is_written_between_its_markers_and_nowhere_else(
    one_seed: Path, tmp_path: Path
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(
        "# Mine\n<!-- smidgen:begin one --><!-- smidgen:end one -->\nkept ü\n", "utf-8"
    )
    trial = report.open_trial(one_seed)
    assert not report.is_current(trial, readme)
    report.inject(trial, readme)
    text = readme.read_text("utf-8")
    assert report.is_current(trial, readme)
    assert text.startswith("# Mine\n<!-- smidgen:begin one -->\n")
    assert text.endswith("\n<!-- smidgen:end one -->\nkept ü\n")
    assert "| `tiny_mnist` | MNIST | 9,146 | 2 | 220 | 1 | 98.50 % | 95.68 to 99.49 % (Wil" in text
    assert "![test accuracy](one/badges/accuracy.svg)" in text
    report.inject(trial, readme)
    assert readme.read_text("utf-8") == text


def test_a_changed_figure_is_noticed(one_seed: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("<!-- smidgen:begin one -->\n<!-- smidgen:end one -->")
    trial = report.open_trial(one_seed)
    report.inject(trial, readme)
    readme.write_text(readme.read_text("utf-8").replace("98.50", "99.50"), "utf-8")
    assert not report.is_current(trial, readme)


def test_windows_line_ends_stay(one_seed: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_bytes(b"a\r\n<!-- smidgen:begin one -->\r\n<!-- smidgen:end one -->\r\n")
    trial = report.open_trial(one_seed)
    report.inject(trial, readme)
    assert readme.read_bytes().count(b"\n") == readme.read_bytes().count(b"\r\n") > 8
    assert report.is_current(trial, readme)


def test_a_run_elsewhere_is_linked_from_the_readme(one_seed: Path, tmp_path: Path) -> None:
    readme = tmp_path / "docs" / "page.md"
    readme.parent.mkdir()
    readme.write_text("<!-- smidgen:begin ../one -->\n<!-- smidgen:end ../one -->")
    report.inject(report.open_trial(one_seed), readme)
    assert "(../one/plots/curves.png)" in readme.read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "# no markers",
            "does not hold one pair of markers for 'one'; write <!-- smidgen:begin one",
        ),
        ("<!-- smidgen:begin old --><!-- smidgen:end old -->", r"\(it has markers of old\)"),
        ("<!-- smidgen:end one --><!-- smidgen:begin one -->", "does not hold one pair"),
        ("<!-- smidgen:begin one -->", "does not hold one pair"),
        (2 * "<!-- smidgen:begin one --><!-- smidgen:end one -->", "does not hold one pair"),
    ],
)
def test_missing_and_stale_markers_are_refused(
    one_seed: Path, tmp_path: Path, text: str, message: str
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    for act in (report.inject, report.is_current):
        with pytest.raises(RunError, match=message):
            act(report.open_trial(one_seed), readme)
    assert readme.read_text() == text


def test_a_readme_that_cannot_be_read_is_refused(one_seed: Path, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("Grüße".encode("latin-1"))
    for name in ("nowhere", "latin"):
        with pytest.raises(RunError, match=f"cannot read .*{name}"):
            report.inject(report.open_trial(one_seed), tmp_path / name)


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


def test_report_lists_what_it_wrote(digits_runs: Path) -> None:
    written = json.loads(call("report", "a", "--json").stdout)["files"]
    assert "a/README.md" in written
    assert all((digits_runs / file).is_file() for file in written)
    assert call("report", "a").stdout.split() == written


def test_report_takes_its_target_from_a_budget(digits_runs: Path) -> None:
    assert call("report", "a", "--budget", "era-25k-first-epoch").exit_code == 0
    text = (digits_runs / "a" / "README.md").read_text("utf-8")
    assert "**Target.** Course brief: under 25,000 parameters, 95 % in the first epoch." in text
    assert "| max_params | 24,999 | 9,146 | yes |  |" in text


def test_report_keeps_a_readme_true(digits_runs: Path) -> None:
    Path("R.md").write_text("<!-- smidgen:begin a -->\n<!-- smidgen:end a -->\n")
    stale = call("report", "a", "--check", "R.md")
    assert stale.exit_code == 1
    assert "to mend it: smidgen report a --inject R.md" in stale.stdout
    assert call("report", "a", "--inject", "R.md").exit_code == 0
    fresh = call("report", "a", "--check", "R.md", "--json")
    assert fresh.exit_code == 0
    assert json.loads(fresh.stdout) == {"run": "a", "readme": "R.md", "current": True}


def test_the_card_says_what_images_the_network_knows() -> None:
    photo = Preprocess("photo", InputShape(3, 48, 64), (0.5,) * 3, (0.25,) * 3)
    assert "28 × 28 grey images, in which one light shape" in limits(GLYPH)
    assert "48 × 64 colour images, the largest part in the middle" in limits(photo)
