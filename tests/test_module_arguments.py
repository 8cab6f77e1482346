"""Modules and names where Python's functions take targets and data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import smidgen
from smidgen.data import Data
from smidgen.errors import BudgetError, DataError, ExportError, ModelError, RecipeError


class Other(nn.Module):
    """Four logits for images of ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(784, 4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def test_a_module_is_scored_on_images_normalised_as_the_data_say(digits: Data) -> None:
    model = smidgen.create_model("tiny_mnist", pretrained=True)
    facts, test = digits.preprocess, digits.test
    with torch.no_grad():
        answers = model((test.images / 255 - facts.mean[0]) / facts.std[0]).argmax(dim=1)
    score = smidgen.evaluate(model.train(), digits)
    assert model.training
    assert score["correct"] == (answers == test.labels).sum().item() > 200
    assert smidgen.evaluate(model, "digits") == score
    named = smidgen.load("tiny_mnist")
    assert smidgen.evaluate(named, "digits") == smidgen.evaluate("tiny_mnist", digits)


def test_a_module_is_held_to_a_budget() -> None:
    verdict = smidgen.check(smidgen.create_model("tiny_mnist"), "tiny-mnist")
    by_name = smidgen.check("tiny_mnist", "tiny-mnist")
    assert {rule.rule: rule.actual for rule in verdict.rules} == {
        rule.rule: rule.actual for rule in by_name.rules
    }
    model = Other().train()
    smidgen.check(model, "era-8k")
    assert model.training


def test_pictures_are_named_by_a_name_or_a_target(tmp_path: Path, digits: Data) -> None:
    path = tmp_path / "digit.png"
    Image.fromarray(digits.test.images[0, 0].numpy()).save(path)
    (by_name,) = smidgen.predict("tiny_mnist", path)
    assert [by_name] == smidgen.predict(smidgen.load("tiny_mnist"), [str(path)])
    assert by_name["label"] == max(by_name["probabilities"], key=by_name["probabilities"].get)


def test_an_export_is_proven_on_the_data_that_are_named(tmp_path: Path) -> None:
    written = smidgen.export("tiny_mnist", "hub", tmp_path / "out", data="digits")
    assert written["parity"] == {"images": 300, "label_mismatches": 0, "max_abs_diff": 0.0}
    assert (tmp_path / "out" / "config.json").is_file()


def test_data_and_recipe_may_be_names(tmp_path: Path) -> None:
    run = smidgen.train(
        recipe="tiny_mnist", data="digits", epochs=1, workers=1, out=tmp_path / "run"
    )
    assert (run.recipe.model, run.recipe.data) == ("tiny_mnist", "digits")
    assert smidgen.evaluate(run.path)["n"] == 300


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: smidgen.evaluate(Other()),
            ModelError,
            "name the data, as in evaluate",
        ),
        (
            lambda: smidgen.evaluate(Other(), "digits"),
            ModelError,
            r"answers \(4,\) .*\(N, 10\)",
        ),
        (lambda: smidgen.evaluate(None), ModelError, "a target is a model's name, .* a NoneType"),
        (lambda: smidgen.check(Other()), BudgetError, "name a budget, or its file; .* era-8k"),
        (lambda: smidgen.train(data="digits"), RecipeError, "name a model or a --recipe"),
        (lambda: smidgen.train("tiny_mnist", epochs=0), RecipeError, "^settings: epochs = 0: "),
        (lambda: smidgen.train("tiny_mnist", epocs=1), RecipeError, "did you mean 'epochs'"),
        (lambda: smidgen.describe("tiny_mnist"), ModelError, r"'tiny_mnist' is no module; .*load"),
        (lambda: smidgen.load(Other()), ModelError, "not a Other"),
        (lambda: smidgen.predict("tiny_mnist", "a.png"), DataError, "'a.png'.*check the path"),
        (lambda: smidgen.export("tiny_mnist", "tflite", "x", "digits"), ExportError, "'tflite'"),
        (lambda: smidgen.export([], "c", "x", "digits"), ExportError, "takes one target, not 0"),
    ],
)
def test_what_cannot_be_is_one_line(
    call: Any, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message) as refused:
        call()
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
