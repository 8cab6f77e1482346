"""Scores under corruption, what a detector turns away, and `evaluate --robust`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from smidgen import corruptions
from smidgen.cli import app
from smidgen.corruptions import CORRUPTIONS, corrupt
from smidgen.data import Data, Split
from smidgen.evaluate import evaluate
from smidgen.inputs import InputShape, Preprocess
from smidgen.robustness import corrupted_scores, strangers, turned_away
from smidgen.target import Target, load

PHOTO = Preprocess("photo", InputShape(1, 8, 8), (0.0,), (1.0,))


class DarkOrLight(nn.Module):
    """Class 1 where the mean level is above a half, with a confidence that grows with distance."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return 10 * torch.stack([0.5 - mean, mean - 0.5], dim=1)


@pytest.fixture
def greys() -> tuple[Target, Data]:
    """Sixteen plain images, dark ones of class 0 and light ones of class 1."""
    images = torch.arange(8, 256, 16, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 8, 8)
    split = Split(images, (images[:, 0, 0, 0] > 127).long())
    target = Target("grey", DarkOrLight(), PHOTO, ("dark", "light"), "", run=None, trained=True)
    return target, Data("greys", split, split, ("dark", "light"), PHOTO)


def test_scores_are_the_accuracies_of_corrupted_images(greys: tuple[Target, Data]) -> None:
    target, data = greys
    seen: list[tuple[int, int]] = []
    scores, again = corrupted_scores(
        [target, target], data.test, lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, 80) for done in range(1, 81)]
    assert scores == again
    assert list(scores.accuracy) == list(CORRUPTIONS)
    for name in ("contrast", "pixelate", "defocus_blur", "translate"):
        for strength in range(1, 6):
            light = corrupt(data.test.images, name, strength).double().mean((1, 2, 3)) > 127.5
            right = (light.long() == data.test.labels).double().mean().item()
            assert scores.accuracy[name][strength - 1] == pytest.approx(right), name
    # 0.1 of white lifts the levels 104 (to 129.5) and 120 above a half; 0.5 lifts all eight.
    assert scores.accuracy["brightness"] == [14 / 16, 13 / 16, 11 / 16, 10 / 16, 8 / 16]
    every = [share for shares in scores.accuracy.values() for share in shares]
    assert scores.mean_accuracy == pytest.approx(sum(every) / 80)


def test_evaluate_adds_robustness(greys: tuple[Target, Data]) -> None:
    target, data = greys
    plain, score = evaluate(target, data), evaluate(target, data, robust=True)
    found = score.pop("robustness")
    assert score == plain
    assert found["detector"] is None
    assert sum(each["n"] for each in found["reliability"]) == 16
    error = sum(e["n"] * abs(e["accuracy"] - e["confidence"]) for e in found["reliability"]) / 16
    assert error == pytest.approx(score["ece"])
    assert [each["coverage"] for each in found["coverage"]][:2] == [1.0, 0.99]
    assert found["coverage"][0]["accuracy"] == score["accuracy"] == 1


def test_strangers_by_hand() -> None:
    images = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)
    split = Split(torch.cat([images, 15 - images]), torch.tensor([0, 1]))
    found = strangers(split)
    assert found["noise"].shape == split.images.shape
    expected = [[10, 11, 8, 9], [14, 15, 12, 13], [2, 3, 0, 1], [6, 7, 4, 5]]
    assert found["quarters"][0, 0].tolist() == expected
    lighter = torch.maximum(images, 15 - images)
    assert all(torch.equal(each, lighter[0]) for each in found["pairs"])


def test_the_detector_of_digits_keeps_them_and_turns_strangers_away(digits: Data) -> None:
    found = turned_away(load("smidgen_575"), digits)
    assert found is not None
    assert found["kept"] > 0.9
    assert found["turned_away"].keys() == {"noise", "quarters", "pairs"}
    assert found["turned_away"]["noise"] == 1


def test_few_images_and_photos_have_no_detector(few: Data, greys: tuple[Target, Data]) -> None:
    letters = replace(few, classes=tuple("abcdefghij"))
    assert turned_away(load("smidgen_575"), letters) is None
    assert turned_away(*greys) is None


def test_the_command_prints_tables_of_80_columns_and_draws(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {name: CORRUPTIONS[name] for name in ("brightness", "gaussian_noise")}
    monkeypatch.setattr(corruptions, "CORRUPTIONS", short)
    monkeypatch.setattr("smidgen.robustness.CORRUPTIONS", short)
    plot = tmp_path / "reliability.png"
    line = ["evaluate", str(run_folder), "--robust"]
    shown = CliRunner().invoke(app, [*line, "--plot", str(plot)])
    assert shown.exit_code == 0, shown.output
    assert "mean corruption accuracy" in shown.output
    assert "turned away by the detector" in shown.output
    assert max(map(len, shown.output.splitlines())) <= 80
    assert plot.read_bytes().startswith(b"\x89PNG")
    score = json.loads(CliRunner().invoke(app, [*line, "--json"]).stdout)
    assert list(score["robustness"]["corruptions"]) == list(short)


def test_a_plot_needs_robust(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "tiny_mnist", "--plot", str(tmp_path / "a.png")])
    assert done.exit_code != 0
    assert "add --robust" in str(done.exception) + done.output
    assert not list(tmp_path.iterdir())
