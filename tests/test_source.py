"""Anyone's Python file as a target, and every way in which it can be wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from smidgen.errors import ModelError, RunError
from smidgen.run import Run
from smidgen.source import build
from smidgen.target import load

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))
"""

MISTAKES = [
    ("", "defines no torch.nn.Module class; name what makes one"),
    (NET + "class Other(Net):\n    pass\n", r"several networks; choose one of .*:Net, .*:Other"),
    (NET.replace("width=4", "width"), r"Net in .* needs arguments \(width\); give them defaults"),
    (NET.replace("width, 3)", "width, 3, padding='x')"), r"Net\(\) in .* fails: ValueError: "),
    ("import no_such_package\n", "cannot import .*: ModuleNotFoundError: No module named"),
    ("def broken(:\n", "cannot import .*: SyntaxError: "),
    ("1 / 0\n", "cannot import .*: ZeroDivisionError: division by zero"),
    ("raise SystemExit(3)\n", "cannot import .*: it exits"),
    (
        NET + "net = Net()\noptimizer = torch.optim.SGD(net.parameters(), 0.1)\n"
        "net(torch.ones(2, 1, 28, 28)).sum().backward()\noptimizer.step()\n",
        "trains when it is imported; move that under if __name__",
    ),
    (
        NET + "net = Net()\noptimizer = torch.optim.SGD(net.parameters(), 0.1)\n"
        "try:\n    optimizer.step()\nexcept Exception:\n    pass\n",
        "trains when it is imported",
    ),
]


@pytest.mark.parametrize(("source", "message"), MISTAKES)
def test_mistake_is_one_line(tmp_path: Path, source: str, message: str) -> None:
    path = tmp_path / "net.py"
    path.write_text(source)
    with pytest.raises(ModelError, match=message) as caught:
        build(str(path))
    assert "\n" not in str(caught.value)


def test_missing_file_and_missing_name_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    with pytest.raises(ModelError, match=r"there is no file .*; a target is FILE.py"):
        build(str(path))
    path.write_text(NET)
    with pytest.raises(ModelError, match=r"no class or function 'Nett' in .*; did you mean 'Net'"):
        build(f"{path}:Nett")
    path.write_text("def seven():\n    return 7\n")
    with pytest.raises(ModelError, match=r"seven in .* gives int; name a class or function"):
        build(f"{path}:seven")


def test_class_function_and_ready_network_are_built(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(NET + "def wide():\n    return Net(8)\nready = Net(6)\n")
    widths = [
        build(f"{path}{name}").conv.out_channels  # type: ignore[union-attr]
        for name in ("", ":Net", ":wide", ":ready")
    ]
    assert widths == [4, 4, 8, 6]


def test_block_that_needs_arguments_is_no_choice(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    block = "class Block(nn.Module):\n    def __init__(self, width):\n        super().__init__()\n"
    path.write_text(NET + block)
    assert type(build(str(path))).__name__ == "Net"


def test_file_imports_its_neighbours_and_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_net.py").write_text("WIDTH = 5\n")
    path = tmp_path / "net.py"
    path.write_text("from neighbour_of_net import WIDTH\n" + NET.replace("width=4", "width=WIDTH"))
    before = sys.path.copy()
    network = build(str(path))
    assert isinstance(network.conv, nn.Conv2d)
    assert network.conv.out_channels == 5
    assert sys.path == before


def test_same_file_gives_the_same_weights_and_keeps_the_generator(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text("import torch\ntorch.manual_seed(7)\n" + NET)
    state = torch.get_rng_state()
    first, second = build(str(path)), build(str(path))
    assert torch.equal(state, torch.get_rng_state())
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def test_target_without_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(NET)
    loaded = load(f"{path}:Net", weights=False)
    assert (loaded.trained, loaded.model.training, loaded.run) == (False, False, None)
    assert load("net", weights=False).trained is False
    with pytest.raises(ModelError, match=r"net.py:Net' is a network without trained weights"):
        load(f"{path}:Net")


def test_bundle_is_opened_as_the_run_that_it_came_from(run_folder: Path, tmp_path: Path) -> None:
    run = Run.open(run_folder)
    header = run.weights_header()
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "model.safetensors").write_bytes((run_folder / "model.safetensors").read_bytes())
    (bundle / "config.json").write_text(
        json.dumps({**header, "classes": json.loads(header["classes"])}), encoding="utf-8"
    )
    one, other = load(str(bundle)), load(str(run_folder))
    assert (one.name, one.preprocess, one.classes) == (
        other.name, other.preprocess, other.classes,
    )  # fmt: skip
    images = torch.ones(1, 1, 28, 28)
    assert torch.equal(one.model(images), other.model(images))
    (bundle / "config.json").write_text("{}")
    with pytest.raises(RunError, match=r"header of the weights in .*bundle': 'model' is missing"):
        load(str(bundle))
