from __future__ import annotations

import re
from importlib import metadata
from typing import Any

import pytest
import torch
from torch import nn

from smidgen.data import Data
from smidgen.errors import ModelError
from smidgen.inference import accuracy, logits
from smidgen.network import guess_input
from smidgen.target import load
from smidgen.zoo import (
    create_model,
    has_weights,
    list_models,
    register_model,
    registry,
    shipped_accuracy,
    weights,
    weights_header,
)

COUNTS = {
    "mnist_net": 108_864,
    "skip_13k": 13_272,
    "tiny_mnist": 9_146,
    "tiny_net": 22_334,
}
BOUNDS = {
    "mnist_net_25k": (0, 24_999),
    "mnist_net_13k": (12_500, 13_500),
    "mnist_classifier": (0, 19_999),
    "net": (1_000_001, 2_000_000),
}
OURS = {
    "smidgen_575": 575,
    "smidgen_697": 697,
    "smidgen_1k": 1_000,
    "smidgen_1936": 1_936,
    "smidgen_4142": 4_142,
    "smidgen_mcu": 8_000,
    "smidgen_8k": 7_999,
    "smidgen_8k_written": 7_999,
    "smidgen_robust_8k": 7_999,
    "smidgen_20k": 19_999,
    "smidgen_25k": 24_999,
    "smidgen_1epoch": 24_999,
    "smidgen_fast": 24_999,
    "smidgen_fashion_8k": 7_999,
    "smidgen_fashion_25k": 24_999,
    "smidgen_cifar_25k": 24_999,
    "smidgen_cifar_78k": 78_666,  # MLPerf Tiny's ResNet
}


def size(name: str) -> int:
    return sum(parameter.numel() for parameter in create_model(name).parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_exact_counts(name: str) -> None:
    assert size(name) == COUNTS[name]


@pytest.mark.parametrize("name", BOUNDS)
def test_bounded_counts(name: str) -> None:
    low, high = BOUNDS[name]
    assert low <= size(name) <= high


@pytest.mark.parametrize("name", OURS)
def test_our_own_keep_their_budgets(name: str) -> None:
    assert size(name) <= OURS[name]


@pytest.mark.parametrize("name", list_models())
def test_every_model_classifies_images(name: str) -> None:
    model = create_model(name)
    images = torch.randn(3, *guess_input(model), generator=torch.Generator().manual_seed(0))
    logits = model(images)
    assert logits.shape == (3, 10)
    logits.logsumexp(dim=1).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    model.eval()
    torch.testing.assert_close(model(images)[:1], model(images[:1]))  # images do not mix
    assert create_model(name, classes=26)(images).shape == (3, 26)


@pytest.mark.parametrize("name", [name for name in list_models() if has_weights(name)])
def test_the_accuracy_of_shipped_weights_was_measured_on_them(name: str) -> None:
    measured = shipped_accuracy(name)  # None for weights that were replaced since
    assert measured is not None
    least = {"mnist": 0.97, "fashion_mnist": 0.9, "cifar10_jpeg": 0.83}
    assert measured > least[weights_header(name)["data"]]
    assert measured < 1


def test_the_accuracy_of_a_small_model_is_what_is_measured(mnist: Data) -> None:
    target = load("smidgen_575")
    found = accuracy(logits(target.model, mnist.test.images, target.preprocess), mnist.test.labels)
    assert round(found, 4) == shipped_accuracy("smidgen_575")
    assert shipped_accuracy("net") is None


@pytest.mark.parametrize("name", [name for name in list_models() if has_weights(name)])
def test_shipped_weights_fit(name: str) -> None:
    model = create_model(name, pretrained=True)
    assert not model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights(name)[key]), key
        assert torch.isfinite(value.double()).all(), key


def test_all_weights_but_nets_ship() -> None:
    documents = [*COUNTS, *BOUNDS]
    assert [name for name in documents if not has_weights(name)] == ["net"]


def test_models_are_listed_by_pattern() -> None:
    assert list_models("tiny_*") == ["tiny_mnist", "tiny_net"]
    assert list_models("nothing*") == []


def test_unknown_models_are_refused() -> None:
    with pytest.raises(ModelError, match="unknown model 'tiny_mnst'; did you mean 'tiny_mnist'"):
        create_model("tiny_mnst")
    with pytest.raises(ModelError, match=r"no weights ship with 'net', only with .*tiny_mnist"):
        create_model("net", pretrained=True)


def test_models_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_builders", dict(registry._builders))

    @register_model
    def line(classes: int = 10) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, classes))

    assert size("line") == 7850

    def line_again() -> nn.Module:
        return nn.Identity()

    line_again.__name__ = "line"
    with pytest.raises(ModelError, match="'line' is registered already"):
        register_model(line_again)


def test_entry_points_add_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def foreign(classes: int = 10) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, classes))

    class Entry:
        def load(self) -> object:
            return foreign

    found = [Entry()]
    monkeypatch.setattr(
        metadata, "entry_points", lambda group: found if group == "smidgen.models" else []
    )
    monkeypatch.setattr(registry, "_builders", dict(registry._builders))
    registry._load_entry_points.cache_clear()
    assert "foreign" in list_models()


def test_a_model_of_ten_classes_need_not_know_the_option() -> None:
    def ten_digits() -> nn.Module:
        return nn.Flatten()

    register_model(ten_digits)
    try:
        assert isinstance(create_model("ten_digits", classes=10), nn.Flatten)
        with pytest.raises(ModelError, match="is made for classes = 10, not 26"):
            create_model("ten_digits", classes=26)
    finally:
        del registry._builders["ten_digits"]


ANY_INPUT = ("smidgen_chain", "smidgen_residual", "smidgen_8k", "smidgen_mcu", "smidgen_25k")


@pytest.mark.parametrize("name", ANY_INPUT)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 96, 96), (3, 40, 57)])
def test_a_family_takes_any_input(name: str, shape: tuple[int, int, int]) -> None:
    model = create_model(name, classes=4, input=shape)
    assert model(torch.zeros(2, *shape)).shape == (2, 4)
    assert create_model(name, in_chans=3)(torch.zeros(2, 3, 28, 28)).shape == (2, 10)


def test_families_are_made_by_widths() -> None:
    chain = create_model("smidgen_chain", widths=(16, 28, 44, 48, 40), dropout=0.02)
    assert chain.state_dict().keys() == create_model("smidgen_8k").state_dict().keys()
    wide = create_model("smidgen_residual", widths=(8, 12), blocks=(1, 2), input=(3, 16, 16))
    # Stem 3 * 9 * 8 + 16, block 9 * 8 + 64 + 16, to 12: 9 * 8 + 96 + 24, blocks, head 12 * 10 + 10.
    assert sum(p.numel() for p in wide.parameters()) == 232 + 152 + 192 + 2 * (108 + 144 + 24) + 130


def test_a_new_head_on_a_trained_body() -> None:
    model = create_model("smidgen_8k", classes=26, pretrained=True)
    shipped, own = weights("smidgen_8k"), model.state_dict()
    other = [key for key in own if not torch.equal(own[key], shipped[key])]
    assert [tuple(own[key].shape) for key in other] == [(26, 40, 1, 1), (26,)]
    assert not model.training


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input": (3, 28, 28), "pretrained": True}, "are for another input: 0.0.weight is"),
        ({"name": "tiny_mnist", "input": (3, 32, 32)}, "made for input = 1x28x28, not (3, 32, 32)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=re.escape(said)):
        create_model(**({"name": "smidgen_8k"} | options))
