"""The 1,797 handwritten digits that come with smidgen, scaled and centred as in MNIST.

They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998,
doi:10.24432/C50P49, CC BY 4.0), 8 × 8 pixels of 17 levels, in the order of scikit-learn's copy.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import torch

from smidgen.data.dataset import TEST_ONE_IN, Data, Split, mean_and_std, stratified_mask
from smidgen.data.idx import read_split
from smidgen.mnist import CLASSES, GLYPH
from smidgen.preprocess import scale_and_centre

FOLDER = Path(str(resources.files("smidgen") / "data"))
FILES = (FOLDER / "digits-images-idx3-ubyte.gz", FOLDER / "digits-labels-idx1-ubyte.gz")


def load_digits() -> Data:
    """The digits, each enlarged to MNIST's 20 × 20 box with its centre of mass in the middle.

    One in six of every class is held out as the test set, the same ones in every run.
    """
    small = read_split(FILES)
    greys = small.images[:, 0].numpy() * (255 / 16)
    images = torch.from_numpy(np.stack([scale_and_centre(grey) for grey in greys]))
    whole = Split(images[:, None], small.labels)
    held_out = stratified_mask(small.labels.numpy(), TEST_ONE_IN)
    train, test = whole.take(~held_out), whole.take(held_out)
    return Data("digits", train, test, CLASSES, GLYPH.with_statistics(*mean_and_std(train.images)))
