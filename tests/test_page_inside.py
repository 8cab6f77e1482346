"""The view inside the networks: their layers, what is linked, and what the answer rests on."""

import base64
import re

import numpy as np
import pytest
from browser import CHROMIUM, SEVEN, STROKES, answer, clear, draw, installed, wait_for_answer
from playwright.sync_api import expect

from smidgen.export.document import frontier_document

pytestmark = pytest.mark.skipif(not installed(), reason=f"chromium is not at {CHROMIUM}")

MODELS = sorted(frontier_document()["models"], key=lambda model: model["params"])
SENTENCE = r"Without {} it (is still an? (\d): .*|becomes an? (\d), .*)\."


TWO = next(each["strokes"] for each in STROKES if each["digit"] == 2)


def rest(page):
    """Draws a two, and waits until its pieces have been weighed."""
    draw(page, TWO)
    expect(page.locator("#effect")).to_have_text(re.compile(SENTENCE.format("the marked piece")))


def pressed(page):
    layers = page.locator(".layer")
    return layers.evaluate_all("all => all.findIndex((one) => one.ariaPressed === 'true')") + 1


def test_all_layers_lie_between_the_image_and_ten_named_bars(desk):
    for position, model in enumerate(MODELS):
        desk.get_by_role("radio").nth(position).check()
        wait_for_answer(desk)
        *layers, _ = model["graph"]["nodes"]
        assert desk.locator(".layer").count() == len(layers)
        assert desk.locator("#maps canvas").count() == layers[0]["shape"][2]
        assert desk.locator(".chosen").first.text_content() == model["name"]
    assert desk.locator("#ends span").all_text_contents() == list("0123456789")


def test_the_layer_stays_chosen_when_the_network_changes(desk):
    desk.locator(".layer").nth(8).click()
    assert pressed(desk) == 9
    for position, model in enumerate(MODELS):
        desk.get_by_role("radio").nth(position).check()
        wait_for_answer(desk)
        *layers, _ = model["graph"]["nodes"]
        assert pressed(desk) == min(9, len(layers))
        shape = layers[min(9, len(layers)) - 1]["shape"]
        assert desk.locator("#maps canvas").count() == shape[2]


def first_layer(model, image):
    """The first convolution's integers (H, W, O) of an image (28, 28), by its definition."""
    node, graph = model["graph"]["nodes"][0], model["graph"]
    packed = graph["weights"][node["weights"]]
    assert packed["bits"] == 8
    weights = np.frombuffer(base64.b64decode(packed["data"]), np.int8).reshape(packed["shape"])
    padded = np.full((30, 30), node["outside"])
    padded[1:29, 1:29] = image
    acc = np.zeros(node["shape"], np.int64)
    for y in range(28):
        for x in range(28):
            acc[y, x] = (weights[..., 0] * padded[y : y + 3, x : x + 3]).sum(axis=(1, 2))
    rescale = node["rescale"]
    scaled = acc * np.array(rescale["multiplier"]) + np.array(rescale["bias"])
    return (scaled >> rescale["shift"]).clip(0, 255)


PIXELS = """(selector) => [...document.querySelectorAll(selector)].map((canvas) => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
    copy.drawImage(canvas, 0, 0);
    return [...copy.getImageData(0, 0, canvas.width, canvas.height).data];
})"""


def test_zero_is_the_papers_colour_and_numbers_are_as_strong_as_they_are_large(desk):
    draw(desk, SEVEN)
    (seen,) = desk.evaluate(PIXELS, "#seen")
    model = next(model for model in MODELS if model["name"] == "smidgen_8k_written")
    expected = first_layer(model, np.reshape(seen, (28, 28, 4))[..., 0])
    assert model["graph"]["zeros"][1] == 0
    maps = desk.evaluate(PIXELS, "#maps canvas")
    for channel, pixels in enumerate(maps):
        alpha = np.reshape(pixels, (28, 28, 4))[..., 3]
        strength = expected[..., channel] * 255 / expected.max()
        np.testing.assert_allclose(alpha, strength, atol=1)


def test_before_there_is_ink_nothing_looks_broken(desk):
    rest(desk)
    clear(desk)
    assert "once there is one" in desk.locator("#effect").text_content()
    for pixels in desk.evaluate(PIXELS, ".layer canvas, #maps canvas"):
        assert not any(pixels)
    assert desk.locator("#pieces path").count() == 0
    assert desk.locator("#ends b").all_text_contents() == [""] * 10


def test_the_answer_rests_on_pieces_of_the_drawing(desk):
    rest(desk)
    pieces = desk.locator("#pieces path")
    assert pieces.count() == 8
    assert desk.locator("#pieces .marked").count() == 1
    fates = {}
    for i in range(8):
        desk.locator("#pieces path").nth(i).focus()
        text = desk.locator("#effect").text_content()
        found = re.fullmatch(SENTENCE.format("this piece"), text)
        fates[i] = found[3] or "2"
        label = pieces.nth(i).get_attribute("aria-label")
        assert label == text
        top = max(range(10), key=lambda n: float(shares(desk)[n]))
        assert str(top) == fates[i]
    assert set(fates.values()) != {"2"}  # of eight parts of a two, one is needed


def shares(page):
    bars = page.locator("#ends i").evaluate_all(
        "bars => bars.map((bar) => bar.style.getPropertyValue('--then'))"
    )
    return [float(bar) for bar in bars]


def test_a_map_is_linked_with_the_image_and_the_classes(desk):
    rest(desk)
    button = desk.locator("#maps button").nth(4)
    button.hover(position={"x": 30, "y": 30})
    text = desk.locator("#effect").text_content()
    assert re.match(r"Layer 1, map 5: [+-]?\d+ here, from \d × \d pixels\. Without this map", text)
    field = desk.locator("#pieces .field")
    assert (field.get_attribute("width"), field.get_attribute("height")) == ("3", "3")
    assert desk.locator("#ends.without").count() == 1
    desk.mouse.move(1, 1)
    assert "marked piece" in desk.locator("#effect").text_content()
    assert desk.locator("#ends.without").count() == 0
    desk.locator(".layer").last.focus()
    assert "from 28 × 28 pixels" in desk.locator("#effect").text_content()


def test_a_class_shows_what_speaks_for_it(desk):
    rest(desk)
    desk.locator("#ends button").nth(2).focus()
    assert "speak for a 2" in desk.locator("#effect").text_content()
    strengths = desk.locator("#pieces path").evaluate_all(
        "paths => paths.map((path) => Number(path.style.getPropertyValue('--strength')))"
    )
    assert max(strengths) == 1
    desk.keyboard.press("ArrowDown")
    assert "speak for a 3" in desk.locator("#effect").text_content()


def test_a_finger_takes_a_map_away(page, address, browser):
    phone = browser.new_context(has_touch=True, viewport={"width": 390, "height": 844})
    touched = phone.new_page()
    touched.goto(address)
    touched.locator("#clear").click(force=True)
    rest(touched)
    touched.locator(".layer").nth(2).tap()
    assert pressed(touched) == 3
    assert touched.locator("#effect").text_content().startswith("Layer 3, map ")
    phone.close()


def test_a_picture_rests_on_cells(desk):
    desk.locator("#sample").click()
    wait_for_answer(desk)
    assert answer(desk) != ""
    expect(desk.locator("#pieces .cell").first).to_be_visible()
    assert 2 <= desk.locator("#pieces .cell").count() <= 16
