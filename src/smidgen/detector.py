"""Out-of-distribution detection: whether an image is like those of any class, or "none of these".

A network gives an answer for any image. The detector models each class as a Gaussian over 38
features of its training images: the edges in four orientations over 3 × 3 overlapping cells, the
share of ink and the share of half-tones, of each the square root. An image's distance is that of
Mahalanobis (1936) from the nearest class, divided by a limit below which 99 % of the validation
images stay; above 1 the page says "none of these". The detector uses no network, so one detector
serves all networks of a data set.
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
AT_ONCE = 256  # images whose levels stay in a processor's cache
ACCEPTED = 0.99  # of the validation images
RIDGE = 1e-4  # added to the variances, which are 0 where a class never varies


@dataclass(frozen=True, eq=False)
class Detector:
    """Means (C, F) and roots (C, F, F) of the classes' precision matrices, lower triangular.

    The distance of features x from a class is |root (x - mean)|.
    """

    means: Floats
    roots: Floats

    def distance(self, images: NDArray[np.uint8]) -> Floats:
        """The distances (N,) of images (N, 28, 28) from their nearest classes, 1 = the limit."""
        offsets = describe(images)[:, None] - self.means  # (N, C, F)
        distances = np.linalg.norm(np.einsum("cij,ncj->nci", self.roots, offsets), axis=2)
        nearest: Floats = distances.min(axis=1)
        return nearest

    def to_document(self) -> dict[str, Any]:
        """The detector for JSON: mean and rows of the root of each class, 16 bits a number."""
        rows, columns = np.tril_indices(self.means.shape[1])
        numbers = np.concatenate([self.means, self.roots[:, rows, columns]], axis=1)
        scale = float(np.abs(numbers).max() / 32767)
        data = np.round(numbers / scale).astype("<i2").tobytes()
        features = self.means.shape[1]
        return {"features": features, "scale": scale, "data": base64.b64encode(data).decode()}


def fit_detector(
    images: NDArray[np.uint8], labels: NDArray[np.int64], validation: NDArray[np.uint8]
) -> Detector | None:
    """The detector of training images (N, 28, 28), its limit set on the validation images.

    None where a class has too few images for its covariance: fewer than two for each feature.
    """
    features = describe(images)
    classes = [features[labels == label] for label in np.unique(labels)]
    if min(len(members) for members in classes) < 2 * features.shape[1]:
        return None
    ridge = RIDGE * np.eye(features.shape[1])
    roots = [_lower_root(np.linalg.inv(np.cov(members.T) + ridge)) for members in classes]
    detector = Detector(np.stack([members.mean(axis=0) for members in classes]), np.stack(roots))
    limit = np.quantile(detector.distance(validation), ACCEPTED)
    return Detector(detector.means, detector.roots / limit)


def describe(images: NDArray[np.uint8]) -> Floats:
    """The 38 features (N, 38) of images (N, 28, 28), each between 0 and 2."""
    parts = range(0, max(len(images), 1), AT_ONCE)
    return np.concatenate([_describe(images[part : part + AT_ONCE]) for part in parts])


def _describe(images: NDArray[np.uint8]) -> Floats:
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
