import base64
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from smidgen.errors import ExportError
from smidgen.export.bundle import bundle
from smidgen.export.document import (
    add_image,
    build_document,
    frontier_document,
    pack,
    page_document,
)
from smidgen.export.html import render
from smidgen.inputs import InputShape
from smidgen.preprocess import photo
from smidgen.quantize import quantize, to_document
from smidgen.target import load

ROOT = Path(__file__).parent.parent
TEMPLATES = ROOT / "src/smidgen/export/templates"


@pytest.fixture(scope="session")
def node():
    found = shutil.which("node")
    if not found:
        pytest.skip("node is not installed; the page's JavaScript is not under test here")
    return found


def ask(node, script, document):
    """What a script in the templates' folder prints as JSON, given a document as `input`."""
    read = 'import { readFileSync } from "node:fs"; const input = JSON.parse(readFileSync(0));'
    finished = subprocess.run(
        [node, "--input-type=module", "--eval", f"{read}\n{script}"],
        input=json.dumps(document),
        cwd=TEMPLATES,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(finished.stdout)


def test_the_javascript_passes_its_own_tests(node):
    finished = subprocess.run(
        [node, "--test", "tests/js/"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout


def test_modules_are_bundled_once_each_and_in_order(node):
    sources = {
        "main": 'import { one } from "./a.js";\nimport { two } from "./b.js";\n'
        "console.log(one + two());",
        "a": "const hidden = 1;\nexport const one = hidden;",
        "b": 'import { one } from "./a.js";\nconst hidden = 40;\n'
        "export function two() {\n  return one + hidden;\n}",
    }
    script = bundle("main", sources.__getitem__)
    assert "import" not in script
    assert "export" not in script
    assert script.count("const hidden = 1;") == 1
    run = subprocess.run([node, "--eval", script], capture_output=True, text=True, check=True)
    assert run.stdout == "42\n"


def test_comments_on_lines_of_their_own_are_left_out():
    source = """// The head.

/** What comes back,
 * in two lines. */
export function f() {
  // why
  return "// kept"; // kept
}
"""
    script = bundle("main", {"main": source}.__getitem__)
    assert script == (
        'const module_main = (() => {\n\nfunction f() {\n  return "// kept"; // kept\n}\n\n'
        "return { f };\n})();"
    )


def test_the_page_is_one_file_that_may_load_nothing():
    document = {"models": [], "samples": [], "images": [], "detector": None, "x": "</script><b>"}
    page = render(document)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    for kind, pattern in (
        ("style-src", r"<style>(.*?)</style>"),
        ("script-src", r'<script type="module" blocking="render">(.*?)</script>'),
    ):
        (text,) = re.findall(pattern, page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert directives[kind] == f"'sha256-{digest}'"
    assert re.findall(r"<(?:script|link|img|iframe)[^>]* src=", page) == []
    assert re.findall(r'href="(?!data:)', page) == []
    assert "{{" not in page
    (data,) = re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data) == document


def test_the_page_of_all_frontier_models_is_light():
    assert len(render(frontier_document()).encode()) <= 350_000


def integers(weights):
    return np.frombuffer(base64.b64decode(weights["data"]), np.int8).astype(float)


def test_the_shipped_page_holds_the_shipped_weights(digits):
    for model in frontier_document()["models"]:
        target = load(model["name"])
        # Calibrated on other images, the same weights differ by a unit here and there.
        images = digits.train.images[:16]
        graph = to_document(quantize(target.model, images, target.preprocess, target.name))
        for ours, shipped in zip(graph["weights"], model["graph"]["weights"], strict=True):
            likeness = np.corrcoef(integers(ours), integers(shipped))[0, 1]
            assert likeness > 0.999, model["name"]
        assert model["params"] == sum(p.numel() for p in target.model.parameters())


def test_shipped_models_need_no_data_for_their_page():
    first, *_, last = frontier_document()["models"]
    document = page_document([last["name"], first["name"]], data_dir="/nowhere")
    assert [model["name"] for model in document["models"]] == [last["name"], first["name"]]


def test_a_run_becomes_a_page(run_folder, digits):
    document = page_document([str(run_folder)])
    (model,) = document["models"]
    assert (model["name"], model["params"]) == ("tiny_mnist", 9146)
    assert model["tested"] == len(digits.test)
    wrong = round((1 - model["accuracy"]) * model["tested"])
    assert len(model["mistakes"]) == min(wrong, 12)
    confidence = [mistake["probability"] for mistake in model["mistakes"]]
    assert confidence == sorted(confidence, reverse=True)
    packed = [pack(image) for image in digits.test.images[:, 0].numpy()]
    for mistake in model["mistakes"]:
        image = packed.index(document["images"][mistake["image"]])
        assert digits.test.labels[image] == mistake["label"] != mistake["predicted"]
    assert {sample["label"] for sample in document["samples"]} == set(range(10))
    assert document["images"] == list(dict.fromkeys(document["images"]))
    assert "tiny_mnist" in render(document)


def test_a_page_holds_networks_of_one_data_set(run_folder, digits):
    other = replace(load(str(run_folder)), classes=("a", "b"))
    with pytest.raises(ExportError, match=r"trained for a, b, not for the classes of 'digits'"):
        build_document([other], digits)


def test_packed_images_are_what_the_page_unpacks(node):
    rng = np.random.default_rng(0)
    images = np.stack(
        [
            np.zeros((28, 28)),
            np.full((28, 28), 255),
            rng.integers(0, 256, (28, 28)),
            rng.integers(1, 256, (28, 28)) * (rng.random((28, 28)) < 0.1),
        ]
    ).astype(np.uint8)
    script = """
        const { unpackImage } = await import("./images.js");
        console.log(JSON.stringify(input.map((text) => [...unpackImage(text, [28, 28, 1])])));
    """
    unpacked = ask(node, f"{script}", [pack(image) for image in images])
    assert unpacked == images.reshape(4, 784).tolist()


def test_an_image_of_colours_is_packed_channels_last(node):
    image = np.random.default_rng(0).integers(0, 3, (3, 8, 13)).astype(np.uint8)
    script = """
        const { unpackImage } = await import("./images.js");
        console.log(JSON.stringify([...unpackImage(input, [8, 13, 3])]));
    """
    assert ask(node, script, pack(image)) == np.moveaxis(image, 0, -1).ravel().tolist()


def test_photo_vectors_are_of_this_photo():
    vectors = json.loads((ROOT / "tests/photo_vectors.json").read_text("utf-8"))
    for each in vectors:
        size = (each["height"], each["width"], 4)
        rgba = np.frombuffer(base64.b64decode(each["data"]), np.uint8).reshape(size)
        image = np.moveaxis(photo(rgba, InputShape(*each["shape"])), 0, -1)
        assert base64.b64decode(each["image"]) == image.tobytes(), each["name"]


def test_a_page_holds_an_image_once():
    positions = {}
    blank, white = np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)
    assert [add_image(image, positions) for image in (blank, white, blank)] == [0, 1, 0]
    assert list(positions) == [pack(blank), pack(white)]
