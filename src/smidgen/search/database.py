"""A search that several shells share through a database: each asks, trains and tells one trial.

Nobody owns the study, so what is asked depends on who was faster; the accuracy of a candidate does
not. A shell that dies stops sending its heartbeat, and its trial is asked again.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from smidgen.errors import MissingExtraError, SearchError, with_causes
from smidgen.files import sha256
from smidgen.search.study import (
    Images,
    Sampler,
    Settings,
    Study,
    Trial,
    accuracy_after,
    import_optuna,
    key_of,
)  # fmt: skip
from smidgen.search.weigh import Weight
from smidgen.trials.driver import SHARE
from smidgen.trials.workers import Shared, train_candidate

HEARTBEAT_S = 30  # a shell that is silent for twice as long is dead
WAIT_S = 2.0
IN_TRAINING = "in_training"  # an attribute; before it has it, a trial may have no heartbeat
RACE_S = 0.2  # to wait while another shell makes the tables


def join(
    settings: Settings,
    images: Images,
    shared: Shared,
    out: Path,
    url: str,
    trials: int,
    watch: Callable[[Study], None],
) -> Study:
    """The study in the database, once so many trials have been trained by all shells together.

    They may become a few more where shells begin their last at the same moment. Raises SearchError
    for a database that cannot be reached or is lost, MissingExtraError where its driver is missing.
    """
    optuna = import_optuna()
    found = Study(settings, images)
    with _opened(settings, shared, url) as study, warnings.catch_warnings():
        objective = _Objective(found, shared, out.absolute(), study)
        warnings.simplefilter("ignore")  # of what Optuna calls experimental
        while True:
            there = study.get_trials(deepcopy=False)  # the trials under way are read each time
            _collect(found, there)
            watch(found)
            trained = found.count("trained")
            if trained >= trials:
                return found
            running = sum(_is(kept, "RUNNING") and IN_TRAINING in kept.user_attrs for kept in there)
            if trained + running >= trials and not any(_is(kept, "WAITING") for kept in there):
                optuna.storages.fail_stale_trials(study)
                time.sleep(WAIT_S)
                continue
            study.optimize(objective, n_trials=1)


@contextmanager
def _opened(settings: Settings, shared: Shared, url: str) -> Iterator[Any]:
    """The study of these settings and images, new or as other shells left it, while connected."""
    optuna = import_optuna()
    from sqlalchemy.exc import SQLAlchemyError

    name = sha256(f"{settings.model_dump_json()} {shared.fingerprint}".encode())[:12]
    address = url.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        storage = _storage(address)
        study = optuna.create_study(
            storage=storage, study_name=f"smidgen-{name}", load_if_exists=True,
            directions=["minimize", "minimize"], sampler=Sampler(settings.sampler, settings.seed),
        )  # fmt: skip
    except ImportError:
        raise MissingExtraError(
            f"--storage {_public(url)} needs its driver; for PostgreSQL: "
            "pip install 'smidgen[postgresql]'"
        ) from None
    except (SQLAlchemyError, ValueError) as problem:
        reason = str(problem).splitlines()[0]
        raise SearchError(
            f"the database {_public(url)} cannot be reached: {reason}; write "
            "--storage postgresql://USER@HOST/NAME"
        ) from None
    try:
        yield study
    except Exception as problem:
        # Optuna raises others while it handles that of a lost connection.
        first = next((p for p in with_causes(problem) if isinstance(p, SQLAlchemyError)), None)
        if first is None:
            raise
        raise SearchError(
            f"the database {_public(url)} was lost: {str(first).splitlines()[0]}; the same command "
            "goes on"
        ) from None
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _storage(address: str, attempts: int = 10) -> Any:
    """Optuna's tables in the database, made where they are missing."""
    optuna = import_optuna()
    from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Optuna calls experimental
            again = optuna.storages.RetryHeartbeatStaleTrialCallback()
            return optuna.storages.RDBStorage(
                address, heartbeat_interval=HEARTBEAT_S, heartbeat_stale_trial_callback=again
            )
    except (IntegrityError, OperationalError, ProgrammingError) as problem:
        # Two shells that begin together both find no tables, and the slower one cannot make them.
        is_race = isinstance(problem, IntegrityError) or "already exists" in str(problem)
        if attempts == 1 or not is_race:
            raise
        time.sleep(RACE_S)
        return _storage(address, attempts - 1)


def _public(url: str) -> str:
    """A database's address without the name and the password in it."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


class _Objective:
    """Trains what Optuna asks for; returns the objectives."""

    def __init__(self, found: Study, shared: Shared, out: Path, study: Any) -> None:
        self.found, self.settings = found, found.settings  # `found` as it was before the question
        self.shared, self.out, self.study = shared, out, study

    def __call__(self, asked: Any) -> tuple[float, float]:
        trial = self.found.weighed(asked.number, self.settings.space.draw(asked))
        asked.set_constraint(*self.found.constraint(trial))
        known = self._known(trial.key)
        if trial.weight.broken:
            trial.outcome = "rejected"
        elif known is not None:
            trial.outcome, trial.accuracies = "repeated", known
        else:
            trial.outcome = "trained"
            self._climb(asked, trial)
        for column, value in trial.facts().items():
            if value is not None:
                asked.set_user_attr(column, value)
        return self.found.objectives(trial)

    def _known(self, key: str) -> dict[int, float] | None:
        same = (t for t in self.found.trials if t.key == key and t.outcome == "trained")
        return next((dict(trial.accuracies) for trial in same), None)

    def _climb(self, asked: Any, trial: Trial) -> None:
        """Trains on each rung for which the candidate is in the best third of those so far."""
        asked.set_user_attr(IN_TRAINING, True)
        for epochs in self.settings.rungs:
            accuracy = train_candidate(self.shared, self.found.task(trial, epochs, self.out))
            trial.accuracies[epochs] = accuracy
            name = accuracy_after(epochs)
            asked.set_user_attr(name, accuracy)
            others = [t.user_attrs.get(name) for t in self.study.get_trials(deepcopy=False)]
            known = [other for other in others if other is not None]
            if sum(other > accuracy for other in known) >= -(-len(known) // SHARE):
                break


def _is(kept: Any, state: str) -> bool:
    return bool(kept.state.name == state)


def _collect(found: Study, there: Sequence[Any]) -> None:
    """Adds those of the database's trials that have ended since the last time."""
    import optuna

    draw, known = found.settings.space.draw, {trial.number for trial in found.trials}
    for kept in there:
        if kept.number in known or not _is(kept, "COMPLETE"):
            continue
        facts = kept.user_attrs
        weight = Weight(**{name: facts.get(name) for name in Weight.__dataclass_fields__})
        candidate = draw(optuna.trial.FixedTrial(kept.params))
        trial = Trial(number=kept.number, key=key_of(candidate), candidate=candidate, weight=weight)
        assert trial.key == facts["network"]
        trial.outcome = facts["outcome"]
        trial.accuracies = _accuracies(found.settings, facts)
        found.trials.append(trial)
    found.trials.sort(key=lambda trial: trial.number)


def _accuracies(settings: Settings, attributes: Mapping[str, Any]) -> dict[int, float]:
    """The accuracies of a trial in the database, by the epochs of its rungs."""
    columns = {epochs: accuracy_after(epochs) for epochs in settings.rungs}
    return {epochs: attributes[name] for epochs, name in columns.items() if name in attributes}
