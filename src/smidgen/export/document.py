"""The data of a page: networks as integer graphs, their mistakes, sample images, a detector.

    {"models": [{"name", "params", "weight_bytes", "accuracy", "tested", "graph",
                 "mistakes": [{"image", "label", "predicted", "probability"}]}],
     "samples": [{"image", "label"}], "images": [...], "detector": {...} or null,
     "preprocess": "photo"}

`image` is a position in `images`, which are packed: base64 of rows of pixels, channels last, each
run of zeros as one 0 and its length. Only glyphs have a detector; they need no `preprocess`. It
names the network that is its judge, and holds its graph where the page has other networks only.
`accuracy` is the integer graph's, on all `tested` test images.

The document of the shipped frontier models is package data, so that their page needs no data set.
"""

from __future__ import annotations

import base64
import functools
import json
import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smidgen.anatomy import count_parameters
from smidgen.data import Data, load_data
from smidgen.detector import fit_detector
from smidgen.errors import ExportError
from smidgen.quantize import Graph, quantize_for, to_document
from smidgen.target import Target, load

MISTAKES = 12
SAMPLES_PER_CLASS = 6
IMAGE_BYTES = 64_000  # of the samples of a page, and of a network's mistakes

Images = NDArray[np.uint8]
Logits = NDArray[np.int32]
Positions = dict[str, int]  # in the page, of packed images


def page_document(targets: Sequence[str], data_dir: Path | str | None = None) -> dict[str, Any]:
    """The document of a page for targets; without any, for all shipped frontier models.

    Shipped frontier models alone need no data set; others need the one they were trained on, to
    fit their integer grids and to find their mistakes. Raises what `load`, `load_data` and
    `build_document` raise.
    """
    shipped = frontier_document()
    by_name = {model["name"]: model for model in shipped["models"]}
    if all(target in by_name for target in targets):
        models = [by_name[name] for name in targets or by_name]
        return shipped | {"models": models, "detector": shipped_detector(models)}
    loaded = [load(target) for target in targets]
    data = load_data(loaded[0].own_data(data_dir), data_dir)
    return build_document(loaded, data)


def build_document(
    targets: Sequence[Target],
    data: Data,
    graphs: Sequence[Graph] | None = None,
    logits: Sequence[Logits] | None = None,
) -> dict[str, Any]:
    """The document of a page for networks of one data set; the first is chosen at first.

    `graphs` are the networks' integer graphs, and `logits` (N, K), int32, theirs for the test
    images, where they have been made already. The out-of-distribution detector of MNIST is the
    shipped one; other glyphs get one that is fitted to the first network, in some ten seconds.
    Raises ExportError for networks of other classes than the data's, and for those that the
    integer graph cannot express.
    """
    require_one_input(targets, data)
    if graphs is None:
        graphs = [quantize_for(data, t.model, t.preprocess, t.title) for t in targets]
    if logits is None:
        logits = [graph.run(data.test.images.numpy()) for graph in graphs]
    positions: Positions = {}
    models = [
        _describe(target, graph, answers, data, positions)
        for target, graph, answers in zip(targets, graphs, logits, strict=True)
    ]
    document = {
        "models": models,
        "samples": _samples(data, positions),
        "images": list(positions),
        "detector": None,
    }
    if data.preprocess.kind == "photo":
        return document | {"preprocess": "photo"}
    if data.name == "mnist":
        return document | {"detector": shipped_detector(models)}
    detector = fit_detector(data, graphs[0])
    return document | {"detector": detector.to_document() if detector else None}


def require_one_input(targets: Sequence[Target], data: Data) -> None:
    """Raises ExportError for networks that take other images than the data's, or other classes."""
    for target in targets:
        target.require_classes(data, ExportError)
        theirs, ours = target.preprocess, data.preprocess
        if (theirs.kind, theirs.shape) != (ours.kind, ours.shape):
            raise ExportError(
                f"{target.name!r} takes a {theirs.kind} of {theirs.shape}, {data.name!r} has a "
                f"{ours.kind} of {ours.shape}; the networks of a page take the same images"
            )


@functools.cache
def frontier_document() -> dict[str, Any]:
    """The document of the shipped frontier models, the largest first."""
    path = resources.files("smidgen") / "export" / "frontier.json"
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return document


def shipped_detector(models: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The shipped page's detector, with its network's graph where these models lack it."""
    shipped = frontier_document()
    detector: dict[str, Any] = shipped["detector"]
    judge = detector["network"]
    if any(model["name"] == judge for model in models):
        return detector
    return detector | {"graph": next(m["graph"] for m in shipped["models"] if m["name"] == judge)}


def _describe(
    target: Target, graph: Graph, logits: Logits, data: Data, positions: Positions
) -> dict[str, Any]:
    """One network of a page; the images of its worst mistakes are added to the page's."""
    images, labels = data.test.images.numpy(), data.test.labels.numpy()
    probabilities = torch.from_numpy(logits * graph.logit_scale).softmax(dim=1).numpy()
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][
        : min(MISTAKES, _most_images(data))
    ]
    return {
        "name": graph.name,
        "params": count_parameters(target.model, target.preprocess.shape),
        "weight_bytes": graph.weight_bytes,
        "accuracy": float((predicted == labels).mean()),
        "tested": len(labels),
        "graph": to_document(graph),
        "mistakes": [
            {
                "image": add_image(images[i], positions),
                "label": int(labels[i]),
                "predicted": int(predicted[i]),
                "probability": round(float(confidence[i]), 4),
            }
            for i in worst
        ],
    }


def add_image(image: Images, positions: Positions) -> int:
    """The position of an image in the page, which holds each image once."""
    return positions.setdefault(pack(image), len(positions))


def pack(image: Images) -> str:
    """An image (H, W) or (C, H, W) as the page stores it."""
    packed = bytearray()
    zeros = 0
    channels_last = np.moveaxis(image, 0, -1) if image.ndim == 3 else image
    for level in channels_last.ravel().tolist():
        if level == 0 and zeros < 255:
            zeros += 1
            continue
        if zeros:
            packed += bytes([0, zeros])
        zeros = int(level == 0)
        if level:
            packed.append(level)
    if zeros:
        packed += bytes([0, zeros])
    return base64.b64encode(packed).decode()


def _samples(data: Data, positions: Positions) -> list[dict[str, int]]:
    """The first test images of each class; of photos, which take more bytes, of some."""
    images, labels = data.test.images.numpy(), data.test.labels.numpy()
    is_glyph = data.preprocess.kind == "glyph"
    each = SAMPLES_PER_CLASS if is_glyph else 2
    chosen = [
        (i, label)
        for label in range(len(data.classes))
        for i in np.flatnonzero(labels == label)[:each].tolist()
    ]
    step = 1 if is_glyph else -(-len(chosen) // _most_images(data))
    return [
        {"image": add_image(images[i], positions), "label": label} for i, label in chosen[::step]
    ]


def _most_images(data: Data) -> int:
    """How many test images of a kind a page holds at most."""
    return max(4, IMAGE_BYTES // math.prod(data.preprocess.shape))
