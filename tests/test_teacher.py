"""Learning from a trained network beside the labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smidgen.data import Data, Split
from smidgen.errors import ModelError, RecipeError, RunError
from smidgen.inference import logits
from smidgen.inputs import Preprocess
from smidgen.mnist import GLYPH
from smidgen.recipe import Recipe, load_recipe, override, to_toml
from smidgen.train import fit, plan, resume, teacher
from smidgen.train.batches import Batch, epoch_batches
from smidgen.train.data_parallel import DataParallel
from smidgen.train.distributed import Process
from smidgen.train.native import library
from smidgen.train.teacher import with_soft_labels
from smidgen.zoo import create_model

CPU = torch.device("cpu")

PLAIN = GLYPH.with_statistics(0.0, 1.0)


def with_teacher(recipe: Recipe, *networks: Path | str, **settings: float) -> Recipe:
    return override(recipe, {"teacher": {"networks": list(map(str, networks)), **settings}})


def test_a_plan_times_a_few_answers_of_the_teacher(
    few: Data, recipe: Recipe, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counted(module: nn.Module, images: Tensor, preprocess: Preprocess) -> Tensor:
        asked.append(len(images))
        return logits(module, images, preprocess)

    monkeypatch.setattr(teacher, "logits", counted)
    monkeypatch.setattr(teacher, "CHUNK", 10)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert plan(recipe, few, batches=2)["teacher_seconds"] == 0
    planned = plan(with_teacher(recipe, run_folder), few, batches=2)
    assert asked == [30, 30, 30]
    assert planned["teacher_seconds"] > 0
    with pytest.raises(RecipeError, match="was trained on the validation images too"):
        plan(
            with_teacher(recipe.model_copy(update={"data": "mnist"}), "smidgen_teacher"),
            replace(few, name="mnist"),
        )


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def loss_by_hand(logits: Tensor, batch: Batch, weight: float, temperature: float) -> Tensor:
    """The mean over the batch, in double precision; labels smoothed by 0.1."""
    assert batch.soft is not None
    labels = torch.full((len(batch), 10), 0.01, dtype=torch.float64)
    share = torch.ones(len(batch)) if batch.shares is None else batch.shares
    labels[range(len(batch)), batch.labels] += 0.9 * share
    if batch.partners is not None:
        labels[range(len(batch)), batch.partners] += 0.9 * (1 - share)
    hard = -(labels * logits.log_softmax(1)).sum(1)
    soft = -(batch.soft.double() * (logits / temperature).log_softmax(1)).sum(1)
    factors = torch.ones(len(batch)) if batch.weights is None else batch.weights
    return (factors * ((1 - weight) * hard + weight * temperature**2 * soft)).mean()


@pytest.mark.parametrize("backend", ["torch", "native"])
@pytest.mark.parametrize(("weight", "temperature"), [(0.3, 1.0), (0.9, 4.0), (1.0, 2.5)])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_loss_mixes_labels_and_teacher(
    recipe: Recipe, backend: str, weight: float, temperature: float, mixed: bool
) -> None:
    if backend == "native" and library() is None:
        pytest.skip("the kernels are built by a C compiler, and there is none")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (21, 1, 28, 28), dtype=torch.uint8, generator=generator)
    soft = torch.rand(21, 10, generator=generator)
    batch = Batch(images, torch.arange(21) % 10, soft / soft.sum(1, keepdim=True))
    if mixed:
        shares = torch.rand(21, generator=generator)
        weights = 2 * torch.rand(21, generator=generator)
        partners = (batch.labels * 3 + 2) % 10
        batch = replace(batch, partners=partners, shares=shares, weights=weights)
    recipe = with_teacher(recipe, "any", weight=weight, temperature=temperature)
    recipe = override(recipe, {"backend": backend, "label_smoothing": 0.1})
    engine = DataParallel(linear(), recipe, PLAIN, CPU, Process())
    with engine:
        engine.start_epoch(0)
        score = engine.backward(batch, {})
    oracle = linear().double()
    loss = loss_by_hand(oracle(images.double() / 255), batch, weight, temperature)
    loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in oracle.parameters()])
    found = engine.weights.parameters.grad
    torch.testing.assert_close(found, gradient.float(), rtol=1e-3, atol=1e-6)
    assert score[0].item() == pytest.approx(21 * loss.item(), rel=1e-4)


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_balanced_classes_have_torchs_loss(recipe: Recipe, backend: str) -> None:
    """21 images of one batch and two shards, 1 to 6 of a class; divided by 21, not by weights."""
    if backend == "native" and library() is None:
        pytest.skip("the kernels are built by a C compiler, and there is none")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (21, 1, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.repeat_interleave(torch.arange(6), torch.arange(1, 7))
    recipe = override(recipe, {"backend": backend, "class_weights": "balanced", "augment": {}})
    ((batch, draws),) = epoch_batches(Split(images, labels), recipe, 0)
    engine = DataParallel(linear(), recipe, PLAIN, CPU, Process())
    with engine:
        engine.start_epoch(0)
        score = engine.backward(batch, draws)
    oracle = linear().double()
    weights = torch.zeros(10, dtype=torch.float64)
    weights[:6] = 21 / (6 * torch.arange(1.0, 7.0))
    loss = F.cross_entropy(oracle(images.double() / 255), labels, weights, reduction="sum") / 21
    loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in oracle.parameters()])
    found = engine.weights.parameters.grad
    torch.testing.assert_close(found, gradient.float(), rtol=1e-3, atol=1e-6)
    assert score[0].item() == pytest.approx(21 * loss.item(), rel=1e-4)


def test_teachers_answer_together_at_their_temperature(
    few: Data, recipe: Recipe, tmp_path: Path
) -> None:
    runs = [fit(override(recipe, {"seed": s, "epochs": 1}), few, tmp_path / str(s)) for s in (0, 1)]
    split = few.fit_split()[0]
    found = with_soft_labels(
        split, with_teacher(recipe, *(r.path for r in runs), temperature=2.0), few
    )
    expected = torch.zeros(len(split), 10)
    for run in runs:
        module = create_model("tiny_mnist")
        module.load_state_dict(run.state_dict())
        odds = (logits(module, split.images, few.preprocess) / 2).exp()
        expected += odds / odds.sum(1, keepdim=True) / 2
    assert found.soft is not None
    torch.testing.assert_close(found.soft, expected)
    assert with_soft_labels(split, recipe, few) is split
    chosen = torch.tensor([5, 0])
    assert torch.equal(found.rows(chosen).soft, found.soft[chosen])


def test_a_student_trains_resumes_and_differs(
    few: Data, recipe: Recipe, run_folder: Path, tmp_path: Path
) -> None:
    student = with_teacher(recipe, run_folder, weight=1.0, temperature=4.0)
    once = fit(student, few, tmp_path / "once")
    assert load_recipe(once.path / "recipe.toml").teacher == student.teacher
    alone = fit(recipe, few, tmp_path / "alone")
    key = next(key for key in once.state_dict() if key.endswith("weight"))
    assert not torch.equal(once.state_dict()[key], alone.state_dict()[key])

    half = fit(override(student, {"epochs": 1}), few, tmp_path / "half")
    (half.path / "recipe.toml").write_text(to_toml(once.recipe), encoding="utf-8")
    (half.path / "result.json").unlink()
    again = resume(half.path, few)
    assert torch.equal(again.state_dict()[key], once.state_dict()[key])


def test_a_teacher_that_saw_the_validation_images_is_refused(
    few: Data, recipe: Recipe, tmp_path: Path
) -> None:
    teacher = fit(override(recipe, {"full": True}), few, tmp_path / "teacher")
    student = with_teacher(recipe, teacher.path)
    with pytest.raises(RecipeError, match="trained on the validation images too"):
        fit(student, few, tmp_path / "student")
    assert not (tmp_path / "student").exists()
    assert json.loads((teacher.path / "result.json").read_text(encoding="utf-8"))["full"]
    fit(override(student, {"full": True, "epochs": 1}), few, tmp_path / "student")


def test_a_teacher_of_other_data_or_none_is_refused(
    few: Data, recipe: Recipe, tmp_path: Path
) -> None:
    full = override(recipe, {"full": True})
    for name, error, message in (
        ("tiny_mnist", RecipeError, "'tiny_mnist' was trained on 'mnist', not on 'digits'"),
        ("tiny_mnits", ModelError, "unknown model 'tiny_mnits'"),
        (str(tmp_path), RunError, "not a run folder"),
    ):
        with pytest.raises(error, match=message):
            fit(with_teacher(full, name), few, tmp_path / "student")
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"networks": "a"}, r"teacher\.networks = 'a'"),
        ({"networks": ["a"], "weight": 0.0}, r"teacher\.weight = 0\.0"),
        ({"networks": ["a"], "temperature": 0.5}, r"teacher\.temperature = 0\.5"),
        ({"networks": ["a"], "wieght": 0.5}, r"unknown key 'teacher\.wieght'"),
    ],
)
def test_what_a_teacher_cannot_be_is_named(
    recipe: Recipe, teacher: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        override(recipe, {"teacher": teacher})
