"""Writes an export, after building it, running it and finding it equal to its source."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from smidgen.data import Data
from smidgen.errors import ExportError, did_you_mean
from smidgen.escape import markdown
from smidgen.export.formats import Export, make_c, make_html, make_onnx
from smidgen.export.hub import make_hub
from smidgen.export.parity import Parity, Watch, silent
from smidgen.files import make_folder, write_whole
from smidgen.target import Target

FORMATS = {"c": make_c, "html": make_html, "hub": make_hub, "onnx": make_onnx}
BITS = (8, 4, 2)


def write_export(
    targets: Sequence[Target],
    data: Data,
    kind: str,
    out: Path,
    bits: int = 8,
    allow_mismatch: bool = False,
    force: bool = False,
    with_preprocessing: bool = False,
    watch: Watch = silent,
) -> dict[str, Any]:
    """Writes an export of `kind`, one of FORMATS, and returns the document of `smidgen export`.

    The folder `out` also gets `parity.json`, with the proofs, and `README.md`, the export's card.
    Several targets go only into one "html". An "onnx" `with_preprocessing` takes uint8 images
    (batch, H, W, C). `watch` hears how far an "html" is. Raises ExportError for a network that
    cannot be exported, for an export that is not equal to its source (unless `allow_mismatch`) and
    for a folder that has something in it (unless `force`), and MissingExtraError where nothing on
    this machine can run the export.
    """
    _check(targets, data, kind, out, bits, force)
    made = _maker(kind, with_preprocessing, watch)(targets, data, bits)
    if not allow_mismatch:
        _require_equal(made.proofs)
    card = made.files.pop("README.md", None) or _card(targets, data, kind, made).encode()
    document: dict[str, Any] = {
        "files": [str(out / name) for name in (*made.files, "parity.json", "README.md")],
        "weight_bytes": made.weight_bytes,
        "parity": _worst(made.proofs),
        "proofs": [_plain(proof) for proof in made.proofs],
        "accuracy": made.accuracy,
    }
    if weighed := made.footprint:
        document["footprint"] = asdict(weighed) | {"ram_bytes": weighed.ram_bytes}
    proofs = {key: value for key, value in document.items() if key != "files"}
    proven = json.dumps(proofs, indent=2) + "\n"
    _write(made.files | {"parity.json": proven.encode(), "README.md": card}, out)
    return document


def _require_equal(proofs: Sequence[Parity]) -> None:
    unequal = [str(proof) for proof in proofs if not proof.equal]
    if unequal:
        raise ExportError(
            f"the export is not equal to its source ({'; '.join(unequal)}); nothing was written; "
            "--allow-mismatch writes it all the same"
        )


def _maker(
    kind: str, with_preprocessing: bool, watch: Watch
) -> Callable[[Sequence[Target], Data, int], Export]:
    if not with_preprocessing:
        if kind == "html":
            return partial(make_html, watch=watch)
        return FORMATS[kind]
    if kind != "onnx":
        raise ExportError(
            f"--with-preprocessing is for onnx; {kind} takes bytes as they are anyway"
        )
    return partial(make_onnx, with_preprocessing=True)


def require_format(kind: str) -> None:
    """Raises ExportError for what is not one of FORMATS."""
    if kind not in FORMATS:
        raise ExportError(f"unknown format {kind!r}{did_you_mean(kind, FORMATS)}")


def _check(
    targets: Sequence[Target], data: Data, kind: str, out: Path, bits: int, force: bool
) -> None:
    require_format(kind)
    if bits not in BITS:
        raise ExportError(f"weights of {bits} bits are not known; choose 8, 4 or 2")
    if len(targets) != 1 and kind != "html":
        raise ExportError(f"--format {kind} takes one target, not {len(targets)}; html takes more")
    if not targets:
        raise ExportError("an export needs a target: a model's name, a run or a bundle folder")
    for target in targets:
        target.require_classes(data, ExportError)
    if out.exists() and not out.is_dir():
        raise ExportError(f"{str(out)!r} is a file; --out names a folder")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise ExportError(
            f"the folder {str(out)!r} has something in it; choose another, or --force to write "
            "the export's files there"
        )


def _plain(proof: Parity) -> dict[str, Any]:
    """A proof for JSON, where an infinite tolerance is null."""
    bound = math.isfinite(proof.tolerance)
    return asdict(proof) | {"tolerance": proof.tolerance if bound else None}


def _worst(proofs: Sequence[Parity]) -> dict[str, Any]:
    """The largest figures of all proofs whose tolerance is finite."""
    bound = [proof for proof in proofs if math.isfinite(proof.tolerance)]
    return {
        "images": max(proof.images for proof in bound),
        "label_mismatches": max(proof.label_mismatches for proof in bound),
        "max_abs_diff": max(proof.max_abs_diff for proof in bound),
    }


def _card(targets: Sequence[Target], data: Data, kind: str, made: Export) -> str:
    names = markdown(", ".join(target.title for target in targets))
    lines = [
        f"# {names}, as {kind}",
        "",
        f"- {made.weight_bytes:,} bytes of weights",
        f"- accuracy on the {len(data.test):,} {markdown(data.name)} test images: "
        f"{100 * made.accuracy['float']:.2f} % in float, "
        f"{100 * made.accuracy['integer']:.2f} % in integers",
        *(f"- {markdown(str(proof))}" for proof in made.proofs),
    ]
    if made.footprint:
        lines.append(
            f"- {made.footprint.flash_bytes:,} bytes of flash and {made.footprint.ram_bytes:,} "
            "bytes of RAM in all on Cortex-M0+ at -Os, the image not counted"
        )
    return "\n".join(lines) + "\n"


def _write(files: Mapping[str, bytes], out: Path) -> None:
    """Each file whole or not at all."""
    make_folder(out)
    for name, content in files.items():
        write_whole(out / name, content)
