"""The page on small and large screens, and the example that draws itself on it."""

import re
from pathlib import Path

import pytest
from browser import (
    CHROMIUM,
    DESK,
    SEVEN,
    STROKES,
    answer,
    draw,
    faint,
    installed,
    schemes,
    wait_for_answer,
    watched,
)
from playwright.sync_api import expect

ROOT = Path(__file__).parent.parent
OVERLAPS = Path(__file__).with_name("overlaps.js").read_text("utf-8")
SCREENS = {
    "360": (360, 740),
    "800": (800, 1000),
    "1280": (1280, 800),
    "2560": (2560, 1440),
    "1280 at 200 %": (640, 400),
}

pytestmark = pytest.mark.skipif(not installed(), reason=f"chromium is not at {CHROMIUM}")


def show(page, screen):
    width, height = SCREENS[screen]
    page.set_viewport_size({"width": width, "height": height})


@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_is_hidden_and_nothing_overlaps(page, address, screen):
    show(page, screen)
    with watched(page, address):
        assert page.evaluate(OVERLAPS) == []
        draw(page, SEVEN)
        expect(page.locator("#effect")).to_contain_text("Without the marked piece")
        name = screen.replace(" %", "").replace(" ", "-")
        for scheme in schemes(page):
            assert page.evaluate(OVERLAPS) == []
            page.screenshot(path=ROOT / f"test-results/page-{name}-{scheme}.png", full_page=True)
        page.locator("#gallery button").first.click()
        wait_for_answer(page)
        for _ in schemes(page):
            assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_overlaps_while_one_plays_and_teaches(page, address, screen):
    show(page, screen)
    with watched(page, address):
        page.locator("#play").click()
        draw(page, SEVEN)
        expect(page.locator("#status")).to_contain_text(re.compile("says 7|others read"))
        for _ in schemes(page):
            assert page.evaluate(OVERLAPS) == []
            assert faint(page) == {}
        page.keyboard.press("Escape")
        page.locator("#teach").click()
        page.locator("#sign").fill("WWWWWWWWWWWW")
        draw(page, SEVEN)
        page.get_by_role("button", name="Add").click()
        expect(page.locator("#lesson p")).to_have_text("Your signs: WWWWWWWWWWWW (1 of 5).")
        for _ in schemes(page):
            assert page.evaluate(OVERLAPS) == []


def box(page, selector):
    return page.locator(selector).bounding_box()


def bottom(page, selector):
    found = box(page, selector)
    return found["y"] + found["height"]


@pytest.mark.parametrize("screen", ["360", "1280", "1280 at 200 %"])
def test_the_paper_and_the_answer_are_seen_together(page, address, screen):
    show(page, screen)
    with watched(page, address):
        page.evaluate("scrollTo(0, 0)")
        for selector in ("#paper", "#answer", "#sure", "#seen"):
            assert box(page, selector)["y"] >= 0
            assert bottom(page, selector) <= SCREENS[screen][1], selector


def test_a_large_screen_shows_all_layers_beside_the_paper(page, address):
    show(page, "2560")
    with watched(page, address):
        for selector in ("#paper", "#models", "#flow", "#maps", "#gallery"):
            assert bottom(page, selector) <= 1440, selector
        assert box(page, "#inside-title")["x"] > 1200
        assert box(page, "#paper")["x"] + 2560 - bottom_right(page, "#flow") < 2560 * 0.2


def bottom_right(page, selector):
    found = box(page, selector)
    return found["x"] + found["width"]


def test_two_sentences_say_what_this_is_and_what_to_do(desk):
    lead, todo = (desk.locator(f"#{name}").text_content() for name in ("lead", "todo"))
    assert lead == (
        "Eight neural networks of 2 to 24 kB read handwriting inside this page; nothing leaves it."
    )
    assert todo.startswith("Draw a digit on the paper")


def is_example(page):
    return "example" in page.locator("body").get_attribute("class")


def test_an_example_draws_itself_until_the_first_touch(page, address):
    page.set_viewport_size(DESK)
    with watched(page, address, example=True):
        expect(page.locator("#answer")).to_have_text("3")
        assert is_example(page)
        assert page.locator("#undo").is_disabled()
        draw(page, SEVEN)
        assert answer(page) == "7"
        assert not is_example(page)
        page.locator("#undo").click()
        wait_for_answer(page)
        assert answer(page) == ""  # the example is no part of what was drawn


def test_an_example_is_never_none_of_these(page, address):
    page.add_init_script("""
      window.said = new Set();
      addEventListener("DOMContentLoaded", () => {
        const answer = document.getElementById("answer");
        const watch = new MutationObserver(() => said.add(answer.textContent));
        watch.observe(answer, { childList: true, characterData: true, subtree: true });
      });
    """)
    with watched(page, address, example=True):
        expect(page.locator("#answer")).to_have_text("3")
    said = set(page.evaluate("[...said]"))
    assert "3" in said
    assert "none of these" not in said


def test_a_key_elsewhere_stops_the_example_with_its_drawing(page, address):
    page.set_viewport_size(DESK)
    with watched(page, address, example=True):
        page.keyboard.press("Tab")
        wait_for_answer(page)
        still = answer(page)
        assert still in {"3", "9", "7"}
        page.wait_for_timeout(400)
        assert answer(page) == still
        assert is_example(page)
        page.locator("#clear").click()
        wait_for_answer(page)
        assert answer(page) == ""
        assert page.locator("#clear").is_disabled()


def test_the_example_does_not_move_where_less_motion_is_asked_for(page, address):
    page.emulate_media(reduced_motion="reduce")
    with watched(page, address, example=True):
        for _ in range(3):
            assert answer(page) == "3"
            page.wait_for_timeout(100)
        assert is_example(page)


def test_the_networks_are_a_picture_sorted_by_size(desk):
    rows = desk.locator(".network").all()
    sizes = [int(row.locator(".params").text_content().replace(",", "")) for row in rows]
    assert sizes == sorted(sizes)
    assert len(sizes) == 8
    accuracy = [float(row.locator(".accuracy").text_content()) for row in rows]
    tops = [row.locator(".dot").bounding_box() for row in rows]
    bottoms = [round(top["y"] + top["height"], 1) for top in tops]
    for i in range(8):
        for j in range(8):
            assert (accuracy[i] > accuracy[j]) == (bottoms[i] < bottoms[j] - 0.05)
    assert tops[-1]["width"] > 1.4 * tops[0]["width"]
    first = desk.get_by_role("radio").first
    assert first.get_attribute("aria-label") == ("1,882 parameters, 99.25 %, 2.0 kB; smidgen_1936")
    first.check()
    wait_for_answer(desk)
    assert desk.locator("#facts").text_content() == "1,882 parameters, 99.25 %, 2.0 kB"
    assert desk.locator("#name").text_content() == "smidgen_1936"


def test_the_networks_say_where_they_disagree(desk):
    draw(desk, STROKES[0]["strokes"])
    assert desk.locator("#others").text_content() == "All 8 say 0."
    assert desk.locator(".other").count() == 0
    seen = 0
    for mistake in desk.locator("#gallery button").all():
        mistake.click()
        wait_for_answer(desk)
        says = desk.locator(".network").evaluate_all("rows => rows.map((row) => row.dataset.says)")
        chosen = desk.locator(".network:has(:checked)").get_attribute("data-says")
        if answer(desk) == "none of these" or len(set(says)) == 1:
            continue
        seen += 1
        assert desk.locator(".other").count() == sum(said != chosen for said in says)
        text = desk.locator("#others").text_content()
        assert text.startswith(f"They disagree: {says.count(chosen)} of 8 say {chosen}, ")
        for label in set(says) - {chosen}:
            verb = "says" if says.count(label) == 1 else "say"
            assert f"{says.count(label)} {verb} {label}" in text
    assert seen > 0
