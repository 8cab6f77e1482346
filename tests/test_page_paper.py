"""What becomes of a drawing: at the paper's edge, with a picture that is no picture, after Back."""

import pytest
from browser import (
    CHROMIUM,
    SCRIBBLE,
    SEVEN,
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

ZERO = next(each["strokes"] for each in STROKES if each["digit"] == 0)


def status(page):
    return page.locator("#status").text_content()


def sure(page):
    return page.locator("#sure").text_content()


def test_ink_beside_the_paper_does_not_count(first_desk):
    draw(first_desk, ZERO, (0.8, 0.5, 0.55))
    assert answer(first_desk) == "0"
    paper = first_desk.locator("#paper").bounding_box()
    edge, height = paper["x"] + paper["width"], paper["y"] + paper["height"] / 2
    first_desk.mouse.move(edge - 2, height)
    first_desk.mouse.down()
    for x in (200, 700):  # a flick, far off the paper
        first_desk.mouse.move(edge + x, height)
    first_desk.mouse.up()
    wait_for_answer(first_desk)
    assert answer(first_desk) == "0"


def test_a_line_goes_on_where_the_pen_comes_back(first_desk):
    paper = first_desk.locator("#paper").bounding_box()
    left, top, side = paper["x"], paper["y"], paper["width"]
    first_desk.mouse.move(left + side / 2, top + side / 10)
    first_desk.mouse.down()
    # Out on the right, round the corner, and back in at the bottom: no line joins the two parts.
    for x, y in ((0.5, 0.4), (1.5, 0.4), (1.5, 0.9), (0.5, 0.9)):
        first_desk.mouse.move(left + x * side, top + y * side)
    first_desk.mouse.up()
    wait_for_answer(first_desk)
    assert first_desk.evaluate(INK) == [True, False, True]
    first_desk.locator("#undo").click()
    wait_for_answer(first_desk)
    assert first_desk.locator("#clear").is_disabled()  # one stroke, undone at once


INK = """(() => {
    const { width, height } = document.getElementById("paper");
    const copy = new OffscreenCanvas(width, height).getContext("2d");
    copy.drawImage(document.getElementById("paper"), 0, 0);
    const { data } = copy.getImageData(0, 0, width, height);
    const at = (x, y) => data[4 * (Math.round(y * height) * width + Math.round(x * width)) + 3] > 0;
    return [at(0.97, 0.4), at(0.97, 0.65), at(0.97, 0.9)];
})()"""


@pytest.mark.parametrize("way", ["button", "key"])
def test_clearing_takes_what_was_said_of_the_sample_with_it(first_desk, way):
    first_desk.locator("#sample").click()
    wait_for_answer(first_desk)
    assert status(first_desk).startswith("A test image of ")
    if way == "button":
        clear(first_desk)
    else:
        first_desk.locator("#paper").focus()
        first_desk.keyboard.press("c")
        wait_for_answer(first_desk)
    assert status(first_desk) == ""


def test_a_refused_picture_takes_the_answer_and_leaves_the_drawing(first_desk):
    draw(first_desk, SEVEN)
    first = (answer(first_desk), sure(first_desk))
    file = {"name": "a.png", "mimeType": "image/png", "buffer": b"%PDF-1.7"}
    first_desk.locator("#file").set_input_files(file)
    expect(first_desk.locator("#answer")).to_be_empty()
    assert "no PNG, JPEG or WebP picture" in status(first_desk)
    assert "Your drawing is kept" in sure(first_desk)
    assert first_desk.locator("#bars .top").count() == 0
    assert first_desk.locator("#clear").is_enabled()
    draw(first_desk, [[[0.5, 0.5]]], (0.01, 0.5, 0.5))
    first_desk.locator("#undo").click()
    wait_for_answer(first_desk)
    assert (answer(first_desk), sure(first_desk)) == first
    assert status(first_desk) == ""


def test_none_of_these_says_the_best_guess(first_desk):
    draw(first_desk, SCRIBBLE)
    assert answer(first_desk) == "none of these"
    guess = first_desk.locator("#bars .top span").text_content()
    assert sure(first_desk).endswith(f"Best guess: {guess}.")


@pytest.mark.parametrize("kind", ["strokes", "sample"])
def test_back_and_reload_keep_the_drawing_and_a_new_visit_does_not(page, first_address, kind):
    with watched(page, first_address):
        if kind == "strokes":
            draw(page, SEVEN)
        else:
            page.locator("#sample").click()
        wait_for_answer(page)
        before = (answer(page), sure(page))
    page.goto("about:blank")
    page.go_back()
    wait_for_answer(page)
    assert (answer(page), sure(page)) == before
    page.reload()
    wait_for_answer(page)
    assert (answer(page), sure(page)) == before
    page.goto("about:blank")
    page.goto(first_address)
    assert page.locator("body").get_attribute("class") == "drawn example"


def test_without_storage_the_page_works(page, first_address):
    page.add_init_script("""Object.defineProperty(window, "sessionStorage", {
        get() { throw new DOMException("", "SecurityError"); } });""")
    with watched(page, first_address):
        draw(page, SEVEN)
        assert answer(page) == "7"
        page.reload()
        wait_for_answer(page)
        assert page.locator("body").get_attribute("class") == "drawn example"


def test_the_paper_covers_nothing_when_the_page_is_scrolled(page, address):
    page.set_viewport_size({"width": 1280, "height": 800})
    with watched(page, address):
        for top in range(0, 2000, 150):
            page.evaluate("(top) => scrollTo(0, top)", top)
            assert page.evaluate(COVERED) == []


# Headings and controls in sight whose middle is not theirs to click.
COVERED = """[...document.querySelectorAll("h2, button, select, label")].filter((element) => {
    const { left, top, width, height } = element.getBoundingClientRect();
    const [x, y] = [left + Math.min(width, 60) / 2, top + height / 2];
    if (!element.checkVisibility() || element.disabled || y < 0 || y >= innerHeight) return false;
    const front = document.elementFromPoint(x, y);
    return !(element === front || element.contains(front) || front.contains(element));
}).map((element) => element.textContent.trim())"""


def test_without_javascript_the_notice_comes_first_and_no_dead_paper(browser, first_address):
    page = browser.new_page(java_script_enabled=False)
    page.goto(first_address)
    assert page.locator(".notice").is_visible()
    assert not page.locator("#paper").is_visible()
    page.close()
