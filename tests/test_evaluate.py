"""What a trained network makes of pictures in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from smidgen.evaluate import predict
from smidgen.inputs import InputShape, Preprocess
from smidgen.target import Target


class MeanColour(nn.Module):
    """Its logits are the means of the three channels."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


@pytest.fixture
def colours() -> Target:
    preprocess = Preprocess("photo", InputShape(3, 8, 12), (0.5,) * 3, (0.25,) * 3)
    names = ("red", "green", "blue")
    return Target("mean", MeanColour(), preprocess, names, "", run=None, trained=True)


def test_a_picture_of_any_size_is_classified_by_its_colours(
    colours: Target, tmp_path: Path
) -> None:
    pixels = np.zeros((30, 20, 3), np.uint8)
    pixels[:8], pixels[8:22], pixels[22:] = (255, 0, 0), (10, 20, 200), (0, 255, 0)
    Image.fromarray(pixels).save(tmp_path / "stripes.png")
    (found,) = predict(colours, [tmp_path / "stripes.png"])
    assert found["label"] == "blue"  # the part in the middle, 20 × 13
    logits = [(level / 255 - 0.5) / 0.25 for level in (10, 20, 200)]
    expected = torch.tensor(logits).softmax(0).tolist()
    assert list(found["probabilities"].values()) == pytest.approx(expected, abs=1e-6)


def test_a_grey_picture_is_three_equal_channels(colours: Target, tmp_path: Path) -> None:
    Image.fromarray(np.arange(96, dtype=np.uint8).reshape(8, 12)).save(tmp_path / "grey.png")
    (found,) = predict(colours, [tmp_path / "grey.png"])
    assert list(found["probabilities"].values()) == pytest.approx([1 / 3] * 3, abs=1e-6)
