"""A search that several shells share: PostgreSQL where it is installed, SQLite everywhere."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="a search needs optuna, of the extra `search`")

import forked
from test_driver import children_of, settings

from smidgen.data import Data, load_data
from smidgen.errors import SearchError
from smidgen.mnist import GLYPH
from smidgen.search import database
from smidgen.search.study import Images
from smidgen.search.table import to_csv
from smidgen.trials.workers import Shared

DEBIAN = Path("/usr/lib/postgresql")  # where Debian puts the server's programs, outside of PATH


def search_here(out: Path, url: str, name: str) -> None:
    """One shell of a search of six trials, whose table it writes into the file."""
    database.HEARTBEAT_S = 1
    data = load_data("digits").without_test()
    shared, images = Shared.of(data), Images(GLYPH, 10)
    study = database.join(settings(), images, shared, out, url, 6, lambda study: None)
    (out / name).write_text(to_csv(study))


def shell(out: Path, url: str, name: str) -> ForkServerProcess:
    return forked.start(search_here, out, url, name, said=out / f"{name}.txt")


def ended(process: ForkServerProcess) -> int | None:
    """Its exit code, once it has ended."""
    process.join()
    return process.exitcode


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server with its files in a folder of its own."""

    folder: Path
    url: str
    run: Callable[..., None]

    def start(self) -> None:
        options = f"-p {self.url.rpartition(':')[2].split('/')[0]} -k {self.folder}"
        options += " -c listen_addresses=127.0.0.1"
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-w",
                 "-o", options, "start")  # fmt: skip

    def kill(self) -> None:
        """As kill -9 ends it; its processes follow the first one, and are waited for."""
        first = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        others = [Path("/proc", str(each)) for each in children_of(first)]
        os.kill(first, signal.SIGKILL)
        while any(other.exists() for other in others):
            time.sleep(0.01)


@pytest.fixture
def postgresql() -> Iterator[Server]:
    """A server that lives as long as the test."""
    pytest.importorskip("psycopg", reason="PostgreSQL needs psycopg, of the extra `postgresql`")
    programs = os.pathsep.join([os.environ["PATH"], *map(str, DEBIAN.glob("*/bin"))])
    if not shutil.which("initdb", path=programs):
        pytest.skip("PostgreSQL's server is not installed; on Debian: apt-get install postgresql")
    own = {"user": "postgres"} if os.getuid() == 0 else {}  # it refuses to run as root
    folder = tempfile.mkdtemp()
    if own:
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*words: str) -> None:
        words = (str(shutil.which(words[0], path=programs)), *words[1:])
        subprocess.run(words, check=True, cwd=folder, stdout=subprocess.DEVNULL, **own)  # type: ignore[call-overload]

    run("initdb", "-D", f"{folder}/data", "-U", "smidgen", "--auth=trust", "--no-sync")
    url = f"postgresql://smidgen@127.0.0.1:{port}/postgres"
    server = Server(Path(folder), url, run)
    server.start()
    yield server
    run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_shells_share_a_study(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql").url
    shells = [shell(tmp_path, url, name) for name in ("one.csv", "two.csv")]
    assert [ended(each) for each in shells] == [0, 0]
    rows = (tmp_path / "one.csv").read_text().splitlines()[1:]
    trained = [row.split(",")[1] for row in rows if ",trained," in row]
    assert 6 <= len(trained) <= 7
    runs = sorted((tmp_path / "candidates").glob("*/result.json"))
    assert len(runs) >= len(set(trained))
    for path in runs:
        assert json.loads(path.read_text())["test_accuracy"] is None


@pytest.mark.filterwarnings("ignore")  # which are not of one thread alone
def test_shells_that_begin_at_once_make_the_tables_once(
    postgresql: Server, digits: Data, tmp_path: Path
) -> None:
    shared, images = Shared.of(digits.without_test()), Images(GLYPH, 10)

    def trials(_: int) -> int:
        study = database.join(
            settings(), images, shared, tmp_path, postgresql.url, 0, lambda study: None
        )
        return len(study.trials)

    with ThreadPoolExecutor(4) as shells:
        assert list(shells.map(trials, range(4))) == [0, 0, 0, 0]
    gc.collect()  # the connections of those that were too late, which say that they are open


def test_shells_go_on_after_the_database_was_killed(postgresql: Server, tmp_path: Path) -> None:
    """Killed twice while two shells train; what they know is in it, and nothing is there twice."""
    for _ in range(2):
        before = len([*tmp_path.glob("candidates/*/result.json")])
        names = ("one", "two")
        shells = [shell(tmp_path, postgresql.url, name) for name in names]
        while len([*tmp_path.glob("candidates/*/result.json")]) == before:
            assert None in [each.exitcode for each in shells]
            time.sleep(0.01)
        postgresql.kill()
        assert [ended(each) for each in shells] == [1, 1]
        for name in names:
            said = (tmp_path / f"{name}.txt").read_text().splitlines()[-1]
            assert "SearchError: the database postgresql://127.0.0.1:" in said, said
            assert said.endswith(
                ("; the same command goes on", "write --storage postgresql://USER@HOST/NAME")
            )
        postgresql.start()
    assert ended(shell(tmp_path, postgresql.url, "last.csv")) == 0
    header, *rows = (tmp_path / "last.csv").read_text().splitlines()
    trained = [row.split(",") for row in rows if ",trained," in row]
    assert 6 <= len(trained) <= 7
    assert len({row[header.split(",").index("network")] for row in trained}) == len(trained)


@pytest.mark.parametrize(
    "url", ["postgresql://somebody:secret@127.0.0.1:1/none", "sqlite:////nowhere/at/all.db", "x"]
)
def test_a_database_that_cannot_be_reached(url: str, digits: Data, tmp_path: Path) -> None:
    shared = Shared.of(digits.without_test())
    if url.startswith("postgresql"):
        pytest.importorskip("psycopg", reason="PostgreSQL needs psycopg")
    with pytest.raises(SearchError, match=r"cannot be reached: .*; write --storage") as caught:
        database.join(settings(), Images(GLYPH, 10), shared, tmp_path, url, 1, lambda study: None)
    assert "secret" not in str(caught.value)
