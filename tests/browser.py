"""The page in a real browser: started once, watched for errors, drawn on like a reader would."""

from __future__ import annotations

import io
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import expect

expect.set_options(timeout=60_000)  # milliseconds; a busy machine is no fault of the page

# The engine without a window takes a third of the processor's time that the whole browser does.
SHELL = shutil.which("chromium-headless-shell")
CHROMIUM = os.environ.get("CHROMIUM") or SHELL or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",  # a camera that shows a clock
    "--use-fake-ui-for-media-stream",  # and is allowed at once
]
HERE = Path(__file__).parent
AXE = HERE.parent / "node_modules/axe-core/axe.min.js"
CONTRASTS = (HERE / "contrasts.js").read_text("utf-8")
STROKES = json.loads((HERE / "strokes.json").read_text("utf-8"))
SEVEN = [[[0.1, 0.05], [0.5, 0.05], [0.9, 0.03], [0.7, 0.4], [0.5, 1.0]]]
SCRIBBLE = [[[(7 * i * i % 11) / 10, (3 * i % 10) / 10] for i in range(24)]]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
# A drawing's size and the middle of it, as shares of the paper.
PLACES = [(0.3, 0.2, 0.22), (0.3, 0.8, 0.75), (0.5, 0.32, 0.66), (0.7, 0.55, 0.45), (0.9, 0.5, 0.5)]


def installed():
    return shutil.which(CHROMIUM) is not None


@contextmanager
def watched(page, address, example=False):
    """Fails if the page logs an error, throws one, or asks for anything but itself. Without the
    example that draws itself, unless it is wanted."""
    problems = []

    def note(message):
        if message.type in ("error", "warning"):
            problems.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: request.url != address and problems.append(request.url))
    page.goto(address)  # returns after the page's script has run
    if not example and page.locator("#clear").count():
        page.locator("#clear").click(force=True)
    wait_for_answer(page)
    yield page
    assert not problems, problems


def wait_for_answer(page):
    """Waits until what was drawn has been answered."""
    page.evaluate(FRAMES)
    expect(page.locator("#models")).to_have_attribute("aria-busy", "false")


def schemes(page):
    """Shows the page in the colours for the day, then in those for the night, and names each."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(FRAMES)
        yield scheme


def faint(page):
    """The texts that contrast less with what is behind them than WCAG 2 asks, and their ratios."""
    return {text: ratio for text, ratio in page.evaluate(CONTRASTS) if ratio < 4.5}


def violations(page):
    """What axe-core finds: the rule that is broken, and the first element that breaks it."""
    page.evaluate(AXE.read_text("utf-8"))
    report = page.evaluate("axe.run()")
    assert len(report["passes"]) > 20
    return [(v["id"], v["nodes"][0]["html"]) for v in report["violations"]]


FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def placed(page, strokes, place):
    """Where on the screen strokes of x, y from 0 to 1 lie."""
    size, middle_x, middle_y = place
    paper = page.locator("#paper").bounding_box()
    points = [point for stroke in strokes for point in stroke]
    width, height = (max(each) for each in zip(*points, strict=True))
    left = paper["x"] + paper["width"] * (middle_x - size * width / 2)
    top = paper["y"] + paper["height"] * (middle_y - size * height / 2)
    scale = size * paper["width"]
    return [[[left + x * scale, top + y * scale] for x, y in stroke] for stroke in strokes]


def draw(page, strokes, place=(0.8, 0.5, 0.5)):
    """Draws strokes with the mouse, as a reader would, and waits for the answer."""
    for start, *rest in placed(page, strokes, place):
        page.mouse.move(*start)
        page.mouse.down()
        for point in rest:
            page.mouse.move(*point)
        page.mouse.up()
    wait_for_answer(page)


def replay(page, strokes, place):
    """Clears the paper, plays strokes as pointer events within the page, and waits."""
    page.evaluate(REPLAY, placed(page, strokes, place))


REPLAY = """(strokes) => {
    const paper = document.getElementById("paper");
    const tell = (type, [clientX, clientY]) => paper.dispatchEvent(
        new PointerEvent(type, { pointerId: 1, clientX, clientY, bubbles: true }));
    document.getElementById("clear").click();
    for (const stroke of strokes) {
        tell("pointerdown", stroke[0]);
        for (const point of stroke.slice(1)) tell("pointermove", point);
        tell("pointerup", stroke.at(-1));
    }
    return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


def choose_file(page, name, data, kind="image/png"):
    """Opens a picture from its bytes, and waits for what the page says of it."""
    page.locator("#clear").evaluate("button => button.click()")
    page.locator("#file").set_input_files({"name": name, "mimeType": kind, "buffer": data})
    expect(page.locator("#status")).not_to_be_empty()
    wait_for_answer(page)


def enlarged(image):
    """A 28 × 28 image as the PNG of 280 × 280, dark on light, that one might have drawn."""
    file = io.BytesIO()
    Image.fromarray(255 - np.kron(image, np.ones((10, 10), np.uint8))).save(file, "PNG")
    return file.getvalue()


def likeliest(page):
    """What each network says, the smallest first, whether or not it is accepted."""
    return page.locator(".network").evaluate_all("rows => rows.map((row) => row.dataset.says)")


# The levels, 28 × 28, of what the networks see.
SEEN = """(() => {
    const copy = new OffscreenCanvas(28, 28).getContext("2d");
    copy.drawImage(document.getElementById("seen"), 0, 0);
    const pixels = copy.getImageData(0, 0, 28, 28).data;
    return Array.from({ length: 784 }, (_, i) => pixels[4 * i]);
})()"""


def answer(page):
    return page.locator("#answer").text_content()


def clear(page):
    page.locator("#clear").click()
    wait_for_answer(page)
