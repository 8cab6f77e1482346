"""The run folder: what a training writes. No other module knows its files.

recipe.toml        the resolved recipe, enough to run it again
metrics.csv        one row an epoch, appended
model.safetensors  the final weights; the header says model, data and normalisation
last.pt            everything that resuming needs (read with weights_only=True)
result.json        what `smidgen train --json` prints, and where and with what it ran
test_logits.safetensors  the logits of the one final look at the test set, for paired tests
source/            the files of a network that is no model of the zoo: Python, or net.toml
README.md          the card
plots/*.png        the pictures
badges/*.svg       the badges
summary.txt        the model, layer by layer
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from smidgen.errors import RunError

if TYPE_CHECKING:
    from smidgen.recipe import Recipe  # with pydantic, a tenth of a second to import

METRICS = (
    "epoch", "images_seen", "lr", "seconds", "train_loss", "train_accuracy",
    "val_loss", "val_accuracy", "test_loss", "test_accuracy",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training's folder. The methods read what is there and write whole files or nothing."""

    path: Path

    @classmethod
    def create(cls, path: Path | str, recipe: Recipe) -> Run:
        """A new run folder that holds the recipe. Raises RunError if the folder is not empty."""
        from smidgen.recipe import to_toml

        run = cls(Path(path))
        with _explained(run.path, "write"):
            run.path.mkdir(parents=True, exist_ok=True)
            if any(run.path.iterdir()):
                raise RunError(
                    f"the folder {str(path)!r} is not empty; "
                    "choose another --out, or go on with --resume"
                )
        run.write_text("recipe.toml", to_toml(recipe))
        return run

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """The run in that folder. Raises RunError where there is none."""
        run = cls(Path(path))
        if not (run.path / "recipe.toml").is_file():
            raise RunError(f"{str(path)!r} is not a run folder: it holds no recipe.toml")
        return run

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        from smidgen.recipe import load_recipe

        return load_recipe(self.path / "recipe.toml")

    @property
    def model(self) -> str:
        """What `create_model` makes the run's network of: a name, or the copy of a file."""
        model = self.recipe.model
        name = model.rpartition("/")[2]
        return str(self.path / "source" / name) if (self.path / "source").is_dir() else model

    def write_source(self, files: Mapping[str, bytes]) -> None:
        """Keeps the files, by their relative paths, that the network is built from."""
        for name, content in files.items():
            with _explained(self.path / "source" / name, "write"):
                (self.path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
                (self.path / "source" / name).write_bytes(content)

    def metrics(self) -> list[dict[str, float | None]]:
        """One row an epoch; a figure that was not measured is None."""
        with _explained(self.path / "metrics.csv", "read"), self._file("metrics.csv").open() as f:
            return [
                {key: float(row[key]) if row[key] else None for key in METRICS}
                for row in csv.DictReader(f)
            ]

    def append_metrics(self, row: Mapping[str, float | None]) -> None:
        """Adds one epoch's row."""
        path = self.path / "metrics.csv"
        with _explained(path, "write"):
            new = not path.exists()
            with path.open("a", newline="") as file:
                writer = csv.DictWriter(file, METRICS)
                if new:
                    writer.writeheader()
                writer.writerow(row)

    def truncate_metrics(self, epochs: int) -> None:
        """Drops the rows after that epoch, which a killed run had written but not saved."""
        rows = self.metrics()[:epochs] if (self.path / "metrics.csv").exists() else []
        (self.path / "metrics.csv").unlink(missing_ok=True)
        for row in rows:
            self.append_metrics(row)

    def result(self) -> dict[str, Any]:
        """The result of the finished training. Raises RunError while there is none."""
        path = self._file("result.json")
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as problem:
            raise RunError(f"cannot read {str(path)!r}: {problem}") from None
        return document

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Keeps the result of the finished training."""
        self.write_text("result.json", json.dumps(result, indent=2) + "\n")

    def state_dict(self) -> dict[str, Tensor]:
        """The final weights."""
        return read_weights(self._file("model.safetensors"))[0]

    def weights_header(self) -> dict[str, str]:
        """The header of the weights: model, data, mean, std, classes."""
        return read_weights(self._file("model.safetensors"))[1]

    def write_weights(self, state: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
        """Keeps the final weights."""
        tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        described = {**header, "fingerprint": fingerprint(tensors)}
        self._write("model.safetensors", lambda file: save_file(tensors, file, described))

    def test_logits(self) -> Tensor | None:
        """The logits (N, classes) of the final look at the test set, if it was taken."""
        path = self.path / "test_logits.safetensors"
        return read_weights(path)[0]["logits"] if path.is_file() else None

    def write_test_logits(self, logits: Tensor) -> None:
        """Keeps the logits of the final look at the test set."""
        tensors = {"logits": logits.cpu().contiguous()}
        self._write("test_logits.safetensors", lambda file: save_file(tensors, file))

    def has_checkpoint(self) -> bool:
        """Whether an epoch has been finished, so that the run can be resumed."""
        return (self.path / "last.pt").is_file()

    def has_result(self) -> bool:
        """Whether the training has finished."""
        return (self.path / "result.json").is_file()

    def checkpoint(self) -> dict[str, Any]:
        """Everything that resuming needs. Raises RunError if it is missing or damaged."""
        path = self._file("last.pt")
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
            intact = state["fingerprint"] == fingerprint(state["tensors"])
        except Exception as problem:
            # torch reports damage with whatever its unpickler and zip reader happen to raise.
            raise RunError(
                f"{str(path)!r} is damaged ({type(problem).__name__}); train again without --resume"
            ) from None
        if not intact:
            raise RunError(f"{str(path)!r} is damaged or was changed; train again without --resume")
        return state

    def write_checkpoint(self, tensors: Mapping[str, Tensor], figures: Mapping[str, float]) -> None:
        """Keeps everything that resuming needs, in place of what was kept before."""
        state = {"tensors": dict(tensors), "fingerprint": fingerprint(tensors), **figures}
        self._write("last.pt", lambda file: torch.save(state, file))

    def write_text(self, name: str, text: str) -> None:
        """Keeps a text, such as the card, under that name."""
        self._write(name, lambda file: file.write_text(text, encoding="utf-8"))

    def path_of(self, folder: str, name: str) -> Path:
        """The path of a file in the subfolder `plots` or `badges`, which is made if necessary."""
        with _explained(self.path / folder, "write"):
            (self.path / folder).mkdir(exist_ok=True)
        return self.path / folder / name

    def _file(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise RunError(f"the run {str(self.path)!r} holds no {name}; has it finished?")
        return path

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        write_whole(self.path / name, write)


def free_folder(name: str) -> Path:
    """runs/NAME, or runs/NAME-2 and so on, whichever is not there yet.

    Of a network from a file, the name is that of its class or function.
    """
    name = name.rpartition(":")[2].rpartition("/")[2].removesuffix(".py").removesuffix(".toml")
    numbered = (Path("runs", f"{name}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([Path("runs", name)], numbered)
                if not path.exists())  # fmt: skip


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file completely or not at all: first a temporary one beside it, then renamed.

    Raises RunError when the disk is full or read-only.
    """
    with _explained(path, "write"):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and its header. Raises RunError if it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            header = dict(file.metadata() or {})
        tensors = load_file(path)
    except (OSError, SafetensorError) as problem:
        raise RunError(f"cannot read the weights in {str(path)!r}: {problem}") from None
    if header.get("fingerprint", fingerprint(tensors)) != fingerprint(tensors):
        raise RunError(f"the weights in {str(path)!r} were changed or damaged; train them again")
    return tensors, header


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A hash of the tensors' names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().numpy()
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _explained(path: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise RunError(
            f"cannot {verb} {str(path)!r}: {reason}; free the space or choose another --out"
        ) from None
