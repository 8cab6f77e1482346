"""Training: a recipe and data become a run.

    run = fit(load_recipe("tiny_mnist"), load_data("mnist"), "runs/tiny_mnist")

Each epoch passes once over the training split, in batches of resident tensors. The weights that a
run keeps are the last epoch's, or their running average; nothing is chosen on the way. The test
set is read once, at the end, unless the recipe watches it, and every reading is counted.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smidgen.data import Data, Split, load_data
from smidgen.errors import RunError
from smidgen.recipe import SGD, Adam, Recipe, recipe_for
from smidgen.run import Run, free_folder
from smidgen.train.autotune import tune
from smidgen.train.device import choose_device
from smidgen.train.distributed import join_processes
from smidgen.train.engine import Network, epoch_batches
from smidgen.train.flat import trainable
from smidgen.train.progress import Meter, Progress, Watch
from smidgen.train.random_streams import INIT, generator
from smidgen.train.record import finish, score
from smidgen.train.schedule import learning_rate
from smidgen.train.soap import Soap
from smidgen.train.teacher import with_soft_labels
from smidgen.zoo import create_model

__all__ = ["Progress", "Watch", "fit", "new_module", "resume", "train"]


OPTIMIZER = "optimizer."  # starts the names of the optimiser's tensors in a checkpoint


def _silent(progress: Progress) -> None:
    pass


def train(
    model: str,
    recipe: Path | str | None = None,
    data: Data | None = None,
    out: Path | str | None = None,
    **settings: Any,
) -> Run:
    """The finished run of a model, as `smidgen train` would train it.

    `recipe` is a name or a file, by default the model's own; `settings` change its keys
    (`epochs=5`), those of a table as one dictionary (`optimizer={"name": "adam", "lr": 0.01}`).
    """
    chosen = recipe_for(model, recipe, settings)
    loaded = data or load_data(chosen.data)
    return fit(chosen, loaded, out or free_folder(chosen.model))


def fit(
    recipe: Recipe,
    data: Data,
    out: Path | str,
    *,
    device: str = "auto",
    watch: Watch = _silent,
) -> Run:
    """The finished run of a recipe, in the new folder `out`.

    `watch` is called with the progress about ten times a second. Raises ModelError, RecipeError
    and RunError for what cannot start, TrainingError when the loss is no longer finite; a
    training that fails in its first epoch leaves no folder behind.
    """
    place, process = choose_device(device), join_processes()
    module = new_module(recipe, len(data.classes))
    recipe = tune(recipe, module, place, process)
    run = Run(Path(out)) if process.rank else Run.create(out, recipe)
    try:
        network = Network(module, recipe, data.mean, data.std, place, process)
        return _train(run, network, data, {}, watch)
    except BaseException:
        if process.rank == 0 and not run.has_checkpoint():
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def resume(path: Path | str, data: Data, *, device: str = "auto", watch: Watch = _silent) -> Run:
    """The run in that folder, finished from its last whole epoch to the same weights, bit for bit.

    Raises RunError if the folder holds no run, or a checkpoint that is damaged or another's.
    """
    run, place, process = Run.open(path), choose_device(device), join_processes()
    recipe = run.recipe
    if recipe.data != data.name:
        raise RunError(f"{str(path)!r} was trained on {recipe.data!r}, not on {data.name!r}")
    module = new_module(recipe, len(data.classes))
    recipe = tune(recipe, module, place, process)  # chosen already; can it be done here too?
    network = Network(module, recipe, data.mean, data.std, place, process)
    return _train(run, network, data, run.checkpoint(), watch)


def new_module(recipe: Recipe, classes: int) -> nn.Module:
    """A fresh module of the recipe's model; its weights depend on the recipe's seed alone."""
    options: dict[str, Any] = {} if classes == 10 else {"classes": classes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(recipe.seed, INIT).initial_seed())
        return create_model(recipe.model, **options)


def new_optimizer(network: Network) -> torch.optim.Optimizer:
    """The recipe's optimiser over the network's one flat vector of parameters."""
    parameters = network.parameters
    match network.recipe.optimizer:
        case SGD() as o:
            return torch.optim.SGD(
                [parameters], o.lr, o.momentum, 0, o.weight_decay, o.nesterov, fused=True
            )
        case Adam() as o:
            kind = torch.optim.AdamW if o.name == "adamw" else torch.optim.Adam
            return kind([parameters], o.lr, (o.beta1, o.beta2), o.eps, o.weight_decay, fused=True)
        case o:
            tensors = trainable(network.module)
            return Soap(parameters, tensors, o.lr, (o.beta1, o.beta2), o.eps, o.weight_decay)


def _train(run: Run, network: Network, data: Data, checkpoint: dict[str, Any], watch: Watch) -> Run:
    recipe = network.recipe
    fitted, validation = (data.train, None) if recipe.full else data.fit_split()
    fitted = with_soft_labels(fitted, recipe, data).to(network.device)
    optimizer = new_optimizer(network)
    done, seconds, test_reads = restore(run, checkpoint, network, optimizer)

    with network:
        for epoch in range(done, recipe.epochs):
            meter = Meter(epoch, recipe, len(fitted), seconds, watch)
            lr = train_epoch(network, optimizer, fitted, epoch, meter)
            row = meter.finish() | {"lr": lr} | score("val", network, validation)
            if recipe.watch_test:
                row |= score("test", network, data.test)
                test_reads += 1
            seconds = meter.seconds()
            if network.process.rank == 0:
                run.append_metrics(row)
                figures = {"epochs": epoch + 1, "seconds": seconds, "test_reads": test_reads}
                run.write_checkpoint(network.state() | optimizer_state(optimizer), figures)
    network.process.leave()
    if network.process.rank == 0:
        finish(run, network, data, test_reads + 1)
    return run


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """What the optimiser keeps about the one vector it moves: momenta and the number of steps."""
    kept = optimizer.state_dict()["state"].get(0, {})
    return {OPTIMIZER + name: value for name, value in kept.items() if value is not None}


def train_epoch(
    network: Network, optimizer: torch.optim.Optimizer, split: Split, epoch: int, meter: Meter
) -> float:
    """Passes once over the split, counted by the meter; returns the last learning rate."""
    recipe = network.recipe
    steps = math.ceil(len(split) / recipe.batch_size)
    network.start_epoch(epoch)
    for step, (batch, draws) in enumerate(epoch_batches(split, recipe, epoch), epoch * steps):
        lr = learning_rate(recipe, step, steps)
        optimizer.param_groups[0]["lr"] = lr
        sums = network.backward(batch, draws)
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_([network.parameters], recipe.clip_norm)
        optimizer.step()
        network.average(step)
        meter.add(sums, len(batch))
    return lr


def restore(
    run: Run, checkpoint: dict[str, Any], network: Network, optimizer: torch.optim.Optimizer
) -> tuple[int, float, int]:
    """Sets network and optimiser as the checkpoint has them: finished epochs, seconds, test reads.

    Raises RunError if the checkpoint is of another model or training.
    """
    if not checkpoint:
        return 0, 0.0, 0
    try:
        network.load(checkpoint["tensors"])
        kept = {
            name.removeprefix(OPTIMIZER): tensor
            for name, tensor in checkpoint["tensors"].items()
            if name.startswith(OPTIMIZER)
        }
        optimizer.load_state_dict(optimizer.state_dict() | {"state": {0: kept}})
        epochs, seconds = int(checkpoint["epochs"]), float(checkpoint["seconds"])
        test_reads = int(checkpoint["test_reads"])
    except (KeyError, TypeError, ValueError, RuntimeError) as problem:
        raise RunError(
            f"the checkpoint in {str(run.path)!r} is not of {network.recipe.model!r} "
            f"({problem}); train again without --resume"
        ) from None
    run.truncate_metrics(epochs)
    return epochs, seconds, test_reads
