from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from smidgen.data import Data, Split, normalise
from smidgen.errors import RunError, TrainingError
from smidgen.mnist import GLYPH
from smidgen.recipe import Recipe, override
from smidgen.run import Run
from smidgen.train import Progress, fit, plan, resume, torch_backend
from smidgen.train.data_parallel import DataParallel
from smidgen.train.distributed import Process
from smidgen.train.dropout import SeededDropout
from smidgen.train.optimizer import Optimizer
from smidgen.train.schedule import learning_rate

CPU = torch.device("cpu")

PLAIN = GLYPH.with_statistics(0.0, 1.0)


def weights(run: Run) -> list[torch.Tensor]:
    return list(run.state_dict().values())


def same(first: Run, second: Run) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def engine_of(recipe: Recipe, module: nn.Module) -> DataParallel:
    return DataParallel(module, recipe, PLAIN, CPU, Process())


def some_batch(count: int) -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(count) % 10)


def plain_module() -> nn.Module:
    """Convolution, batch norm and linear layer, without dropout: nothing random in a step."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2704, 10),
    )


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, 0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p: torch.optim.Adam(p, 0.05, weight_decay=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, 0.05, weight_decay=1e-3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("backend", "memory_format"),
    [("torch", "contiguous"), ("torch", "channels_last"), ("native", "contiguous")],
)
def test_one_worker_does_what_a_plain_torch_loop_does(
    recipe: Recipe, name: str, backend: str, memory_format: str
) -> None:
    settings = {"optimizer.name": name, "optimizer.lr": 0.05, "optimizer.weight_decay": 1e-3}
    recipe = override(recipe, {"workers": 1, "memory_format": memory_format, "backend": backend,
                               "clip_norm": 0.5, "label_smoothing": 0.1, **settings})  # fmt: skip
    ours, theirs, batch = plain_module(), plain_module(), some_batch(16)
    engine = engine_of(recipe, ours)
    optimizer, oracle = (
        Optimizer(engine.weights, recipe.optimizer),
        OPTIMIZERS[name](theirs.parameters()),
    )
    with engine:
        engine.start_epoch(0)
        for _ in range(3):
            loss, hits = engine.backward(batch, {}).tolist()
            nn.utils.clip_grad_norm_([engine.weights.parameters], 0.5)
            optimizer.step(0.05)

            logits = theirs.train()(normalise(batch.images, PLAIN))
            expected = F.cross_entropy(logits, batch.labels, label_smoothing=0.1)
            oracle.zero_grad()
            expected.backward()
            nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
            oracle.step()
            assert loss / 16 == pytest.approx(expected.item(), rel=1e-3)
            assert hits == (logits.argmax(1) == batch.labels).sum()
    for (key, mine), yours in zip(
        ours.state_dict().items(), theirs.state_dict().values(), strict=True
    ):
        if not key.endswith("num_batches_tracked"):  # smidgen does not count batches
            torch.testing.assert_close(mine, yours, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_two_workers_sum_the_gradients_of_their_shards(recipe: Recipe, backend: str) -> None:
    batch = some_batch(15)
    shards = [batch.images[:7], batch.images[7:]], [batch.labels[:7], batch.labels[7:]]
    module = plain_module()
    replicas = [plain_module().train() for _ in shards[0]]
    for replica, images, labels in zip(replicas, *shards, strict=True):
        logits = replica(normalise(images, PLAIN))
        (F.cross_entropy(logits, labels, reduction="sum") / 15).backward()
    engine = engine_of(override(recipe, {"workers": 2, "backend": backend}), module)
    with engine:
        engine.start_epoch(0)
        engine.backward(batch, {})
    gradient = torch.cat(
        [
            (a.grad + b.grad).flatten()
            for a, b in zip(*(r.parameters() for r in replicas), strict=True)
        ]
    )
    torch.testing.assert_close(engine.weights.parameters.grad, gradient, rtol=1e-4, atol=1e-6)
    running_means = torch.stack([replica[1].running_mean for replica in replicas])
    torch.testing.assert_close(module[1].running_mean, running_means.mean(dim=0))


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_a_shard_without_images_adds_nothing(recipe: Recipe, backend: str) -> None:
    engine = engine_of(override(recipe, {"workers": 2, "backend": backend}), plain_module())
    with engine:
        engine.start_epoch(0)
        _, hits = engine.backward(some_batch(1), {}).tolist()
    assert hits in (0, 1)
    assert engine.weights.parameters.grad is not None
    assert torch.isfinite(engine.weights.parameters.grad).all()


def test_a_seed_decides_every_bit_and_nothing_else_does(
    few: Data, recipe: Recipe, tmp_path: Path
) -> None:
    first = fit(recipe, few, tmp_path / "first")
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = fit(recipe, few, tmp_path / "again")
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, again)
    other = fit(override(recipe, {"seed": 1}), few, tmp_path / "other")
    assert not same(first, other)


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_the_number_of_threads_changes_no_bit(
    few: Data, recipe: Recipe, backend: str, tmp_path: Path
) -> None:
    left_open = {"workers": 0, "batch_size": 64, "epochs": 1, "backend": backend}
    runs, before = [], torch.get_num_threads()
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        try:
            runs.append(fit(override(recipe, left_open), few, tmp_path / str(threads)))
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
    assert runs[0].result()["workers"] == 4
    assert all(same(runs[0], run) for run in runs[1:])


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_killed_run_resumes_to_the_same_bits(
    few: Data, recipe: Recipe, tmp_path: Path, ema: float
) -> None:
    recipe = override(recipe, {"epochs": 3, "ema": ema, "watch_test": True,
                               "optimizer.name": "adam", "optimizer.lr": 0.01,
                               "schedule.name": "onecycle"})  # fmt: skip
    whole = fit(recipe, few, tmp_path / "whole")

    def kill_in_second_epoch(progress: Progress) -> None:
        if progress.epoch == 2:
            raise InterruptedError("killed")

    with pytest.raises(InterruptedError, match="killed"):
        fit(recipe, few, tmp_path / "killed", watch=kill_in_second_epoch)
    resumed = resume(tmp_path / "killed", few)
    assert same(whole, resumed)
    columns = ("epoch", "images_seen", "lr", "train_loss", "train_accuracy", "test_accuracy")
    assert [[row[c] for c in columns] for row in resumed.metrics()] == [
        [row[c] for c in columns] for row in whole.metrics()
    ]
    assert resumed.result()["test_reads"] == 4  # three epochs and the final look


def test_the_result_says_what_was_done(few: Data, recipe: Recipe, tmp_path: Path) -> None:
    run = fit(recipe, few, tmp_path / "run")
    result, last = run.result(), run.metrics()[-1]
    assert result["params"] == 9146
    assert result["images_seen"] == 2 * 220  # 240 less the twelfth that validates
    assert result["workers"] == 2
    assert result["test_reads"] == 1
    assert result["train_accuracy"] == last["train_accuracy"]
    logits = run.test_logits()
    assert logits is not None
    assert result["test_accuracy"] == pytest.approx(
        (logits.argmax(1) == few.test.labels).float().mean().item()
    )


def test_full_trains_on_the_validation_images_too(
    few: Data, recipe: Recipe, tmp_path: Path
) -> None:
    run = fit(override(recipe, {"full": True, "epochs": 1}), few, tmp_path / "run")
    assert run.result()["images_seen"] == 240
    assert run.result()["val_accuracy"] is None


def test_the_digits_are_learnt(digits: Data, recipe: Recipe, tmp_path: Path) -> None:
    recipe = override(recipe, {"epochs": 8, "schedule.name": "onecycle"})
    assert fit(recipe, digits, tmp_path / "run").result()["test_accuracy"] > 0.95


schedules = st.sampled_from(["onecycle", "step", "constant"])


@given(schedules, st.integers(1, 6), st.integers(2, 30), st.floats(0.1, 0.9))
def test_learning_rates_are_those_of_torch(
    name: str, epochs: int, steps: int, pct_start: float
) -> None:
    document = {"model": "m", "epochs": epochs, "optimizer": {"name": "sgd", "lr": 0.3}}
    schedule: dict[str, object] = {"name": name}
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], 0.3)
    total = epochs * steps
    if name == "onecycle":
        # torch divides by zero where its rise or fall has no step
        if pct_start * total <= 1.5 or (1 - pct_start) * total <= 1.5:
            return
        schedule |= {"pct_start": pct_start, "div_factor": 10.0, "final_div_factor": 50.0}
        theirs = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.3, total_steps=total, pct_start=pct_start, div_factor=10.0,
            final_div_factor=50.0, cycle_momentum=False,
        )  # fmt: skip
        every = 1
    else:
        step_size = 2 if name == "step" else epochs + 1
        schedule |= {"step_size": 2, "gamma": 0.5} if name == "step" else {}
        theirs = torch.optim.lr_scheduler.StepLR(optimizer, step_size, 0.5)
        every = steps
    recipe = Recipe.model_validate(document | {"schedule": schedule})
    for step in range(total):
        assert learning_rate(recipe, step, steps) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % every == 0 and step + 1 < total:
            theirs.step()


@example(0.2, 5)  # 0.2 · 5 - 1 steps to rise in: none
@given(st.floats(0.01, 0.99), st.integers(1, 6))
def test_a_cycle_of_few_steps_has_rates(share: float, steps: int) -> None:
    recipe = Recipe.model_validate(
        {"model": "m", "epochs": 1, "optimizer": {"name": "sgd", "lr": 1.0},
         "schedule": {"name": "onecycle", "pct_start": share}}
    )  # fmt: skip
    assert all(0 < learning_rate(recipe, step, steps) <= 1 for step in range(steps))


def test_cosine_warms_up_and_ends_near_zero() -> None:
    recipe = Recipe.model_validate(
        {"model": "m", "epochs": 1, "optimizer": {"name": "sgd", "lr": 1.0},
         "schedule": {"name": "cosine", "warmup": 0.2}}
    )  # fmt: skip
    rates = [learning_rate(recipe, step, 10) for step in range(10)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert rates[6] == pytest.approx(0.5)  # half way down
    assert rates[9] == pytest.approx((1 + torch.cos(torch.tensor(torch.pi * 7 / 8)).item()) / 2)


@pytest.mark.parametrize(
    ("function", "shape", "zeros_together"),
    [(F.dropout, (40, 50, 20), 1), (F.dropout2d, (40, 50, 4, 5), 20)],
)
def test_dropout_keeps_the_mean_and_drops_what_it_should(
    function: object, shape: tuple[int, ...], zeros_together: int
) -> None:
    ones = torch.ones(shape, requires_grad=True)
    with SeededDropout(torch.Generator().manual_seed(0)):
        dropped = function(ones, 0.25)  # type: ignore[operator]
        unchanged = function(ones, 0.25, training=False)  # type: ignore[operator]
    dropped.sum().backward()
    assert dropped.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    groups = (dropped.reshape(-1, zeros_together) == 0).float().mean(dim=1)
    assert set(groups.tolist()) == {0.0, 1.0}
    assert torch.equal(ones.grad, dropped.detach())
    assert torch.equal(unchanged, ones)


def test_dropout_is_the_same_for_either_memory_format() -> None:
    ones = torch.ones(3, 4, 5, 6).contiguous(memory_format=torch.channels_last)
    with SeededDropout(torch.Generator().manual_seed(0)):
        dropped = F.dropout(ones, 0.5)
    assert dropped.is_contiguous(memory_format=torch.channels_last)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}


def test_a_lost_loss_stops_the_training_and_leaves_nothing(
    few: Data, recipe: Recipe, tmp_path: Path
) -> None:
    recipe = override(recipe, {"optimizer.lr": 1e30})
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 1 .* lower optimizer\.lr"):
        fit(recipe, few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_worker_that_fails_ends_the_training(
    few: Data, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("worker")

    monkeypatch.setattr(torch_backend, "resample", fail)
    with pytest.raises(MemoryError, match="worker"):
        fit(override(recipe, {"backend": "torch"}), few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_model_is_refused(
    few: Data, recipe: Recipe, tmp_path: Path
) -> None:
    run = fit(override(recipe, {"epochs": 1}), few, tmp_path / "run")
    toml = (run.path / "recipe.toml").read_text().replace("tiny_mnist", "tiny_net")
    (run.path / "recipe.toml").write_text(toml)
    (run.path / "result.json").unlink()  # as if it had been killed
    with pytest.raises(RunError, match="is not of 'tiny_net'"):
        resume(run.path, few)


def test_a_damaged_checkpoint_is_refused(few: Data, run_folder: Path) -> None:
    content = bytearray((run_folder / "last.pt").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (run_folder / "last.pt").write_bytes(content)
    (run_folder / "result.json").unlink()  # as if it had been killed
    with pytest.raises(RunError, match="damaged"):
        resume(run_folder, few)


def test_a_training_does_not_import_torchs_compiler(tmp_path: Path) -> None:
    """That takes a second, which is a quarter of a short training."""
    code = (
        "import sys, smidgen\nfrom smidgen.data import load_data\n"
        "teacher = {'networks': []}\n"
        "smidgen.train('smidgen_697', data=load_data('digits'), epochs=1, teacher=teacher)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


def test_the_watch_sees_each_row_and_the_card_the_epochs_so_far(
    few: Data, recipe: Recipe, tmp_path: Path
) -> None:
    rows: list[Any] = []
    cards: list[str] = []

    def watch(progress: Progress) -> None:
        path = tmp_path / "run" / "README.md"
        if progress.row:
            rows.append(progress.row)
            cards.append(path.read_text() if path.exists() else "")

    three = recipe.model_copy(update={"epochs": 3})
    run = fit(three, few, tmp_path / "run", watch=watch)
    assert rows == run.metrics()
    assert [card.count("\n| ") for card in cards] == [0, 3, 4]  # two lines of heading
    assert cards[2].startswith("# tiny_mnist on digits, 2 of 3 epochs\n")
    assert not run.has_card()


def test_tensorboard_reads_the_epochs(few: Data, recipe: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is of the extra `tensorboard`")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from smidgen.train.tensorboard import write_tensorboard

    with write_tensorboard(tmp_path / "run") as watch:
        run = fit(recipe, few, tmp_path / "run", watch=watch)
    read = EventAccumulator(str(run.path / "tensorboard")).Reload()
    for name in ("train_loss", "val_accuracy", "lr"):
        found = {event.step: event.value for event in read.Scalars(name)}
        expected = {round(row["epoch"]): row[name] for row in run.metrics()}
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_plan_says_what_a_training_does(
    few: Data, recipe: Recipe, tmp_path: Path, ema: float
) -> None:
    recipe = recipe.model_copy(update={"ema": ema})
    planned = plan(recipe, few)
    run = fit(recipe, few, tmp_path / "run")
    # 240 images, of which a split leaves some to validate on; batches of 32.
    fitted, held = few.fit_split()
    assert (planned["images"], planned["val_images"]) == (len(fitted), len(held))
    assert planned["steps"] == 2 * -(-len(fitted) // 32)
    assert (planned["params"], planned["backend"]) == (9146, run.result()["backend"])
    assert planned["seconds"] > 0
    names = ("model.safetensors", "last.pt", "test_logits.safetensors")
    written = sum((run.path / name).stat().st_size for name in names)
    assert planned["bytes"] < written < planned["bytes"] + 20_000  # names and headers
