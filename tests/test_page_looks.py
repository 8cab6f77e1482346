"""How the page looks and behaves for every reader: contrast, sizes, names, stillness."""

import re
from pathlib import Path

import pytest
from browser import (
    AXE,
    CHROMIUM,
    DESK,
    PHONE,
    SCRIBBLE,
    SEVEN,
    answer,
    clear,
    draw,
    faint,
    installed,
    schemes,
    violations,
    wait_for_answer,
    watched,
)
from playwright.sync_api import expect

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(not installed(), reason=f"chromium is not at {CHROMIUM}")


@pytest.mark.parametrize("width", ["phone", "desk"])
def test_text_is_readable_controls_are_large_and_nothing_overflows(page, address, width):
    page.set_viewport_size(PHONE if width == "phone" else DESK)
    with watched(page, address):
        draw(page, SEVEN)
        page.wait_for_timeout(150)  # the bars' transition
        for scheme in schemes(page):
            page.screenshot(path=ROOT / f"test-results/page-{width}-{scheme}.png", full_page=True)
            assert faint(page) == {}
        for control in page.locator("button:not(#ends *):visible").all():
            box = control.bounding_box()
            assert min(box["width"], box["height"]) >= 40
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_page_fits_every_width_and_keeps_the_drawing(desk):
    draw(desk, SEVEN)
    for width in (320, 600, 900, 1600):
        desk.set_viewport_size({"width": width, "height": 800})
        wait_for_answer(desk)
        assert desk.evaluate("document.documentElement.scrollWidth") <= width
        paper = desk.locator("#paper").bounding_box()
        assert abs(paper["width"] - paper["height"]) < 1
        assert answer(desk) == "7"
        clear(desk)
        assert answer(desk) == ""
        draw(desk, SEVEN)
        assert answer(desk) == "7"


TOPS = """[...document.querySelectorAll("section, li, figure, p")]
    .map((element) => element.getBoundingClientRect().top)"""


def test_nothing_shifts_while_it_loads_or_while_one_draws(page, address):
    slow = page.context.new_cdp_session(page)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": 6})  # a phone's processor
    page.add_init_script("""
        window.shifts = 0;
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.shifts += entry.value;
        }).observe({ type: "layout-shift", buffered: true });
    """)
    page.set_viewport_size(PHONE)
    with watched(page, address):
        before = page.evaluate(TOPS)
        draw(page, SEVEN)
        draw(page, SCRIBBLE)
        assert page.evaluate(TOPS) == before
        assert page.evaluate("window.shifts") < 0.001


def test_reduced_motion_is_respected(page, address):
    page.emulate_media(reduced_motion="reduce")
    with watched(page, address):
        duration = "getComputedStyle(document.querySelector('.bars i')).transitionDuration"
        assert page.evaluate(duration) == "0s"


def test_what_is_heard_is_what_is_seen(desk):
    draw(desk, SEVEN)
    expect(desk.locator("#spoken")).to_have_text(re.compile("^7: .* sure, says "))
    assert desk.locator("#bars").get_attribute("aria-label").startswith("most likely 7, ")


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not here; `npm install` brings it")
def test_axe_finds_no_violation(page, address):
    page.goto(address)
    draw(page, SEVEN)
    for place in ("#title", "#play", "#play", "#teach"):  # as it is, the game, its end, the lesson
        page.locator(place).click()
        for _ in schemes(page):
            assert violations(page) == []
