"""The integer graph: its arithmetic by hand and by torch, and the way to it from any module."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from drawn_networks import SHAPES, draw_network, photos
from networks import EveryOperation, draw_weights, images, shared
from torch import nn

from smidgen.data import Data, Split, normalise
from smidgen.errors import ExportError
from smidgen.mnist import GLYPH, INPUT_SHAPE
from smidgen.network import guess_input
from smidgen.quantize import float_graph as FG
from smidgen.quantize import graph as G
from smidgen.quantize import quantize, quantize_for, to_document
from smidgen.quantize.calibration import Grid, calibrate, fit_grid, fit_steps
from smidgen.quantize.finetune import choose_images, finetune, forward_quantized
from smidgen.quantize.lower import lower
from smidgen.zoo import create_model, list_models

(MEAN,), (STD,) = GLYPH.mean, GLYPH.std


def rescale(multiplier: list[int], bias: list[int], shift: int, clamp: bool = True) -> G.Rescale:
    return G.Rescale(np.array(multiplier, np.int32), np.array(bias, np.int32), shift, clamp)


def normalised(batch: torch.Tensor) -> torch.Tensor:
    return (batch.float() / 255 - MEAN) / STD


def test_rescaling_rounds_down_and_clamps() -> None:
    # (acc * 3 + 2) >> 2: 5 is 17 / 4 = 4.25, -1 is -1 / 4 = -0.25, 1000 is far past 255.
    acc = np.array([[5], [-1], [1000]])
    assert rescale([3], [2], 2).apply(acc).tolist() == [[4], [0], [255]]
    assert rescale([3], [2], 2, clamp=False).apply(acc).tolist() == [[4], [-1], [750]]


def test_a_graph_computed_by_hand() -> None:
    weight = np.zeros((1, 3, 3, 1), np.int8)
    weight[0, 0, 1, 0], weight[0, 1, 1, 0] = 1, 2  # twice the pixel, and the one above it
    graph = G.Graph(
        "hand", (2, 2, 1), ("a",), (1.0,) * 4, (0.0,) * 4,
        (G.Weights(weight), G.Weights(np.array([[[[-3]]]], np.int8))),
        (
            G.Conv("up", (0,), (2, 2, 1), 0, (1, 1), (1, 1), 1, 10, rescale([1], [0], 0)),
            G.MaxPool("pool", (1,), (1, 1, 1), (2, 2), (2, 2)),
            G.Conv("end", (2,), (1, 1, 1), 1, (1, 1), (0, 0), 1, 0, rescale([5], [7], 0, False)),
        ),
    )  # fmt: skip
    image = np.array([[[1, 2], [3, 130]]], np.uint8)
    tensors = graph.tensors(image)
    # Above the first row is 10. 2 * 130 + 2 = 262 is clamped.
    assert tensors[1][0, :, :, 0].tolist() == [[12, 14], [7, 255]]
    assert graph.run(image).tolist() == [[255 * -3 * 5 + 7]]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolutions_are_those_of_torch(groups: int) -> None:
    random = np.random.default_rng(0)
    weight = random.integers(-127, 128, (8, 3, 2, 4 // groups)).astype(np.int8)
    node = G.Conv("c", (0,), (4, 7, 8), 0, (2, 1), (1, 0), groups, 33, rescale([1], [0], 0, False))
    graph = G.Graph("c", (8, 8, 4), (), (1.0, 1.0), (0.0, 0.0), (G.Weights(weight),), (node,))
    x = random.integers(0, 256, (5, 4, 8, 8)).astype(np.uint8)
    padded = F.pad(torch.from_numpy(x).double(), (0, 0, 1, 1), value=33)
    kernel = torch.from_numpy(weight).double().permute(0, 3, 1, 2)
    expected = F.conv2d(padded, kernel, stride=(2, 1), groups=groups).permute(0, 2, 3, 1)
    assert np.array_equal(graph.tensors(x)[1], expected.numpy())


def test_an_accumulator_that_could_overflow_is_not_accepted() -> None:
    weight = G.Weights(np.full((1, 3, 3, 1), 127, np.int8))
    # 9 * 127 * 255 = 291,465; times 7,367 it is the last below 2**31, times 7,368 it is not.
    node = G.Conv("c", (0,), (1, 1, 1), 0, (1, 1), (0, 0), 1, 0, rescale([7367], [0], 0))
    parts = ("c", (3, 3, 1), ("a",), (1.0, 1.0), (0.0, 0.0), (weight,))
    G.Graph(*parts, (node,))
    with pytest.raises(AssertionError, match="c"):
        G.Graph(*parts, (replace(node, rescale=rescale([7368], [0], 0)),))


def test_packed_weights_take_their_bits() -> None:
    values = np.array([1, -1, 0, 1, -1], np.int8)
    assert G.pack(values, 8) == bytes([1, 255, 0, 1, 255])
    assert G.pack(values, 4) == bytes([0xF1, 0x10, 0x0F])
    assert G.pack(values, 2) == bytes([0b01_00_11_01, 0b11])
    assert [G.Weights(values, bits).size_bytes for bits in (8, 4, 2)] == [5, 3, 2]


def test_biases_are_stored_without_their_common_power_of_two() -> None:
    bias, zeros = rescale([1], [0], 0).short_bias()
    assert (bias.tolist(), zeros) == ([0], 0)
    bias, zeros = rescale([1, 1, 1], [96, -64, 0], 0).short_bias()
    assert (bias.tolist(), zeros) == ([3, -2, 0], 5)
    assert rescale([1, 2, 200], [96, -64, 0], 0).size_bytes == 3 * 2 + 3 * 1


def test_the_document_holds_what_the_interpreters_need() -> None:
    graph = quantize(draw_weights(EveryOperation()), images(20), GLYPH, "every", bits=4)
    document = to_document(graph)
    assert (document["format"], document["input"]) == ("smidgen-graph-1", [28, 28, 1])
    assert [node["op"] for node in document["nodes"]] == [node.op for node in graph.nodes]
    assert document["logit_scale"] == graph.logit_scale
    assert document["zeros"] == [round(zero) for zero in graph.zeros]
    assert len(document["zeros"]) == len(document["nodes"]) + 1
    first = document["weights"][0]
    assert np.array_equal(
        np.frombuffer(base64.b64decode(first["data"]), np.int8).reshape(first["shape"]),
        graph.weights[0].values,
    )


@pytest.mark.parametrize("name", list_models())
def test_every_model_of_the_zoo_is_traced_to_few_layers(name: str) -> None:
    model = draw_weights(create_model(name))
    shape = guess_input(model)
    layers = lower(model, shape)  # raises if the layers compute anything else
    kept = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.LeakyReLU)
    calls = []
    for module in model.modules():
        if isinstance(module, kept):
            module.register_forward_hook(lambda module, *_: calls.append(module))
    model(torch.zeros(1, *shape))
    sums = sum(isinstance(layer, FG.Add) for layer in layers)
    assert len(layers) - sums - 1 == len(calls)


def test_what_follows_a_convolution_becomes_part_of_it() -> None:
    model = draw_weights(
        nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU6(), nn.Dropout(),
            nn.Conv2d(4, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LogSoftmax(dim=1),
        )
    )  # fmt: skip
    model[2].weight.data.abs_()  # increasing, so that it commutes with the pool
    layers = lower(model, INPUT_SHAPE)
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Image", "Conv", "MaxPool", "AveragePool", "Conv"]
    assert isinstance(layers[1], FG.Conv)
    assert (layers[1].low, layers[1].high) == (0, 6)
    model[2].weight.data[1] *= -1
    kinds = [type(layer).__name__ for layer in lower(model, INPUT_SHAPE)]
    assert kinds == ["Image", "Conv", "MaxPool", "Concat", "AveragePool", "Conv"]


def test_shared_weights_are_stored_once() -> None:
    graph = quantize(draw_weights(EveryOperation()), images(20), GLYPH, "every")
    convs = [node for node in graph.nodes if isinstance(node, G.Conv)]
    assert len(convs) == 8
    assert len(graph.weights) == 6
    assert {node.op for node in graph.nodes} == {
        "conv", "max_pool", "average_pool", "add", "multiply", "concat", "table",
    }  # fmt: skip


def test_a_product_is_that_of_the_numbers_that_the_integers_stand_for() -> None:
    """By hand: scales 1/2 and 1/4, zeros 10 and 4; (30 - 10) / 2 times (8 - 4) / 4 is 10."""
    rescale = G.Rescale(np.array([1], np.int32), np.array([4], np.int32), shift=3)
    node = G.Multiply("gate", (0, 0), (1, 2, 1), (10, 4), rescale)
    graph = G.Graph("by hand", (1, 2, 1), ("0",), (0.5, 1.0), (10.0, 0.0), (), (node,))
    # acc = (x - 10) (x - 4): 20 · 26 = 520 and -10 · -4 = 40; (acc + 4) >> 3
    assert graph.tensors(np.array([[[30, 0]]], np.uint8))[-1].ravel().tolist() == [65, 5]


class Signed(nn.Module):
    """A sum, a concatenation and an average of maps whose zeros lie amid their grids."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(1, 4, 5, bias=False), nn.Conv2d(1, 4, 5, bias=False)
        self.last = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = self.one(x), self.other(x)
        maps = torch.cat([one + other, other], 1)
        return self.last(F.avg_pool2d(maps, 24).flatten(1))


def test_zeros_stay_zeros() -> None:
    """Inputs of a node that stand for 0.0 give an output that stands for it, to 0.1 steps.

    The factors are rounded to seven bits; what is taken off for the zeros must use the same ones.
    """
    seen = set()
    for seed in range(20):
        graph = quantize(draw_weights(Signed(), seed), images(40), GLYPH, "zeros")
        for node, zero in zip(graph.nodes, graph.zeros[1:], strict=True):
            zeros = [graph.zeros[i] for i in node.inputs]
            match node:
                case G.Add():
                    acc = np.dot(node.factors, zeros)
                case G.AveragePool():
                    acc = 24 * 24 * zeros[0]
                case G.Concat():
                    acc = np.repeat(zeros, 4)
                case _:
                    continue
            seen.add(node.op)
            exact = (acc * node.rescale.multiplier + node.rescale.bias) / 2**node.rescale.shift
            assert np.abs(exact - 0.5 - zero).max() < 0.1
    assert seen == {"add", "average_pool", "concat"}


def test_the_border_is_what_the_network_pads_with() -> None:
    # A blank image, mean grey everywhere once normalised, has no border: all outputs are equal.
    model = draw_weights(
        nn.Sequential(nn.Conv2d(1, 3, 5, padding=2), nn.ReLU(), nn.Conv2d(3, 10, 28))
    )
    model.append(nn.Flatten())
    graph = quantize(model, images(20), GLYPH.with_statistics(33 / 255, STD), "border")
    grey = np.full((1, 28, 28), 33, np.uint8)
    made = graph.tensors(grey)[1]
    assert (made == made[:, :1, :1]).all()
    assert graph.nodes[0].outside == 33


@pytest.mark.parametrize("make", [EveryOperation, shared, lambda: create_model("skip_13k")])
def test_eight_bits_stay_close_to_the_float_network(make: type[nn.Module]) -> None:
    model, batch = draw_weights(make()), images(60)
    graph = quantize(model, batch[:40], GLYPH, "close")
    with torch.no_grad():
        floats = model(normalised(batch[40:])).numpy()
    errors = graph.run(batch[40:].numpy()) * graph.logit_scale - floats
    assert np.abs(errors).mean() < 0.04 * floats.std()


def test_fewer_bits_take_fewer_bytes() -> None:
    model = draw_weights(create_model("tiny_mnist"))
    sizes = {b: quantize(model, images(10), GLYPH, "t", bits=b).weight_bytes for b in (8, 4, 2)}
    # Of 9,064 weights only the 1,152 of the middle convolution are packed: first and last are not.
    assert sizes[8] - sizes[4] == pytest.approx(1152 / 2, abs=8)
    assert sizes[8] - sizes[2] == pytest.approx(1152 * 3 / 4, abs=8)


def test_grids_and_steps_round_as_little_as_they_can() -> None:
    values = torch.cat([torch.linspace(0, 1, 1000), torch.tensor([50.0])])
    wide = Grid(50 / 255)
    grid = fit_grid(values.clamp(max=40))  # one value in a thousand is far out
    error = (grid.round(values.clamp(max=40)) - values.clamp(max=40)).square().mean()
    assert error <= (wide.round(values) - values).square().mean()
    assert fit_grid(torch.zeros(5)) == Grid(1.0)
    steps = fit_steps(torch.tensor([[[[0.7, -0.7, 0.3]]]]), bits=2)
    assert steps.integers(torch.tensor([[[[0.7, -0.7, 0.3]]]])).flatten().tolist()[:2] == [1, -1]


def test_a_grid_is_fitted_to_what_is_read_of_it() -> None:
    # Only what is above zero is read: the grid's numbers lie there, and zero stays one of them.
    values = torch.linspace(-1, 1, 1001)
    assert fit_grid(values).zero == 128
    assert fit_grid(values, F.relu).zero == 6  # the least share that is tried, 0.025


def test_multipliers_of_shared_weights_are_exact_for_the_gains_they_leave() -> None:
    layers = lower(draw_weights(shared()), INPUT_SHAPE)
    convs = [layer for layer in layers if isinstance(layer, FG.Conv)]
    before = {conv: conv.gain.clone() for conv in convs}
    plan = calibrate(layers, normalised(images(40)), Grid(1 / (255 * STD), 255 * MEAN), bits=8)
    for conv in convs:
        scale_in, scale_out = plan.grids[conv.inputs[0]].scale, plan.grids[conv].scale
        ratio = plan.steps[conv].step.flatten() * conv.gain * scale_in / scale_out
        assert torch.allclose(ratio * 2 ** plan.shifts[conv], plan.multipliers[conv], rtol=1e-4)
        assert plan.multipliers[conv].abs().max() <= 127
        twins = [other for other in convs if other.weight is conv.weight]
        assert torch.equal(plan.steps[conv].step, plan.steps[twins[0]].step)
        # Were the multipliers rounded alone, gains would be off by up to a fifth.
        off = (conv.gain / before[conv] - 1).abs()
        assert off.max() < (0.05 if len(twins) > 1 else 1e-6)


def test_fine_tuning_does_not_depend_on_the_number_of_threads(digits: Data) -> None:
    model, threads, found = draw_weights(shared()), torch.get_num_threads(), []
    batch = digits.train.images[:100]
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            layers = lower(model, INPUT_SHAPE)
            plan = calibrate(layers, normalised(batch), Grid(1 / (255 * STD), 255 * MEAN), bits=8)
            wanted = torch.linspace(-1, 1, 10).expand(100, 10)
            finetune(layers, plan, batch, wanted, bits=8)
            assert torch.get_num_threads() == number
            found.append([layer.weight for layer in layers if isinstance(layer, FG.Conv)])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize(
    "make",
    [lambda: create_model("smidgen_8k", pretrained=True), lambda: draw_weights(shared())],
    ids=["smidgen_8k", "shared"],
)
def test_fine_tuning_brings_the_logits_closer(make: Callable[[], nn.Module], digits: Data) -> None:
    layers = lower(make(), INPUT_SHAPE)
    weights = len({id(layer.weight) for layer in layers if isinstance(layer, FG.Conv)})
    batch = digits.train.images[:600]
    plan = calibrate(layers, normalised(batch[:100]), Grid(1 / (255 * STD), 255 * MEAN), bits=4)
    held_out = normalised(digits.test.images)
    floats = FG.forward(layers, held_out)[layers[-1]].detach()
    wanted = FG.forward(layers, normalised(batch))[layers[-1]].flatten(1).detach()
    before = F.mse_loss(forward_quantized(layers, plan, held_out), floats).item()
    rows = choose_images(len(batch), bits=4)
    finetune(layers, plan, batch[rows], wanted[rows], bits=4)
    after = F.mse_loss(forward_quantized(layers, plan, held_out), floats).item()
    assert after < 0.5 * before
    assert len({id(layer.weight) for layer in layers if isinstance(layer, FG.Conv)}) == weights


def test_images_stored_class_by_class_are_all_calibrated_for() -> None:
    """1,200 dark pictures come first: grids that fit them alone would clamp what bright ones do."""
    levels = images(2400)
    levels[:1200] //= 16
    split = Split(levels, torch.arange(2400) // 240)
    data = Data("sorted", split, split.rows(slice(0, 1)), tuple("0123456789"), GLYPH)
    model, bright = draw_weights(create_model("tiny_mnist")), levels[2300:]
    graph = quantize_for(data, model, GLYPH, "sorted")
    with torch.no_grad():
        floats = model(normalised(bright)).numpy()
    errors = graph.run(bright.numpy()) * graph.logit_scale - floats
    assert np.abs(errors).mean() < 0.05 * floats.std()


def test_what_fine_tuning_sees() -> None:
    assert choose_images(5000, bits=8).unique().numel() == 4096
    assert choose_images(300, bits=8).sort().values.tolist() == list(range(300))
    assert choose_images(300, bits=2).bincount().tolist() == [2] * 300


def test_a_network_that_loses_nothing_is_not_fine_tuned(
    few: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("fine-tuned")

    monkeypatch.setattr("smidgen.quantize.finetune", refuse)
    model = draw_weights(create_model("tiny_mnist"))
    graph = quantize_for(few, model, few.preprocess, "few")
    calibration = few.fit_split()[0].images
    same = quantize(model, calibration, few.preprocess, "few")
    assert np.array_equal(graph.run(few.test.images.numpy()), same.run(few.test.images.numpy()))
    monkeypatch.setattr("smidgen.quantize.ALLOWED_DROP", -2.0)
    with pytest.raises(AssertionError, match="fine-tuned"):
        quantize_for(few, model, few.preprocess, "few")


class Gated(nn.Module):
    """Its gate multiplies two tensors of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 10, 28)
        self.block = nn.ModuleDict({"gate": nn.Bilinear(10, 10, 10)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).flatten(1)
        return self.block["gate"](x, x)


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :10] if x.sum() > 0 else x.flatten(1)[:, 10:20]


def of(*layers: nn.Module) -> nn.Module:
    return draw_weights(nn.Sequential(*layers, nn.Flatten()))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Gated(), "block.gate: the integer graph has no 'trilinear'"),
        (of(nn.Conv2d(1, 10, 3), nn.Upsample(28), nn.MaxPool2d(28)), "1: the integer graph has no"),
        (of(nn.Conv2d(1, 10, 14)), r"ends in \(15, 15, 10\)"),
        (of(nn.Conv2d(1, 12, 28)), r"needs \(1, 1, 10\), one logit for each class"),
        (Branching(), "from one image to another"),
    ],
    ids=["product", "upsampling", "map", "classes", "branch"],
)
def test_what_the_graph_cannot_express_is_named(model: nn.Module, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        quantize(model, images(2), GLYPH, "bad")


@pytest.mark.parametrize(("value", "message"), [(float("nan"), "NaN"), (0.0, "all zero")])
def test_weights_that_cannot_be_trusted_are_refused(value: float, message: str) -> None:
    model = draw_weights(create_model("tiny_mnist"))
    nn.init.constant_(model[4].weight, value)
    with pytest.raises(ExportError, match=f"^4: the weights .*{message}"):
        quantize(model, images(2), GLYPH, "bad")


def test_calibration_needs_images() -> None:
    with pytest.raises(ExportError, match="no calibration images"):
        quantize(draw_weights(create_model("tiny_mnist")), images(0), GLYPH, "none")


def test_drawn_networks_keep_their_answers() -> None:
    """Eight bits move the logits of drawn networks by a few hundredths of the largest at most."""
    gaps = []
    for seed in range(60):
        shape = SHAPES[seed % len(SHAPES)]
        model, batch = draw_network(seed, shape, products=True).eval(), images(32, shape=shape)
        fed = photos(batch, MEAN, STD)
        graph = quantize(model, batch, fed, "drawn", "01234")
        with torch.no_grad():
            floats = model(normalise(batch, fed)).numpy()
        integers = graph.run(batch.numpy()) * graph.logit_scale
        centred = [a - a.mean(axis=1, keepdims=True) for a in (floats, integers)]
        gaps.append(np.abs(centred[0] - centred[1]).max() / np.abs(centred[0]).max())
    assert np.median(gaps) < 0.02
    assert max(gaps) < 0.15
