"""The game on the page: a digit that the chosen network gets wrong and the others read."""

import re

import pytest
from browser import (
    CHROMIUM,
    SCRIBBLE,
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


def asked(page):
    task = page.locator("#todo").text_content()
    return re.fullmatch(r"Draw a (\d) that \w+ gets wrong and most others read\.", task)[1]


def draw_digit(page, digit):
    draw(page, next(each["strokes"] for each in STROKES if str(each["digit"]) == digit))


def test_a_drawing_that_is_read_right_counts_and_fools_nobody(desk):
    desk.locator("#play").click()
    expect(desk.locator("#score")).to_have_text("fooled 0 of 0")
    first = asked(desk)
    draw_digit(desk, first)
    expect(desk.locator("#score")).to_have_text("fooled 0 of 1")
    said = desk.locator("#status").text_content()
    assert said == f"smidgen_8k_written says {first}, as it should."
    desk.locator("#next").click()
    wait_for_answer(desk)
    assert answer(desk) == ""
    assert asked(desk) != first
    assert desk.evaluate("document.activeElement.id") == "paper"


def test_another_digit_and_a_scribble_do_not_count(desk):
    desk.locator("#play").click()
    other = "7" if asked(desk) != "7" else "3"
    draw_digit(desk, other)
    status = desk.locator("#status")
    expect(status).to_have_text(re.compile("^Not counted: 0 of 7 others read a"))
    clear(desk)
    draw(desk, SCRIBBLE)
    expect(status).to_have_text(re.compile("^Not counted: refused as none of these"))
    assert desk.locator("#score").text_content() == "fooled 0 of 0"


def test_keys_alone_play_and_escape_ends(desk):
    desk.locator("#play").focus()
    desk.keyboard.press("Enter")
    assert desk.evaluate("document.activeElement.id") == "paper"
    while asked(desk) != "1":
        desk.locator("#next").focus()
        desk.keyboard.press("Enter")
    for _ in range(9):
        desk.keyboard.press("ArrowUp")
    desk.keyboard.press("Space")
    for _ in range(17):
        desk.keyboard.press("ArrowDown")
    desk.keyboard.press("Space")
    expect(desk.locator("#score")).to_have_text("fooled 0 of 1")
    desk.keyboard.press("c")
    wait_for_answer(desk)
    assert asked(desk) != "1"
    desk.keyboard.press("Escape")
    assert desk.locator("#todo").text_content().startswith("Draw a digit on the paper")
    assert desk.evaluate("document.activeElement.id") == "play"
    assert not desk.locator("#score").is_visible()


def test_a_sample_is_no_drawing(desk):
    desk.locator("#play").click()
    desk.locator("#sample").click()
    wait_for_answer(desk)
    desk.wait_for_timeout(1300)
    assert desk.locator("#status").text_content().startswith("A test image of")
    assert desk.locator("#score").text_content() == "fooled 0 of 0"


def test_a_network_alone_has_no_jury_and_no_game(page, first_address):
    with watched(page, first_address):
        assert not page.locator("#play").is_visible()
        assert not page.locator("#rules").is_visible()
