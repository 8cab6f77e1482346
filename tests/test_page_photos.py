"""The page of photos in a real browser: pictures, the camera, what it shows, how it looks."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import (
    AXE,
    CHROMIUM,
    DESK,
    PHONE,
    answer,
    faint,
    installed,
    schemes,
    violations,
    wait_for_answer,
    watched,
)
from networks import draw_weights, images
from PIL import Image
from playwright.sync_api import expect
from torch import nn

from smidgen.data import Data, Split
from smidgen.export.document import build_document
from smidgen.export.html import render
from smidgen.inputs import InputShape, Preprocess
from smidgen.preprocess import read_image
from smidgen.quantize import Graph, quantize
from smidgen.target import Target

ROOT = Path(__file__).parent.parent
CLASSES = (
    "automobile",
    "</script><b>bird</b>",
    "a class with a long name of many words",
    "x",
    "鹿",
)
GRAPHS: dict[str, Graph] = {}

pytestmark = pytest.mark.skipif(not installed(), reason=f"chromium is not at {CHROMIUM}")


def write_page(folder: Path, shape: InputShape) -> str:
    """The page of a network whose weights are drawn."""
    labels = torch.arange(60) % len(CLASSES)
    split = Split(images(60, shape=shape), labels)
    preprocess = Preprocess("photo", shape, (0.5,), (0.25,)).with_statistics(0.47, 0.25)
    model = draw_weights(nn.Sequential(
        nn.Conv2d(shape.channels, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, len(CLASSES), 3),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ))  # fmt: skip
    data = Data("made up", split, split, CLASSES, preprocess)
    target = Target("drawn", model, preprocess, CLASSES, "made up", None, trained=True)
    graph = quantize(model, split.images, preprocess, "drawn", CLASSES)
    GRAPHS[str(shape)] = graph
    path = folder / "index.html"
    path.write_text(render(build_document([target], data, [graph])), "utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("coloured"), InputShape(3, 24, 32))


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("grey"), InputShape(1, 16, 16))


@pytest.fixture
def desk(page, coloured):
    page.set_viewport_size(DESK)
    with watched(page, coloured):
        yield page


def photograph(height=90, width=70):
    """A PNG of smooth colours."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    pixels = np.stack([255 * x, 255 * y, 255 * (1 - x) * y], axis=2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def give(page, data, name="photo.png"):
    page.locator("#file").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})
    expect(page.locator("#status")).to_have_text(f"Showing {name}.")
    wait_for_answer(page)


SEEN = """(() => {
    const seen = document.getElementById("seen");
    const copy = new OffscreenCanvas(seen.width, seen.height).getContext("2d");
    copy.drawImage(seen, 0, 0);
    return [...copy.getImageData(0, 0, seen.width, seen.height).data];
})()"""


@pytest.mark.parametrize("shape", [InputShape(3, 24, 32), InputShape(1, 16, 16)])
def test_a_picture_is_seen_and_named_as_python_does(page, coloured, grey, shape):
    preprocess = Preprocess("photo", shape, (0.5,), (0.25,)).with_statistics(0.47, 0.25)
    for size in ((90, 70), (24, 32), (300, 411), (9, 30)):
        picture = photograph(*size)
        image = read_image(picture, preprocess)
        with watched(page, coloured if shape.channels == 3 else grey):
            give(page, picture)
            shown = np.reshape(page.evaluate(SEEN), (shape.height, shape.width, 4))
            assert np.array_equal(shown[..., :3], np.broadcast_to(image.transpose(1, 2, 0),
                                                                 shown[..., :3].shape))  # fmt: skip
            label = GRAPHS[str(shape)].run(image[None]).argmax()
            assert answer(page) == CLASSES[label]
            assert page.locator(".ranking span").first.text_content() == CLASSES[label]


def test_without_a_picture_there_is_no_answer(desk):
    assert answer(desk) == ""
    assert "Open a picture" in desk.locator("#sure").text_content()
    assert desk.locator("h1").text_content() == "Show a picture"
    assert "</script><b>bird</b>" in desk.locator("#classes").text_content()


def test_a_sample_and_a_mistake_are_shown(desk):
    desk.locator("#sample").click()
    wait_for_answer(desk)
    assert desk.locator("#status").text_content().startswith("A test image of ")
    assert answer(desk) in CLASSES
    mistake = desk.locator("#gallery button").first
    text = mistake.text_content()
    mistake.click()
    wait_for_answer(desk)
    said = next(name for name in CLASSES if f"read as {name}, " in text)
    assert answer(desk) == said


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(desk, kind):
    desk.evaluate(GIVE, [kind, list(photograph())])
    expect(desk.locator("#answer")).not_to_be_empty()
    assert desk.locator("#status").text_content() == "Showing photo.png."


GIVE = """([kind, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(bytes)], "photo.png", { type: "image/png" }));
    const event = kind === "drop"
        ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
    document.body.dispatchEvent(event);
}"""


def test_what_is_no_picture_is_said(desk):
    picture = {"name": "a.png", "mimeType": "image/png", "buffer": b"hello"}
    desk.locator("#file").set_input_files(picture)
    expect(desk.locator("#status")).to_have_text(re.compile("no PNG, JPEG or WebP picture"))
    assert answer(desk) == ""


def test_the_camera_is_read_until_it_is_stopped(desk):
    desk.locator("#camera").click()
    expect(desk.locator("#camera")).to_have_text("Stop")
    expect(desk.locator("#answer")).not_to_be_empty()
    first = desk.evaluate(SEEN)
    while desk.evaluate(SEEN) == first:  # it moves
        desk.wait_for_timeout(50)
    desk.locator("#camera").click()
    expect(desk.locator("#camera")).to_have_text("Camera")
    desk.locator("#camera").click()
    expect(desk.locator("#camera")).to_have_text("Stop")
    desk.locator("#sample").click()
    expect(desk.locator("#camera")).to_have_text("Camera")
    assert desk.locator("#status").text_content().startswith("A test image of ")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NotAllowedError", "The camera was not allowed; allow it in the browser"),
        ("NotFoundError", "There is no camera here"),
        ("AbortError", "The camera does not answer"),
    ],
)
def test_a_camera_that_cannot_be_had_is_a_sentence(page, coloured, name, sentence):
    refusal = f"async () => {{ throw new DOMException('', '{name}'); }}"
    page.add_init_script(f"navigator.mediaDevices.getUserMedia = {refusal}")
    with watched(page, coloured):
        page.locator("#camera").click()
        expect(page.locator("#status")).to_have_text(re.compile(sentence))
        assert page.locator("#camera").text_content() == "Camera"


def test_the_camera_is_not_asked_for_before_a_click(page, coloured):
    page.add_init_script(
        "window.asked = 0; const ask = navigator.mediaDevices.getUserMedia;"
        "navigator.mediaDevices.getUserMedia = (wanted) => {"
        " window.asked++; return ask.call(navigator.mediaDevices, wanted); }"
    )
    with watched(page, coloured):
        page.locator("#sample").click()
        assert page.evaluate("window.asked") == 0
        page.locator("#camera").click()
        expect(page.locator("#camera")).to_have_text("Stop")
        assert page.evaluate("window.asked") == 1


@pytest.mark.parametrize("width", ["phone", "desk"])
def test_text_is_readable_and_nothing_overflows(page, coloured, width):
    page.set_viewport_size(PHONE if width == "phone" else DESK)
    with watched(page, coloured):
        give(page, photograph())
        page.wait_for_timeout(150)  # the bars' transition
        for scheme in schemes(page):
            shot = ROOT / f"test-results/photos-{width}-{scheme}.png"
            page.screenshot(path=shot, full_page=True)
            assert faint(page) == {}
        for control in page.locator("button:not(#ends *):visible").all():
            box = control.bounding_box()
            assert min(box["width"], box["height"]) >= 40
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_page_fits_every_width(desk):
    give(desk, photograph())
    for width in (320, 600, 900, 1600):
        desk.set_viewport_size({"width": width, "height": 800})
        wait_for_answer(desk)
        assert desk.evaluate("document.documentElement.scrollWidth") <= width
        paper = desk.locator("#paper").bounding_box()
        assert abs(paper["width"] / paper["height"] - 32 / 24) < 0.01


TOPS = """[...document.querySelectorAll("section, li, figure, p")]
    .map((element) => element.getBoundingClientRect().top)"""


def test_nothing_moves_when_an_answer_comes(page, coloured):
    page.set_viewport_size(PHONE)
    with watched(page, coloured):
        before = page.evaluate(TOPS)
        give(page, photograph())
        assert page.evaluate(TOPS) == before


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not here; `npm install` brings it")
def test_axe_finds_no_violation(page, coloured):
    page.goto(coloured)
    give(page, photograph())
    for _ in schemes(page):
        assert violations(page) == []
