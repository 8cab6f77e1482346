"""What belongs to none of the classes; the oracles are SciPy's Gaussians and the page."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.random import RandomState
from scipy.stats import multivariate_normal
from test_html import ask, node

from smidgen import detector as module
from smidgen.data import Data, Split
from smidgen.detector import describe, fit_detector, fit_gaussians
from smidgen.mnist import GLYPH
from smidgen.quantize import quantize, to_document
from smidgen.target import load
from smidgen.written import SHAPES, draw_digits, draw_scribbles, draw_shapes

__all__ = ["node"]  # the fixture

FEW = {name: SHAPES[name] for name in ("heart", "A", "star", "W")}


@pytest.fixture(scope="module")
def judge():
    """The integer graph of a small shipped network."""
    images, _ = draw_digits(64, RandomState(0))
    target = load("smidgen_575")
    return quantize(target.model, torch.from_numpy(images)[:, None], target.preprocess, "judge")


@pytest.fixture(scope="module")
def written():
    """1,200 drawn digits, as a data set."""
    images, labels = draw_digits(1200, RandomState(1))
    split = Split(torch.from_numpy(images)[:, None], torch.from_numpy(labels))
    return Data("drawn", split, split.rows(slice(0)), tuple("0123456789"), GLYPH)


@pytest.fixture(scope="module")
def detector(judge, written):
    """Of few drawings and four shapes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DRAWN_DIGITS", 200)
        patch.setattr(module, "DRAWN_SCRIBBLES", 100)
        patch.setattr(module, "SHAPES", FEW)
        return fit_detector(written, judge)


def draw_others(count, random):
    """Half of them scribbles."""
    shapes = draw_shapes([list(FEW)[i % len(FEW)] for i in range(count // 2)], random)
    return np.concatenate([shapes, draw_scribbles(count - len(shapes), random)])


def test_digits_are_kept_and_others_are_refused(detector):
    assert (detector.excess(draw_digits(300, RandomState(2))[0]) <= 0).mean() > 0.9
    assert (detector.excess(draw_others(300, RandomState(2))) > 0).mean() > 0.9
    noise = RandomState(3).randint(0, 256, (5, 28, 28)).astype(np.uint8)
    assert (detector.excess(noise) > 0).all()


def groups(judge, written):
    """The features of each Gaussian of classes, and of others, as they are drawn one by one."""
    fit, _ = written.fit_split()
    random = RandomState(module.DRAWN_SEED)
    drawn, labels = draw_digits(200, random)
    known = [(describe(judge, fit.images[:, 0].numpy()), fit.labels.numpy())]
    known.append((describe(judge, drawn), labels))
    classes = [features[labels == n] for features, labels in known for n in range(10)]
    shapes = [describe(judge, draw_shapes([name] * 50, random)) for name in FEW]
    scribbles = describe(judge, draw_scribbles(100, random))
    return classes, [np.concatenate([*shapes, scribbles]), *shapes]


def test_the_excess_is_a_likelihood_ratio_beyond_its_quantile(detector, judge, written):
    projection = detector.projection.T

    def best(members, features):
        gaussians = []
        for each in members:
            covariance = np.cov((each @ projection).T) + 0.01 * np.eye(16)
            gaussians.append(multivariate_normal((each @ projection).mean(axis=0), covariance))
        return np.max([one.logpdf(features @ projection) for one in gaussians], axis=0)

    def ratio(images):
        features = describe(judge, images)
        return 2 * (best(others, features) - best(classes, features))

    classes, others = groups(judge, written)
    validation = written.fit_split()[1].images[:, 0].numpy()
    probe = np.concatenate([validation[:20], draw_others(20, RandomState(4))])
    before = fit_gaussians(judge, classes, others)
    np.testing.assert_allclose(before.excess(probe), ratio(probe), rtol=1e-6, atol=1e-6)
    expected = ratio(probe) - np.quantile(ratio(validation), 0.985)
    assert np.ptp(expected) > 100
    np.testing.assert_allclose(detector.excess(probe), expected, atol=4)  # of 16 bits


def test_the_components_are_the_principal_ones(detector, judge, written):
    """Their variances are the largest eigenvalues of the features' correlations."""
    classes, others = groups(judge, written)
    everything = np.concatenate([*classes, others[0]])
    varies = everything.std(axis=0) > 0
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(everything[:, varies].T))
    components = everything @ detector.projection.T
    np.testing.assert_allclose(components.var(axis=0), eigenvalues[-16:], rtol=1e-4)


def test_the_page_computes_the_same(detector, node):
    probe = np.concatenate([draw_digits(10, RandomState(5))[0], draw_others(10, RandomState(5))])
    script = """
        const { decodeDetector, excess } = await import("./detector.js");
        const detector = decodeDetector(input.page);
        console.log(JSON.stringify(input.images.map((image) => excess(detector, image))));
    """
    models = [{"name": "judge", "graph": to_document(detector.graph)}]
    page = {"detector": detector.to_document(), "models": models}
    apart = {"detector": page["detector"] | {"graph": models[0]["graph"]}, "models": []}
    for each in (page, apart):
        document = {"page": each, "images": probe.reshape(-1, 784).tolist()}
        # The order of the sums differs, and nothing else.
        np.testing.assert_allclose(ask(node, script, document), detector.excess(probe), rtol=1e-9)


def test_the_drawings_are_kept_if_the_cache_can_be_written(tmp_path, monkeypatch):
    drawings = module._drawings.__wrapped__
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path / "cache"))
    drawn = drawings(30, 10, ("heart", "A"))
    assert len(list(tmp_path.glob("cache/pictures/*/images.npy"))) == 1
    (tmp_path / "file").touch()
    with monkeypatch.context() as patch:
        patch.setattr(module, "draw_digits", None)
        kept = drawings(30, 10, ("heart", "A"))
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path / "file"))
    drawn_again = drawings(30, 10, ("heart", "A"))
    for found in (kept, drawn_again):
        assert np.array_equal(found[0], drawn[0])
        assert np.array_equal(found[1], drawn[1])
        assert all(map(np.array_equal, found[2], drawn[2]))


def test_other_drawings_are_another_version():
    """Where this digest changes, so must DRAWN_VERSION: else old drawings are taken from caches."""
    random = RandomState(0)
    digits, _ = draw_digits(60, random)
    others = (draw_shapes(SHAPES, random), draw_scribbles(20, random))
    digest = hashlib.sha256(np.concatenate([digits, *others]).tobytes()).hexdigest()[:16]
    assert {digest: module.DRAWN_VERSION} == {"62fd6642fd46552e": 1}


def test_data_of_other_classes_have_a_limit_for_the_best_one(judge, written):
    letters = replace(written, classes=tuple("abcdefghij"))
    found = fit_detector(letters, judge)
    assert found.of_classes == 10
    assert found.roots.shape == (10, 16, 16)
    _, validation = letters.fit_split()
    refused = (found.excess(validation.images[:, 0].numpy()) > 0).mean()
    assert refused == pytest.approx(0.015, abs=0.011)  # of 100 images


def test_few_images_and_photos_have_no_detector(judge, written):
    assert fit_detector(written, replace(judge, nodes=judge.nodes[:0])) is None
    letters = replace(written, classes=tuple("abcdefghij"))
    few = replace(
        letters, train=letters.train.rows(slice(300))
    )  # at most 30 of a class, fewer than 32
    assert fit_detector(few, judge) is None
    assert fit_detector(replace(written, preprocess=replace(GLYPH, kind="photo")), judge) is None
