"""A search on Ray, on a cluster of two nodes that the test starts on this machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="a search needs optuna, of the extra `search`")
pytest.importorskip("ray", reason="the cluster needs ray, of the extra `ray`")

from test_driver import settings, study_of

from smidgen.data import Data
from smidgen.errors import SearchError
from smidgen.mnist import GLYPH
from smidgen.search import cluster
from smidgen.search.folder import to_csv
from smidgen.search.study import Images, Study
from smidgen.trials.workers import Shared, Task, Workers, processes, train_candidate

# Ray opens sockets and processes of its own, which it does not all close.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster with a head that has no core for tasks, and two nodes of one core each."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    added = [made.add_node(num_cpus=1) for _ in range(2)]
    os.environ["RAY_ADDRESS"] = made.address
    yield made, added
    del os.environ["RAY_ADDRESS"]
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def shared(digits: Data) -> Shared:
    return Shared.of(digits.without_test())


def test_a_node_and_a_worker_that_die_change_nothing(
    nodes: Any, shared: Shared, tmp_path: Path
) -> None:
    made, added = nodes
    run, done = cluster.ray_workers(shared), 0

    def killing(tasks: Sequence[Task]) -> Iterator[tuple[Task, float]]:
        nonlocal done
        for pair in run(tasks):
            done += 1
            if done == 2:
                kill_a_worker()
            if done == 5:
                made.remove_node(added.pop(), allow_graceful=False)
            yield pair

    tables = []
    for name, way in [("ray", killing), ("joblib", processes(partial(train_candidate, shared), 1))]:
        tables.append(to_csv(study_of(tmp_path / name, way, settings(), 8)))
    assert tables[0] == tables[1]
    assert done > 5


def kill_a_worker() -> None:
    """Kills a process that is at a task."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        if command.startswith(b"ray::_train_there"):
            os.kill(int(process.parent.name), signal.SIGKILL)
            return


def test_a_worker_with_another_version_is_refused(
    nodes: Any, shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Workers = cluster.ray_workers(shared)
    monkeypatch.setattr(cluster, "versions", lambda: {"smidgen": "0.0.1", "torch": "2"})
    with pytest.raises(SearchError, match=r"a worker has smidgen .*, the search 0\.0\.1; install"):
        study_of(tmp_path, run, settings(), 2)


def test_a_worker_trains_what_it_is_given(shared: Shared, tmp_path: Path) -> None:
    study = Study(settings(), Images(GLYPH, 10))
    trial = next(trial for trial in iter(study.ask, None) if not trial.outcome)
    tasks = [study.task(trial, 1, tmp_path / name) for name in ("ray", "joblib")]
    found = cluster._train_there(tasks[0], shared, cluster.versions())
    assert found == train_candidate(shared, tasks[1])
    with pytest.raises(SearchError, match=r"a worker has torch .*, the search 2; install the same"):
        cluster._train_there(tasks[0], shared, cluster.versions() | {"torch": "2"})


def test_a_cluster_that_is_not_there(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(SearchError, match=r"no Ray cluster can be reached .* ray start --head"):
        cluster.ray_workers(shared)


def test_a_cluster_that_wants_its_token(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for a cluster of `ray start`, which answers so after twenty seconds."""
    import ray

    def refuse(**_: Any) -> None:
        try:
            raise ray.exceptions.AuthenticationError("InvalidAuthToken: token is missing")
        except ray.exceptions.AuthenticationError as problem:
            raise ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379") from problem

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(SearchError, match=r"wants its token: copy ~/.ray/auth_token .*=token$"):
        cluster.ray_workers(shared)
