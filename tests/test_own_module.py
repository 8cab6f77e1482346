"""Trainings of anyone's module, and of a recipe on other data than its own."""

from __future__ import annotations

import hashlib
import inspect
import sys
from pathlib import Path

import pytest
from networks import EveryOperation
from torch import nn

import smidgen
from smidgen.budget import Budget
from smidgen.data import Data
from smidgen.errors import ModelError, RecipeError
from smidgen.evaluate import evaluate
from smidgen.run import Run
from smidgen.target import load
from smidgen.train import Progress, fit, resume

SMALL = Budget(title="small", max_params=5_000)
BLOCKS = """
from torch import nn

def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.ReLU())
"""
NET = """
from torch import nn
from {blocks} import block

class Net(nn.Sequential):
    def __init__(self, num_classes=10, in_chans=1):
        pool = nn.AdaptiveAvgPool2d(1)
        super().__init__(block(in_chans, 6), pool, nn.Flatten(), nn.Linear(6, num_classes))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A network in two files; the second's name is new, as Python keeps what it has imported."""
    blocks = "blocks_" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]
    (tmp_path / f"{blocks}.py").write_text(BLOCKS)
    (tmp_path / "net.py").write_text(NET.format(blocks=blocks))
    return tmp_path / "net.py"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_of_a_file_is_opened_without_the_file(source: Path, few: Data) -> None:
    run = smidgen.train(f"{source}:Net", data=few, out=source.parent / "run", epochs=1)
    trained = evaluate(str(run.path), few)
    (blocks,) = source.parent.glob("blocks_*.py")
    for path in (source, blocks):
        path.unlink()
    del sys.modules[blocks.stem]
    assert evaluate(str(run.path), few) == trained
    assert run.result()["model"] == f"{source}:Net"
    assert load(run.path).title == "Net"


def test_a_killed_run_of_a_file_is_resumed_to_the_same_bits(
    source: Path, few: Data, tmp_path: Path
) -> None:
    whole = smidgen.train(f"{source}:Net", data=few, out=tmp_path / "whole", epochs=2)

    def stop(progress: Progress) -> None:
        if progress.epoch == 2:
            raise RuntimeError("killed in the second epoch")

    with pytest.raises(RuntimeError, match=r"^killed in the second epoch$"):
        fit(whole.recipe, few, tmp_path / "killed", watch=stop)
    assert not (tmp_path / "killed" / "result.json").exists()
    source.unlink()
    again = resume(tmp_path / "killed", few)
    assert again.weights_header()["fingerprint"] == whole.weights_header()["fingerprint"]


def test_a_finished_run_is_left_as_it_is(source: Path, few: Data) -> None:
    run = smidgen.train(f"{source}:Net", data=few, out=source.parent / "run", epochs=1)
    before = contents(run.path)
    assert resume(run.path, few) == run
    assert contents(run.path) == before


@pytest.mark.parametrize("model", [EveryOperation, EveryOperation()])
def test_a_class_and_a_module_are_trained(model: object, few: Data, tmp_path: Path) -> None:
    run = smidgen.train(model, data=few, out=tmp_path / "run", epochs=1)
    assert run.recipe.model == f"{inspect.getsourcefile(EveryOperation)}:EveryOperation"
    assert evaluate(str(run.path), few)["accuracy"] == run.result()["test_accuracy"]


def test_a_class_inside_a_function_is_refused(few: Data, tmp_path: Path) -> None:
    class Hidden(nn.Linear):
        pass

    with pytest.raises(ModelError, match="Hidden is not at the top of a Python file"):
        smidgen.train(Hidden, data=few, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_logits_for_other_classes_are_refused(few: Data, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, 7))\n"
    )
    with pytest.raises(ModelError, match=r"answers \(7,\) for an image; 'digits' has 10 classes"):
        smidgen.train(str(tmp_path / "net.py"), data=few, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_names_the_data_that_it_was_given(few: Data, tmp_path: Path) -> None:
    run = smidgen.train("tiny_mnist", data=few, out=tmp_path / "run", epochs=1)
    assert run.recipe.data == run.result()["data"] == "digits"


def test_a_teacher_of_another_data_set_is_left_out_and_said(few: Data, tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match="without the teacher smidgen_teacher, which knows 'mnist'"
    ):
        run = smidgen.train("smidgen_8k", data=few, out=tmp_path / "run", epochs=1)
    assert Run.open(run.path).recipe.teacher.networks == []


def test_a_teacher_that_one_names_is_not_left_out(few: Data, tmp_path: Path) -> None:
    named = {"networks": ["smidgen_8k"]}
    with pytest.raises(RecipeError, match="was trained on 'mnist', not on 'digits'"):
        smidgen.train("smidgen_8k", data=few, out=tmp_path / "run", epochs=1, teacher=named)


def test_a_budget_without_classes_takes_as_many_as_a_run_has(few: Data, tmp_path: Path) -> None:
    kept = few.train.labels < 3
    train = few.train.rows(kept.nonzero().flatten())
    test = few.test.rows((few.test.labels < 3).nonzero().flatten())
    three = Data("digits", train, test, ("0", "1", "2"), few.preprocess)
    run = smidgen.train("smidgen_1k", data=three, out=tmp_path / "run", epochs=1, teacher={})
    shape = {rule.rule: rule for rule in smidgen.check(str(run.path), SMALL).rules}["output_shape"]
    assert (shape.limit, shape.passed) == ("(N, 3)", True)
    brief = {rule.rule: rule for rule in smidgen.check(str(run.path), "era-8k").rules}
    assert (brief["output_shape"].limit, brief["output_shape"].passed) == ("(N, 10)", False)
