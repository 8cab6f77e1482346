"""Folders for the Hugging Face hub, and networks that are taken from it: here, from a server of
this machine that answers as the hub does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from networks import draw_weights
from PIL import Image

from smidgen.data import Data
from smidgen.errors import ExportError, MissingExtraError
from smidgen.export import hub as export_hub
from smidgen.export import write_export
from smidgen.hub import is_hub_id
from smidgen.inference import count_correct, logits
from smidgen.target import Target, load
from smidgen.zoo import create_model, has_weights, list_models, shipped_robustness

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NETWORK = """\
layers = [
    { conv = 4 },
    { pool = 2 },
    { head = "gap" },
]
"""


def metadata(folder: Path) -> dict[str, object]:
    """The block at the beginning of a card, as the hub reads it: YAML."""
    _, block, _ = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(block)


def test_a_run_becomes_a_folder_for_the_hub(run_folder: Path, few: Data, tmp_path: Path) -> None:
    target, out = load(run_folder), tmp_path / "out"
    written = write_export([target], few, "hub", out)
    names = ["config.json", "model.safetensors", "parity.json", "README.md"]
    assert sorted(written["files"]) == sorted(str(out / name) for name in names)
    assert written["parity"] == {"images": 60, "label_mismatches": 0, "max_abs_diff": 0.0}
    opened = load(out)
    answers = logits(opened.model, few.test.images, opened.preprocess)
    assert torch.equal(answers, logits(target.model, few.test.images, target.preprocess))
    assert (opened.classes, opened.data) == (few.classes, "digits")
    card = metadata(out)
    # https://huggingface.co/docs/hub/model-cards, "Model card metadata"
    assert card["license"] == "unknown"
    assert card["library_name"] == "smidgen"
    assert card["pipeline_tag"] == "image-classification"
    assert card["metrics"] == ["accuracy"]
    ((index,),) = [card["model-index"]]
    (result,) = index["results"]
    correct = int(count_correct(answers, few.test.labels))
    assert result["metrics"][0]["value"] == round(correct / 60, 6)
    assert result["task"] == {"type": "image-classification"}
    assert result["dataset"]["split"] == "test"


def test_shipped_weights_are_free_and_name_their_data(few: Data, tmp_path: Path) -> None:
    write_export([load("tiny_mnist")], few, "hub", tmp_path)
    assert metadata(tmp_path)["license"] == "mit"
    assert metadata(tmp_path)["datasets"] == ["ylecun/mnist"]


def test_the_card_of_weights_that_ship_has_their_robustness(few: Data, tmp_path: Path) -> None:
    target = load("smidgen_8k")
    write_export([target], few, "hub", tmp_path / "shipped")
    measured = json.loads((BENCHMARKS / "robustness.json").read_text())["smidgen_8k"]
    share = f"{100 * measured['mean_corruption_accuracy']:.2f} % are classified correctly"
    assert share in (tmp_path / "shipped" / "README.md").read_text("utf-8")
    with torch.no_grad():
        next(target.model.parameters()).add_(0.01)
    write_export([target], few, "hub", tmp_path / "changed")
    assert "corrupted" not in (tmp_path / "changed" / "README.md").read_text("utf-8")


def test_every_model_that_ships_has_its_robustness_measured() -> None:
    shipped = [name for name in list_models() if has_weights(name)]
    assert [name for name in shipped if shipped_robustness(name) is None] == []


def as_target(name: str, data: Data, model: torch.nn.Module, trained_on: str) -> Target:
    return Target(name, model, data.preprocess, data.classes, trained_on, None, trained=True)


def test_a_networks_file_goes_along(few: Data, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(NETWORK)
    model = draw_weights(create_model(str(path)))
    target = as_target(str(path), few, model, "folder:/home/me/private/pictures?grey")
    write_export([target], few, "hub", tmp_path / "out")
    path.unlink()
    opened = load(tmp_path / "out")
    assert opened.data == "folder:pictures?grey"
    answers = [logits(each, few.test.images, few.preprocess) for each in (model, opened.model)]
    assert torch.equal(*answers)
    for file in (tmp_path / "out").iterdir():
        assert b"private" not in file.read_bytes(), file
    assert metadata(tmp_path / "out")["model-index"][0]["name"] == "own"


def test_python_code_is_refused(few: Data, tmp_path: Path) -> None:
    target = as_target("own.py:Net", few, create_model("tiny_mnist").eval(), "digits")
    with pytest.raises(ExportError, match="opening a bundle does not run; write the network as"):
        write_export([target], few, "hub", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bits_are_of_integers(few: Data, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="--bits 4 is for integers"):
        write_export([load("tiny_mnist")], few, "hub", tmp_path / "out", bits=4)


def test_an_export_that_does_not_open_equal_is_refused(
    few: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(load("tiny_mnist"), model=draw_weights(create_model("tiny_mnist")))
    monkeypatch.setattr(export_hub, "load", lambda _: other)
    with pytest.raises(ExportError, match="not equal to its source"):
        write_export([load("tiny_mnist")], few, "hub", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "is_id"),
    [
        ("owner/name", True),
        ("Owner-1/a.name_2", True),
        ("runs/mine", False),  # where trainings go
        ("here/name", False),  # a path: the folder is there
        ("owner/name/more", False),
        ("./name", False),
        ("/name", False),
        ("owner/", False),
        ("owner/ name", False),
        ("../name", False),
        ("tiny_mnist", False),
        ("o" * 97 + "/name", False),
    ],
)
def test_what_is_a_name_on_the_hub(
    name: str, is_id: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert is_hub_id(name) == is_id


def test_without_the_extra_a_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'smidgen\[hub\]'$"):
        load("owner/name")


@dataclass
class Hub:
    """A server that holds folders as repositories, and the paths that it was asked for."""

    url: str
    folders: dict[str, Path]
    asked: list[str]

    def run(self, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of smidgen that takes this server for the hub."""
        pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
        settings = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        command = [sys.executable, "-m", "smidgen", *arguments]
        return subprocess.run(
            command, env=kept | settings, cwd=home, capture_output=True, text=True, check=False
        )


@pytest.fixture
def hub() -> Iterator[Hub]:
    here = Hub("", {}, [])

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            here.asked.append(self.path)
            owner, name, *rest = self.path.strip("/").split("/")  # owner/name/resolve/main/file
            folder = here.folders.get(f"{owner}/{name}")
            if folder is None:
                return self.send(404, b"", {"X-Error-Code": "RepoNotFound"}, with_body)
            if not (folder / rest[-1]).is_file():
                return self.send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)
            content = (folder / rest[-1]).read_bytes()
            tags = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": "c" * 40}
            return self.send(200, content, tags, with_body)

        def send(self, code: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(code)
            for key, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield here
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_network_is_taken_from_the_hub(hub: Hub, few: Data, tmp_path: Path) -> None:
    write_export([load("tiny_mnist")], few, "hub", tmp_path / "bundle")
    hub.folders["someone/tiny"] = tmp_path / "bundle"
    Image.fromarray(few.test.images[0, 0].numpy().astype(np.uint8)).save(tmp_path / "digit.png")
    (tmp_path / "home").mkdir()
    arguments = ("predict", "someone/tiny", str(tmp_path / "digit.png"), "--json")
    done = hub.run(tmp_path / "home", *arguments)
    assert done.returncode == 0, done.stderr
    local = hub.run(tmp_path / "home", "predict", "tiny_mnist", *arguments[2:])
    assert json.loads(done.stdout) == json.loads(local.stdout)
    hub.folders.clear()  # what was fetched stays
    again = hub.run(tmp_path / "home", *arguments)
    assert (again.stdout, again.stderr) == (done.stdout, done.stderr) == (done.stdout, "")
    fetched = {path.rpartition("/")[2] for path in hub.asked if path.startswith("/someone/")}
    assert fetched == {"config.json", "model.safetensors"}


def test_without_a_network_a_line_says_so(hub: Hub, tmp_path: Path) -> None:
    unused = replace(hub, url="http://127.0.0.1:9")  # where nobody listens
    done = unused.run(tmp_path, "evaluate", "someone/tiny")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("smidgen: there is no folder or file 'someone/tiny', and it")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("someone/other", "'someone/other' on the hub is not a network of smidgen's; name one"),
        ("someone/nothing", "there is no folder or file 'someone/nothing', and it cannot be had"),
        ("someone/empty", "there is no folder or file 'someone/empty', and it cannot be had"),
    ],
)
def test_what_is_no_network_on_the_hub_is_one_line(
    name: str, said: str, hub: Hub, tmp_path: Path
) -> None:
    for folder, content in (("other", '{"model_type": "bert"}'), ("empty", None)):
        (tmp_path / folder).mkdir()
        hub.folders[f"someone/{folder}"] = tmp_path / folder
        if content:
            (tmp_path / folder / "config.json").write_text(content)
            (tmp_path / folder / "model.safetensors").write_bytes(bytes(1000))
    done = hub.run(tmp_path, "evaluate", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"smidgen: {said}")
    assert done.stderr.count("\n") == 1
    assert not any("safetensors" in path for path in hub.asked)
