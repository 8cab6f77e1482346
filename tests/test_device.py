from __future__ import annotations

import pytest
import torch

from smidgen.errors import RecipeError
from smidgen.train.device import choose_device


def test_the_best_device_there_is_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    assert choose_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda:1") == torch.device("cuda", 1)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"--device 'tpu' is not available .* choose from cpu"):
        choose_device("tpu")
