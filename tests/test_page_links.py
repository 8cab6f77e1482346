"""A link carries a drawing, and nothing but it."""

import re

import pytest
from browser import (
    CHROMIUM,
    DESK,
    STROKES,
    answer,
    clear,
    draw,
    installed,
    wait_for_answer,
    watched,
)
from playwright.sync_api import expect

pytestmark = pytest.mark.skipif(not installed(), reason=f"chromium is not at {CHROMIUM}")


@pytest.mark.parametrize("digit", [0, 4, 8])
def test_a_link_brings_the_drawing_to_another_reader(page, first_address, context, digit):
    page.set_viewport_size(DESK)
    drawing = next(each["strokes"] for each in STROKES if each["digit"] == digit)
    with watched(page, first_address):
        assert page.locator("#link").is_disabled()
        draw(page, drawing)
        page.locator("#link").click()
        expect(page.locator("#status")).to_have_text(re.compile("carries the drawing and nothing"))
        link = page.evaluate("location.href")
        said = page.locator("#sure").text_content()
        clear(page)
        assert page.evaluate("location.hash") == ""  # the address is of what is on the paper
    assert len(link) < 1000
    other = context.browser.new_page()
    other.set_viewport_size(DESK)
    other.goto(link)
    wait_for_answer(other)
    assert answer(other) == str(digit)
    assert said.split(",")[0] in other.locator("#sure").text_content()
    other.close()


def test_a_picture_and_an_example_have_no_link(first_desk):
    first_desk.locator("#sample").click()
    wait_for_answer(first_desk)
    assert first_desk.locator("#link").is_disabled()


def test_a_broken_link_is_a_sentence(page, first_address):
    page.goto(f"{first_address}#d=nonsense!")
    assert "no drawing that can be read" in page.locator("#status").text_content()
    assert "example" in page.locator("body").get_attribute("class")
