"""What the recipe's teachers, networks trained before, make of the training images."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from smidgen.data import Data, Split
from smidgen.errors import RecipeError
from smidgen.recipe import Recipe
from smidgen.target import Target, load
from smidgen.train.engine import predict

OTHERWISE = "name another, or none: --set teacher.networks=[]"


def load_teachers(recipe: Recipe, data: Data) -> list[Target]:
    """The recipe's teachers.

    Raises ModelError and RunError for a teacher that is not there, RecipeError for one that was
    trained on other data or, where the run holds a validation split out, on images of that.
    """
    teachers = [load(name) for name in recipe.teacher.networks]
    for name, teacher in zip(recipe.teacher.networks, teachers, strict=True):
        _refuse(teacher, name, recipe, data)
    return teachers


def taught(split: Split, teachers: Sequence[Target], temperature: float) -> Split:
    """The split with the teachers' mean probabilities for its images, as they are."""
    answers = [
        (predict(teacher.model, split.images, teacher.mean, teacher.std) / temperature).softmax(1)
        for teacher in teachers
    ]
    return Split(split.images, split.labels, torch.stack(answers).mean(dim=0))


def _refuse(teacher: Target, name: str, recipe: Recipe, data: Data) -> None:
    if (teacher.data, teacher.classes) != (data.name, data.classes):
        raise RecipeError(
            f"the teacher {name!r} was trained on {teacher.data!r}, not on {data.name!r}; "
            f"{OTHERWISE}"
        )
    if not recipe.full and (teacher.run is None or teacher.run.recipe.full):
        raise RecipeError(
            f"the teacher {name!r} was trained on the validation images too, which would flatter "
            f"the validation accuracy; train with full = true, {OTHERWISE}"
        )
