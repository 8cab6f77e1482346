"""What a search depends on, and how it asks for candidates: Optuna draws, the limits judge.

A study is asked and told in one process, in a fixed order. Each question has a sampler of its own,
seeded by the search's seed and the trial's number, so that the same answers so far lead to the
same candidate, in whatever process.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from smidgen.blocks.document import Network, to_toml
from smidgen.budget import Budget
from smidgen.errors import MissingExtraError, SearchError
from smidgen.files import make_folder, write_whole
from smidgen.inputs import Preprocess
from smidgen.recipe import Recipe, override
from smidgen.schema import Frozen
from smidgen.search.space import Candidate, RandomTrial, Space, Value
from smidgen.search.weigh import Limits, Weight, weigh
from smidgen.trials import driver as trials
from smidgen.trials.workers import Task

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("tpe", "nsga2", "random")
DRAWS = 10_000  # in which the first network that fits is looked for
WANTED = 0.5  # of the limit: a smaller candidate is no better than one of this quantity


class Settings(Frozen):
    """Everything that a search depends on but the images.

    `rungs` are epochs: a batch trains for the first number of them, the best third of it anew for
    the second, and so on. `recipe` trains all candidates; the space's values stand in for its own.
    """

    data: str
    space: Space
    budget: Budget
    recipe: Recipe
    rungs: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    batch: Annotated[int, Field(ge=1, le=100_000)]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    sampler: Literal["tpe", "nsga2", "random"] = "tpe"

    @property
    def limits(self) -> Limits:
        """The budget's limits. Raises SearchError where it has none that a search keeps."""
        return Limits.of(self.budget)


@dataclass(frozen=True)
class Images:
    """What weighing needs to know of a data set."""

    preprocess: Preprocess
    classes: int


@dataclass(kw_only=True)
class Trial(trials.Trial):
    """One candidate of a study and what it weighs; its outcome may be "rejected", too.

    `key` is a hash of the network and its recipe's values.
    """

    candidate: Candidate
    weight: Weight

    def facts(self) -> dict[str, Any]:
        """What is known of the trial, but the values that were drawn."""
        own = {"number": self.number, "network": self.key, "outcome": self.outcome}
        last = {"epochs": self.epochs, "val_accuracy": self.val_accuracy}
        rungs = {accuracy_after(epochs): value for epochs, value in self.accuracies.items()}
        return own | asdict(self.weight) | last | rungs


@dataclass
class Study:
    """The trials so far, in order of their numbers, and Optuna's study that they are told to."""

    settings: Settings
    images: Images
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        optuna = import_optuna()
        self.limits = self.settings.limits
        chosen: Any = Sampler(self.settings.sampler, self.settings.seed)
        self._study = optuna.create_study(directions=["minimize", "minimize"], sampler=chosen)
        self._asked: dict[int, Any] = {}  # Optuna's trials that are under way
        self._weights: dict[str, Weight] = {}

    @property
    def rungs(self) -> Sequence[int]:
        return self.settings.rungs

    @property
    def batch(self) -> int:
        return self.settings.batch

    def ask(self) -> Trial:
        """The next candidate, weighed. One that breaks a limit is told so, and is "rejected"."""
        number = len(self.trials)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Optuna calls experimental
            asked = self._study.ask()
            candidate = self.settings.space.draw(asked)
        trial = self.weighed(number, candidate)
        self.trials.append(trial)
        self._asked[number] = asked
        if trial.weight.broken:
            self.tell(trial, "rejected")
        return trial

    def weighed(self, number: int, candidate: Candidate) -> Trial:
        """A trial with a candidate, of which no more is known than its whole weight."""
        key = key_of(candidate)
        if key not in self._weights:
            self._weights[key] = weighed(self.settings, candidate.network, self.images, all_=True)
        return Trial(number=number, key=key, candidate=candidate, weight=self._weights[key])

    def task(self, trial: Trial, rung: int, out: Path) -> Task:
        """The training of a candidate for so many epochs, of which the network's file is written.

        Raises RecipeError for a value that a recipe may not have.
        """
        network = out.absolute() / "networks" / f"{trial.key}.toml"  # for workers elsewhere
        if not network.is_file():
            make_folder(network.parent)
            write_whole(network, to_toml(trial.candidate.network))
        recipe = recipe_of(self.settings, str(network), trial.candidate.recipe, rung)
        return Task(trial.key, recipe, str(out.absolute() / "candidates" / f"{trial.key}-{rung}"))

    def constraint(self, trial: Trial) -> tuple[str, float]:
        """The limits as Optuna's constraint: its name, and a number above 0 if one is broken."""
        excess = trial.weight.excess(self.limits)
        return "limits", max(excess, 1e-9) if trial.weight.broken else min(excess, 0.0)

    def tell(self, trial: Trial, outcome: str) -> None:
        """Ends a trial, of which Optuna gets to know the objectives."""
        trial.outcome = outcome
        asked = self._asked.pop(trial.number)
        asked.set_constraint(*self.constraint(trial))
        for name, value in trial.facts().items():
            asked.set_user_attr(name, value)
        self._study.tell(asked, self.objectives(trial))

    def objectives(self, trial: Trial) -> tuple[float, float]:
        """What Optuna minimizes: the validation error, and the quantity, or half of its limit.

        Whoever names a limit may use it. Were a smaller candidate always better, most of those
        that are drawn would be much smaller than they may be.
        """
        least = WANTED * (getattr(self.limits, self.limits.quantity) or 0)
        return 1 - (trial.val_accuracy or 0.0), max(self.quantity(trial), least)

    def quantity(self, trial: Trial) -> float:
        """What the candidate takes of what the budget limits first."""
        name = self.limits.quantity
        known = getattr(trial.weight, name)
        # Rejected before its firmware was planned: over the limit by as much as it is elsewhere.
        return known or (1 + trial.weight.excess(self.limits)) * (getattr(self.limits, name) or 1)

    def count(self, outcome: str) -> int:
        """How many trials ended so."""
        return sum(trial.outcome == outcome for trial in self.trials)

    def ended(self) -> list[Trial]:
        """The trials before the first one that is under way."""
        return list(itertools.takewhile(lambda trial: trial.outcome, self.trials))

    def frozen(self, trial: Trial) -> optuna.trial.FrozenTrial:
        """The trial as Optuna keeps it."""
        found: optuna.trial.FrozenTrial = self._study.get_trials(deepcopy=False)[trial.number]
        return found


def import_optuna() -> Any:
    """Optuna, quiet. Raises MissingExtraError, which says how to install it."""
    try:
        import optuna
    except ImportError:
        raise MissingExtraError(
            "a search needs optuna 5; install it with: pip install 'smidgen[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Sampler:
    """One of Optuna's samplers for each trial, seeded by the trial's number as well.

    What is asked depends on the trials so far, in whatever process; no two shells ask the same.
    """

    def __init__(self, name: str, seed: int) -> None:
        self._name, self._seed = name, seed
        self._own = self._of(0)

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Called by Optuna before it asks for the first value of a trial."""
        self._own = self._of(trial.number)
        self._own.before_trial(study, trial)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def _of(self, number: int) -> optuna.samplers.BaseSampler:
        from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler

        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        if self._name == "random":
            return RandomSampler(seed=seed)
        if self._name == "nsga2":
            return NSGAIISampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # groups are experimental
            # The ranges of a layer that is left out are not drawn: each set of them is a group.
            return TPESampler(seed=seed, multivariate=True, group=True)


def key_of(candidate: Candidate) -> str:
    """Twelve hexadecimal digits of a hash of the network and the recipe's values."""
    document = [candidate.network.model_dump(), dict(candidate.recipe)]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]


def weighed(settings: Settings, network: Network, images: Images, all_: bool = False) -> Weight:
    """The weight of a network, as far as the limits ask for it; `all_` of one that keeps them."""
    return weigh(network, images.preprocess, images.classes, settings.limits, all_)


def accuracy_after(epochs: int) -> str:
    """The name of the column with the validation accuracies after so many epochs."""
    return f"val_accuracy_{epochs}"


def recipe_of(settings: Settings, model: str, values: Mapping[str, Value], epochs: int) -> Recipe:
    """The recipe that trains a candidate for so many epochs, a whole schedule of its own.

    Raises RecipeError for a value that a recipe may not have.
    """
    changes: dict[str, Any] = {"model": model, "data": settings.data, "epochs": epochs}
    changes |= {"full": False, "watch_test": False}
    return override(settings.recipe, changes | dict(values))


def survey(
    settings: Settings, images: Images, draws: int, until: int | None = None
) -> list[Weight]:
    """What so many evenly drawn candidates weigh; it ends early once `until` of them fit."""
    found: list[Weight] = []
    for seed in range(draws):
        network = settings.space.draw(RandomTrial(seed)).network
        found.append(weighed(settings, network, images))
        if until is not None and not found[-1].broken:
            until -= 1
            if until == 0:
                break
    return found


def require_one_that_fits(settings: Settings, images: Images) -> None:
    """Raises SearchError where none of many drawn candidates keeps the limits."""
    weights = survey(settings, images, DRAWS, until=1)
    if not weights[-1].broken:
        return
    limits = settings.limits
    nearest = min(weights, key=lambda weight: weight.excess(limits))
    name = nearest.broken or ""
    raise SearchError(
        f"none of {len(weights):,} candidates of {settings.space.title!r} fits the budget "
        f"{settings.budget.title!r}; the nearest has {name} = {getattr(nearest, name):,}, the "
        f"limit is {getattr(limits, name):,}; widen the space or the budget"
    )
