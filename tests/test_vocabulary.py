"""Every operation of the vocabulary, held against everything that reads or carries networks."""

from __future__ import annotations

import ast
import shutil
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from drawn_networks import photos
from networks import images
from torch import Tensor, nn

import smidgen
from smidgen.anatomy import describe
from smidgen.data import Data
from smidgen.errors import ExportError
from smidgen.export.c import write_c
from smidgen.export.onnx import run_onnx
from smidgen.export.parity import run_host_c, run_javascript
from smidgen.export.qdq import write_qdq
from smidgen.network import operations as ops
from smidgen.network import read_network
from smidgen.quantize import graph as G
from smidgen.quantize import quantize, to_document
from smidgen.recipe import Recipe, override
from smidgen.target import load
from smidgen.train import fit
from smidgen.train.native import UnsupportedError, compile_network, library
from smidgen.zoo import registry

SHAPE = (1, 12, 11)
SOURCE = Path(smidgen.__file__).parent


class Sample(nn.Module):
    """A convolution, a function of its feature map (N, 4, 12, 11), and a linear head."""

    def __init__(self, function: Callable[[Sample, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.function = function
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.layer_norm = nn.LayerNorm(11)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())
        self.recurrent = nn.LSTM(11, 3, batch_first=True)
        self.vector = nn.Parameter(torch.randn(4))
        self.head = nn.LazyLinear(5)
        self(torch.zeros(1, *SHAPE))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self, self.stem(x)).flatten(1))


def _rows_doubled(self: Sample, x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :, 0].mul_(2.0)
    return x


def _attention(self: Sample, x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x)


# For each operation a function of a feature map that executes it in eval or in train mode.
SAMPLES: dict[type, Callable[[Sample, Tensor], Tensor]] = {
    ops.Convolution: lambda self, x: x,
    ops.Linear: lambda self, x: x,
    ops.MatrixProduct: lambda self, x: torch.mv(x.mean((2, 3)), self.vector)[:, None],
    ops.Attention: _attention,
    ops.Recurrent: lambda self, x: self.recurrent(x[:, 0])[0],
    ops.BatchNorm: lambda self, x: self.norm(x),
    ops.Normalisation: lambda self, x: self.layer_norm(x),
    ops.Activation: lambda self, x: F.hardswish(x),
    ops.Add: lambda self, x: x + F.relu(x),
    ops.Multiply: lambda self, x: x * self.gate(x),
    ops.Pointwise: lambda self, x: torch.maximum(x, F.relu(x)),
    ops.Dropout: lambda self, x: F.dropout(x, 0.5, self.training),
    ops.Random: lambda self, x: F.rrelu(x, training=self.training),
    ops.Pool: lambda self, x: F.max_pool2d(x, 2),
    ops.AdaptivePool: lambda self, x: F.adaptive_avg_pool2d(x, (3, 11)),
    ops.Reduction: lambda self, x: x.mean((2, 3)),
    ops.AlongDimensions: lambda self, x: x.softmax(1),
    ops.Concatenation: lambda self, x: torch.cat([x, F.relu(x)], 1),
    ops.Reshape: lambda self, x: x.flatten(1),
    ops.Identity: lambda self, x: x.clone(),
    ops.Permutation: lambda self, x: x.transpose(2, 3),
    ops.Slice: lambda self, x: x[:, :, 1:],
    ops.Select: lambda self, x: x[:, 0],
    ops.Pad: lambda self, x: F.pad(x, (1, 1)),
    ops.Upsample: lambda self, x: F.interpolate(x, scale_factor=2),
    ops.Unfold: lambda self, x: F.unfold(x, 3),
    ops.PixelShuffle: lambda self, x: F.pixel_shuffle(x, 2),
    ops.PartlyOverwritten: _rows_doubled,
    ops.Unknown: lambda self, x: torch.roll(x, 1, 2),
}
EVERY = pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)


def executed(kind: type) -> list[ops.Operation]:
    """What the sample of that kind executes after its first convolution, in either mode."""
    records = [
        read_network(Sample(SAMPLES[kind]), SHAPE, images=2, training=t) for t in (False, True)
    ]
    return [op for record in records for op in record.flowing[1:]]


def refusal(call: Callable[[], object], error: type[Exception]) -> str | None:
    """What a call complains of; None where it does not."""
    try:
        call()
    except error as problem:
        return str(problem)
    return None


def names_an_operation(message: str, kind: type) -> bool:
    return any(message.startswith(op.place) and op.name in message for op in executed(kind))


def test_every_operation_has_a_sample() -> None:
    assert set(SAMPLES) == set(typing.get_args(ops.Operation))


@EVERY
def test_a_sample_executes_its_operation(kind: type) -> None:
    assert kind in {ops.Convolution, *map(type, executed(kind))}


@EVERY
def test_anatomy_weighs_it(kind: type) -> None:
    """Its receptive field is known: at least that of the convolution before it, the head's all."""
    anatomy = describe(Sample(SAMPLES[kind]), SHAPE)
    assert anatomy.layers[0].receptive_field == 3
    assert anatomy.receptive_field >= 12


@EVERY
def test_the_kernels_know_it_or_refuse_it_by_name(kind: type) -> None:
    if library() is None:
        pytest.skip("the kernels are built by a C compiler, and there is none")
    message = refusal(lambda: compile_network(Sample(SAMPLES[kind]), SHAPE), UnsupportedError)
    assert message is None or names_an_operation(message, kind)


@EVERY
def test_the_integer_graph_knows_it_or_refuses_it_by_name(kind: type, tmp_path: Path) -> None:
    """What it knows, numpy, C, JavaScript and ONNX compute alike."""
    greys = images(20)[:, :, :12, :11].contiguous()

    def carry() -> None:
        model = Sample(SAMPLES[kind]).eval()
        assert_carried(
            quantize(model, greys, photos(greys, 0.2, 0.3), "sample", "01234"), greys, tmp_path
        )

    message = refusal(carry, ExportError)
    assert message is None or names_an_operation(message, kind)


def assert_carried(graph: G.Graph, greys: Tensor, folder: Path) -> None:
    """Every form of a graph gives the logits of its numpy interpreter."""
    expected = graph.run(greys.numpy())
    if shutil.which("gcc"):
        for name, text in write_c(graph).items():
            (folder / name).write_text(text, encoding="utf-8")
        for flags in (["-O2", "-march=native"], ["-Os", "-fsanitize=undefined,address"]):
            assert np.array_equal(run_host_c(folder, greys.numpy(), flags), expected)
    if shutil.which("node"):
        assert np.array_equal(run_javascript(to_document(graph), greys.numpy()), expected)
    grid_scale, zero = graph.scales[0], graph.zeros[0]
    by_onnx = run_onnx(
        write_qdq(graph, photos(greys, 0.2, 0.3)), ((greys.float() - zero) * grid_scale).numpy()
    )
    gap = np.abs(by_onnx - expected * graph.logit_scale).max()
    assert gap <= 0.1 * np.ptp(expected) * graph.logit_scale


def test_every_match_over_a_vocabulary_is_exhaustive() -> None:
    """A match whose cases are classes of `ops`, `G` or `FG` ends in assert_never."""
    ends = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Match) and _is_over_a_vocabulary(node):
                ends.append((f"{path.name}:{node.lineno}", ast.unparse(node.cases[-1].body[-1])))
    assert len(ends) >= 8
    assert [place for place, end in ends if not end.startswith("assert_never")] == []


def _is_over_a_vocabulary(match: ast.Match) -> bool:
    patterns = [pattern for case in match.cases for pattern in _alternatives(case.pattern)]
    classes = [pattern.cls for pattern in patterns if isinstance(pattern, ast.MatchClass)]
    return any(ast.unparse(cls).split(".")[0] in ("ops", "G", "FG") for cls in classes)


def _alternatives(pattern: ast.pattern) -> list[ast.pattern]:
    return pattern.patterns if isinstance(pattern, ast.MatchOr) else [pattern]


class Users(nn.Module):
    """What users bring: a strided convolution in the middle, hard-swish, squeeze-and-excitation."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Hardswish())
        self.down = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 12, 1), nn.Hardsigmoid())
        self.head = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12 * 7 * 7, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(self.stem(x))
        return self.head(x * self.gate(x))


def test_what_users_bring_is_trained_weighed_and_shipped(
    recipe: Recipe, few: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._builders, "users", Users)
    backend = "native" if library() else "torch"
    chosen = override(recipe, {"model": "users", "backend": backend, "epochs": 8})
    run = fit(chosen, few, tmp_path / "run")
    assert run.result()["backend"] == backend
    assert run.result()["train_accuracy"] > 0.5
    target = load(str(run.path))
    # By hand: (1·9 + 1)·8 + 2·8 + (8·9 + 1)·12 + (12 + 1)·12 + (588 + 1)·10
    assert describe(target.model).params == 80 + 16 + 876 + 156 + 5890
    graph = quantize(target.model, few.train.images, target.preprocess, "users")
    assert_carried(graph, few.test.images, tmp_path)
