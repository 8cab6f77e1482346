"""How far an image is from every class of the training data: the page's "none of these".

A network answers for any image. So each class is also a Gaussian over 38 features of its training
images: the edges in four orientations over 3 × 3 overlapping cells, the share of ink and the share
of half-tones, each as its root. The distance of an image is Mahalanobis's (1936), from the nearest
class, in units of the distance that 99 % of the validation images keep within; above 1 the page
says that it is none of them. No network is asked, and one gauge serves all networks of a data set.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CELL = 10
STARTS = (0, 9, 18)
ORIENTATIONS = 4
ACCEPTED = 0.99  # of the validation images
RIDGE = 1e-4  # keeps a feature that never varies within a class from counting without bound


@dataclass(frozen=True, eq=False)
class Gauge:
    """`means` (C, F) and `roots` (C, F, F), lower triangular: distance = |root (x - mean)|."""

    means: Floats
    roots: Floats

    def distance(self, images: NDArray[np.uint8]) -> Floats:
        """The distances (N,) of images (N, 28, 28) from their nearest classes, 1 = the limit."""
        offsets = describe(images)[:, None] - self.means  # (N, C, F)
        distances = np.linalg.norm(np.einsum("cij,ncj->nci", self.roots, offsets), axis=2)
        nearest: Floats = distances.min(axis=1)
        return nearest

    def to_document(self) -> dict[str, Any]:
        """The gauge as JSON: per class the mean and the rows of the root, 16 bits a number."""
        rows, columns = np.tril_indices(self.means.shape[1])
        numbers = np.concatenate([self.means, self.roots[:, rows, columns]], axis=1)
        scale = float(np.abs(numbers).max() / 32767)
        data = np.round(numbers / scale).astype("<i2").tobytes()
        features = self.means.shape[1]
        return {"features": features, "scale": scale, "data": base64.b64encode(data).decode()}


def fit_gauge(
    images: NDArray[np.uint8], labels: NDArray[np.int64], validation: NDArray[np.uint8]
) -> Gauge | None:
    """The gauge of training images (N, 28, 28), its limit set on the validation images.

    None where a class has too few images to say how they vary: fewer than two a feature.
    """
    features = describe(images)
    classes = [features[labels == label] for label in np.unique(labels)]
    if min(len(members) for members in classes) < 2 * features.shape[1]:
        return None
    ridge = RIDGE * np.eye(features.shape[1])
    roots = [_lower_root(np.linalg.inv(np.cov(members.T) + ridge)) for members in classes]
    gauge = Gauge(np.stack([members.mean(axis=0) for members in classes]), np.stack(roots))
    limit = np.quantile(gauge.distance(validation), ACCEPTED)
    return Gauge(gauge.means, gauge.roots / limit)


def describe(images: NDArray[np.uint8]) -> Floats:
    """The 38 features (N, 38) of images (N, 28, 28), each between 0 and 2."""
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
