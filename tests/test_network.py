"""What the record of a network holds, and which networks can have none."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from drawn_networks import draw_network
from torch import Tensor, nn

import smidgen
from smidgen.errors import ModelError
from smidgen.network import operations as ops
from smidgen.network import read_network
from smidgen.zoo import create_model

IMAGE = (1, 8, 6)


class Function(nn.Module):
    """A convolution, a matrix and a scalar, and a function of them all."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function
        self.calls = 0
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.matrix = nn.Parameter(torch.randn(4, 5))
        self.scalar = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.function(self, self.stem(x))


def kinds(model: nn.Module, training: bool = False) -> list[str]:
    record = read_network(model, IMAGE, images=2, training=training)
    return [type(op).__name__ for op in record.flowing]


def test_modules_and_functions_read_the_same() -> None:
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3, 2), nn.BatchNorm2d(4), nn.Hardswish(), nn.Dropout(0.25), nn.Flatten(),
        nn.Linear(24, 5),
    )  # fmt: skip
    eval_kinds = ["Convolution", "BatchNorm", "Activation", "Reshape", "Linear"]
    assert kinds(layers) == eval_kinds
    assert kinds(layers, training=True) == [*eval_kinds[:3], "Dropout", *eval_kinds[3:]]


def test_operands_have_their_names_and_numbers() -> None:
    model = Function(lambda self, x: (x * self.scalar).mean((2, 3)) @ self.matrix)
    stem, product, mean, linear = read_network(model, IMAGE).flowing
    assert isinstance(stem, ops.Convolution)
    assert (stem.weight.name, stem.bias and stem.bias.name) == ("stem.weight", "stem.bias")
    assert (stem.stride, stem.padding, stem.groups) == ((1, 1), (1, 1), 1)
    assert isinstance(product, ops.Multiply)
    assert (product.right.name, float(product.right.tensor)) == ("scalar", 0.5)
    assert isinstance(mean, ops.Reduction)
    assert (mean.dims, mean.keepdim) == ((2, 3), False)
    assert isinstance(linear, ops.Linear)
    assert linear.weight.name is None  # (O, I), the transpose of what the network keeps
    assert linear.weight.state == {"matrix"}
    assert torch.equal(linear.weight.tensor, model.matrix.T)


def test_a_linear_layer_keeps_its_weights_name() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    last = read_network(flat, IMAGE).flowing[-1]
    assert isinstance(last, ops.Linear)
    assert (last.weight.name, last.weight.shape) == ("1.weight", (3, 48))


@pytest.mark.parametrize(
    ("dropout", "mask"),
    [(nn.Dropout(0.25), (2, 4, 8, 6)), (nn.Dropout2d(0.25), (2, 4, 1, 1))],
)
def test_a_dropout_is_told_by_its_mask(dropout: nn.Module, mask: tuple[int, ...]) -> None:
    for model in (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), dropout),
                  Function(lambda self, x: dropout(x))):  # fmt: skip
        found = read_network(model, IMAGE, images=2, training=True).flowing[-1]
        assert isinstance(found, ops.Dropout)
        assert found.p == 0.25
        assert found.mask is not None
        assert found.mask.shape == mask


def test_a_value_written_in_place_is_another_value() -> None:
    model = Function(lambda self, x: F.relu_(x) + x)
    stem, relu, total = read_network(model, IMAGE).flowing
    assert isinstance(total, ops.Add)
    assert total.left is total.right is relu.outputs[0]
    assert relu.in_place
    assert relu.inputs == stem.outputs


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda self, x: F.relu(x) if x.max() > 4 else x, "from one image to another"),
        (lambda self, x: x * x.max().item(), r"mul: 'mul' changes from one image to another"),
        (lambda self, x: x * self.calls, "'mul' changes from one call to the next"),
        (lambda self, x: x.reshape(3, 7), "fails on images of shape"),
        (lambda self, x: 3.0, "returns no tensor"),
    ],
)
def test_what_has_no_record_is_said_in_a_line(function: object, message: str) -> None:
    with pytest.raises(ModelError, match=message) as problem:
        read_network(Function(function), IMAGE)
    assert "\n" not in str(problem.value)


def test_a_network_may_fail_in_train_mode_only() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(2), nn.Flatten()
    )
    read_network(model, IMAGE, images=1)
    with pytest.raises(ModelError, match="more than 1 value per channel"):
        read_network(model, IMAGE, images=1, training=True)


def test_reading_leaves_a_network_as_it_is() -> None:
    model = create_model("tiny_mnist").train()
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    read_network(model, (1, 28, 28), images=2, training=True)
    assert [layer.training for layer in model.children()].count(False) == 1
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(layer._forward_hooks for layer in model.modules())


def test_drawn_networks_have_records_that_compute_the_same() -> None:
    """Every value's shape is that of the tensor, and every layer is seen as often as called."""
    for seed in range(200):
        model = draw_network(seed, products=True).eval()
        record = read_network(model, (1, 12, 11))
        called: list[tuple[int, ...]] = []
        hooks = [
            layer.register_forward_hook(lambda *a, called=called: called.append(a[2].shape))
            for layer in model.layers
            if isinstance(layer, nn.Conv2d | nn.Linear)
        ]
        model(torch.zeros(1, 1, 12, 11))
        for hook in hooks:
            hook.remove()
        found = [op for op in record.flowing if isinstance(op, ops.Convolution | ops.Linear)]
        assert [op.outputs[0].shape for op in found] == [tuple(shape) for shape in called]


def test_only_one_file_spells_aten() -> None:
    """An underscore before a name, or native_ and _with_indices, is ATen's way alone."""
    spelling = re.compile(r"^(native_\w+|_softmax|_log_softmax|\w+_with_indices|addmm|_to_copy)$")
    source = Path(smidgen.__file__).parent
    spelled = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and spelling.match(node.value)
    }
    assert spelled == {"network/aten.py"}
