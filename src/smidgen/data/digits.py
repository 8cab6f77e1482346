"""scikit-learn's 1,797 handwritten digits, scaled and centred as in MNIST; no download is needed.

The images are the test part of https://archive.ics.uci.edu/dataset/80, 8 × 8 with 17 levels.
"""

from __future__ import annotations

import gzip
from importlib.metadata import distribution

import numpy as np
import torch

from smidgen.data.dataset import TEST_ONE_IN, Data, Split, mean_and_std, stratified_mask
from smidgen.mnist import CLASSES, GLYPH
from smidgen.preprocess import scale_and_centre

FILE = "sklearn/datasets/data/digits.csv.gz"  # rows of 64 levels and the digit
LEVELS = 16


def load_digits() -> Data:
    """The digits, each enlarged to MNIST's 20 × 20 box with its centre of mass in the middle.

    One in six of every class is held out as the test set, the same ones in every run.
    """
    # To import scikit-learn, for its function that reads this file, takes two seconds.
    with gzip.open(str(distribution("scikit-learn").locate_file(FILE))) as file:
        rows = np.loadtxt(file, delimiter=",")
    pictures = rows[:, :-1].reshape(-1, 8, 8)
    images = np.stack([scale_and_centre(grey * (255 / LEVELS)) for grey in pictures])
    labels = rows[:, -1].astype(np.int64)
    whole = Split(torch.from_numpy(images)[:, None], torch.from_numpy(labels))
    held_out = stratified_mask(labels, TEST_ONE_IN)
    train, test = whole.take(~held_out), whole.take(held_out)
    return Data("digits", train, test, CLASSES, GLYPH.with_statistics(*mean_and_std(train.images)))
