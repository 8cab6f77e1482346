"""Measures the page's networks on drawings by hand that no training and no choice has seen.

    python benchmarks/handwriting.py                    # the shipped page, in Chromium; a minute
    python benchmarks/handwriting.py --node MODEL ...   # any targets, by the page's modules in Node
    python benchmarks/handwriting.py --only-chosen ...  # on the drawings for tuning, and only those

Without options it writes docs/handwriting.md and docs/handwriting.png, the picture of all drawings.
The drawings are tests/handwriting.json; tests/make_handwriting.py explains them. Real MNIST comes
from $SMIDGEN_DATA or ./data. A drawing is right where the page shows its digit: a digit that is
taken for "none of these" is wrong.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import sync_playwright

from smidgen.anatomy import count_parameters
from smidgen.data import load_data
from smidgen.export.document import frontier_document, page_document, shipped_detector
from smidgen.export.html import render
from smidgen.quantize import quantize_for, to_document
from smidgen.target import load

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # the tests' driver of the browser
from browser import ARGUMENTS, CHROMIUM, DESK, replay, wait_for_answer

CELL, ACROSS, TITLE = 50, 13, 15  # of the picture: a drawing and a style's name in pixels

Drawing = dict[str, Any]
Verdicts = list[list[str]]  # what each network says of each drawing; "" = none of these


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="targets; without any, the shipped page's")
    parser.add_argument("--node", action="store_true", help="in Node, not in Chromium")
    parser.add_argument("--only-chosen", action="store_true", help="the drawings for tuning alone")
    options = parser.parse_args()
    drawings = read_drawings(options.only_chosen)
    document = describe_for_node(options.models) if options.node else page_document(options.models)
    judge = judge_in_node if options.node else judge_in_browser
    names = [model["name"] for model in by_size(document)]
    text = tabulate(names, drawings, judge(document, drawings))
    text += f"\nOf the 10,000 test images of MNIST {share_refused(document):.2%} are refused.\n"
    print(text)
    if not (options.models or options.only_chosen or options.node):
        write(text)


def read_drawings(only_chosen: bool = False) -> list[Drawing]:
    """The drawings of the figures, or those that may be used to choose."""
    return [one for one in all_drawings() if one["used_to_choose"] is only_chosen]


def all_drawings() -> list[Drawing]:
    """tests/handwriting.json."""
    drawings: list[Drawing] = json.loads((ROOT / "tests/handwriting.json").read_text("utf-8"))
    return drawings


def describe_for_node(targets: list[str]) -> dict[str, Any]:
    """A page's networks and detector, without its images and mistakes; shipped ones as shipped."""
    shipped = frontier_document()
    if not targets:
        return shipped
    models = {model["name"]: model for model in shipped["models"]}
    chosen = [models[name] if name in models else describe(name) for name in targets]
    return {"models": chosen, "detector": shipped_detector(chosen)}


def describe(name: str) -> dict[str, Any]:
    """What Node needs of a target: its integer graph, which real MNIST calibrates."""
    target = load(name)
    graph = quantize_for(load_data("mnist"), target.model, target.preprocess, target.name)
    params = count_parameters(target.model, target.preprocess.shape)
    return {"name": target.name, "params": params, "graph": to_document(graph)}


def by_size(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The networks in the order of the page's rows."""
    return sorted(document["models"], key=lambda model: model["params"])


def run_node(**given: Any) -> dict[str, Any]:
    """What benchmarks/handwriting.mjs answers."""
    document = {"drawings": [], "images": [], "page": {"models": [], "detector": None}} | given
    finished = subprocess.run(
        ["node", str(Path(__file__).with_suffix(".mjs"))],
        input=json.dumps(document).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    answers: dict[str, Any] = json.loads(finished.stdout)
    return answers


def see(drawings: list[Drawing]) -> list[NDArray[np.uint8]]:
    """What networks see of each drawing: images (N, 28, 28), one for each digit in it."""
    answers = run_node(drawings=[drawing["strokes"] for drawing in drawings])
    return [
        np.stack([np.frombuffer(base64.b64decode(part), np.uint8) for part in parts]).reshape(
            -1, 28, 28
        )
        for parts in answers["seen"]
    ]


def judge_in_node(document: dict[str, Any], drawings: list[Drawing]) -> Verdicts:
    """What the networks, the smallest first, say of each drawing."""
    answers = run_node(
        drawings=[drawing["strokes"] for drawing in drawings],
        page={"models": by_size(document), "detector": document["detector"]},
    )
    return [
        ["" if none else label for label in labels]
        for labels, none in zip(answers["says"], answers["none"], strict=True)
    ]


def judge_in_browser(document: dict[str, Any], drawings: list[Drawing]) -> Verdicts:
    """The same from the rows of the page, which drawings are played to as pointer events."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "index.html"
        path.write_text(render(document), "utf-8")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport=DESK)
        page.goto(path.as_uri())
        page.mouse.move(5, 5)  # the browser now knows the pointer that is replayed
        verdicts = []
        for drawing in drawings:
            replay(page, drawing["strokes"], where_drawn(drawing))
            wait_for_answer(page)
            said = page.locator(".prediction").all_text_contents()
            verdicts.append(["" if word == "–" else word for word in said])
        browser.close()
    return verdicts


def where_drawn(drawing: Drawing) -> tuple[float, float, float]:
    """The place, as `replay` wants it, at which a drawing's points lie where they were put."""
    right, bottom = np.concatenate(drawing["strokes"]).max(axis=0)
    return 1, right / 2, bottom / 2


def share_refused(document: dict[str, Any]) -> float:
    """The share of the test images that the page's detector takes for none of the digits."""
    images = load_data("mnist").test.images.numpy()
    texts = [base64.b64encode(image.tobytes()).decode() for image in images]
    return float(np.mean(run_node(images=texts, page=document)["refused"]))


def tabulate(names: list[str], drawings: list[Drawing], verdicts: Verdicts) -> str:
    """Tables of drawings shown right and of others refused, a column for each network."""
    said = np.array(verdicts)  # drawings × networks
    styles = np.array([drawing["style"] for drawing in drawings])
    wanted = np.array([str(drawing["digit"]) for drawing in drawings])
    is_digit = wanted != "None"
    right, none = said == wanted[:, None], said == ""
    heads = ["| | of | " + " | ".join(names) + " |", "| --- | ---: |" + " ---: |" * len(names)]
    rows = ["Drawn digits that are shown right:", "", *heads]
    rows += [count_row(style, right[styles == style]) for style in dict.fromkeys(styles[is_digit])]
    for name, part in (
        ("**all digits**", is_digit),
        ("**ones**", wanted == "1"),
        ("**sevens**", wanted == "7"),
    ):
        rows.append(share_row(name, right[part]))
    rows += [share_row("taken for none of these", none[is_digit])]
    rows += ["", "Things that are no digits, taken for none of these:", "", *heads]
    rows += [count_row(kind, none[styles == kind]) for kind in dict.fromkeys(styles[~is_digit])]
    rows.append(share_row("**all**", none[~is_digit]))
    return "\n".join(rows) + "\n"


def count_row(name: str, hits: NDArray[np.bool_]) -> str:
    return f"| {name} | {len(hits)} | " + " | ".join(map(str, hits.sum(axis=0))) + " |"


def share_row(name: str, hits: NDArray[np.bool_]) -> str:
    return f"| {name} | {len(hits)} | " + " | ".join(f"{s:.1%}" for s in hits.mean(axis=0)) + " |"


def write(text: str) -> None:
    """Writes the page of the figures and the picture of the drawings."""
    draw_sheet(all_drawings(), ROOT / "docs" / "handwriting.png")
    lead = (
        "# Drawings by hand\n\nWritten by `python benchmarks/handwriting.py`: drawings that no "
        "training and no choice has seen, played as pointer events to the shipped page in "
        "Chromium. A digit is right where the page shows it; one that is taken for none of these "
        f"is wrong. The page opens with {frontier_document()['models'][0]['name']}.\n"
    )
    picture = (
        "\n![All drawings, a row for each style](handwriting.png)\n\nThe drawings are "
        "`tests/handwriting.json`, put down point by point in `tests/handwriting.txt`; "
        "`tests/make_handwriting.py` says what was left out and why. Those in grey may be used to "
        "choose something, and are in no figure.\n"
    )
    (ROOT / "docs" / "handwriting.md").write_text(f"{lead}\n{text}{picture}", "utf-8")


def draw_sheet(drawings: list[Drawing], path: Path) -> None:
    """All drawings on their papers, a row or more for each style; grey: used to choose."""
    styles = [list(group) for _, group in groupby(drawings, key=lambda one: one["style"])]
    height = sum(TITLE + CELL * -(-len(style) // ACROSS) for style in styles)
    sheet = Image.new("L", (ACROSS * CELL, height), 255)
    pen, top = ImageDraw.Draw(sheet), 0
    for style in styles:
        pen.text((3, top + 2), style[0]["style"], 90, ImageFont.load_default())
        for i, drawing in enumerate(style):
            place = (i % ACROSS * CELL, top + TITLE + i // ACROSS * CELL)
            sheet.paste(draw_paper(drawing), place)
        top += TITLE + CELL * -(-len(style) // ACROSS)
    sheet.quantize(8).save(path, optimize=True)


def draw_paper(drawing: Drawing) -> Image.Image:
    """One drawing with its paper's edge, (CELL, CELL), drawn four times larger."""
    side = 4 * CELL
    paper = Image.new("L", (side, side), 255)
    pen = ImageDraw.Draw(paper)
    pen.rectangle((0, 0, side - 1, side - 1), outline=215, width=4)
    ink = 150 if drawing["used_to_choose"] else 0
    for stroke in drawing["strokes"]:
        points = [(x * side, y * side) for x, y in stroke]
        pen.line(points, ink, 8, joint="curve")
        for x, y in (points[0], points[-1]):
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), ink)
    return paper.resize((CELL, CELL), Image.Resampling.BOX)


if __name__ == "__main__":
    main()
