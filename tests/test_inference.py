"""Logits on all cores against the module itself; accuracies by hand."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from smidgen.data import normalise
from smidgen.errors import DataError
from smidgen.inference import accuracy, count_correct, logits
from smidgen.inputs import InputShape, Preprocess
from smidgen.mnist import GLYPH
from smidgen.network import one_thread_per_operator


def network() -> nn.Module:
    """Batch norm and dropout, which answer otherwise in train mode."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 5), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(),
        nn.Linear(4 * 24 * 24, 3),
    )  # fmt: skip


PREPROCESS = GLYPH.with_statistics(0.2, 0.5)


def some_images(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("count", [7, 600])
def test_logits_are_those_of_the_module_in_eval_mode(count: int) -> None:
    module, images = network(), some_images(count)
    found = logits(module, images, PREPROCESS)
    assert not module.training
    assert found.dtype == torch.float32
    assert found.shape == (count, 3)
    torch.testing.assert_close(found, module((images.float() / 255 - 0.2) / 0.5))


def test_logits_do_not_depend_on_cores_or_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    module, images = network(), some_images(600)
    found = logits(module, images, PREPROCESS)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert torch.equal(logits(module, images, PREPROCESS), found)


def test_images_that_were_scaled_already_are_refused() -> None:
    with pytest.raises(DataError, match="uint8 images from 0 to 255"):
        logits(network(), normalise(some_images(2), PREPROCESS), PREPROCESS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32])
def test_accuracy_by_hand(dtype: torch.dtype) -> None:
    answers = torch.tensor([[1, 2, 0], [5, 5, 5], [0, 1, 9], [7, 7, 1]], dtype=dtype)
    labels = torch.tensor([1, 0, 0, 1])  # right; right, the first of equals; wrong; wrong
    assert count_correct(answers, labels).item() == 2
    assert accuracy(answers, labels) == 0.5


def fail() -> None:
    raise RuntimeError(f"{torch.get_num_threads()} thread")


def test_threads_are_given_back_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="1 thread"), one_thread_per_operator():
            fail()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class Viewed(nn.Sequential):
    """Asks for contiguous maps, as many networks that people write do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = super().forward(x)
        return maps.view(len(maps), -1)[:, :10]


@pytest.mark.parametrize("container", [nn.Sequential, Viewed])
@pytest.mark.parametrize("channels", [1, 3])
def test_chunks_are_fast_for_some_and_right_for_all(
    container: type[nn.Module], channels: int
) -> None:
    torch.manual_seed(0)
    module = container(
        nn.Conv2d(channels, 6, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(6, 10, 3)
    )  # fmt: skip
    strides = [parameter.stride() for parameter in module.parameters()]
    preprocess = Preprocess("photo", InputShape(channels, 9, 12), (0.4,), (0.2,))
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (600, channels, 9, 12), dtype=torch.uint8, generator=generator)
    found = logits(module, images, preprocess)
    torch.testing.assert_close(found, module((images / 255 - 0.4) / 0.2))
    assert [parameter.stride() for parameter in module.parameters()] == strides
