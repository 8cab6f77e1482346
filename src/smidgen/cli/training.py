"""Commands that train: quickstart, train, sweep."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smidgen.cli.choosing import changes_of, choose_recipe
from smidgen.cli.completion import complete_model, complete_setting
from smidgen.cli.loading import load_shown
from smidgen.cli.options import (
    DataDir,
    DataName,
    Device,
    Full,
    Glyph,
    Grey,
    Json,
    ModelName,
    Quiet,
    RecipeName,
    Settings,
    Size,
    SkipBad,
    Teachers,
)
from smidgen.cli.output import console, emit, interruptible, percent, table
from smidgen.cli.watching import watching
from smidgen.errors import DataError, RecipeError

if TYPE_CHECKING:
    from rich.console import Console

    from smidgen.recipe import Recipe
    from smidgen.train import Watch

Plan = Annotated[
    bool, typer.Option("--plan", help="Say what it would take, by a few batches, and stop.")
]
Tensorboard = Annotated[
    bool, typer.Option("--tensorboard", help="Write RUN/tensorboard, too; needs that extra.")
]
Open = Annotated[bool, typer.Option("--open", help="Follow it in the browser: RUN/live.html.")]
Grid = Annotated[
    list[str],
    typer.Option(
        metavar="KEY=A,B,...",
        help="A recipe's key and its values.",
        autocompletion=complete_setting,
    ),
]


def train(
    model: ModelName = None,
    recipe: RecipeName = None,
    settings: Settings = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    step_size: Annotated[int | None, typer.Option(help="Epochs between two steps down.")] = None,
    gamma: Annotated[float | None, typer.Option(help="The factor of each step down.")] = None,
    no_cuda: Annotated[bool, typer.Option("--no-cuda", help="The same as --device cpu.")] = False,
    device: Device = "auto",
    seed: int | None = None,
    teacher: Teachers = None,
    seeds: Annotated[int | None, typer.Option(help="Train N seeds side by side.")] = None,
    full: Full = False,
    out: Annotated[Path | None, typer.Option(help="The new run folder.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Finish a killed run.")] = None,
    data: DataName = None,
    data_dir: DataDir = None,
    size: Size = None,
    grey: Grey = False,
    glyph: Glyph = False,
    skip_bad: SkipBad = False,
    plan: Plan = False,
    tensorboard: Tensorboard = False,
    open_: Open = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Train a model by a recipe; the run folder holds weights, curves, pictures and the card."""
    changes = changes_of(
        epochs=epochs, batch_size=batch_size, lr=lr, step_size=step_size, gamma=gamma, seed=seed,
        full=full, teacher=teacher, data=data,
    )  # fmt: skip
    pictures = {"size": size, "grey": grey, "glyph": glyph, "skip_bad": skip_bad}
    trainer = _Trainer("cpu" if no_cuda else device, data_dir, tensorboard, open_, quiet, json_)
    if resume is not None:
        return trainer.resume(resume, (model, recipe, settings, changes, *pictures.values()))
    chosen = choose_recipe(model, recipe, settings, changes, pictures)
    return trainer.plan(chosen, seeds) if plan else trainer.fit(chosen, seeds, out)


@dataclass(frozen=True)
class _Trainer:
    """Trains on a device, with data from a folder, and reports in JSON or for people."""

    device: str
    data_dir: Path | None
    tensorboard: bool
    open_: bool
    quiet: bool
    json_: bool

    def fit(self, recipe: Recipe, seeds: int | None, out: Path | None) -> None:
        """Trains by the recipe once, or once for each of so many seeds."""
        from smidgen.run import free_folder, require_unused
        from smidgen.train import fit
        from smidgen.train.distributed import is_main_process

        folder = out or free_folder(recipe.model)
        if seeds is not None:
            if self.tensorboard or self.open_:
                option = "--tensorboard" if self.tensorboard else "--open"
                raise RecipeError(f"{option} is for one training; leave it out with --seeds")
            people = console(self.json_, self.quiet)
            return _train_seeds(recipe, seeds, folder, self.data_dir, self.json_, people)
        if is_main_process():
            require_unused(folder)  # before what takes time
        data = load_shown(recipe.data, self.data_dir, self.quiet)
        with self._watch(folder) as watch:
            run = fit(recipe, data, folder, device=self.device, watch=watch)
        return _report(run, data, self.json_)

    def plan(self, recipe: Recipe, seeds: int | None) -> None:
        """Prints what one training would do, of as many seeds."""
        from smidgen.train import plan

        planned = plan(
            recipe, load_shown(recipe.data, self.data_dir, self.quiet), device=self.device
        )
        if self.json_:
            return emit(planned | {"seeds": seeds or 1})
        taught = planned["teacher_seconds"]
        teacher = f"about {taught:.0f} s for the teacher's answers, then " if taught else ""
        each = f", for each of {seeds} seeds" if seeds else ""
        console().print(
            f"{planned['model']}, {planned['params']:,} parameters, on {planned['images']:,} "
            f"images of {planned['data']}: {planned['steps']:,} steps in {planned['epochs']:,} "
            f"epochs, backend {planned['backend']}\n{teacher}about {planned['seconds']:.0f} s of "
            f"training and {planned['bytes']:,} bytes without pictures{each}",
            soft_wrap=True,
        )
        return None

    def resume(self, path: Path, others: tuple[Any, ...]) -> None:
        """Finishes the run in that folder; refused where any other thing was asked for."""
        from smidgen.run import Run
        from smidgen.train import resume

        if any(others):
            raise RecipeError("--resume goes on with the run's own recipe; leave the rest out")
        run = Run.open(path)
        if run.has_result() and run.has_card():
            console(self.json_).print(f"{path} has finished; nothing was changed")
            return _print_result(run, self.json_)
        run.checkpoint()  # is refused before what takes time
        data = load_shown(run.recipe.data, self.data_dir, self.quiet)
        with self._watch(path) as watch:
            run = resume(path, data, device=self.device, watch=watch)
        return _report(run, data, self.json_)

    def _watch(self, folder: Path) -> AbstractContextManager[Watch]:
        return watching(folder, self.json_, self.quiet, self.tensorboard, self.open_)


def _how_to_repeat(folder: Path) -> str:
    return f"the same command with --out {folder} goes on, and trains nothing twice"


def sweep(
    model: Annotated[
        str,
        typer.Argument(
            help="A model of the zoo, net.toml or FILE.py[:NAME].", autocompletion=complete_model
        ),
    ],
    grid: Grid,
    recipe: RecipeName = None,
    settings: Settings = None,
    epochs: int | None = None,
    data: DataName = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each combination.", min=1)] = 1,
    out: Annotated[Path | None, typer.Option(help="Where the runs go.")] = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Train every combination of some values, and rank them on the validation images."""
    from rich.progress import track

    from smidgen.run import free_folder
    from smidgen.sweep import ranking
    from smidgen.sweep import sweep as sweep_grid

    values = _grid_values(grid)
    changes = {"full": False} | changes_of(epochs=epochs, data=data)
    chosen = choose_recipe(model, recipe, settings, changes, {})
    folder = out or free_folder(f"sweep-{model}")
    coming = sweep_grid(chosen, values, seeds, folder, data_dir=data_dir)
    count = math.prod(map(len, values.values())) * seeds
    with interruptible(lambda: _how_to_repeat(folder)):
        bar = track(coming, "training", total=count, console=console(json_, quiet))
        rows = ranking(list(bar))
    if json_:
        return emit({"model": model, "rows": rows})
    return _print_ranking(rows, folder)


def _print_ranking(rows: list[dict[str, Any]], folder: Path) -> None:
    cells = [
        (row["recipe"], percent(row["val_accuracy"]), str(row["n"]), f"{row['seconds']:.0f}")
        for row in rows
    ]
    ranked = table(("recipe", "mean validation accuracy", "seeds", "seconds"), cells)
    ranked.columns[0].no_wrap = False  # a grid of many keys makes long names
    people = console()
    people.print(ranked)
    people.print(str(folder))


def _grid_values(grid: list[str]) -> dict[str, list[Any]]:
    """The values that each `KEY=A,B,...` lists."""
    from smidgen.recipe import parse_setting

    values = {}
    for text in grid:
        key, _, listed = text.partition("=")
        values[key] = [parse_setting(f"{key}={value}", "--grid")[1] for value in listed.split(",")]
    return values


def quickstart(
    out: Annotated[Path | None, typer.Option(help="The new run folder.")] = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Watch a tiny network learn handwriting: MNIST where it can be had, else embedded digits."""
    from smidgen.data import load_data
    from smidgen.recipe import load_recipe, override
    from smidgen.run import free_folder
    from smidgen.train import fit

    people = console(json_)
    recipe = load_recipe("tiny_mnist_best")
    try:
        data = load_data("mnist", data_dir)
    except DataError as problem:
        people.print(f"MNIST could not be had: {problem}")
        people.print(
            "Training on scikit-learn's 1,797 embedded digits instead. "
            "The figures below are NOT MNIST figures.",
            style="bold yellow",
        )
        data = load_data("digits")
        recipe = override(recipe, {"data": "digits", "epochs": 20})
    people.print(
        f"Training {recipe.model} on {len(data.train):,} images of {data.name}: "
        f"{recipe.epochs} {'epoch' if recipe.epochs == 1 else 'epochs'}."
    )
    folder = out or free_folder("quickstart")
    with watching(folder, json_) as watch:
        run = fit(recipe, data, folder, watch=watch)
    _report(run, data, json_)
    people.print(
        f"\nWhat next?\n"
        f"  look at it     open {run.path}/README.md and {run.path}/plots\n"
        f"  use it         smidgen predict {run.path} your-digit.png\n"
        f"  a better one   smidgen train skip_13k --recipe skip_13k_best\n"
        f"  all models     smidgen models"
    )


def _train_seeds(
    recipe: Recipe, seeds: int, out: Path, data_dir: Path | None, json_: bool, people: Console
) -> None:
    from rich.markup import escape
    from rich.progress import track

    from smidgen.data import load_data
    from smidgen.report import write_report
    from smidgen.sweep import fit_seeds, write_summary

    coming = fit_seeds(recipe, seeds, out, data_dir=data_dir)
    title = escape(f"{recipe.model}, {seeds} seeds")
    with interruptible(lambda: _how_to_repeat(out)):
        runs = list(track(coming, title, total=seeds, console=people))
    summary = write_summary(runs, out)
    score = summary["test_accuracy"]
    low, high = score["interval"]
    console(json_).print(
        f"{recipe.model}: mean {percent(score['mean'], 3)} ± {percent(score['sd'], 3)} (sd), "
        f"minimum {percent(score['min'])}, n = {score['n']}, "
        f"95 % interval of the mean {percent(low, 3)} to {percent(high, 3)}\n{out}"
    )
    if json_:
        emit(summary)
    write_report(out, load_data(recipe.data, data_dir))


def _report(run: Any, data: Any, json_: bool) -> None:
    """Prints the result, then draws the pictures and the card; under torchrun, one process does."""
    from smidgen.train.distributed import is_main_process

    if is_main_process():
        _print_result(run, json_)
        from smidgen.report import write_report  # which takes time: after the result

        write_report(run, data)


def _print_result(run: Any, json_: bool) -> None:
    result = run.result()
    if json_:
        emit(result)
        return
    people = console()
    for name in ("train", "val", "test"):
        if result[f"{name}_accuracy"] is not None:
            people.print(f"{name:5} accuracy  {percent(result[f'{name}_accuracy'])}")
    people.print(
        f"{result['params']:,} parameters, {result['images_seen']:,} images seen in "
        f"{result['seconds']:.1f} s ({result['images_per_second']:,.0f} images/s, "
        f"{result['workers']} workers)\n{run.path}"
    )
