"""What the course asks of a network, and what every network owes its reader. No training run."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from model import Net
from torch import nn

from smidgen import load_data
from smidgen.augment import augment
from smidgen.data import Data, normalise
from smidgen.recipe import load_recipe
from smidgen.testing import assert_fits


@pytest.fixture(scope="session")
def digits() -> Data:
    """Real handwriting that comes with scikit-learn: nothing to download."""
    return load_data("digits")


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def test_budget() -> None:
    """Parameters, batch norm after every convolution but the last, dropout, global pool, no dense
    layer; and that the output does not depend on the batch, that nothing is unused, and so on."""
    assert_fits(Net(), "era-8k")


def test_parameter_count() -> None:
    assert sum(parameter.numel() for parameter in Net().parameters()) < 8_000


@pytest.mark.parametrize("count", [1, 2, 33])
def test_output_shape(count: int) -> None:
    assert Net().eval()(images(count)).shape == (count, 10)


def test_forward_is_stable() -> None:
    model = Net().eval()
    for batch in (images(4), 100 * images(4), torch.zeros(4, 1, 28, 28)):
        assert model(batch).isfinite().all()


def test_probabilities_sum_to_one() -> None:
    probabilities = Net().eval()(images(8)).softmax(dim=1)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(8))


def test_augmentation_moves_the_digit_and_keeps_the_background(digits: Data) -> None:
    settings = load_recipe("recipe.toml").augment
    before = digits.train.images[:64]
    after = augment(before, settings, torch.Generator().manual_seed(0))
    again = augment(before, settings, torch.Generator().manual_seed(0))
    assert after.shape == before.shape
    assert torch.equal(after, again)
    assert (after - before).abs().mean() > 1
    assert after.min() >= 0
    assert after.max() <= 255.01  # interpolation rounds
    assert after[:, :, 0, 0].median() == 0  # the border is background, before normalisation


def test_normalisation(digits: Data) -> None:
    normalised = normalise(digits.train.images, digits.preprocess)
    assert normalised.mean().item() == pytest.approx(0, abs=0.01)
    assert normalised.std().item() == pytest.approx(1, abs=0.01)


def test_dropout_is_active_in_training_only() -> None:
    model, batch = Net(), images(4)
    model.eval()
    assert torch.equal(model(batch), model(batch))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    with torch.random.fork_rng():
        assert not torch.equal(model(batch), model(batch))


def test_learns(digits: Data) -> None:
    """Thirty steps on 128 digits take the loss down to a third."""
    torch.manual_seed(0)
    model = Net().train()
    batch = normalise(digits.train.images[:128], digits.preprocess)
    labels = digits.train.labels[:128]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(model(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
