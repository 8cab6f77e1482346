"""A recipe: everything that a training run depends on, as frozen models to and from TOML.

    recipe = load_recipe("tiny_mnist")                # shipped, or a path to a .toml file
    recipe = override(recipe, {"optimizer.lr": 0.01})  # dotted keys, as `--set` takes them

This module loads without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, model_validator

from smidgen.errors import RecipeError, shown
from smidgen.inputs import LARGEST
from smidgen.schema import Frozen, list_shipped, load_document, parse_toml, validate

# Bounds that no training comes near; past them, numbers overflow on the way.
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Alpha = Annotated[float, Field(ge=0, le=1000)]  # of a Beta distribution
Name = Annotated[str, Field(min_length=1, max_length=4096)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class SGD(Frozen):
    """Stochastic gradient descent, as torch.optim.SGD counts it."""

    name: Literal["sgd"] = "sgd"
    lr: Positive = 0.1
    momentum: Fraction = 0.9
    nesterov: bool = True
    weight_decay: NonNegative = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov = true needs a momentum above 0")
        return self


class Adam(Frozen):
    """Adam (Kingma & Ba 2014); `adamw` decouples the weight decay (Loshchilov & Hutter 2017)."""

    name: Literal["adam", "adamw"] = "adam"
    lr: Positive = 1e-3
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.0


class Soap(Frozen):
    """Adam in the eigenbasis of the gradients' covariance (Vyas et al. 2024), decay as `adamw`."""

    name: Literal["soap"] = "soap"
    lr: Positive = 0.01
    beta1: Fraction = 0.9
    beta2: Fraction = 0.99
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.0


class Constant(Frozen):
    """The learning rate stays as it is."""

    name: Literal["constant"] = "constant"


class OneCycle(Frozen):
    """Cosine up from lr / div to lr, cosine down to lr / div / final_div (Smith & Topin 2017).

    `optimizer.lr` is the peak; the momentum is not cycled.
    """

    name: Literal["onecycle"] = "onecycle"
    pct_start: Annotated[float, Field(gt=0, lt=1)] = 0.3
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4


class Cosine(Frozen):
    """A linear warm-up over the first `warmup` of all steps, then half a cosine down to zero."""

    name: Literal["cosine"] = "cosine"
    warmup: Fraction = 0.0


class Step(Frozen):
    """The learning rate times `gamma` after every `step_size` epochs."""

    name: Literal["step"] = "step"
    step_size: Count = 15
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1


class Augment(Frozen):
    """Random changes of the training images; angles in degrees, lengths as a share of the side.

    Each range is symmetric: rotation = 10 draws an angle from [-10, 10]. `flip` is the probability
    that left and right are exchanged. `crop_padding` moves an image by up to so many whole pixels,
    as a crop out of the image padded by them does. The policy "trivial" adds one operation of
    fourteen at a random strength (Müller & Hutter 2021). `brightness`, `contrast` and `saturation`
    draw factors from [1 - x, 1 + x]. `haze` is the largest share of white that is blended in, and
    `noise` the largest standard deviation of noise, as a share of white. `random_erasing` is the
    probability that a rectangle is blanked. `mixup` and `cutmix` mix each image with another one of
    its batch, by shares from Beta(alpha, alpha); each is the alpha, and 0 leaves it out.
    docs/recipes.md has a table of all keys.
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    translation: Fraction = 0.0
    scale: Fraction = 0.0
    shear: Annotated[float, Field(ge=0, lt=90)] = 0.0
    crop_size: Annotated[int, Field(ge=1, le=LARGEST)] | None = None
    crop_probability: Annotated[float, Field(ge=0, le=1)] = 0.0
    cutout: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    elastic: Annotated[float, Field(ge=0, le=LARGEST)] = 0.0
    flip: Annotated[float, Field(ge=0, le=1)] = 0.0
    crop_padding: Annotated[int, Field(ge=0, le=64)] = 0
    policy: Literal["none", "trivial"] = "none"
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.0
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.0
    haze: Annotated[float, Field(ge=0, le=1)] = 0.0
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    random_erasing: Annotated[float, Field(ge=0, le=1)] = 0.0
    mixup: Alpha = 0.0
    cutmix: Alpha = 0.0

    @model_validator(mode="after")
    def _crop_is_whole(self) -> Augment:
        if (self.crop_size is None) != (self.crop_probability == 0):
            raise ValueError("crop_size and crop_probability go together")
        return self


class Teacher(Frozen):
    """Trained networks from whose outputs a network learns (Hinton, Vinyals & Dean 2015).

    `networks` are zoo names or run folders. Where `data` names a data set, they are left out of a
    training on any other. Soft labels are the mean of their probabilities, at the
    temperature, for each training image without augmentation. In the loss they have the weight
    `weight`, and the labels the rest.
    """

    networks: list[Name] = Field(default_factory=list)
    data: Name | None = None
    weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    temperature: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0


Optimizer = Annotated[SGD | Adam | Soap, Field(discriminator="name")]
Schedule = Annotated[Constant | OneCycle | Cosine | Step, Field(discriminator="name")]


class Recipe(Frozen):
    """Everything that a training run depends on, except the machine that it runs on.

    `full` trains on the validation split too. `ema` is the decay per step of the running average
    that becomes the final weights (0: the last step's weights are final). `class_weights` =
    "balanced" weighs an image by how rare its class is among the training images. `clip_norm`
    bounds the norm of the whole gradient. `watch_test` reads the test set after every epoch, to
    show the curve; nothing is ever chosen on it. `workers` is the number of shards a batch is cut
    into, each with its own batch-norm statistics; however many cores there are take them in turn.
    0 is one for each 16 images, up to four. `written` adds so many drawn digits, in the styles of
    several countries, to the training images of digits. `backend` is what computes the gradient:
    torch, in that precision and memory format, or smidgen's own kernels, in float32; "auto" is the
    kernels where they can.
    """

    model: Name
    data: Name = "mnist"
    full: bool = False
    epochs: Count = 1
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = 64
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    label_smoothing: Fraction = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    clip_norm: Positive | None = None
    ema: Fraction = 0.0
    watch_test: bool = False
    written: Annotated[int, Field(ge=0, le=100_000)] = 0
    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    backend: Literal["auto", "native", "torch"] = "auto"
    optimizer: Optimizer = SGD()
    schedule: Schedule = Constant()
    augment: Augment = Augment()
    teacher: Teacher = Teacher()


def list_recipes() -> list[str]:
    """The names of the shipped recipes, sorted."""
    return list_shipped("recipes")


def load_recipe(name_or_path: str | Path) -> Recipe:
    """The recipe of that name, or of that TOML file.

    Raises RecipeError for an unknown name, a file that is not TOML, and every key or value that
    is not allowed, with the key's dotted path.
    """
    return load_document(Recipe, "recipes", name_or_path, RecipeError)


def parse_recipe(document: dict[str, Any], source: str) -> Recipe:
    """The recipe that a parsed TOML document holds; `source` names it in error messages."""
    return validate(Recipe, document, source, RecipeError)


def recipe_for(
    model: str | None,
    recipe: Path | str | None,
    changes: Mapping[str, Any],
    source: str = "--set",
    typed: Mapping[str, str] | None = None,
) -> Recipe:
    """The recipe of that name or file, or else the model's own, for that model and changed.

    A model without a recipe of its own is trained by `default`. `source` and `typed` are those of
    `override`. Raises RecipeError where neither a model nor a recipe is named.
    """
    if model is None and recipe is None:
        raise RecipeError("name a model or a --recipe; `smidgen models` lists the models")
    chosen = load_recipe(recipe or (str(model) if model in list_recipes() else "default"))
    return override(chosen, ({"model": model} if model else {}) | dict(changes), source, typed)


def override(
    recipe: Recipe,
    changes: Mapping[str, Any],
    source: str = "--set",
    typed: Mapping[str, str] | None = None,
) -> Recipe:
    """The recipe with each dotted key set to its value, checked as a whole.

    Messages blame `source`, or what `typed` has for the key, such as `--lr` for `optimizer.lr`.
    A new `optimizer.name` or `schedule.name` starts from that optimiser's or schedule's own
    defaults (the learning rate and the weight decay are kept).
    """
    document = recipe.model_dump(exclude_none=True)
    for section in ("optimizer", "schedule"):
        name = changes.get(f"{section}.name")
        if name is not None and name != document[section]["name"]:
            kept = ("lr", "weight_decay") if section == "optimizer" else ()
            document[section] = {key: document[section][key] for key in kept} | {"name": name}
    for path, value in changes.items():
        *parents, leaf = path.split(".")
        table = document
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise RecipeError(f"{source} {path}: {parent!r} is a value, not a table")
        table[leaf] = value
    return validate(Recipe, document, source, RecipeError, typed)


def parse_setting(text: str, option: str = "--set") -> tuple[str, Any]:
    """The dotted key and the value of one `key=value`; the value is read as TOML, else as text.

    >>> parse_setting("optimizer.lr=0.01")
    ('optimizer.lr', 0.01)
    >>> parse_setting("schedule.name=cosine")
    ('schedule.name', 'cosine')
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise RecipeError(
            f"{option} {shown(text)} is not key=value; for example {option} optimizer.lr=0.01"
        )
    try:
        document = parse_toml(f"value = {value}", f"{option} {key.strip()}", RecipeError)
    except RecipeError:
        document = {}
    return key.strip(), document["value"] if len(document) == 1 else value.strip()


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML that `load_recipe` reads back to an equal recipe."""
    return tomli_w.dumps(recipe.model_dump(exclude_none=True))
