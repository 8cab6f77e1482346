"""Photos of handwriting on the page: several digits on paper, read from left to right."""

import io

import numpy as np
import pytest
from browser import (
    CHROMIUM,
    STROKES,
    answer,
    choose_file,
    draw,
    installed,
    wait_for_answer,
    watched,
)
from photos import photo_of
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from smidgen.written import draw_shapes

pytestmark = pytest.mark.skipif(not installed(), reason=f"chromium is not at {CHROMIUM}")


def image_of(digit, style):
    """An image (28, 28), 255 is ink, of a drawing of the digit."""
    drawings = [each["strokes"] for each in STROKES if each["digit"] == digit]
    sheet = Image.new("L", (280, 280))
    pen = ImageDraw.Draw(sheet)
    for stroke in drawings[style % len(drawings)]:
        pen.line([(30 + 220 * x, 30 + 220 * y) for x, y in stroke], 255, 24, "curve")
    return np.asarray(sheet.resize((28, 28), Image.Resampling.BOX))


def show_photo(page, digits, seed=0):
    images = [image_of(int(digit), seed) for digit in digits]
    photo = photo_of(images, np.random.default_rng(seed))
    choose_file(page, "photo.jpg", photo, "image/jpeg")


@pytest.mark.parametrize("number", range(5))
def test_drawn_digits_on_a_photo_are_read_in_their_order(first_desk, number):
    digits = ["42", "907", "3168", "55", "10274"][number]
    show_photo(first_desk, digits, number)
    assert answer(first_desk) == digits
    assert first_desk.locator("#status").text_content() == "Showing photo.jpg."
    assert "sure of all" in first_desk.locator("#sure").text_content()


def test_photos_of_test_images_are_read_whole(first_desk, mnist):
    random = np.random.default_rng(0)
    images, labels = mnist.test.images[:, 0].numpy(), mnist.test.labels.tolist()
    right = 0
    for _ in range(20):
        chosen = random.integers(0, len(labels), random.integers(3, 6))
        photo = photo_of([images[i] for i in chosen], random)
        choose_file(first_desk, "photo.jpg", photo, "image/jpeg")
        right += answer(first_desk) == "".join(str(labels[i]) for i in chosen)
    assert right >= 17


def test_a_stroke_beside_a_photo_is_one_more_digit(first_desk):
    show_photo(first_desk, "42")
    draw(first_desk, [[[0.0, 0.0], [0.0, 0.5], [0.0, 1.0]]], (0.4, 0.96, 0.5))
    assert answer(first_desk) == "421"
    first_desk.locator("#undo").click()
    wait_for_answer(first_desk)
    assert answer(first_desk) == "42"


def test_what_is_no_digit_in_a_line_is_a_question_mark(first_desk):
    random = np.random.default_rng(0)
    star = draw_shapes(["star"], np.random.RandomState(0))[0]
    images = [image_of(4, 0), star, image_of(7, 0)]
    choose_file(first_desk, "photo.jpg", photo_of(images, random), "image/jpeg")
    assert answer(first_desk) == "4?7"
    assert "sure of the others" in first_desk.locator("#sure").text_content()
    choose_file(first_desk, "photo.jpg", photo_of(images[:2], random), "image/jpeg")
    assert answer(first_desk) == "none of these"  # half of them


def test_back_keeps_a_photo_of_several_digits(page, first_address):
    with watched(page, first_address):
        show_photo(page, "42")
        assert answer(page) == "42"
    page.goto("about:blank")
    page.go_back()
    wait_for_answer(page)
    assert answer(page) == "42"


def test_too_many_parts_are_refused_in_a_sentence_and_the_drawing_stays(first_desk):
    pixels = np.full((400, 900), 220, np.uint8)
    for i in range(21):
        pixels[150:200, 20 + 42 * i : 30 + 42 * i] = 30
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    draw(first_desk, STROKES[0]["strokes"])
    first_desk.locator("#file").set_input_files(
        {"name": "bars.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )
    expect(first_desk.locator("#status")).to_have_text(
        "More than 20 signs stand in this picture; cut out a part of it."
    )
    expect(first_desk.locator("#answer")).to_be_empty()
    assert first_desk.locator("#clear").is_enabled()


def test_a_phone_has_a_button_for_its_camera(browser, first_address):
    context = browser.new_context(
        has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}
    )
    page = context.new_page()
    page.goto(first_address)
    with page.expect_file_chooser():
        page.locator("#photo").tap()
    assert page.locator("#file").get_attribute("capture") == "environment"
    with page.expect_file_chooser():
        page.locator("#open").tap()
    assert page.locator("#file").get_attribute("capture") is None
    context.close()


def test_a_desk_has_no_such_button(first_desk):
    assert not first_desk.locator("#photo").is_visible()
