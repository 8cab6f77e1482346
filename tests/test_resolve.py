"""What a recipe leaves open: chosen by rules, and refused where it cannot work."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import nn

from smidgen.errors import RecipeError
from smidgen.mnist import GLYPH
from smidgen.recipe import Recipe, override
from smidgen.train.distributed import Process
from smidgen.train.native import library
from smidgen.train.resolve import default_workers, resolve
from smidgen.zoo import create_model

CPU = torch.device("cpu")


@pytest.fixture
def _no_compiler(monkeypatch: pytest.MonkeyPatch):
    library.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    yield
    library.cache_clear()


def unknown_to_the_kernels() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.Flatten(), nn.Linear(1352, 10))


@pytest.mark.parametrize(
    ("batch_size", "device", "processes", "workers"),
    [
        (2, "cpu", 1, 1),
        (16, "cpu", 1, 1),
        (28, "cpu", 1, 2),
        (64, "cpu", 1, 4),
        (1000, "cpu", 1, 4),
        (64, "cuda", 1, 1),
        (16, "cpu", 2, 2),
        (64, "cpu", 2, 4),
        (64, "cpu", 3, 6),
        (64, "cuda", 2, 2),
    ],
)
def test_a_batch_is_cut_into_a_shard_for_each_16_images_up_to_four(
    batch_size: int, device: str, processes: int, workers: int
) -> None:
    assert default_workers(batch_size, torch.device(device), processes) == workers


def test_what_the_recipe_leaves_open_is_chosen_and_all_else_kept(recipe: Recipe) -> None:
    left_open = override(recipe, {"workers": 0, "backend": "auto"})
    chosen = resolve(left_open, create_model("tiny_mnist"), GLYPH, CPU, Process())
    backend = "torch" if library() is None else "native"
    assert chosen == override(left_open, {"workers": 2, "backend": backend})
    given = override(recipe, {"workers": 3, "backend": "torch"})
    assert resolve(given, create_model("tiny_mnist"), GLYPH, CPU, Process()) == given


@pytest.mark.parametrize("changes", [{"precision": "bfloat16"}, {"memory_format": "channels_last"}])
def test_what_torch_alone_can_do_is_left_to_torch(recipe: Recipe, changes: dict[str, str]) -> None:
    module, recipe = create_model("tiny_mnist"), override(recipe, changes | {"backend": "auto"})
    assert resolve(recipe, module, GLYPH, CPU, Process()).backend == "torch"


@pytest.mark.parametrize(
    ("changes", "process", "message"),
    [
        ({"workers": 40}, Process(), "batch_size = 32 is smaller than workers = 40"),
        ({"workers": 3}, Process(0, 2), "workers = 3 is no multiple of the 2 processes"),
    ],
)
def test_workers_that_cannot_work_are_refused(
    recipe: Recipe, changes: dict[str, int], process: Process, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        resolve(override(recipe, changes), create_model("tiny_mnist"), GLYPH, CPU, process)


def test_a_network_that_the_kernels_do_not_know_is_left_to_torch(recipe: Recipe) -> None:
    module, recipe = unknown_to_the_kernels(), override(recipe, {"workers": 1})
    assert resolve(recipe, module, GLYPH, CPU, Process()).backend == "torch"
    if library() is not None:
        with pytest.raises(RecipeError, match=r"backend = 'native' cannot train .*gelu"):
            resolve(override(recipe, {"backend": "native"}), module, GLYPH, CPU, Process())


@pytest.mark.usefixtures("_no_compiler")
def test_without_a_compiler_torch_trains(recipe: Recipe) -> None:
    module, recipe = create_model("tiny_mnist"), override(recipe, {"workers": 1, "batch_size": 40})
    assert resolve(recipe, module, GLYPH, CPU, Process()).backend == "torch"
    with pytest.raises(RecipeError, match="no C compiler"):
        resolve(override(recipe, {"backend": "native"}), module, GLYPH, CPU, Process())
