"""Workers on a Ray cluster: each candidate is a task of one core, wherever there is one free."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

from smidgen.errors import MissingExtraError, SearchError, SmidgenError, with_causes
from smidgen.trials.workers import Shared, Task, Workers, train_candidate

VERSIONS = ("smidgen", "torch")  # that must be the same everywhere


def ray_workers(shared: Shared) -> Workers:
    """Trains on the cluster that runs already. The data are put once into its object store.

    A task whose worker or node dies is run again elsewhere. Raises MissingExtraError without Ray,
    SearchError where no cluster can be reached, and later for a worker with other versions.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtraError(
            "--backend ray needs ray; install it with: pip install 'smidgen[ray]'"
        ) from None
    try:
        _require_listener(os.environ.get("RAY_ADDRESS", ""))
        ray.init(
            address="auto", ignore_reinit_error=True, log_to_driver=False,
            logging_level=logging.ERROR,
        )  # fmt: skip
    except (OSError, RuntimeError, ray.exceptions.RayError) as problem:
        if any("AuthToken" in str(cause) for cause in with_causes(problem)):
            raise SearchError(
                "the Ray cluster wants its token: copy ~/.ray/auth_token of its first machine to "
                "the same place here, and set RAY_AUTH_MODE=token"
            ) from None
        reason = str(problem).partition(".")[0]
        raise SearchError(
            f"no Ray cluster can be reached ({reason}); start one: ray start --head"
        ) from None
    train = ray.remote(num_cpus=1, max_retries=-1)(_train_there)
    return functools.partial(_by_ray, train, ray.put(shared))


def _require_listener(address: str) -> None:
    """Raises OSError where nobody listens at `host:port`, for which Ray would wait five minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _by_ray(train: Any, shared: Any, tasks: Sequence[Task]) -> Iterator[tuple[Task, float]]:
    """The tasks with their accuracies, as they finish; what is left is cancelled at an error."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    own = versions()
    waiting = {train.remote(task, shared, own): task for task in tasks}
    try:
        while waiting:
            (done,), _ = ray.wait(list(waiting))
            yield waiting.pop(done), ray.get(done)
    except RayTaskError as problem:
        cause = problem.cause
        if isinstance(cause, SmidgenError):
            raise cause from None
        last = str(problem).strip().splitlines()[-1]
        raise SearchError(f"a worker of the Ray cluster failed: {last}") from None
    except RayError as problem:
        first = str(problem).strip().splitlines()[0]
        raise SearchError(f"the Ray cluster was lost ({first}); --resume goes on") from None
    finally:
        for reference in waiting:
            with contextlib.suppress(RayError):
                ray.cancel(reference)


def versions() -> dict[str, str]:
    """The versions of what a candidate's accuracy depends on."""
    return {name: version(name) for name in VERSIONS}


def _train_there(task: Task, shared: Shared, wanted: dict[str, str]) -> float:
    """Trains a candidate on a node of the cluster. Raises SearchError for other versions."""
    import torch

    found = versions()
    for name in VERSIONS:
        if found[name] != wanted[name]:
            raise SearchError(
                f"a worker has {name} {found[name]}, the search {wanted[name]}; install the same"
            )
    torch.set_num_threads(1)
    return train_candidate(shared, task)
