"""The folder of a search. No other module knows its files but the driver's own two.

search.json        the settings: the space, the budget, the recipe, the seed, and the data
networks/HASH.toml every candidate that was trained, as a network's file
candidates/HASH-E  the run of a candidate for E epochs
results.jsonl      the accuracies, appended as they come (the driver's)
clock.json         how long the search has taken (the driver's)
trials.csv         the table of all trials that have ended
report.html        the page, and front.png
journal.log        the same for Optuna's tools, such as optuna-dashboard
tensorboard/       a run for each candidate that was trained, where it was asked for
result.json        what `smidgen search --json` prints
best/              the winner: net.toml, recipe.toml and its runs
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from smidgen.errors import SearchError
from smidgen.files import make_folder, remove_parts, write_whole
from smidgen.schema import parse_json, read_text, validate
from smidgen.search.study import Settings, Study, import_optuna
from smidgen.search.table import to_csv
from smidgen.search.tensorboard import Board


@contextlib.contextmanager
def opened(
    out: Path, settings: Settings, fingerprint: str, *, wait: bool = False
) -> Iterator[None]:
    """Holds a search's folder, new or of a search with the same settings and images.

    Raises SearchError for a folder of something else, and while another process searches in it,
    unless it is to `wait` for that.
    """
    make_folder(out)
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise SearchError(
            f"another process searches in {str(out)!r}; wait, or choose another --out"
        ) from None
    try:
        remove_parts(out)
        path = out / "search.json"
        document = {"settings": settings.model_dump(), "data_fingerprint": fingerprint}
        if path.is_file():
            if _read(path) != json.loads(json.dumps(document)):
                raise SearchError(
                    f"{str(out)!r} holds a search with other settings or images; choose another "
                    "--out, or go on with it by --resume"
                )
        elif set(map(str, out.iterdir())) - {str(out / ".lock")}:
            raise SearchError(f"the folder {str(out)!r} is not empty; choose another --out")
        else:
            write_whole(path, json.dumps(document, indent=2) + "\n")
        yield
    finally:
        lock.release()


def is_search(folder: Path) -> bool:
    """Whether a folder is one of a search."""
    return (folder / "search.json").is_file()


def read_settings(out: Path) -> Settings:
    """The settings of the search in a folder. Raises SearchError where there is none."""
    path = out / "search.json"
    if not path.is_file():
        raise SearchError(f"{str(out)!r} holds no search; start one without --resume")
    return validate(Settings, _read(path).get("settings", {}), str(path), SearchError)


def _read(path: Path) -> dict[str, Any]:
    document = parse_json(read_text(path, SearchError), str(path), SearchError)
    if not isinstance(document, dict):
        raise SearchError(f"{str(path)!r} holds no table; remove the folder and search again")
    return document


class Tables:
    """The trials that have ended, in order of their numbers: a table, and Optuna's journal.

    Those that were trained are written to TensorBoard's folder, too, where there is one. All
    can be made again from the study, and are when a search goes on.
    """

    def __init__(self, out: Path, board: Board | None = None) -> None:
        self._out, self._written, self._board = out, 0, board
        for name in ("journal.log", "journal.log.lock"):
            (out / name).unlink(missing_ok=True)
        optuna = import_optuna()
        from optuna.storages.journal import JournalFileBackend, JournalStorage

        self._journal = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(out / "journal.log"))),
            study_name="search",
            directions=["minimize", "minimize"],
        )

    def write(self, study: Study) -> None:
        """Adds what has ended since, up to the first trial that is under way."""
        ended = study.ended()
        for trial in ended[self._written :]:
            self._journal.add_trial(study.frozen(trial))
            if self._board is not None and trial.outcome == "trained":
                self._board.write(trial)
        if len(ended) > self._written:
            write_whole(self._out / "trials.csv", to_csv(study))
        self._written = len(ended)
