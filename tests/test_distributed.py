"""Processes under torchrun against one process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from smidgen.data import Data
from smidgen.recipe import Recipe, override, to_toml
from smidgen.run import Run
from smidgen.train import fit
from smidgen.train.data_parallel import added
from smidgen.train.distributed import Process, is_main_process, join_processes


def test_a_process_alone_sums_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    process, vector = join_processes(), torch.arange(3.0)
    assert process == Process(rank=0, world_size=1)
    assert process.sum(vector) is vector
    process.leave()  # no group to destroy


def test_the_main_process_is_rank_0_or_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert is_main_process()
    for rank, expected in (("0", True), ("1", False)):
        monkeypatch.setenv("RANK", rank)
        assert is_main_process() is expected


def test_two_processes_train_what_one_does_to_the_bit(
    digits: Data, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = override(recipe, {"epochs": 1, "workers": 4})
    (tmp_path / "recipe.toml").write_text(to_toml(recipe))
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    train = ["-m", "smidgen", "train", "--recipe", "recipe.toml", "--out", "two", "--json"]
    done = subprocess.run(
        [sys.executable, *together, *train],
        check=True, capture_output=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(done.stdout)["images_seen"] == 1372  # once, and by one process
    one = fit(recipe, digits, tmp_path / "one")
    two = Run.open(tmp_path / "two")
    for mine, theirs in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_order_of_a_sum_is_by_even_and_odd_places() -> None:
    """Of four, (0 + 2) + (1 + 3): in float32 a large number swallows a one beside it."""
    large = 2.0**25
    vectors = [torch.tensor([each]) for each in (large, 1.0, -large, 1.0)]
    assert added(vectors).item() == 2.0
    assert added([vectors[i] for i in (0, 2, 1, 3)]).item() == 0.0
