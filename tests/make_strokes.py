"""Writes tests/strokes.json, the pen strokes that the tests draw on the page.

    python tests/make_strokes.py

Nobody's hand was recorded. Each digit has two or three ways of writing it, put down below as the
points that a pen passes through (a point that is repeated is a corner); each of the six drawings
of a digit bends these points at random, slants and stretches the whole, runs a Catmull-Rom spline
through them, and lets the pen tremble. No drawing was chosen or left out by what a network said.

The file is a list of {"digit": 3, "strokes": [[[x, y], ...], ...]}, x and y from 0 to 1.
"""

import json
from pathlib import Path

import numpy as np

WAYS = {
    0: [
        [[(0.55, 0.02), (0.2, 0.2), (0.1, 0.55), (0.25, 0.9), (0.55, 0.98), (0.84, 0.8),
          (0.9, 0.45), (0.78, 0.12), (0.52, 0.02)]],
        [[(0.6, 0.05), (0.3, 0.15), (0.2, 0.5), (0.28, 0.88), (0.52, 0.98), (0.75, 0.8),
          (0.8, 0.4), (0.65, 0.08), (0.42, 0.08)]],
    ],
    1: [
        [[(0.5, 0.0), (0.49, 0.5), (0.48, 1.0)]],
        [[(0.66, 0.0), (0.52, 0.5), (0.36, 1.0)]],
        [[(0.3, 0.24), (0.5, 0.02), (0.5, 0.02), (0.5, 0.5), (0.5, 1.0)]],
    ],
    2: [
        [[(0.12, 0.25), (0.3, 0.05), (0.6, 0.02), (0.82, 0.2), (0.74, 0.42), (0.42, 0.72),
          (0.1, 0.97), (0.1, 0.97), (0.5, 0.95), (0.9, 0.97)]],
        [[(0.14, 0.2), (0.4, 0.02), (0.76, 0.12), (0.74, 0.4), (0.45, 0.75), (0.2, 0.95),
          (0.08, 0.86), (0.26, 0.78), (0.52, 0.92), (0.92, 0.93)]],
    ],
    3: [
        [[(0.15, 0.12), (0.45, 0.0), (0.78, 0.12), (0.74, 0.35), (0.42, 0.47), (0.42, 0.47),
          (0.8, 0.6), (0.85, 0.83), (0.5, 1.0), (0.12, 0.9)]],
        [[(0.15, 0.04), (0.5, 0.03), (0.8, 0.03), (0.8, 0.03), (0.44, 0.4), (0.44, 0.4),
          (0.78, 0.56), (0.8, 0.84), (0.45, 1.0), (0.1, 0.9)]],
    ],
    4: [
        [[(0.28, 0.0), (0.18, 0.35), (0.12, 0.58), (0.12, 0.58), (0.5, 0.57), (0.88, 0.55)],
         [(0.66, 0.15), (0.64, 0.6), (0.62, 1.0)]],
        [[(0.68, 0.0), (0.4, 0.32), (0.08, 0.66), (0.08, 0.66), (0.5, 0.66), (0.92, 0.65)],
         [(0.68, 0.0), (0.67, 0.5), (0.66, 1.0)]],
    ],
    5: [
        [[(0.25, 0.03), (0.21, 0.42), (0.21, 0.42), (0.5, 0.36), (0.82, 0.55), (0.8, 0.85),
          (0.45, 1.0), (0.12, 0.9)],
         [(0.25, 0.03), (0.5, 0.03), (0.82, 0.02)]],
        [[(0.82, 0.03), (0.3, 0.05), (0.3, 0.05), (0.24, 0.42), (0.24, 0.42), (0.52, 0.36),
          (0.8, 0.52), (0.8, 0.8), (0.5, 0.99), (0.14, 0.92)]],
    ],
    6: [
        [[(0.7, 0.02), (0.38, 0.22), (0.17, 0.58), (0.2, 0.88), (0.5, 1.0), (0.8, 0.86),
          (0.78, 0.62), (0.5, 0.52), (0.22, 0.7)]],
        [[(0.52, 0.0), (0.26, 0.35), (0.18, 0.75), (0.38, 0.98), (0.68, 0.93), (0.76, 0.7),
          (0.55, 0.56), (0.26, 0.68)]],
    ],
    7: [
        [[(0.12, 0.06), (0.5, 0.05), (0.86, 0.03), (0.86, 0.03), (0.6, 0.45), (0.4, 1.0)]],
        [[(0.14, 0.06), (0.5, 0.05), (0.86, 0.04), (0.86, 0.04), (0.62, 0.45), (0.42, 1.0)],
         [(0.34, 0.5), (0.55, 0.49), (0.78, 0.47)]],
        [[(0.14, 0.2), (0.16, 0.05), (0.16, 0.05), (0.5, 0.06), (0.84, 0.03), (0.84, 0.03),
          (0.6, 0.5), (0.5, 1.0)]],
    ],
    8: [
        [[(0.76, 0.16), (0.5, 0.02), (0.25, 0.16), (0.36, 0.38), (0.66, 0.58), (0.78, 0.82),
          (0.5, 1.0), (0.22, 0.82), (0.38, 0.56), (0.66, 0.38), (0.77, 0.17)]],
        [[(0.5, 0.46), (0.26, 0.3), (0.34, 0.06), (0.62, 0.04), (0.74, 0.26), (0.5, 0.46),
          (0.22, 0.66), (0.24, 0.92), (0.52, 1.0), (0.8, 0.86), (0.74, 0.62), (0.5, 0.46)]],
    ],
    9: [
        [[(0.78, 0.18), (0.5, 0.02), (0.22, 0.16), (0.26, 0.42), (0.54, 0.46), (0.78, 0.2),
          (0.78, 0.2), (0.75, 0.6), (0.7, 1.0)]],
        [[(0.76, 0.14), (0.46, 0.02), (0.22, 0.22), (0.36, 0.46), (0.66, 0.38), (0.77, 0.14),
          (0.78, 0.5), (0.64, 0.86), (0.26, 0.97)]],
    ],
}  # fmt: skip


def drawings(each=6, seed=2024):
    rng = np.random.default_rng(seed)
    for digit, ways in WAYS.items():
        for i in range(each):
            yield {"digit": digit, "strokes": drawing(ways[i % len(ways)], rng)}


def drawing(way, rng):
    slant, stretch = rng.normal(0, 0.14), np.exp(rng.normal(0, 0.12))
    turn = rng.normal(0, 0.05)
    shape = np.array([[1, -slant], [0, 1]]) @ np.diag([stretch, 1])
    shape = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ shape
    strokes = []
    for points in way:
        points = np.array(points)
        bent = points + rng.normal(0, 0.03, points.shape)
        corners = np.flatnonzero((points[1:] == points[:-1]).all(axis=1))
        bent[corners + 1] = bent[corners]
        path = spline(bent) @ shape.T
        tremble = np.cumsum(rng.normal(0, 0.0025, path.shape), axis=0)
        strokes.append(path + tremble)
    everything = np.concatenate(strokes)
    low = everything.min(axis=0)
    size = np.ptp(everything, axis=0).max()
    return [np.round((stroke - low) / size, 3).tolist() for stroke in strokes]


def spline(points, steps=6):
    """A Catmull-Rom spline through the points."""
    ends = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        pieces.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
                   + (3 * b - a - 3 * c + d) * t**3)
        )  # fmt: skip
    return np.concatenate([*pieces, points[-1:]])


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in drawings())
    Path(__file__).with_name("strokes.json").write_text(f"[\n{lines}\n]\n", "utf-8")
