"""Out-of-distribution detection: whether an image is like those of any class, or "none of these".

A network gives an answer for any image. The detector looks at features of the image: the edges in
four orientations over 3 × 3 overlapping cells, the share of ink and of half-tones, of each the
square root; and the features of one network, the judge: the means over all places of the channels
that its last convolution reads. The 16 principal components of all images' features are kept.

Each class is a Gaussian over them, each of the ten digits another one, of drawn digits. What is no
digit is drawn too: each letter and shape is a Gaussian, and one is all of them and scribbles. An
image is "none of these" where the likelihood ratio of the best of those and the best class is
above a limit, which 98.5 % of the validation images stay below. For data of other classes nothing
is known of others, and the best class's likelihood alone has that limit.

All numbers are rounded to what the page has; it computes with them in double precision, as numpy
does here.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from smidgen.data import Data
from smidgen.data.kept import Writer, keep
from smidgen.errors import DataError
from smidgen.mnist import CLASSES, GLYPH
from smidgen.quantize import Graph
from smidgen.quantize.graph import Conv
from smidgen.written import DIGITS, SHAPES, draw_digits, draw_scribbles, draw_shapes

Floats = NDArray[np.float64]
Images = NDArray[np.uint8]

CELL = 10
STARTS = (0, 9, 18)
ORIENTATIONS = 4
AT_ONCE = 256  # images whose levels stay in a processor's cache
ACCEPTED = 0.985  # of the validation images
FITTED = 20_000  # training images, at most
COMPONENTS = 16
RIDGE = 0.01  # added to the variances of features that are scaled to 1
DRAWN_DIGITS, DRAWN_SCRIBBLES, OF_EACH_SHAPE, DRAWN_SEED = 1000, 600, 50, 17
DRAWN_VERSION = 1  # of the drawings that are kept: one more where a drawing changes
LARGEST = 32_767  # of 16 bits


@dataclass(frozen=True, eq=False)
class Detector:
    """Gaussians over components (D,) of the features (F,): those of classes, then of others.

    `projection` (D, F) makes components of features. Of a Gaussian, minus twice the logarithm of
    the likelihood is |root x - shift|² + offset: `roots` (K, D, D), lower triangular, `shifts`
    (K, D), `offsets` (K,). The first `of_classes` of them are of classes.
    """

    graph: Graph
    projection: Floats
    roots: Floats
    shifts: Floats
    offsets: Floats
    of_classes: int

    def excess(self, images: Images) -> Floats:
        """How far images (N, 28, 28) are beyond the limit, (N,); above 0 is none of the classes."""
        return self.excess_of(describe(self.graph, images))

    def excess_of(self, features: Floats) -> Floats:
        """The same of features (N, F)."""
        components = features @ self.projection.T  # (N, D)
        apart = np.einsum("kij,nj->nki", self.roots, components) - self.shifts
        unlikely = (apart**2).sum(axis=2) + self.offsets  # (N, K)
        classes, others = np.split(unlikely, [self.of_classes], axis=1)
        excess: Floats = classes.min(axis=1)
        return excess - others.min(axis=1) if others.size else excess

    def with_limit(self, features: Floats) -> Detector:
        """The detector that lets 98.5 % of images with these features (N, F) pass, rounded."""
        limit = np.quantile(self.excess_of(features), ACCEPTED)
        is_class = np.arange(len(self.offsets)) < self.of_classes
        limited = replace(self, offsets=self.offsets - np.where(is_class, limit, 0))
        step = limited._step()
        roots, shifts, offsets = (
            np.round(values / step) * step for values in (self.roots, self.shifts, limited.offsets)
        )
        return replace(self, roots=roots, shifts=shifts, offsets=offsets)

    def _step(self) -> float:
        """What the numbers of the Gaussians are multiples of."""
        largest = max(np.abs(values).max() for values in (self.roots, self.shifts, self.offsets))
        return float(2.0 ** np.ceil(np.log2(2 * largest / LARGEST)))

    def to_document(self) -> dict[str, Any]:
        """The detector for JSON, without its network: base64 of float32, and of 16 bits a number.

        A Gaussian is its offset, its shift, and the rows of its root.
        """
        rows, columns = np.tril_indices(self.roots.shape[1])
        numbers = np.hstack([self.offsets[:, None], self.shifts, self.roots[:, rows, columns]])
        step = self._step()
        return {
            "network": self.graph.name,
            "projection": _encode(self.projection.astype("<f4")),
            "components": len(self.projection),
            "classes": self.of_classes,
            "step": step,
            "gaussians": _encode(np.round(numbers / step).astype("<i2")),
        }


def fit_detector(data: Data, graph: Graph) -> Detector | None:
    """The detector of a data set with this network as its judge; validation images set its limit.

    None for photos, for a network without a convolution (a linear layer is one), and where a class
    has too few images: fewer than two for each component.
    """
    is_glyph = (data.preprocess.kind, data.input_shape) == (GLYPH.kind, GLYPH.shape)
    if not is_glyph or not any(isinstance(node, Conv) for node in graph.nodes):
        return None
    fit, validation = data.fit_split()
    features = describe(graph, fit.images[:FITTED, 0].numpy())
    classes = groups_of(features, fit.labels[:FITTED].numpy())
    if min(map(len, classes)) < 2 * COMPONENTS:
        return None
    others: list[Floats] = []
    if data.classes == CLASSES:
        drawn, labels, drawn_others = _drawings(DRAWN_DIGITS, DRAWN_SCRIBBLES, tuple(SHAPES))
        classes += groups_of(describe(graph, drawn), labels)
        others = features_of_others(graph, drawn_others)
    detector = fit_gaussians(graph, classes, others)
    return detector.with_limit(describe(graph, validation.images[:, 0].numpy()))


def groups_of(features: Floats, labels: NDArray[np.int64]) -> list[Floats]:
    """The features (N, F) of each label."""
    return [features[labels == label] for label in np.unique(labels)]


@functools.cache
def _drawings(
    digits: int, scribbles: int, names: tuple[str, ...]
) -> tuple[Images, NDArray[np.int64], list[Images]]:
    """Digits, their labels, and what is none: seconds of work, the same for all networks.

    They are drawn once and kept in the cache folder, if that can be written.
    """
    sizes = [digits, *[OF_EACH_SHAPE] * len(names), scribbles]

    def draw() -> list[Images]:
        random = RandomState(DRAWN_SEED)
        return [draw_digits(digits, random)[0], *draw_others(names, scribbles, random)]

    def build(writer: Writer) -> dict[str, Any]:
        for part in draw():
            writer.write(part[:, None])
        return {}

    try:
        kept, _, _ = keep(f"drawings {sizes} {names} {DRAWN_SEED}", str(DRAWN_VERSION), build)
        images = kept[:, 0]
    except DataError:
        images = np.concatenate(draw())
    drawn, *others = np.split(images, np.cumsum(sizes)[:-1])
    return drawn, np.arange(digits) % len(DIGITS), others


def draw_others(names: Sequence[str], scribbles: int, random: RandomState) -> list[Images]:
    """Images of each of these shapes, and of scribbles at the end."""
    shapes = [draw_shapes([name] * OF_EACH_SHAPE, random) for name in names]
    return [*shapes, draw_scribbles(scribbles, random)]


def features_of_others(graph: Graph, drawn: Sequence[Images]) -> list[Floats]:
    """Features of what `draw_others` drew: of all of it, then of each shape."""
    features = [describe(graph, images) for images in drawn]
    return [np.concatenate(features), *features[:-1]]


def fit_gaussians(graph: Graph, classes: Sequence[Floats], others: Sequence[Floats]) -> Detector:
    """The detector without its limit, of features (N, F) of each Gaussian."""
    everything = np.concatenate([*classes, *others[:1]])
    spread = everything.std(axis=0)
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    _, directions = np.linalg.eigh(np.cov((everything * scale).T))
    kept = directions[:, -COMPONENTS:].T * scale
    projection = kept.astype(np.float32).astype(np.float64)
    gaussians = [_gaussian(group @ projection.T) for group in (*classes, *others)]
    roots, shifts, offsets = map(np.stack, zip(*gaussians, strict=True))
    return Detector(graph, projection, roots, shifts, offsets, len(classes))


def _gaussian(members: Floats) -> tuple[Floats, Floats, Floats]:
    """Root, shift and offset of the Gaussian of members (N, D)."""
    covariance = np.cov(members.T) + RIDGE * np.eye(members.shape[1])
    root = _lower_root(np.linalg.inv(covariance))
    return root, root @ members.mean(axis=0), -2 * np.log(np.diag(root)).sum()


def describe(graph: Graph, images: Images) -> Floats:
    """The features (N, F) of images (N, 28, 28): 38 of the edges, and those of the network."""
    parts = range(0, max(len(images), 1), AT_ONCE)
    pieces = (images[part : part + AT_ONCE] for part in parts)
    return np.concatenate(
        [np.hstack([edges_of(piece), means_of(graph, piece)]) for piece in pieces]
    )


def means_of(graph: Graph, images: Images) -> Floats:
    """The means (N, C), from 0 to 1, of the channels that the last convolution of a graph reads."""
    last = [node for node in graph.nodes if isinstance(node, Conv)][-1]
    maps = graph.tensors(images)[last.inputs[0]]  # (N, H, W, C)
    means: Floats = maps.sum(axis=(1, 2)) / (255 * maps.shape[1] * maps.shape[2])
    return means


def edges_of(images: Images) -> Floats:
    """Edges, ink and half-tones (N, 38) of images (N, 28, 28), each between 0 and 2."""
    levels = images.astype(np.float64) / 255
    padded = np.pad(levels, ((0, 0), (1, 1), (1, 1)))
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    features = []
    for angle in np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS:
        edges = np.abs(across * np.cos(angle) + down * np.sin(angle))
        for top in STARTS:
            for left in STARTS:
                cell = edges[:, top : top + CELL, left : left + CELL]
                features.append(cell.mean(axis=(1, 2)))
    features += [levels.mean(axis=(1, 2)), (levels * (1 - levels)).mean(axis=(1, 2))]
    described: Floats = np.sqrt(np.stack(features, axis=1))
    return described


def _lower_root(precision: NDArray[Any]) -> NDArray[Any]:
    """The lower triangular R with R' R = precision: Cholesky's factor, both axes reversed."""
    return np.linalg.cholesky(precision[::-1, ::-1]).T[::-1, ::-1]


def _encode(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()
