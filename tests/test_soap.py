from __future__ import annotations

from math import sqrt
from pathlib import Path

import pytest
import torch

from smidgen.data import Data
from smidgen.errors import TrainingError
from smidgen.recipe import Recipe, Soap, override, parse_recipe
from smidgen.train import Progress, fit, resume, soap
from smidgen.train.flat import flatten, views
from smidgen.train.soap import step_soap


def steps(
    parameters: torch.Tensor,
    tensors: list[torch.Tensor],
    gradients: list[torch.Tensor],
    settings: Soap,
) -> torch.Tensor:
    state: dict[str, torch.Tensor] = {}
    for gradient in gradients:
        step_soap(parameters, gradient, tensors, state, settings.lr, settings)
    return parameters


def test_until_the_first_basis_it_is_adamw() -> None:
    gradients = torch.tensor([[1.0, -2.0, 0.5], [0.5, 1.0, -3.0], [2.0, 0.0, 1.0]])
    ours, theirs = torch.ones(3), torch.nn.Parameter(torch.ones(3))
    mine = steps(ours, [ours], list(gradients), Soap(lr=0.1, weight_decay=0.2))
    adamw = torch.optim.AdamW([theirs], 0.1, (0.9, 0.99), 1e-8, weight_decay=0.2)
    for gradient in gradients:
        theirs.grad = gradient
        adamw.step()
    torch.testing.assert_close(mine, theirs.detach())


def test_a_step_in_the_eigenbasis_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients along (1, 1) and then (1, -1), which are the eigenvectors of their covariance.

    Before it turns, Adam's mean is (0.2, 0.2), that is 0.2 √2 along (1, 1) / √2, and its squares
    0.04 along either axis; the second gradient is √2 long.
    """
    monkeypatch.setattr(soap, "FREQUENCY", 2)
    settings, gradients = Soap(lr=0.1, eps=1e-30), torch.tensor([[2.0, 2.0], [1.0, -1.0]])
    first, second = torch.zeros(2), torch.zeros(2)
    steps(first, [first], list(gradients[:1]), settings)
    torch.testing.assert_close(first, torch.tensor([-0.1, -0.1]))
    along = 0.9 * 0.2 * sqrt(2) / (1 - 0.9**2) / sqrt(0.99 * 0.04 / (1 - 0.99**2))
    across = 0.1 * sqrt(2) / (1 - 0.9**2) / sqrt((0.99 * 0.04 + 0.01 * 2) / (1 - 0.99**2))
    expected = first - 0.1 * torch.tensor([along + across, along - across]) / sqrt(2)
    torch.testing.assert_close(steps(second, [second], list(gradients), settings), expected)


def test_other_axes_of_a_matrix_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turned rows and columns take turned steps, as no optimiser does that sees single weights."""
    monkeypatch.setattr(soap, "FREQUENCY", 1)
    monkeypatch.setattr(soap, "WHOLE", 0)
    chance = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=chance, dtype=torch.float64)

    rows, columns = torch.linalg.qr(normal(2, 2)).Q, torch.linalg.qr(normal(3, 3)).Q
    weights, bias, gradients = normal(2, 3), normal(2), [normal(2, 3) for _ in range(4)]

    def trained(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        tensors = [left @ weights @ right, left @ bias]
        turned = [flatten([left @ each @ right, left @ each[:, 0]]) for each in gradients]
        settings = Soap(lr=0.1, weight_decay=0.1)
        matrix, vector = views(tensors, steps(flatten(tensors), tensors, turned, settings))
        return torch.cat([left.T @ matrix @ right.T, (left.T @ vector)[:, None]], dim=1)

    plain = trained(torch.eye(2).double(), torch.eye(3).double())
    torch.testing.assert_close(trained(rows, columns), plain)


def test_the_layout_of_the_weights_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels last, they lie otherwise in the vector."""
    monkeypatch.setattr(soap, "FREQUENCY", 1)
    monkeypatch.setattr(soap, "WHOLE", 0)
    chance = torch.Generator().manual_seed(0)
    gradients = [torch.randn(4, 3, 2, 2, generator=chance).double() for _ in range(3)]

    def trained(layout: torch.memory_format) -> torch.Tensor:
        tensors = [torch.zeros(4, 3, 2, 2).double().contiguous(memory_format=layout)]
        laid = [flatten([gradient.contiguous(memory_format=layout)]) for gradient in gradients]
        return views(tensors, steps(flatten(tensors), tensors, laid, Soap(lr=0.1)))[0]

    torch.testing.assert_close(trained(torch.channels_last), trained(torch.contiguous_format))


@pytest.fixture(params=["smidgen_697", "tiny_mnist"])
def small(
    request: pytest.FixtureRequest, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> Recipe:
    """Whole, or a matrix at a time; eight steps an epoch, a new basis every five."""
    monkeypatch.setattr(soap, "FREQUENCY", 5)
    document = recipe.model_dump(exclude_none=True)
    document |= {"model": request.param, "workers": 1, "optimizer": {"name": "soap", "lr": 0.01}}
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


def test_a_lost_loss_stops_the_training(few: Data, small: Recipe, tmp_path: Path) -> None:
    small = override(small, {"optimizer.lr": 1e30, "epochs": 1})
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 1"):
        fit(small, few, tmp_path / "run")
