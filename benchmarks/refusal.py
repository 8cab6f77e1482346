"""Measures what is refused as "none of these": digits against what is no digit, as a curve.

    python benchmarks/refusal.py            # real MNIST, from $SMIDGEN_DATA or ./data; minutes

Letters and shapes are those of `smidgen.written`, every second one; the detector is fitted to the
others, so that it has seen none of those that it is measured on. Only the limit of the page is
also measured on test images. Writes docs/refusal.png and benchmarks/refusal.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
from numpy.random import RandomState
from scipy.special import logsumexp

from smidgen.data import load_data
from smidgen.detector import (
    DRAWN_DIGITS,
    DRAWN_SCRIBBLES,
    Detector,
    describe,
    draw_others,
    edges_of,
    features_of_others,
    fit_detector,
    fit_gaussians,
    groups_of,
)
from smidgen.quantize import quantize_for
from smidgen.target import load
from smidgen.written import SHAPES, draw_digits, draw_scribbles, draw_shapes

ROOT = Path(__file__).parents[1]
JUDGE = "smidgen_8k_written"
LIMIT = 0.02  # of digits that may be refused
SEED, EACH = 99, 40


def main() -> None:
    data, target = load_data("mnist"), load(JUDGE)
    graph = quantize_for(data, target.model, target.preprocess, JUDGE)
    random = RandomState(SEED)
    names = sorted(SHAPES)
    fit, validation = data.fit_split()
    digits, labels = fit.images[:20_000, 0].numpy(), fit.labels[:20_000].numpy()
    drawn, drawn_labels = draw_digits(DRAWN_DIGITS, random)
    classes = groups_of(describe(graph, digits), labels)
    classes += groups_of(describe(graph, drawn), drawn_labels)
    probes = validation.images[:, 0].numpy(), others_than(names[::2], random)

    others = features_of_others(graph, draw_others(names[::2], DRAWN_SCRIBBLES, random))
    ours = fit_gaussians(graph, classes, others)
    alone = fit_gaussians(graph, classes, [])
    scores = {
        "likelihood ratio (the page's)": ours.excess,
        "best class's likelihood": alone.excess,
        "Mahalanobis distance of edges (before)": edges_distance(edges_of(digits), labels),
        "energy of the logits": lambda images: (
            -logsumexp(graph.run(images) * graph.logit_scale, axis=1)
        ),
    }
    curves = {}
    for name, score in scores.items():
        kept, refused = (score(images) for images in probes)
        limits = np.quantile(kept, 1 - np.linspace(0, 0.1, 101))
        curves[name] = [float((refused > limit).mean()) for limit in limits]
        print(f"{name:40} {curves[name][20]:.1%} refused where 2 % of digits are", flush=True)
    draw_curves(curves)
    detector = fit_detector(data, graph)
    assert detector is not None
    document = {
        "judge": JUDGE,
        "others_refused_at_2_percent": {k: v[20] for k, v in curves.items()},
    }
    document |= at_the_limit(detector, data.test.images[:, 0].numpy())
    (ROOT / "benchmarks" / "refusal.json").write_text(
        json.dumps(document, indent=1) + "\n", "utf-8"
    )
    print(json.dumps(document, indent=1))


def others_than(names, random):
    """Images of the other shapes, 40 of each, and scribbles, a quarter of all."""
    shapes = [name for name in sorted(SHAPES) if name not in names]
    drawn = draw_shapes(shapes * EACH, random)
    return np.concatenate([drawn, draw_scribbles(len(drawn) // 3, random)])


def edges_distance(features, labels):
    """The nearest class by Mahalanobis distance, of the 38 features of edges."""
    classes = [features[labels == label] for label in range(10)]
    gaussians = [
        (members.mean(axis=0), np.linalg.inv(np.cov(members.T) + 1e-4 * np.eye(38)))
        for members in classes
    ]

    def distance(images):
        probe = edges_of(images)
        apart = [
            np.einsum("ni,ij,nj->n", probe - mean, inverse, probe - mean)
            for mean, inverse in gaussians
        ]
        return np.min(apart, axis=0)

    return distance


def at_the_limit(detector: Detector, tested) -> dict[str, float | dict[str, float]]:
    """Shares refused by the page's detector, which knows all the shapes, of new drawings."""
    random = RandomState(SEED + 1)
    drawn, labels = draw_digits(2000, random)
    refused = detector.excess(drawn) > 0
    shapes = {
        name: float((detector.excess(draw_shapes([name] * 100, random)) > 0).mean())
        for name in ("heart", "A", "star", "smiley")
    }
    scribbles = detector.excess(draw_scribbles(500, random)) > 0
    return {
        "test_images": float((detector.excess(tested) > 0).mean()),
        "drawn_digits": float(refused.mean()),
        "drawn_ones": float(refused[labels == 1].mean()),
        "all_shapes": float((detector.excess(others_than([], random)) > 0).mean()),
        "scribbles": float(scribbles.mean()),
        "shapes": shapes,
    }


def draw_curves(curves) -> None:
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for (name, refused), line in zip(curves.items(), ("-", "--", "-.", ":"), strict=True):
        axes.plot(np.linspace(0, 10, 101), 100 * np.array(refused), line, label=name)
    axes.axvline(100 * LIMIT, color="0.6", linewidth=1)
    axes.set(
        title="What is refused as none of the ten digits",
        xlabel="% of MNIST's validation images refused",
        ylabel="% of letters, shapes and scribbles refused",
        xlim=(0, 10),
        ylim=(0, 100),
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(ROOT / "docs" / "refusal.png", dpi=110)


if __name__ == "__main__":
    main()
