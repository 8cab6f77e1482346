"""Training: a recipe and data become a run.

    run = fit(load_recipe("tiny_mnist"), load_data("mnist"), "runs/tiny_mnist")

Each epoch passes once over the training split, in batches of resident tensors. The weights that a
run keeps are the last epoch's, or their running average; nothing is chosen on the way. The test
set is read once, at the end, unless the recipe watches it, and every reading is counted.
"""

from __future__ import annotations

import itertools
import math
import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from smidgen.data import Data, Split, load_data
from smidgen.errors import ModelError
from smidgen.network import forward, noise, private_copy
from smidgen.recipe import Recipe, Teacher, recipe_for
from smidgen.run import Run, free_folder
from smidgen.source import files_of, is_network, is_source, target_of
from smidgen.train.batches import epoch_batches
from smidgen.train.checkpoint import Progressed, require_data, restore, save
from smidgen.train.data_parallel import DataParallel
from smidgen.train.device import choose_device
from smidgen.train.distributed import join_processes
from smidgen.train.follow import in_notebook, watch_in_notebook
from smidgen.train.optimizer import Optimizer
from smidgen.train.progress import Meter, Progress, Watch
from smidgen.train.random_streams import INIT, generator
from smidgen.train.record import card_so_far, finish, score
from smidgen.train.resolve import resolve
from smidgen.train.schedule import learning_rate
from smidgen.train.teacher import time_teachers, with_soft_labels, without_foreign_teacher
from smidgen.train.verify import TOLERANCE, report_difference, smallest_difference
from smidgen.train.written import with_written
from smidgen.zoo import create_model

__all__ = ["Progress", "Watch", "fit", "new_module", "plan", "resume", "train"]


def _silent(progress: Progress) -> None:
    pass


def train(
    model: str | type[nn.Module] | nn.Module | None = None,
    recipe: Path | str | None = None,
    data: Data | str | None = None,
    out: Path | str | None = None,
    *,
    watch: Watch | None = None,
    **settings: Any,
) -> Run:
    """The finished run of a model, as `smidgen train` would train it.

    `model` is a name, a file (`net.toml`, `FILE.py:NAME`), or a class of a file; for a module a
    fresh one of its class is trained. `recipe` is a name or a file, by default the model's own,
    and without a model says the model; `data` is a data set or its name; `watch` is that of `fit`,
    by default one that shows the training in a notebook, and nothing elsewhere; `settings` change
    the recipe's keys (`epochs=5`), those of a table as one dictionary
    (`optimizer={"name": "adam", "lr": 0.01}`).
    """
    name = model if isinstance(model, str | None) else target_of(model)
    if isinstance(data, str):
        settings, data = settings | {"data": data}, None
    chosen = recipe_for(name, recipe, settings, source="settings")
    folder = Path(out or free_folder(chosen.model))
    if watch is None:
        watch = watch_in_notebook(folder) if in_notebook() else _silent
    return fit(chosen, data or load_data(chosen.data), folder, watch=watch)


def fit(
    recipe: Recipe,
    data: Data,
    out: Path | str,
    *,
    device: str = "auto",
    watch: Watch = _silent,
) -> Run:
    """The finished run of a recipe, in the new folder `out`.

    `watch` is called with the progress about ten times a second, and with the figures of each epoch
    at its end. Raises ModelError, RecipeError
    and RunError for what cannot start, TrainingError when the loss is no longer finite or the
    kernels that the recipe asks for do not compute torch's gradient; a training that fails in its
    first epoch leaves no folder behind. The run's recipe names the data that it was given.
    """
    recipe = without_foreign_teacher(recipe.model_copy(update={"data": data.name}))
    engine, fitted, validation = _prepare(recipe, new_module(recipe, data), data, device)
    run = Run(Path(out)) if engine.process.rank else Run.create(out, engine.recipe)
    try:
        if engine.process.rank == 0:
            run.write_source(_files_of(recipe.model))
        return _train(run, engine, data, fitted, validation, {}, watch)
    except BaseException:
        if engine.process.rank == 0 and not run.has_checkpoint():
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def plan(recipe: Recipe, data: Data, *, device: str = "auto", batches: int = 20) -> dict[str, Any]:
    """What `fit` would do, from a few batches that are timed; no folder is written.

    images, steps and backend; `seconds` of the training alone; `teacher_seconds` before it, for the
    answers that it learns from; `bytes` of weights, checkpoint and answers in the run's folder,
    without its pictures. Raises what `fit` raises before it trains.
    """
    recipe = without_foreign_teacher(recipe.model_copy(update={"data": data.name}))
    taught = time_teachers(data.train if recipe.full else data.fit_split()[0], recipe, data)
    recipe = recipe.model_copy(update={"teacher": Teacher()})
    engine, fitted, validation = _prepare(recipe, new_module(recipe, data), data, device)
    optimizer = Optimizer(engine.weights, engine.recipe.optimizer)
    steps = math.ceil(len(fitted) / recipe.batch_size)
    stamps = [time.perf_counter()]
    with engine:
        engine.start_epoch(0)
        for batch, draws in itertools.islice(epoch_batches(fitted, engine.recipe, 0), batches):
            engine.backward(batch, draws)
            optimizer.step(recipe.optimizer.lr)
            stamps.append(time.perf_counter())
    seconds = median(after - before for before, after in itertools.pairwise(stamps))
    tensors = [*engine.weights.averaged.state_dict().values(), *engine.weights.state().values()]
    tensors += optimizer.state.values()
    return {
        "model": recipe.model,
        "data": data.name,
        "params": engine.weights.parameters.numel(),
        "images": len(fitted),
        "val_images": len(validation) if validation else 0,
        "epochs": recipe.epochs,
        "steps": recipe.epochs * steps,
        "backend": engine.recipe.backend,
        "seconds": seconds * recipe.epochs * steps,
        "teacher_seconds": taught,
        "bytes": sum(t.nbytes for t in tensors) + 4 * len(data.test) * len(data.classes),
    }


def _files_of(model: str) -> dict[str, bytes]:
    """The files that a model is built from, by their paths; none of a model of the zoo."""
    if is_network(model):
        return {Path(model).name: Path(model).read_bytes()}
    return files_of(model) if is_source(model) else {}


def resume(path: Path | str, data: Data, *, device: str = "auto", watch: Watch = _silent) -> Run:
    """The run in that folder, finished from its last whole epoch to the same weights, bit for bit.

    A run that has finished is returned as it is. Raises RunError if the folder holds no run, a
    checkpoint that is damaged or another's, or a run on other images than those of the data.
    """
    run = Run.open(path)
    if run.has_result():
        require_data(run.result().get("data_fingerprint", data.fingerprint), run, data)
        return run
    checkpoint = run.checkpoint()
    require_data(checkpoint.get("data"), run, data)
    module = new_module(run.recipe.model_copy(update={"model": run.model}), data)
    engine, fitted, validation = _prepare(run.recipe, module, data, device)
    return _train(run, engine, data, fitted, validation, checkpoint, watch)


def _prepare(
    recipe: Recipe, module: nn.Module, data: Data, device: str
) -> tuple[DataParallel, Split, Split | None]:
    """The fresh network ready to train, the images to fit, and those to validate on, if any.

    Raises TrainingError if the recipe asks for the kernels and their gradient is not torch's.
    """
    place, process = choose_device(device), join_processes()
    chosen = resolve(recipe, module, data.preprocess, place, process)
    fitted, validation = (data.train, None) if recipe.full else data.fit_split()
    fitted = with_written(with_soft_labels(fitted, recipe, data), recipe, data).to(place)
    if chosen.backend == "native":
        difference = smallest_difference(module, chosen, fitted, data.preprocess)
        if process.sum(torch.tensor(float(difference > TOLERANCE))):  # all processes do the same
            report_difference(recipe, difference)
            chosen = chosen.model_copy(update={"backend": "torch"})
    return DataParallel(module, chosen, data.preprocess, place, process), fitted, validation


def _train(
    run: Run,
    engine: DataParallel,
    data: Data,
    fitted: Split,
    validation: Split | None,
    checkpoint: dict[str, Any],
    watch: Watch,
) -> Run:
    recipe, process = engine.recipe, engine.process
    optimizer = Optimizer(engine.weights, recipe.optimizer)
    done = restore(run, checkpoint, engine.weights, optimizer)
    with engine:
        for epoch in range(len(done.rows), recipe.epochs):
            meter = Meter(epoch, recipe, len(fitted), done.seconds, watch)
            lr = train_epoch(engine, optimizer, fitted, epoch, meter)
            row = meter.finish() | {"lr": lr} | score("val", engine, validation)
            if recipe.watch_test:
                row |= score("test", engine, data.test)
            meter.report(row)
            done = Progressed((*done.rows, row), done.test_reads + recipe.watch_test)
            if process.rank == 0:
                run.append_metrics(row)
                save(run, engine.weights, optimizer, done, data)
                run.write_text("README.md", card_so_far(recipe, done.rows))
    process.leave()
    if process.rank == 0:
        finish(run, engine, data, done)
    return run


def train_epoch(
    engine: DataParallel, optimizer: Optimizer, split: Split, epoch: int, meter: Meter
) -> float:
    """Passes once over the split, counted by the meter; returns the last learning rate."""
    recipe, weights = engine.recipe, engine.weights
    steps = math.ceil(len(split) / recipe.batch_size)
    engine.start_epoch(epoch)
    for step, (batch, draws) in enumerate(epoch_batches(split, recipe, epoch), epoch * steps):
        lr = learning_rate(recipe, step, steps)
        sums = engine.backward(batch, draws)  # (2,): summed loss, images classified correctly
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_([weights.parameters], recipe.clip_norm)
        optimizer.step(lr)
        weights.average(step)
        meter.add(sums, len(batch))
    return lr


def new_module(recipe: Recipe, data: Data) -> nn.Module:
    """A fresh module of the recipe's model; its weights depend on the recipe's seed alone.

    Raises ModelError for a model that does not take the images of the data, or has not one logit
    for each class.
    """
    shape = data.preprocess.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(recipe.seed, INIT).initial_seed())
        module = create_model(recipe.model, classes=len(data.classes), input=shape)
    answered = forward(private_copy(module, shape).eval(), noise(2, shape)).shape
    if answered != (2, len(data.classes)):
        raise ModelError(
            f"{recipe.model!r} answers {tuple(answered[1:])} for an image; {data.name!r} has "
            f"{len(data.classes)} classes, so forward must return (N, {len(data.classes)})"
        )
    return module
