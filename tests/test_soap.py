from __future__ import annotations

from math import sqrt
from pathlib import Path

import pytest
import torch

from smidgen.data import Data
from smidgen.errors import RecipeError, TrainingError
from smidgen.recipe import Recipe, override, parse_recipe
from smidgen.train import Progress, fit, resume, soap
from smidgen.train.soap import Soap


def moved(
    optimizer: torch.optim.Optimizer, parameters: torch.Tensor, *gradients: list[float]
) -> torch.Tensor:
    for gradient in gradients:
        parameters.grad = torch.tensor(gradient)
        optimizer.step()
    return parameters.detach()


def test_until_the_first_basis_it_is_adamw() -> None:
    gradients = [[1.0, -2.0, 0.5], [0.5, 1.0, -3.0], [2.0, 0.0, 1.0]]
    ours, theirs = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    mine = moved(Soap(ours, 0.1, (0.9, 0.99), 1e-8, 0.2), ours, *gradients)
    adamw = torch.optim.AdamW([theirs], 0.1, (0.9, 0.99), 1e-8, weight_decay=0.2)
    torch.testing.assert_close(mine, moved(adamw, theirs, *gradients))


def test_a_step_in_the_eigenbasis_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients along (1, 1) and then (1, -1), which are the eigenvectors of their covariance.

    Before it turns, Adam's mean is (0.2, 0.2), that is 0.2 √2 along (1, 1) / √2, and its squares
    0.04 along either axis; the second gradient is √2 long.
    """
    monkeypatch.setattr(soap, "FREQUENCY", 2)
    parameters = torch.nn.Parameter(torch.zeros(2))
    optimizer = Soap(parameters, 0.1, (0.9, 0.99), 0.0, 0.0)
    first = moved(optimizer, parameters, [2.0, 2.0]).clone()
    torch.testing.assert_close(first, torch.tensor([-0.1, -0.1]))
    along = 0.9 * 0.2 * sqrt(2) / (1 - 0.9**2) / sqrt(0.99 * 0.04 / (1 - 0.99**2))
    across = 0.1 * sqrt(2) / (1 - 0.9**2) / sqrt((0.99 * 0.04 + 0.01 * 2) / (1 - 0.99**2))
    expected = first - 0.1 * torch.tensor([along + across, along - across]) / sqrt(2)
    torch.testing.assert_close(moved(optimizer, parameters, [1.0, -1.0]), expected)


@pytest.fixture
def small(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """678 parameters, eight steps an epoch, a new basis every five."""
    monkeypatch.setattr(soap, "FREQUENCY", 5)
    document = recipe.model_dump(exclude_none=True)
    document |= {"model": "smidgen_697", "workers": 1, "optimizer": {"name": "soap", "lr": 0.01}}
    return parse_recipe(document, source="test")


def test_a_killed_run_resumes_to_the_same_bits(few: Data, small: Recipe, tmp_path: Path) -> None:
    def kill_in_second_epoch(progress: Progress) -> None:
        if progress.epoch == 2:
            raise InterruptedError("killed")

    whole = fit(small, few, tmp_path / "whole")
    with pytest.raises(InterruptedError, match="killed"):
        fit(small, few, tmp_path / "killed", watch=kill_in_second_epoch)
    resumed = resume(tmp_path / "killed", few).state_dict()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed[name])


def test_too_many_parameters_are_refused(few: Data, recipe: Recipe, tmp_path: Path) -> None:
    recipe = override(recipe, {"model": "smidgen_8k", "optimizer.name": "soap"})
    with pytest.raises(RecipeError, match=r"7,842 parameters are too many, 5,000 are allowed"):
        fit(recipe, few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_lost_loss_stops_the_training(few: Data, small: Recipe, tmp_path: Path) -> None:
    small = override(small, {"optimizer.lr": 1e30, "epochs": 1})
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 1"):
        fit(small, few, tmp_path / "run")
