"""Tensors as windows on a vector, and running averages."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from smidgen.train.flat import FlatParameters, ShardSums


def module() -> nn.Module:
    """2 + 1 parameters of a linear layer, 1 + 1 of a batch norm; a running mean and variance."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))


def test_the_module_is_a_window_on_the_vectors() -> None:
    weights = FlatParameters(module())
    assert weights.averaged is weights.module
    weights.parameters.data.copy_(torch.arange(5.0))
    weights.statistics.copy_(torch.tensor([7.0, 8.0]))
    linear, norm = weights.module
    assert linear.weight.tolist() == [[0.0, 1.0]]
    assert [linear.bias.item(), norm.weight.item(), norm.bias.item()] == [2.0, 3.0, 4.0]
    assert [norm.running_mean.item(), norm.running_var.item()] == [7.0, 8.0]


def test_the_averages_follow_the_weights() -> None:
    weights = FlatParameters(module(), ema=0.5)
    start, bias = weights.parameters.detach().clone(), weights.averaged[0].bias.item()
    weights.parameters.data.add_(1)
    weights.statistics.add_(2)
    weights.average(step=0)  # a decay of 1 / 10 at first
    torch.testing.assert_close(weights.mean_parameters, start + 0.9)
    weights.average(step=1000)  # 0.5 later
    torch.testing.assert_close(weights.mean_parameters, start + 0.95)
    assert weights.averaged[0].bias.item() == pytest.approx(bias + 0.95)
    assert weights.averaged[1].running_mean.item() == pytest.approx(0 + 1.9)
    assert weights.averaged[1].running_var.item() == pytest.approx(1 + 1.9)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_state_is_taken_back(ema: float) -> None:
    weights, other = FlatParameters(module(), ema), FlatParameters(module(), ema)
    weights.parameters.data.add_(1)
    weights.statistics.add_(1)
    weights.average(step=5)
    other.load(weights.state())
    assert len(other.state()) == (4 if ema else 2)
    for name, vector in other.state().items():
        assert torch.equal(vector, weights.state()[name])
    pairs = zip(
        weights.averaged.state_dict().values(), other.averaged.state_dict().values(), strict=True
    )
    assert all(torch.equal(one, two) for one, two in pairs)


def test_sums_start_from_the_statistics_which_clearing_keeps() -> None:
    sums = ShardSums(FlatParameters(module()))
    assert sums.vector.tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 1]  # a mean of 0, a variance of 1
    sums.gradient.fill_(2)
    sums.score.fill_(3)
    sums.statistics.fill_(4)
    assert sums.vector.tolist() == [2] * 5 + [3] * 2 + [4] * 2
    sums.clear()
    assert sums.vector.tolist() == [0] * 7 + [4] * 2
    sums.vector.copy_(torch.arange(9))
    assert [part.tolist() for part in (sums.gradient, sums.score, sums.statistics)] == [
        [0, 1, 2, 3, 4], [5, 6], [7, 8],
    ]  # fmt: skip


def test_a_module_without_batch_norm_has_no_statistics() -> None:
    sums = ShardSums(FlatParameters(nn.Linear(1, 1)))
    assert sums.statistics.numel() == 0
    sums.gradient.fill_(1)
    sums.clear()
    assert sums.vector.tolist() == [0] * 4
