"""Measures the draw-a-digit page in headless Chromium against what it has to show.

    python benchmarks/page.py            # real MNIST, from $SMIDGEN_DATA or ./data; some minutes
    python benchmarks/page.py --ship smidgen_8k skip_13k    # only makes these the shipped page

Writes docs/page.md: test images replayed as pictures, drawings replayed as pointer events, the
size of the page, and how long it takes to open and to answer.
"""

from __future__ import annotations

import argparse
import base64
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.random import RandomState
from playwright.sync_api import Page, sync_playwright

from smidgen.data import Data, load_data
from smidgen.detector import fit_detector
from smidgen.export.document import build_document, frontier_document
from smidgen.export.html import render
from smidgen.inference import logits
from smidgen.mnist import GLYPH
from smidgen.preprocess import read_image
from smidgen.quantize import quantize_for
from smidgen.target import load
from smidgen.written import SHAPES, draw_shapes

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # the tests' driver of the browser
from browser import (
    ARGUMENTS,
    CHROMIUM,
    DESK,
    PLACES,
    STROKES,
    answer,
    choose_file,
    clear,
    draw,
    enlarged,
    likeliest,
    replay,
)
from photos import photo_of

IMAGES = 1000
OPENINGS = 15
SCRIBBLES = 200
PHOTOS = 100
ELSEWHERE = (
    "`tests/test_page_elsewhere.py` drives Firefox and WebKit where they are installed. In Firefox",
    "153.7.0esr and WebKitGTK 2.50.6 of Debian 12 a drawing is read by all networks, nothing",
    "overlaps in windows 500 and 1,280 pixels wide, the game counts, a sign is taught and",
    "forgotten, and a photo of two digits is read; both look as Chromium does. They are installed",
    "by `apt-get install firefox-esr webkit2gtk-driver xvfb`.",
)
TRIALS, SIGNS, OF_EACH = 40, 5, 25  # of signs that are taught, and the drawings of each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ship", nargs="+", metavar="MODEL", help="make these the shipped page")
    names = parser.parse_args().ship
    if names:
        ship(names, load_data("mnist"))
    else:
        measure(load_data("mnist"))


def measure(data: Data) -> None:
    html = render(frontier_document())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "index.html"
        path.write_text(html, "utf-8")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport=DESK)
        rows = [("the page, all its networks", "≤ 350 kB", f"{len(html.encode()) / 1000:.0f} kB")]
        rows += open_often(page, path.as_uri())
        rows += draw_all(page)
        rows += scribble_all(page)
        rows += replay_images(page, data)
        rows += read_photos(page, data)
        rows += teach_signs(data)
        report(rows, browser.version)
        browser.close()


def ship(names: list[str], data: Data) -> None:
    """Puts the document of these models, the first chosen at first, into the package."""
    targets = [load(name) for name in names]
    graphs = [quantize_for(data, each.model, each.preprocess, each.name) for each in targets]
    detector = fit_detector(data, graphs[0])
    assert detector is not None
    document = build_document(targets, data, graphs) | {"detector": detector.to_document()}
    text = json.dumps(document, separators=(",", ":"))
    (ROOT / "src" / "smidgen" / "export" / "frontier.json").write_text(text + "\n", "utf-8")
    frontier_document.cache_clear()


def open_often(page: Page, address: str) -> list[tuple[str, str, str]]:
    """From the start of navigation, and from first paint, until the page answers."""
    ready, answers = [], []
    for _ in range(OPENINGS):
        page.goto(address)
        clear(page)  # ends the example that draws itself
        ready.append(page.evaluate("performance.getEntriesByName('ready')[0].startTime"))
        draw(page, [stroke[::4] for stroke in STROKES[0]["strokes"]])
        answers.append(page.evaluate("performance.getEntriesByName('answer')[0].duration"))
    return [
        ("navigation to ready, median", "≤ 300 ms", f"{statistics.median(ready):.0f} ms"),
        ("navigation to ready, slowest", "≤ 300 ms", f"{max(ready):.0f} ms"),
        (
            "an answer of the chosen network, from the ink on, median",
            "≤ 10 ms",
            f"{statistics.median(answers):.1f} ms",
        ),
    ]


def draw_all(page: Page) -> list[tuple[str, str, str]]:
    """Every drawing at every size and place, with the mouse."""
    names = names_by_size()
    right = [0] * len(names)
    accepted = total = 0
    for drawing in STROKES:
        for place in PLACES:
            draw(page, [[*stroke[:-1:2], stroke[-1]] for stroke in drawing["strokes"]], place)
            hits = [said == str(drawing["digit"]) for said in likeliest(page)]
            right = [n + hit for n, hit in zip(right, hits, strict=True)]
            accepted += answer(page) != "none of these"
            total += 1
            clear(page)
    rows = [
        (f"{total} drawn digits read right by {name}", "", f"{n / total:.2%}")
        for name, n in zip(names, right, strict=True)
    ]
    chosen = names.index(frontier_document()["models"][0]["name"])
    rows[chosen] = (rows[chosen][0], "≥ 95 %", rows[chosen][2])
    return [*rows, ("of them not taken for none of these", "", f"{accepted / total:.2%}")]


def names_by_size() -> list[str]:
    """The networks in the order in which the page has them."""
    models = sorted(frontier_document()["models"], key=lambda model: model["params"])
    return [model["name"] for model in models]


def scribble_all(page: Page) -> list[tuple[str, str, str]]:
    """Polylines through random points, which nobody would call a digit."""
    page.mouse.move(5, 5)  # the browser now knows the pointer that is replayed
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(SCRIBBLES):
        replay(page, [rng.random((rng.integers(8, 25), 2)).tolist()], PLACES[2])
        refused += answer(page) == "none of these"
    share = f"{refused / SCRIBBLES:.2%}"
    return [(f"{SCRIBBLES} random scribbles taken for none of these", "", share)]


def replay_images(page: Page, data: Data) -> list[tuple[str, str, str]]:
    """Test images as pictures of 280 × 280, read by the page's first network and by Python."""
    model = frontier_document()["models"][0]
    target = load(model["name"])
    images, labels = data.test.images[:IMAGES, 0].numpy(), data.test.labels[:IMAGES].tolist()
    pictures = [enlarged(image) for image in images]
    inputs = torch.from_numpy(np.stack([read_image(picture, GLYPH) for picture in pictures]))
    python = logits(target.model, inputs, target.preprocess).argmax(dim=1).tolist()
    plain = logits(target.model, data.test.images[:IMAGES], target.preprocess).argmax(dim=1)
    said, accepted = [], 0
    first = names_by_size().index(model["name"])
    for picture in pictures:
        choose_file(page, "digit.png", picture)
        said.append(target.classes.index(likeliest(page)[first]))
        accepted += answer(page) != "none of these"
    same, right, expected = (
        np.mean(np.equal(one, other))
        for one, other in ((said, python), (said, labels), (plain.tolist(), labels))
    )
    points = f"{100 * (right - expected):+.2f} points"
    return [
        (f"{IMAGES:,} test images as pictures: label as Python's", "≥ 99.8 %", f"{same:.2%}"),
        ("accuracy on them, less the network's own", "within 0.30 points", points),
        ("of them not taken for none of these", "", f"{accepted / IMAGES:.2%}"),
    ]


def read_photos(page: Page, data: Data) -> list[tuple[str, str, str]]:
    """Made-up photos of three to five test images, under uneven light and with noise."""
    images, labels = data.test.images[:, 0].numpy(), data.test.labels.tolist()
    random = np.random.default_rng(1)
    whole = 0
    for _ in range(PHOTOS):
        chosen = random.integers(0, len(labels), random.integers(3, 6))
        photo = photo_of([images[i] for i in chosen], random)
        choose_file(page, "photo.jpg", photo, "image/jpeg")
        whole += answer(page) == "".join(str(labels[i]) for i in chosen)
    what = f"{PHOTOS} composed photos of 3 to 5 test images read whole"
    return [(what, "", f"{whole / PHOTOS:.0%}")]


def teach_signs(data: Data) -> list[tuple[str, str, str]]:
    """Five letters or shapes at a time, of those by which the reach of a sign was not chosen."""
    random = RandomState(11)
    names = list(SHAPES)[1::2]
    texts = [_texts(draw_shapes([name] * OF_EACH, random)) for name in names]
    trials = [random.permutation(len(names))[:SIGNS].tolist() for _ in range(TRIALS)]
    digits = _texts(data.test.images[:IMAGES, 0].numpy())
    given = {"page": frontier_document(), "shapes": texts, "digits": digits, "trials": trials}
    command = ["node", str(Path(__file__).with_name("teach.mjs"))]
    done = subprocess.run(
        command, input=json.dumps(given), text=True, check=True, capture_output=True
    )
    found = json.loads(done.stdout)
    model = frontier_document()["models"][0]["name"]
    return [
        (
            f"drawings of {SIGNS} taught signs that get their name, by {model}",
            "",
            f"{found['named'] / found['shown']:.1%}",
        ),
        ("of them that get another sign's", "", f"{found['misnamed'] / found['shown']:.1%}"),
        (
            f"{IMAGES:,} test images that get a sign's name",
            "",
            f"{found['taken'] / found['digits']:.1%}",
        ),
    ]


def _texts(images: np.ndarray) -> list[str]:
    return [base64.b64encode(image.tobytes()).decode() for image in images]


def report(rows: list[tuple[str, str, str]], version: str) -> None:
    lines = [
        "# The page, measured",
        "",
        "What is refused as none of these, and how: [refusal.md](refusal.md).",
        "",
        f"Chromium {version}, headless, on {platform.machine()} ({platform.system()}), by "
        "`python benchmarks/page.py`.",
        "",
        "On drawings by hand that no training has seen: [handwriting.md](handwriting.md).",
        "",
        "| what | wanted | measured |",
        "| --- | --- | --- |",
        *(f"| {what} | {wanted} | {measured} |" for what, wanted, measured in rows),
        "",
        *ELSEWHERE,
        "",
    ]
    (ROOT / "docs" / "page.md").write_text("\n".join(lines), "utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
