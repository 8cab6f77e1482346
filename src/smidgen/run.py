"""The run folder: what a training writes. No other module knows its files.

recipe.toml        the resolved recipe, enough to run it again
metrics.csv        one row an epoch, appended
model.safetensors  the final weights; the header says model, data and normalisation
last.pt            everything that resuming needs (read with weights_only=True)
test_logits.safetensors  the logits of the one final look at the test set, for paired tests
result.json        what `smidgen train --json` prints, and where and with what it ran
SHA256SUMS         the digests of the files of a finished run that are evidence
source/            the files of a network that is no model of the zoo: Python, or net.toml
README.md          the card
plots/*.png        the pictures
badges/*.svg       the badges
summary.txt        the model, layer by layer
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from smidgen.errors import RunError, shown
from smidgen.escape import file_name
from smidgen.files import append_whole, explained, make_folder, remove_parts, sha256, write_whole
from smidgen.notebook import html_curves, html_table
from smidgen.source import short_name

if TYPE_CHECKING:
    from smidgen.recipe import Recipe  # with pydantic, a tenth of a second to import

Row = dict[str, float | None]

METRICS = (
    "epoch", "images_seen", "lr", "seconds", "train_loss", "train_accuracy",
    "val_loss", "val_accuracy", "test_loss", "test_accuracy",
)  # fmt: skip
EVIDENCE = ("metrics.csv", "model.safetensors", "test_logits.safetensors", "result.json")
DIGESTS = "SHA256SUMS"

MAX_BYTES = 2**30  # of weights that are read
DTYPES = (
    torch.float16, torch.float32, torch.float64, torch.uint8, torch.int8, torch.int16, torch.int32,
    torch.int64, torch.bool,
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
        make_folder(run.path)
        require_unused(run.path)
        run.write_text("recipe.toml", to_toml(recipe))
        return run

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """The run in that folder. Raises RunError where there is none."""
        run = cls(Path(path))
        if not os.path.isdir(run.path):  # unlike Path's, for any name
            raise RunError(f"there is no folder {str(path)!r}; name one that smidgen train wrote")
        if not os.path.isfile(run.path / "recipe.toml"):
            raise RunError(
                f"{str(path)!r} is not a run folder: it holds no recipe.toml; name one that "
                "smidgen train wrote"
            )
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
            make_folder((self.path / "source" / name).parent)
            write_whole(self.path / "source" / name, content)

    def metrics(self) -> list[Row]:
        """One row an epoch; a figure that was not measured is None.

        Raises RunError if a row is damaged.
        """
        try:
            text = self._read("metrics.csv").decode()
            return [_parse_row(row) for row in csv.DictReader(io.StringIO(text, newline=""))]
        except (ValueError, csv.Error) as problem:
            raise RunError(
                f"{str(self.path / 'metrics.csv')!r} is damaged ({problem}); --resume mends it "
                "where the run has not finished, otherwise train it again"
            ) from None

    def append_metrics(self, row: Mapping[str, float | None]) -> None:
        """Adds one epoch's row."""
        path = self.path / "metrics.csv"
        append_whole(path, _csv([row], with_header=not path.exists()))

    def write_metrics(self, rows: Sequence[Mapping[str, float | None]]) -> None:
        """Keeps these rows, in place of what was kept before."""
        write_whole(self.path / "metrics.csv", _csv(rows, with_header=True))

    def result(self) -> dict[str, Any]:
        """The result of the finished training. Raises RunError while there is none."""
        path, content = self.path / "result.json", self._read("result.json")
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as problem:
            raise RunError(f"cannot read {str(path)!r}: {problem}; train it again") from None
        if not isinstance(document, dict):
            raise RunError(f"{str(path)!r} holds no table; train it again")
        return document

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Keeps the result of the finished training, after the digests of all evidence."""
        text = json.dumps(result, indent=2) + "\n"
        found = {name: self._file(name).read_bytes() for name in EVIDENCE if self._has(name)}
        contents = found | {"result.json": text.encode()}
        digests = (f"{sha256(content)}  {name}\n" for name, content in contents.items())
        self.write_text(DIGESTS, "".join(digests))
        self.write_text("result.json", text)

    def state_dict(self) -> dict[str, Tensor]:
        """The final weights."""
        return self._read_tensors("model.safetensors")[0]

    def weights_header(self) -> dict[str, str]:
        """The header of the weights: model, data, mean, std, classes."""
        return self._read_tensors("model.safetensors")[1]

    def write_weights(self, state: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
        """Keeps the final weights."""
        write_whole(self.path / "model.safetensors", serialise(state, header))

    def test_logits(self) -> Tensor | None:
        """The logits (N, classes) of the final look at the test set, if it was taken."""
        name = "test_logits.safetensors"
        if not self._has(name):
            return None
        tensors = self._read_tensors(name)[0]
        if "logits" not in tensors:
            raise RunError(f"{str(self.path / name)!r} holds no logits; train it again")
        return tensors["logits"]

    def write_test_logits(self, logits: Tensor) -> None:
        """Keeps the logits of the final look at the test set."""
        write_whole(self.path / "test_logits.safetensors", serialise({"logits": logits}, {}))

    def _repr_html_(self) -> str:
        """The figures of the run and its curves, as far as it is trained."""
        rows = self.metrics() if self._has("metrics.csv") else []
        result = self.result() if self.has_result() else {}
        names = {"train": "training", "val": "validation", "test": "test"}
        figures = {"data": self.recipe.data, "epochs": f"{len(rows)} of {self.recipe.epochs}"}
        for key, name in names.items():
            accuracy = result.get(f"{key}_accuracy")
            if accuracy is not None:
                figures[f"{name} accuracy"] = f"{100 * accuracy:.2f} %"
        if result:
            figures["parameters"] = f"{result['params']:,}"
            figures["training"] = f"{result['images_seen']:,} images in {result['seconds']:.1f} s"
        figures["folder"] = str(self.path)
        curves = {name: [row[f"{key}_accuracy"] for row in rows] for key, name in names.items()}
        return html_table(figures.items(), caption=self.recipe.model) + html_curves(
            "accuracy by epoch", curves
        )

    def has_checkpoint(self) -> bool:
        """Whether an epoch has been finished, so that the run can be resumed."""
        return self._has("last.pt")

    def has_result(self) -> bool:
        """Whether the training has finished."""
        return self._has("result.json")

    def has_card(self) -> bool:
        """Whether its report is there: the card is written last."""
        return self._has("README.md")

    def checkpoint(self) -> dict[str, Any]:
        """Everything that resuming needs: the tensors, under "tensors", and the figures.

        Raises RunError if it is missing or damaged.
        """
        path = self.path / "last.pt"
        if not self.has_checkpoint():
            raise RunError(
                f"the run {str(self.path)!r} holds no last.pt, for it finished no epoch; remove "
                "the folder and train again"
            )
        try:
            state = torch.load(path, weights_only=True)
            intact = state["digest"] == _digest(state["tensors"], state["figures"])
            kept = {**json.loads(state["figures"]), "tensors": state["tensors"]}
        except Exception as problem:
            # torch reports damage with whatever its unpickler and zip reader happen to raise.
            raise RunError(
                f"{str(path)!r} is damaged or another version's ({type(problem).__name__}); "
                "train again without --resume"
            ) from None
        if not intact:
            raise RunError(f"{str(path)!r} is damaged or was changed; train again without --resume")
        return kept

    def write_checkpoint(self, tensors: Mapping[str, Tensor], figures: Mapping[str, Any]) -> None:
        """Keeps everything that resuming needs, in place of what was kept before.

        The figures are whatever JSON can hold.
        """
        text, buffer = json.dumps(figures), io.BytesIO()
        torch.save(
            {"tensors": dict(tensors), "figures": text, "digest": _digest(tensors, text)}, buffer
        )
        write_whole(self.path / "last.pt", buffer.getvalue())

    def write_text(self, name: str, text: str) -> None:
        """Keeps a text, such as the card, under that name."""
        write_whole(self.path / name, text)

    def remove(self, name: str) -> None:
        """Removes a text that is no longer true, if it is there."""
        with explained(self.path / name, "remove"):
            (self.path / name).unlink(missing_ok=True)

    def path_of(self, folder: str, name: str) -> Path:
        """The path of a file in the subfolder `plots` or `badges`, which is made if necessary."""
        make_folder(self.path / folder)
        return self.path / folder / name

    def _has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def _file(self, name: str) -> Path:
        if not self._has(name) and self.has_result():
            raise RunError(f"the run {str(self.path)!r} has lost its {name}; train it again")
        if not self._has(name):
            raise RunError(
                f"the run {str(self.path)!r} has not finished: it holds no {name}; go on with "
                f"smidgen train --resume {self.path}"
            )
        return self.path / name

    def _read(self, name: str) -> bytes:
        """The content of a file, which in a finished run must be that of its digest."""
        path = self._file(name)
        with explained(path, "read"):
            content = path.read_bytes()
            is_sealed = self.has_result() and self._has(DIGESTS)
            digests = (self.path / DIGESTS).read_bytes() if is_sealed else b""
        if is_sealed and f"{sha256(content)}  {name}".encode() not in digests.splitlines():
            raise RunError(
                f"{str(path)!r} was changed or damaged: its digest is not in {DIGESTS}; "
                "train it again"
            )
        return content

    def _read_tensors(self, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        return parse_weights(self._read(name), self.path / name)


def require_unused(path: Path | str) -> None:
    """Raises RunError where a new run's folder holds anything."""
    if not os.path.isdir(path):  # unlike Path's, for any name
        return
    remove_parts(Path(path))
    if any(Path(path).iterdir()):
        raise RunError(
            f"the folder {str(path)!r} is not empty; choose another --out, or go on with --resume"
        )


def free_folder(name: str) -> Path:
    """runs/NAME, or runs/NAME-2 and so on, whichever is not there yet.

    Of a network from a file, the name is that of its class or function.
    """
    name = file_name(short_name(name).rpartition(":")[2].rpartition("/")[2])
    numbered = (Path("runs", f"{name}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([Path("runs", name)], numbered)
                if not path.exists())  # fmt: skip


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and its header.

    Raises RunError if it is damaged, over 1 GiB, or holds other types than whole and real numbers,
    or a number that is not finite.
    """
    with explained(path, "read"):
        if path.stat().st_size > MAX_BYTES:
            raise RunError(f"{str(path)!r} is too large; at most {MAX_BYTES:,} bytes are read")
        return parse_weights(path.read_bytes(), path)


def parse_weights(content: bytes, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header in the content of a safetensors file, as `read_weights`."""
    try:
        tensors = dict(sorted(load(content).items()))  # its own order is random
    except (SafetensorError, AttributeError) as problem:  # the last for types of its own
        raise RunError(f"cannot read the weights in {str(path)!r}: {problem}") from None
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            raise RunError(f"{shown(name)} in {str(path)!r} is {tensor.dtype}; save it as float32")
        if not tensor.isfinite().all():
            raise RunError(
                f"{shown(name)} in {str(path)!r} holds NaN or infinity; train or export it again"
            )
    header: dict[str, str] = _split(content)[0].get("__metadata__") or {}
    found = fingerprint(tensors)
    if header.get("fingerprint", found) != found:
        raise RunError(f"the weights in {str(path)!r} were changed or damaged; train them again")
    return tensors, header


def serialise(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> bytes:
    """A safetensors file of the tensors, with their fingerprint in its header.

    Equal tensors and headers give equal bytes; the library writes the header in a random order.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    described = {**header, "fingerprint": fingerprint(kept)}
    parsed, data = _split(save(kept, described))
    text = json.dumps(parsed, sort_keys=True, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    return len(text).to_bytes(8, "little") + text + data


def _split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file and its data: https://huggingface.co/docs/safetensors"""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A hash of the tensors' names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().numpy()
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _digest(tensors: Mapping[str, Tensor], figures: str) -> str:
    return sha256(f"{fingerprint(tensors)} {figures}".encode())


def _csv(rows: Sequence[Mapping[str, float | None]], with_header: bool) -> str:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, METRICS)
    if with_header:
        writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _parse_row(row: Mapping[str | Any, str | Any]) -> Row:
    """A row of metrics.csv; ValueError for one that is too short, too long or no numbers."""
    if set(row) != set(METRICS) or None in row.values():
        raise ValueError(f"a row does not have the columns {', '.join(METRICS)}")
    return {key: float(value) if value else None for key, value in row.items()}
