"""The soft labels of the recipe's teachers: trained networks whose probabilities are learned."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from statistics import median

import torch

from smidgen.data import Data, Split
from smidgen.errors import RecipeError
from smidgen.inference import CHUNK, logits
from smidgen.recipe import Recipe, Teacher
from smidgen.target import Target, load
from smidgen.train.distributed import is_main_process

TIMED = 3  # batches, of which one may be disturbed, and the first is slower
OTHERWISE = "name another, or none: --set teacher.networks=[]"


def without_foreign_teacher(recipe: Recipe) -> Recipe:
    """The recipe, with a warning and without its teacher if that is of another data set."""
    teacher = recipe.teacher
    if not teacher.networks or teacher.data in (None, recipe.data):
        return recipe
    if is_main_process():
        warnings.warn(
            f"trained without the teacher {', '.join(teacher.networks)}, which knows "
            f"{teacher.data!r}, not {recipe.data!r}; --teacher RUN names another",
            stacklevel=2,
        )
    return recipe.model_copy(update={"teacher": Teacher()})


def with_soft_labels(split: Split, recipe: Recipe, data: Data) -> Split:
    """The split with the mean probabilities of the recipe's teachers; unchanged without teachers.

    Raises ModelError and RunError for a teacher that is not there, RecipeError for one that was
    trained on other data or, where the run holds a validation split out, on images of that.
    """
    if not recipe.teacher.networks:
        return split
    soft = torch.zeros(len(split), len(data.classes))
    for teacher in _load_teachers(recipe, data):
        answers = logits(teacher.model, split.images, teacher.preprocess)
        soft += (answers / recipe.teacher.temperature).softmax(dim=1)
    return Split(split.images, split.labels, soft / len(recipe.teacher.networks))


def time_teachers(split: Split, recipe: Recipe, data: Data) -> float:
    """About how many seconds `with_soft_labels` takes, by one batch for each core; raises as it."""
    images = split.images[: CHUNK * (os.cpu_count() or 1)]
    taken = 0.0
    for teacher in _load_teachers(recipe, data):
        times = []
        for _ in range(TIMED):
            started = time.perf_counter()
            logits(teacher.model, images, teacher.preprocess)
            times.append(time.perf_counter() - started)
        taken += median(times)
    return taken * len(split) / max(len(images), 1)


def _load_teachers(recipe: Recipe, data: Data) -> Iterator[Target]:
    for name in recipe.teacher.networks:
        teacher = load(name)
        _refuse(teacher, name, recipe, data)
        yield teacher


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
