"""The kernels are tried against torch before they train, and faulty ones do not."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smidgen.cli import main
from smidgen.data import Data
from smidgen.errors import TrainingError
from smidgen.recipe import Recipe, override
from smidgen.run import Run
from smidgen.train import fit, resume, verify
from smidgen.train.batches import Shard
from smidgen.train.native import NativeBackend, library
from smidgen.train.verify import TOLERANCE, smallest_difference
from smidgen.zoo import create_model

pytestmark = pytest.mark.skipif(library() is None, reason="no C compiler builds the kernels")


@pytest.fixture
def recipe(recipe: Recipe) -> Recipe:
    """One epoch, which the kernels would train."""
    return override(recipe, {"epochs": 1, "batch_size": 24})


@pytest.fixture
def _faulty_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that lose half of the first convolution's gradient."""
    computed = NativeBackend.backward

    def backward(self: NativeBackend, shard: Shard) -> None:
        computed(self, shard)
        self.memory["gradient"][: 8 * 9] *= 0.5

    monkeypatch.setattr(NativeBackend, "backward", backward)


def dropouts(module: nn.Module) -> list[float]:
    return [layer.p for layer in module.modules() if isinstance(layer, nn.Dropout)]


class Functional(nn.Module):
    """Dropout as a function, which no layer gives away."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, 6, 5), nn.Linear(6 * 12 * 12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 2)  # (N, 6, 12, 12)
        return self.head(F.dropout(x, 0.5, self.training).flatten(1))


NETWORKS = {name: lambda name=name: create_model(name)
            for name in ("tiny_mnist", "mnist_classifier", "smidgen_1k")}  # fmt: skip


@pytest.mark.parametrize("make", [*NETWORKS.values(), Functional], ids=[*NETWORKS, "functional"])
def test_true_kernels_agree_and_nothing_is_changed(
    make: Callable[[], nn.Module], few: Data, recipe: Recipe
) -> None:
    torch.manual_seed(0)
    module = make().train()
    before, random = copy.deepcopy(module), torch.get_rng_state()
    difference = smallest_difference(module, recipe, few.train, few.preprocess)
    assert 0 < difference < TOLERANCE
    assert module.training
    assert dropouts(module) == dropouts(before)
    assert torch.equal(torch.get_rng_state(), random)
    pairs = zip(module.state_dict().values(), before.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.usefixtures("_faulty_kernels")
def test_faulty_kernels_differ_in_every_batch(
    few: Data, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, found = verify.gradient_difference, []

    def measure(*arguments: object) -> float:
        found.append(measured(*arguments))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(verify, "gradient_difference", measure)
    torch.manual_seed(0)
    module = create_model("tiny_mnist")
    difference = smallest_difference(module, recipe, few.train, few.preprocess)
    assert found == [pytest.approx(0.5, abs=0.1)] * 8  # half is lost, in 8 of the 10 batches
    assert difference == min(found)


def test_a_fault_of_rounding_in_one_batch_is_no_fault(
    few: Data, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([0.04, float("nan"), 0.001])
    monkeypatch.setattr(verify, "gradient_difference", lambda *_: next(found))
    module = create_model("tiny_mnist")
    assert smallest_difference(module, recipe, few.train, few.preprocess) == 0.001
    assert next(found, None) is None


@pytest.mark.usefixtures("_faulty_kernels")
def test_torch_trains_where_the_kernels_are_faulty(
    few: Data, recipe: Recipe, tmp_path: Path
) -> None:
    message = r"'torch' trains instead of 'native': its gradient of 'tiny_mnist' differs .* %"
    with pytest.warns(UserWarning, match=message):
        run = fit(recipe, few, tmp_path / "auto")
    assert run.result()["backend"] == run.recipe.backend == "torch"
    by_torch = fit(override(recipe, {"backend": "torch"}), few, tmp_path / "torch")
    pairs = zip(run.state_dict().values(), by_torch.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.usefixtures("_faulty_kernels")
def test_faulty_kernels_that_the_recipe_asks_for_are_an_error(
    few: Data, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = override(recipe, {"backend": "native"})
    with pytest.raises(TrainingError, match=r"^backend = 'native': .*; train with --set .*torch$"):
        fit(recipe, few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_of_the_kernels_is_not_resumed_by_others(
    few: Data, recipe: Recipe, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = fit(override(recipe, {"backend": "native"}), few, tmp_path / "run").path
    (path / "result.json").unlink()  # as if it had been killed
    request.getfixturevalue("_faulty_kernels")
    with pytest.raises(TrainingError, match="backend = 'native'"):
        resume(path, few)


@pytest.mark.filterwarnings("always")  # as outside of the tests, where a warning is no error
@pytest.mark.usefixtures("_faulty_kernels", "recipe")
def test_the_command_line_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "tiny_mnist", "--data", "digits", "--epochs", "1", "--json",
                 "--batch-size", "24", "--out", str(tmp_path / "run")]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["smidgen", *arguments])
    with pytest.raises(SystemExit, match="0"):
        main()
    printed = capsys.readouterr()
    assert json.loads(printed.out)["backend"] == "torch"
    (line,) = [line for line in printed.err.splitlines() if "differs" in line]
    assert line.startswith("smidgen: backend = 'torch' trains instead of 'native'")
    assert Run.open(tmp_path / "run").recipe.backend == "torch"
