"""The page in a real browser: drawing, pictures, keys, and what it answers."""

import io
import re

import numpy as np
import pytest
import torch
from browser import (
    CHROMIUM,
    PLACES,
    SCRIBBLE,
    SEEN,
    SEVEN,
    STROKES,
    answer,
    choose_file,
    clear,
    draw,
    enlarged,
    installed,
    likeliest,
    replay,
    wait_for_answer,
    watched,
)
from PIL import Image
from playwright.sync_api import expect

from smidgen.export.document import frontier_document
from smidgen.inference import logits
from smidgen.mnist import GLYPH
from smidgen.preprocess import read_image
from smidgen.target import load
from smidgen.zoo import has_weights

pytestmark = pytest.mark.skipif(not installed(), reason=f"chromium is not at {CHROMIUM}")


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, "PNG")
    return file.getvalue()


def picture_of_seven():
    """A dark seven on grey paper, 120 × 90."""
    pixels = np.full((90, 120), 210)
    pixels[20:28, 30:70] = 40
    for y in range(20, 75):
        middle = 66 - (y - 20) * 0.4
        pixels[y, int(middle - 4) : int(middle + 5)] = 40
    return png(pixels)


def test_every_way_of_writing_is_read_at_five_sizes_and_places(first_desk):
    first_desk.mouse.move(5, 5)  # the browser now knows the pointer that is replayed
    right = refused = 0
    for drawing in STROKES:
        for place in PLACES:
            replay(first_desk, drawing["strokes"], place)
            right += answer(first_desk) == str(drawing["digit"])
            refused += answer(first_desk) == "none of these"
    total = len(STROKES) * len(PLACES)
    assert total >= 250
    assert right / total >= 0.95, f"{right} of {total} right, {refused} taken for none of these"


def test_pictures_of_test_images_are_read_as_python_reads_them(first_desk, mnist):
    name = frontier_document()["models"][0]["name"]
    if not has_weights(name):
        pytest.skip(f"no weights ship with {name}")
    target, same = load(name), 0
    pictures = [enlarged(image) for image in mnist.test.images[:50, 0].numpy()]
    inputs = torch.from_numpy(np.stack([read_image(picture, GLYPH) for picture in pictures]))
    labels = logits(target.model, inputs, target.preprocess).argmax(dim=1)
    for picture, label in zip(pictures, labels.tolist(), strict=True):
        choose_file(first_desk, "digit.png", picture)
        same += likeliest(first_desk) == [target.classes[label]]
    assert same == len(pictures)


@pytest.mark.parametrize("digit", range(0, 10, 3))
def test_a_digit_drawn_with_the_mouse_is_read(desk, digit):
    drawing = next(each for each in STROKES if each["digit"] == digit)
    draw(desk, [[*stroke[:-1:3], stroke[-1]] for stroke in drawing["strokes"]], PLACES[digit % 5])
    assert answer(desk) == str(digit)


def test_the_page_is_ready_at_once_and_answers_within_a_frame(desk):
    assert desk.evaluate("performance.getEntriesByName('ready')[0].startTime") < 1000
    draw(desk, SEVEN)
    assert desk.evaluate("performance.getEntriesByName('answer')[0].duration") < 100
    assert re.fullmatch(r"\d+\.\d ms", desk.locator("#latency").text_content())


def test_the_answer_comes_while_drawing(desk):
    paper = desk.locator("#paper").bounding_box()
    desk.mouse.move(paper["x"] + 80, paper["y"] + 60)
    desk.mouse.down()
    desk.mouse.move(paper["x"] + 120, paper["y"] + 300, steps=5)
    wait_for_answer(desk)
    assert answer(desk) != ""
    desk.mouse.up()


def test_a_blank_paper_has_no_answer_and_a_scribble_is_none_of_these(desk):
    assert answer(desk) == ""
    assert "Draw a digit" in desk.locator("#sure").text_content()
    draw(desk, SCRIBBLE)
    assert answer(desk) == "none of these"
    assert (
        desk.locator(".prediction").all_text_contents() == ["–"] * desk.locator(".network").count()
    )


def test_undo_and_clear(desk):
    assert desk.locator("#undo").is_disabled()
    draw(desk, SEVEN)
    seven = desk.locator("#sure").text_content()
    draw(desk, [[[0.2, 0.0], [0.8, 0.0]]])
    desk.locator("#undo").click()
    wait_for_answer(desk)
    assert (answer(desk), desk.locator("#sure").text_content()) == ("7", seven)
    clear(desk)
    assert answer(desk) == ""
    desk.locator("#undo").click()
    wait_for_answer(desk)
    assert answer(desk) == "7"


def test_a_sample_and_a_mistake_are_put_on_the_paper(desk):
    desk.locator("#sample").click()
    wait_for_answer(desk)
    assert re.fullmatch(r"A test image of \d\.", desk.locator("#status").text_content())
    assert answer(desk) != ""
    mistake = desk.locator("#gallery button").first
    text = mistake.text_content()
    assert text.endswith("\N{NO-BREAK SPACE}%")  # a percentage stays on one line
    label, said = re.match(r"(\d) read as (\d)", text).groups()
    mistake.click()
    wait_for_answer(desk)
    assert desk.locator("#status").text_content() == f"A test image of {label}."
    assert desk.locator("#bars .top").text_content() == said
    assert desk.locator(".network:has(:checked)").get_attribute("data-says") == said


def test_keys_draw_undo_and_clear(desk):
    desk.locator("#paper").focus()
    desk.keyboard.press("ArrowUp", delay=0)
    for _ in range(8):
        desk.keyboard.press("ArrowUp")
    desk.keyboard.press("Space")
    for _ in range(17):
        desk.keyboard.press("ArrowDown")
    desk.keyboard.press("Space")
    wait_for_answer(desk)
    assert answer(desk) == "1"
    desk.keyboard.press("z")
    wait_for_answer(desk)
    assert answer(desk) == ""
    desk.keyboard.press("s")
    wait_for_answer(desk)
    assert answer(desk) != ""
    desk.keyboard.press("c")
    wait_for_answer(desk)
    assert answer(desk) == ""


def test_two_arrows_at_once_go_aslant(desk):
    desk.locator("#paper").focus()
    desk.keyboard.press("Space")
    desk.keyboard.down("ArrowRight")
    for _ in range(6):
        desk.keyboard.down("ArrowDown")
    desk.keyboard.up("ArrowRight")
    desk.keyboard.up("ArrowDown")
    wait_for_answer(desk)
    ink = np.array(desk.evaluate(SEEN)).reshape(28, 28) > 0
    rows, columns = np.nonzero(ink)
    assert np.ptp(rows) > 10
    assert np.ptp(columns) > 10


def test_every_control_is_reached_by_tab(desk):
    draw(desk, SEVEN)
    reached = set()
    for _ in range(45):
        desk.keyboard.press("Tab")
        reached.add(desk.evaluate("document.activeElement.id || document.activeElement.name"))
    assert {"paper", "undo", "clear", "sample", "open", "model"} <= reached


def test_a_finger_and_a_pen_draw(desk):
    session = desk.context.new_cdp_session(desk)
    paper = desk.locator("#paper").bounding_box()

    def touch(kind, points):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    xs = paper["x"] + 200
    touch("touchStart", [{"x": xs, "y": paper["y"] + 60}])
    for y in range(60, 360, 20):
        touch("touchMove", [{"x": xs, "y": paper["y"] + y}])
    touch("touchEnd", [])
    wait_for_answer(desk)
    assert answer(desk) == "1"
    clear(desk)
    pen = {"button": "left", "buttons": 1, "pointerType": "pen", "clickCount": 1, "x": xs}
    for kind, y in (
        ("Pressed", 60),
        *(("Moved", y) for y in range(60, 360, 20)),
        ("Released", 350),
    ):
        session.send(
            "Input.dispatchMouseEvent", {**pen, "type": f"mouse{kind}", "y": paper["y"] + y}
        )
    wait_for_answer(desk)
    assert answer(desk) == "1"


@pytest.mark.parametrize("kind", ["file", "drop", "paste"])
def test_a_picture_of_ones_own_is_read(desk, kind):
    if kind == "file":
        choose_file(desk, "seven.png", picture_of_seven())
    else:
        desk.evaluate(GIVE, [kind, list(picture_of_seven())])
        expect(desk.locator("#answer")).not_to_be_empty()
    assert answer(desk) == "7"
    assert desk.locator("#status").text_content() == "Showing seven.png."


GIVE = """([kind, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(bytes)], "seven.png", { type: "image/png" }));
    const event = kind === "drop"
        ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
    document.body.dispatchEvent(event);
}"""


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG drawing, not pixels"),
        ("a.png", b"hello", "no PNG, JPEG or WebP picture"),
        ("a.png", picture_of_seven()[:60], "damaged"),
        ("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0", "more than 50 million pixels"),
        ("a.png", png(np.full((40, 40), 200)), "blank"),
    ],
    ids=["svg", "text", "damaged", "huge", "blank"],
)
def test_a_picture_that_cannot_be_read_is_a_sentence_and_no_answer(desk, name, data, sentence):
    choose_file(desk, name, data)
    assert sentence in desk.locator("#status").text_content()
    assert desk.locator("#status").get_attribute("class") == "problem"
    assert answer(desk) == ""


def test_strokes_over_a_picture_are_seen_with_it(desk):
    choose_file(desk, "seven.png", picture_of_seven())
    before = np.array(desk.evaluate(SEEN))
    draw(desk, [[[0, 0], [1, 0]]], (0.5, 0.5, 0.55))
    after = np.array(desk.evaluate(SEEN))
    assert (after > 0).sum() > (before > 0).sum()


def test_a_browser_without_pointer_events_says_so_and_still_has_keys(page, address):
    page.add_init_script("delete window.PointerEvent")
    with watched(page, address):
        assert "draw with the keys" in page.locator("#status").text_content()
        assert answer(page) == ""
        page.locator("#paper").focus()
        page.keyboard.press("Space")
        for _ in range(9):
            page.keyboard.press("ArrowDown")
        wait_for_answer(page)
        assert answer(page) == "1"


def test_without_javascript_a_sentence_says_what_is_missing(browser, address):
    page = browser.new_page(java_script_enabled=False)
    page.goto(address)
    assert "switched off" in page.locator(".notice").text_content()
    page.close()


def test_the_page_cannot_reach_out(page, address):
    page.goto(address)
    refused = page.evaluate("fetch('https://example.org/').then(() => false, () => true)")
    assert refused


def test_several_digits_are_read_from_left_to_right(desk):
    four = next(each["strokes"] for each in STROKES if each["digit"] == 4)
    draw(desk, SEVEN, (0.25, 0.83, 0.5))
    assert answer(desk) == "7"
    draw(desk, four, (0.25, 0.17, 0.5))
    assert answer(desk) == "47"
    assert "sure of all" in desk.locator("#sure").text_content()
    assert desk.locator("#others").text_content() == "All 8 say 47."
    draw(desk, [[[0.0, 0.0], [0.0, 0.4], [0.0, 1.0]]], (0.25, 0.5, 0.5))
    assert answer(desk) == "417"
