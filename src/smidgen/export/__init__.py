"""Exports of networks, each verified against its source: C, ONNX, one HTML file, the hub's folder.

export("tiny_mnist", "c", "exports/tiny_mnist")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smidgen.data import Data, load_data
from smidgen.export.ship import FORMATS, require_format, write_export
from smidgen.target import Target, load

__all__ = ["FORMATS", "export", "require_format", "write_export"]


def export(
    target: Target | str | Path | Sequence[Target | str | Path],
    format: str,
    out: Path | str,
    data: Data | str | None = None,
    bits: int = 8,
) -> dict[str, Any]:
    """The document of `smidgen export`, once the export is written into the folder `out`.

    A target is what `load` takes or gives; "html" takes several. `format` is one of FORMATS; `data`
    a data set or its name, by default what the network was trained on: the export is proven on its
    test images. Raises what `write_export` raises.
    """
    require_format(format)
    given = [target] if isinstance(target, Target | str | Path) else target
    targets = [each if isinstance(each, Target) else load(each) for each in given]
    if data is None:
        data = targets[0].data if targets else "mnist"
    images = data if isinstance(data, Data) else load_data(data)
    return write_export(targets, images, format, Path(out), bits)
