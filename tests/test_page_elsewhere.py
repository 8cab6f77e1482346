"""The page in Firefox and in WebKit, where they are installed."""

import base64
import time
from pathlib import Path

import pytest
import webdriver
from browser import SEVEN
from numpy.random import default_rng
from photos import photo_of
from test_page_line import image_of

OVERLAPS = Path(__file__).with_name("overlaps.js").read_text("utf-8")
POINTER = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}}


class Reader:
    """Who reads and uses the page through a driver's `send`."""

    def __init__(self, send):
        self.send = send

    def run(self, script, *args):
        return self.send("execute/sync", {"script": script, "args": list(args)})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def wait_for(self, selector, wanted):
        """Waits until an element's text is the wanted one, and fails if it does not become so."""
        end = time.monotonic() + 20
        while self.text(selector) != wanted and time.monotonic() < end:
            time.sleep(0.1)
        assert self.text(selector) == wanted

    def click(self, selector):
        self.run("document.querySelector(arguments[0]).click()", selector)

    def draw(self, strokes):
        place = "const box = document.getElementById('paper').getBoundingClientRect();"
        left, top, side = self.run(f"{place} return [box.left, box.top, box.width]")
        steps = []
        for stroke in strokes:
            moves = [
                {
                    "type": "pointerMove",
                    "duration": 20,
                    "origin": "viewport",
                    "x": round(left + side * (0.15 + 0.7 * x)),
                    "y": round(top + side * (0.15 + 0.7 * y)),
                }
                for x, y in stroke
            ]
            down, up = ({"type": f"pointer{way}", "button": 0} for way in ("Down", "Up"))
            steps += [moves[0], down, *moves[1:], up]
        self.send("actions", {"actions": [{**POINTER, "actions": steps}]})


@pytest.fixture(scope="module", params=["firefox", "webkit"])
def reader(request, tmp_path_factory, address):
    lacks = webdriver.missing(request.param)
    if lacks:
        pytest.skip(f"{request.param} is not under test here: {lacks} is not installed")
    start = getattr(webdriver, request.param)
    with start(tmp_path_factory.mktemp(request.param)) as send:
        send("url", {"url": address})
        yield Reader(send)


@pytest.fixture(autouse=True)
def blank(reader):
    reader.click("#clear")
    reader.wait_for("#answer", "")


def test_a_drawing_is_read_by_every_network(reader):
    reader.draw(SEVEN)
    reader.wait_for("#answer", "7")
    reader.wait_for("#others", "All 8 say 7.")


@pytest.mark.parametrize("width", [500, 1280])
def test_nothing_overlaps(reader, width):
    reader.send("window/rect", {"width": width, "height": 900})
    reader.draw(SEVEN)
    reader.wait_for("#answer", "7")
    assert reader.run(f"return {OVERLAPS[OVERLAPS.index('(() =>') :]}") == []


def test_the_game_counts(reader):
    reader.click("#play")
    while not reader.text("#todo").startswith("Draw a 7 "):
        reader.click("#next")
    reader.draw(SEVEN)
    reader.wait_for("#score", "fooled 0 of 1")
    reader.click("#play")


def test_a_sign_is_taught(reader):
    reader.click("#teach")
    for _ in range(5):
        reader.run("document.getElementById('sign').value = 'dash'")
        reader.draw([[[0, 0.5], [0.5, 0.5], [1, 0.5]]])
        reader.click("#lesson button")
    reader.draw([[[0, 0.5], [0.5, 0.5], [1, 0.5]]])
    reader.wait_for("#answer", "dash")
    reader.click("#lesson [name=forget]")
    reader.click("#teach")


GIVE = """
    const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
"""


def test_a_photo_is_read(reader):
    photo = photo_of([image_of(4, 0), image_of(2, 0)], default_rng(0))
    reader.run(GIVE, base64.b64encode(photo).decode())
    reader.wait_for("#answer", "42")
