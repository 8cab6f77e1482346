"""The recipe that a command line asks for; and the command that prints it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smidgen.cli.completion import complete_model, complete_recipe
from smidgen.cli.options import DataName, Full, Json, Settings, Teachers
from smidgen.cli.output import emit

if TYPE_CHECKING:
    from smidgen.recipe import Recipe

# The options that change a recipe, and the keys that they change.
KEYS = {
    "epochs": "epochs", "batch_size": "batch_size", "lr": "optimizer.lr",
    "step_size": "schedule.step_size", "gamma": "schedule.gamma", "seed": "seed", "full": "full",
    "teacher": "teacher.networks", "data": "data",
}  # fmt: skip
TYPED = {key: f"--{option.replace('_', '-')}" for option, key in KEYS.items()}


def recipe(
    name: Annotated[
        str,
        typer.Argument(
            help="A recipe's name or file, or FILE.py or net.toml.", autocompletion=complete_recipe
        ),
    ],
    settings: Settings = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    step_size: Annotated[int | None, typer.Option(help="Epochs between two steps down.")] = None,
    gamma: Annotated[float | None, typer.Option(help="The factor of each step down.")] = None,
    seed: int | None = None,
    teacher: Teachers = None,
    full: Full = False,
    data: DataName = None,
    json_: Json = False,
) -> None:
    """Print a recipe as TOML, with all changes: what `train` would train by."""
    from smidgen.recipe import to_toml

    changes = changes_of(
        epochs=epochs, batch_size=batch_size, lr=lr, step_size=step_size, gamma=gamma, seed=seed,
        full=full, teacher=teacher, data=data,
    )  # fmt: skip
    model, named = (name, None) if _is_model(name) else (None, name)
    chosen = choose_recipe(model, named, settings, changes, {})
    return emit(chosen.model_dump()) if json_ else print(to_toml(chosen), end="")


def _is_model(name: str) -> bool:
    """Whether a name that is no shipped recipe's stands for a model: the recipe is then `default`.

    A file of layers is a network; any other TOML is a recipe.
    """
    from smidgen.errors import RecipeError
    from smidgen.recipe import list_recipes
    from smidgen.schema import read_toml

    if name.endswith(".toml"):
        return "layers" in read_toml(Path(name), RecipeError)
    if name in list_recipes():
        return False
    return name.partition(":")[0].endswith((".py", ".ipynb")) or name in complete_model(name)


def changes_of(**options: Any) -> dict[str, Any]:
    """What options that were given change, by the recipe's keys."""
    given = {name: value for name, value in options.items() if value is not None}
    changes = {KEYS[name]: value for name, value in given.items() if value is not False}
    if "schedule.step_size" in changes or "schedule.gamma" in changes:
        changes["schedule.name"] = "step"
    return changes


def choose_recipe(
    model: str | None,
    recipe: str | None,
    settings: list[str] | None,
    changes: dict[str, Any],
    pictures: dict[str, Any],
) -> Recipe:
    """The recipe with its changes; `settings` have priority over `changes`.

    The options of `pictures` go into the name of its data.
    """
    from smidgen.recipe import override, parse_setting, recipe_for
    from smidgen.source import is_source
    from smidgen.zoo import create_model

    if model is not None and not is_source(model):
        create_model(model)  # refuses an unknown name before anything else
    if "teacher.networks" in changes:
        changes["teacher.data"] = None  # whoever names a teacher wants it
    own = dict(map(parse_setting, settings or []))
    typed = {key: option for key, option in TYPED.items() if key in changes and key not in own}
    chosen = recipe_for(model, recipe, changes | own, typed=typed)
    if not any(pictures.values()):
        return chosen
    from smidgen.data import with_options

    return override(chosen, {"data": with_options(chosen.data, **pictures)})
