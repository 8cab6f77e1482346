"""Drawn digits among the training images, in styles that the data may not have."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from smidgen.data import Data, Split
from smidgen.errors import RecipeError
from smidgen.mnist import CLASSES, GLYPH
from smidgen.recipe import Recipe
from smidgen.train.random_streams import WRITTEN, random_state
from smidgen.written import draw_digits


def with_written(split: Split, recipe: Recipe, data: Data) -> Split:
    """The split and the recipe's drawn digits after it; the seed decides what is drawn.

    A teacher is not asked about them: their soft labels are their labels. Raises RecipeError for
    data that are not the ten digits as MNIST has them.
    """
    if not recipe.written:
        return split
    fed = data.preprocess
    if (data.classes, fed.kind, fed.shape) != (CLASSES, GLYPH.kind, GLYPH.shape):
        raise RecipeError(
            f"written = {recipe.written} adds drawn digits, and {data.name!r} is not of the ten "
            "digits as MNIST has them; leave it out: --set written=0"
        )
    images, labels = map(
        torch.from_numpy, draw_digits(recipe.written, random_state(recipe.seed, WRITTEN))
    )
    return Split(
        torch.cat([split.images, images[:, None]]),
        torch.cat([split.labels, labels]),
        None if split.soft is None else torch.cat([split.soft, F.one_hot(labels, 10).float()]),
    )
