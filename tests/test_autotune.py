"""What a recipe leaves open: measured, remembered, and refused where it cannot work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from smidgen.errors import RecipeError
from smidgen.mnist import GLYPH
from smidgen.recipe import Recipe, override
from smidgen.train import autotune
from smidgen.train.autotune import tune
from smidgen.train.distributed import Process
from smidgen.train.native import library
from smidgen.zoo import create_model

CPU = torch.device("cpu")
OPEN = {"workers": 0, "precision": "auto", "memory_format": "auto", "backend": "auto"}


@pytest.fixture
def _no_compiler(monkeypatch: pytest.MonkeyPatch):
    library.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    yield
    library.cache_clear()


def unknown_to_the_kernels() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.Flatten(), nn.Linear(1352, 10))


def settings(recipe: Recipe) -> tuple[int, str, str, str]:
    return recipe.workers, recipe.backend, recipe.memory_format, recipe.precision


def test_what_the_recipe_leaves_open_is_measured_once(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autotune, "SECONDS_PER_TRIAL", 0.001)
    recipe, module = override(recipe, OPEN), create_model("tiny_mnist")
    tuned = tune(recipe, module, GLYPH, CPU, Process())
    assert tuned.workers >= 1
    assert "auto" not in settings(tuned)
    monkeypatch.setattr(autotune, "_time_batches", None)  # from here on nothing can be measured
    assert tune(recipe, module, GLYPH, CPU, Process()) == tuned


def test_the_fastest_wins_unless_it_costs_exactness(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {"float32": 1.0, "bfloat16": 0.9}
    monkeypatch.setattr(
        autotune, "_time_batches", lambda network, batch: seconds[network.recipe.precision]
    )
    recipe = override(recipe, {"workers": 1, "precision": "auto", "backend": "torch"})
    module = create_model("tiny_mnist")
    assert tune(recipe, module, GLYPH, CPU, Process()).precision == "float32"
    seconds["bfloat16"] = 0.8  # 1.25 times as fast; 1.15 is asked for
    larger = override(recipe, {"batch_size": 48})  # another key of the cache
    assert tune(larger, module, GLYPH, CPU, Process()).precision == "bfloat16"


def test_processes_that_train_together_choose_alike_without_measuring(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autotune, "_time_batches", None)
    recipe = override(recipe, OPEN | {"backend": "torch"})
    found = [
        settings(tune(recipe, create_model("tiny_mnist"), GLYPH, CPU, Process(rank, 2)))
        for rank in range(2)
    ]
    assert found == [(2, "torch", "contiguous", "float32")] * 2


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
        tune(override(recipe, changes), create_model("tiny_mnist"), GLYPH, CPU, process)


def test_a_network_that_the_kernels_do_not_know_is_left_to_torch(recipe: Recipe) -> None:
    module, recipe = unknown_to_the_kernels(), override(recipe, {"workers": 1})
    assert tune(recipe, module, GLYPH, CPU, Process()).backend == "torch"
    if library() is not None:
        with pytest.raises(RecipeError, match=r"backend = 'native' cannot train .*gelu"):
            tune(override(recipe, {"backend": "native"}), module, GLYPH, CPU, Process())


@pytest.mark.usefixtures("_no_compiler")
def test_without_a_compiler_torch_trains(recipe: Recipe) -> None:
    module, recipe = create_model("tiny_mnist"), override(recipe, {"workers": 1, "batch_size": 40})
    assert tune(recipe, module, GLYPH, CPU, Process()).backend == "torch"
    with pytest.raises(RecipeError, match="no C compiler"):
        tune(override(recipe, {"backend": "native"}), module, GLYPH, CPU, Process())


@pytest.mark.parametrize(
    "cache", [b"", b"\xff", b"[1]", b"[" * 100_000, b'{"%s": 7}', b'{"%s": []}']
)
def test_a_damaged_cache_is_measured_again(
    cache: bytes, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path))
    monkeypatch.setattr(autotune, "_key", lambda *_: "key")
    monkeypatch.setattr(autotune, "_time_batches", lambda *_: 1.0)
    (tmp_path / "trials.json").write_bytes(cache.replace(b"%s", b"key"))
    recipe = override(recipe, {"workers": 1, "backend": "torch", "memory_format": "auto"})
    assert tune(recipe, create_model("tiny_mnist"), GLYPH, CPU, Process()).workers == 1
    assert json.loads((tmp_path / "trials.json").read_bytes()) == {"key": 0}
