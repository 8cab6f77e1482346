"""Counts against torch's own counter, fields against gradients, and small networks by hand."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from drawn_networks import draw_network
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from smidgen.anatomy import Anatomy, Layer, count_parameters, describe, probe
from smidgen.errors import ModelError
from smidgen.inputs import InputShape
from smidgen.network import guess_input
from smidgen.zoo import create_model, list_models

# What shared documents and their code say, counted by hand.
EXACT_PARAMS = {
    "tiny_mnist": 9_146,
    "mnist_net": 108_864,
    "skip_13k": 13_272,
    "tiny_net": 22_334,
}
# The others are only promised to stay below (or, for `net`, above) a bound.
BOUNDS = {
    "mnist_net_25k": (0, 24_999),
    "mnist_net_13k": (12_000, 14_999),
    "mnist_classifier": (0, 19_999),
    "net": (1_000_001, 2_000_000),
}


class Functional(nn.Module):
    """A network whose forward pass is a function of itself and the images."""

    def __init__(self, forward: Any, **layers: Any) -> None:
        super().__init__()
        self._run = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self._run(self, x)
        return result


def layer(anatomy: Anatomy, name: str) -> Layer:
    (found,) = [layer for layer in anatomy.layers if layer.name == name]
    return found


def counted_macs(model: nn.Module) -> int:
    image = torch.zeros(1, *guess_input(model))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(image)
    return counter.get_total_flops() // 2


# ---- random networks: each step is drawn to fit the size of the map before it


@dataclass(frozen=True)
class Step:
    kind: str
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1


CHANNELS = 4


class Steps(nn.Module):
    """The steps as a network on images; with `endless`, as its twin for the gradient oracle.

    The twin works on any canvas, so that nothing is cut off by a border: the global pool and the
    dense layer become windows of the size `side` of the map they cover, and a maximum, whose
    gradient reaches one pixel only, becomes a mean.
    """

    def __init__(self, steps: list[Step], side: int, endless: bool) -> None:
        super().__init__()
        self.steps, self.endless, self.side = steps, endless, side
        self.layers = nn.ModuleList(self._layer(step) for step in steps)
        self.stem = nn.Conv2d(1, CHANNELS, 1)
        self.bypass = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def _layer(self, step: Step) -> nn.Module:
        c = CHANNELS
        match step.kind:
            case "convolution" | "residual" | "concatenation":
                width = c // 2 if step.kind == "concatenation" else c
                options = (step.kernel, step.stride, step.padding, step.dilation)
                return nn.Conv2d(c, width, *options, groups=step.groups, bias=step.groups == 1)
            case "transposed":
                return nn.ConvTranspose2d(
                    c, c, step.kernel, step.stride, step.padding, dilation=step.dilation
                )
            case "max":
                pool = nn.AvgPool2d if self.endless else nn.MaxPool2d
                return pool(step.kernel, step.stride, step.padding)
            case "adaptive" if not self.endless:
                return nn.AdaptiveAvgPool2d(step.padding)  # there it holds the size afterwards
            case "dense":
                kernel = self.side if self.endless else 1
                size = 1 if self.endless else self.side**2
                return nn.Conv2d(c, 10, kernel) if self.endless else nn.Linear(c * size, 10)
            case "global" if not self.endless:
                return nn.AdaptiveAvgPool2d(1)
            case "global":
                return nn.AvgPool2d(self.side)
            case _:
                return nn.AvgPool2d(step.kernel, step.stride)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for step, layer in zip(self.steps, self.layers, strict=True):
            if step.kind == "residual":
                x = self.bypass(x) + layer(x)
            elif step.kind == "concatenation":
                x = torch.cat([layer(x), x[:, : CHANNELS // 2]], 1)
            elif step.kind == "dense" and not self.endless:
                x = layer(F.relu(x).flatten(1))
            else:
                x = layer(F.relu(x))
        return x


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[Step], int]:
    """Steps, and the side of the map that the last of them works on."""
    steps, side = [], 28
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6)):
        kernel = draw(st.integers(1, 5))
        dilation = draw(st.integers(1, 2))
        reach = dilation * (kernel - 1)
        stride, padding = draw(st.integers(1, 3)), draw(st.integers(0, 2))
        groups = draw(st.sampled_from([1, 2, CHANNELS]))
        match kind:
            case "convolution" if side + 2 * padding > reach:
                step = Step(kind, kernel, stride, padding, dilation, groups)
                side = (side + 2 * padding - reach - 1) // stride + 1
            case "residual" | "concatenation":
                kernel = 2 * (kernel // 2) + 1
                step = Step(kind, kernel, 1, dilation * (kernel // 2), dilation)
            case "transposed" if side <= 14 and 2 * padding < reach + 1:
                step = Step(kind, kernel, stride, padding, dilation)
                side = (side - 1) * stride - 2 * padding + reach + 1
            case "max" if side >= kernel:
                step = Step(kind, kernel, stride, min(padding, kernel // 2))
                side = (side + 2 * step.padding - kernel) // stride + 1
            case "adaptive" if side % kernel == 0:
                side //= kernel
                step = Step(kind, kernel, kernel, side)
            case _:
                continue
        steps.append(step)
    head = draw(st.sampled_from(["global", "dense", "none"]))
    return (steps, side) if head == "none" else ([*steps, Step(head)], side)


KINDS = ["convolution", "residual", "concatenation", "transposed", "max", "adaptive"]


def seen_by_gradient(twin: nn.Module, units: int = 6, canvas: int = 72) -> int:
    """The most that units near the middle see, as the extent of their gradient on the input."""
    for parameter in twin.parameters():
        parameter.data.fill_(1.0)
    images = torch.ones(1, 1, canvas, canvas, requires_grad=True)
    output = twin(images)
    middle = min(output.shape[-2:]) // 2
    extent = 0
    for unit in range(middle, min(middle + units, *output.shape[-2:])):
        (gradient,) = torch.autograd.grad(output[0, 0, unit, unit], images, retain_graph=True)
        touched = gradient[0, 0].abs().sum(0).nonzero()
        if len(touched):
            first, last = int(touched.min()), int(touched.max())
            if first == 0 or last == canvas - 1:
                return seen_by_gradient(twin, units, 2 * canvas)
            extent = max(extent, last - first + 1)
    return extent


def endless_twin(model: nn.Module) -> nn.Module:
    """A zoo model with windows in place of its global pool and dense layers, for any canvas."""
    twin = copy.deepcopy(model).eval()
    sides: dict[nn.Module, int] = {}
    flattened: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor]) -> None:
        sides[module] = inputs[0].shape[-1]
        if isinstance(module, nn.Linear):
            sides[module] = flattened.pop() if flattened else 1
        elif isinstance(module, nn.Flatten):
            flattened.append(inputs[0].shape[-1])

    hooks = [module.register_forward_pre_hook(note) for module in twin.modules()]
    twin(torch.zeros(1, 1, 28, 28))
    for hook in hooks:
        hook.remove()
    for parent in list(twin.modules()):
        for name, child in parent.named_children():
            setattr(parent, name, endless_layer(child, sides.get(child, 1)))
    return twin


def endless_layer(layer: nn.Module, side: int) -> nn.Module:
    match layer:
        case nn.MaxPool2d():
            return nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding)
        case nn.AdaptiveAvgPool2d():
            return nn.AvgPool2d(side)
        case nn.Linear():
            return nn.Conv2d(layer.in_features // side**2, layer.out_features, side)
        case nn.Flatten():
            return nn.Identity()
    return layer


quickly = settings(max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))


@quickly
@given(networks())
def test_random_networks_agree_with_the_flop_counter_and_the_gradient(
    drawn: tuple[list[Step], int],
) -> None:
    steps, side = drawn
    model = Steps(steps, side, endless=False)
    anatomy = describe(model)
    assert anatomy.macs == counted_macs(model)
    assert anatomy.macs == sum(layer.macs for layer in anatomy.layers)
    assert anatomy.params == sum(layer.params for layer in anatomy.layers)
    assert anatomy.receptive_field == seen_by_gradient(Steps(steps, side, endless=True))


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 32), (3, 96, 96)])
def test_drawn_networks_of_other_inputs_agree_with_torch(shape: tuple[int, int, int]) -> None:
    for seed in range(200):
        model = draw_network(seed, shape, products=True)
        anatomy = describe(model, InputShape(*shape))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model.eval()(torch.zeros(1, *shape))
        counts = anatomy.macs, anatomy.params
        read = sum(parameter.numel() for parameter in model.parameters())
        assert counts == (counter.get_total_flops() // 2, read), (seed, model)


@pytest.mark.parametrize("name", list_models())
def test_zoo_agrees_with_the_flop_counter_and_the_gradient(name: str) -> None:
    model = create_model(name, in_chans=1)
    anatomy = describe(model)
    assert anatomy.macs == counted_macs(model)
    assert anatomy.params == sum(p.numel() for p in model.parameters())
    assert anatomy.unused == {}
    assert anatomy.receptive_field == seen_by_gradient(endless_twin(model), units=2)


def test_zoo_has_the_counts_of_its_documents() -> None:
    for name, params in EXACT_PARAMS.items():
        assert describe(create_model(name)).params == params, name
    for name, (low, high) in BOUNDS.items():
        assert low <= describe(create_model(name)).params <= high, name


def test_printed_mnist_net_sees_26_34_42_and_66_pixels() -> None:
    layers = describe(create_model("mnist_net")).layers
    convolutions = [layer.receptive_field for layer in layers if layer.type == "Conv2d"]
    assert convolutions == [3, 5, 7, 8, 12, 16, 18, 26, 34, 42, 42]
    assert [x.receptive_field for x in layers if "Pool" in x.type] == [8, 18, 66]


def test_layer_executed_twice_counts_its_parameters_once_and_its_macs_twice() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    anatomy = describe(Functional(lambda self, x: self.conv(self.conv(x)), conv=conv))
    first, second = layer(anatomy, "conv"), layer(anatomy, "conv#2")
    assert (first.params, second.params) == (9, 0)
    assert first.macs == second.macs == 28 * 28 * 9
    assert (first.receptive_field, second.receptive_field) == (3, 5)


def test_layer_never_executed_is_named_and_not_counted() -> None:
    model = Functional(
        lambda self, x: self.used(x).mean((2, 3)), used=nn.Conv2d(1, 10, 1), idle=nn.Linear(10, 3)
    )
    anatomy = describe(model)
    assert anatomy.params == count_parameters(model) == 20
    assert anatomy.unused == {"idle": 33}


def test_parameter_never_read_is_named() -> None:
    model = Functional(lambda self, x: self.conv(x), conv=nn.Conv2d(1, 2, 3))
    model.scale = nn.Parameter(torch.ones(5))
    assert describe(model).unused == {"scale": 5}


def test_layer_of_the_training_pass_alone_is_used_but_not_part_of_the_network() -> None:
    model = Functional(
        lambda self, x: self.extra(self.conv(x)) if self.training else self.conv(x),
        conv=nn.Conv2d(1, 1, 1, bias=False),
        extra=nn.Conv2d(1, 1, 3),
    )
    anatomy = describe(model)
    assert (anatomy.params, anatomy.unused) == (1, {})


def test_functional_calls_are_layers_and_read_parameters() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, self.conv.weight, padding=1))  # the module itself is never called
        return F.linear(x.flatten(1), self.matrix)

    model = Functional(forward, conv=nn.Conv2d(1, 2, 3, bias=False))
    model.matrix = nn.Parameter(torch.ones(10, 2 * 28 * 28))
    anatomy = describe(model)
    assert [layer.name for layer in anatomy.layers] == ["conv2d", "relu", "linear"]
    assert [layer.params for layer in anatomy.layers] == [18, 0, 15_680]
    assert [layer.macs for layer in anatomy.layers] == [28 * 28 * 18, 0, 15_680]
    assert anatomy.unused == {}


def test_shared_tensor_counts_once() -> None:
    first, second = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    assert describe(model).params == count_parameters(model) == 9 + 1 + 1


def test_frozen_parameters_count_but_are_not_trainable() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 1, 3)).requires_grad_(False)
    model[1].requires_grad_(True)
    anatomy = describe(model)
    assert (anatomy.params, anatomy.trainable_params) == (20 + 19, 19)


HAND_FIELDS: list[tuple[str, Callable[[Any, Tensor], Tensor], int]] = [
    # name, forward pass after a 3 × 3 convolution to four channels, receptive field
    ("mean over the map", lambda s, x: x.mean((2, 3)), 3 + 27),
    ("mean over one axis at a time", lambda s, x: x.mean(2).mean(2), 3 + 27),
    ("flatten and average", lambda s, x: x.flatten(2).mean(-1), 3 + 27),
    # Windows of an uneven adaptive pool, 28 to 5: 6, 7, 6, 7, 6.
    ("uneven adaptive pool", lambda s, x: F.adaptive_avg_pool2d(x, 5), 3 + 6),
    ("one adaptive pool after another", lambda s, x: two_adaptive_pools(x), 3 + 27),
    ("nearest upsampling", lambda s, x: F.interpolate(x, scale_factor=2.0), 3),
    # Two neighbours; three outputs of twice the resolution lie on three pixels.
    ("bilinear upsampling", lambda s, x: s.conv2(interpolate_twice(x)), 3 + 2),
    ("space to depth", lambda s, x: F.pixel_unshuffle(x, 2), 3 + 1),
    ("every other pixel", lambda s, x: s.conv2(x[:, :, ::2, ::2]), 3 + 4),
    ("depth to space", lambda s, x: s.conv1(F.pixel_shuffle(x, 2)), 3 + 1),
    ("patches by view", lambda s, x: patches(x), 3 + 3),
    ("channels last", lambda s, x: s.conv2(last(s.mix, x)), 3 + 2),
    ("circular padding", lambda s, x: s.conv2(F.pad(x, (1, 1, 1, 1), "circular")), 3 + 2),
    ("padding", lambda s, x: s.conv2(F.pad(x, (2, 1, 0, 3))), 3 + 2),
    ("reflection", lambda s, x: s.conv2(F.pad(x, (1, 1, 1, 1), "reflect")), 3 + 2),
    ("concatenation", lambda s, x: torch.cat([x, s.conv2(x)], 1), 3 + 2),
    ("gate by the whole map", lambda s, x: x * x.mean((2, 3), keepdim=True).sigmoid(), 3 + 27),
    ("layer norm over the map", lambda s, x: F.layer_norm(x, x.shape[1:]), 3),
    ("softmax over the map", lambda s, x: x.flatten(2).softmax(-1), 3 + 27),
    ("softmax over the channels", lambda s, x: x.softmax(1), 3),
    ("attention", lambda s, x: attention(x), 3 + 27),
    ("written into a part", lambda s, x: written(s.conv2, x), 3 + 2),
    ("unfolded convolution", lambda s, x: F.unfold(x, 3, padding=1), 3 + 2),
    ("split in channels", lambda s, x: s.conv3(x.chunk(2, 1)[1]), 3 + 2),
    ("rows turned into a sequence", lambda s, x: x.permute(0, 2, 1, 3).flatten(2).sum(-1), 3 + 27),
]


def two_adaptive_pools(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(F.adaptive_max_pool2d(x, 5), 1)


def interpolate_twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def patches(x: Tensor) -> Tensor:
    n, c = x.shape[:2]
    return x.view(n, c, 7, 4, 7, 4).permute(0, 2, 4, 1, 3, 5).reshape(n, 49, c * 16)


def last(mix: nn.Linear, x: Tensor) -> Tensor:
    mixed: Tensor = mix(x.permute(0, 2, 3, 1))
    return mixed.permute(0, 3, 1, 2)


def attention(x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens)


def written(conv: nn.Module, x: Tensor) -> Tensor:
    changed = x.clone()
    changed[:, :2] = conv(x)[:, :2]
    return changed


@pytest.mark.parametrize(("forward", "expected"), [case[1:] for case in HAND_FIELDS],
                         ids=[case[0] for case in HAND_FIELDS])  # fmt: skip
def test_receptive_field_by_hand(forward: Callable[[Any, Tensor], Tensor], expected: int) -> None:
    model = Functional(
        lambda self, x: forward(self, self.conv(x)),
        conv=nn.Conv2d(1, 4, 3, padding=1),
        conv1=nn.Conv2d(1, 4, 3, padding=1),
        conv2=nn.Conv2d(4, 4, 3, padding=1),
        conv3=nn.Conv2d(2, 4, 3, padding=1),
        mix=nn.Linear(4, 4),
    )
    assert describe(model).receptive_field == expected


def test_dilated_depthwise_and_transposed_convolutions_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, dilation=2),  # 28 to 24
        nn.Conv2d(6, 6, 5, stride=2, groups=6),  # to 10
        nn.ConvTranspose2d(6, 3, 4, stride=2, padding=1),  # to 20
    )
    rows = describe(model).layers
    assert [row.macs for row in rows] == [24 * 24 * 6 * 9, 10 * 10 * 6 * 25, 10 * 10 * 6 * 3 * 16]
    assert [row.output_shape for row in rows] == [(6, 24, 24), (6, 10, 10), (3, 20, 20)]
    assert [(row.receptive_field, row.jump) for row in rows] == [(5, 1), (9, 2), (11, 1)]


def test_stored_numbers_after_folding_by_hand() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False),  # 36, and a bias of 4 once the norm is folded
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.BatchNorm2d(4),  # no convolution before it: a scale and a shift, 8
        nn.Conv2d(4, 2, 1),  # 8 + 2
    )
    anatomy = describe(model)
    assert anatomy.params == 36 + 8 + 8 + 10
    assert anatomy.stored_numbers == 36 + 4 + 8 + 10
    assert anatomy.weight_bytes == 4 * 58
    assert anatomy.weight_bytes_int8 == (36 + 8) + 4 * (4 + 8 + 2)


def test_norms_of_a_shared_convolution_do_not_fold() -> None:
    model = Functional(
        lambda self, x: self.norm2(self.conv(self.norm1(self.conv(x)))),
        conv=nn.Conv2d(1, 1, 3, bias=False),
        norm1=nn.BatchNorm2d(1),
        norm2=nn.BatchNorm2d(1),
    )
    assert describe(model).stored_numbers == 9 + 2 + 2


def test_peak_activations_by_hand() -> None:
    one = 4 * 28 * 28
    plain = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    # The image and the first map; norm and ReLU write over it.
    assert describe(plain).peak_activation_bytes_int8 == 784 + one
    assert describe(plain).peak_activation_bytes == 4 * (784 + one)
    # A residual block holds its input, the activation it works on, and what it makes.
    block = Functional(
        lambda self, x: (lambda y: y + self.conv(F.relu(y)))(self.stem(x)),
        stem=nn.Conv2d(1, 4, 3, padding=1),
        conv=nn.Conv2d(4, 4, 3, padding=1),
    )
    assert describe(block).peak_activation_bytes_int8 == 3 * one


def test_description_adds_up_in_every_form() -> None:
    anatomy = describe(create_model("skip_13k"), name="<skip>")
    document = json.loads(json.dumps(anatomy.to_dict()))
    assert document["params"] == sum(layer["params"] for layer in document["layers"]) == 13_272
    assert document["macs"] == sum(layer["macs"] for layer in document["layers"])
    assert sum(layer.params_share for layer in anatomy.layers) == pytest.approx(1)
    assert sum(layer.macs_share for layer in anatomy.layers) == pytest.approx(1)
    assert "| 8.0 | Conv2d | 32×7×7 | 4,608 | 34.7% | 225,792 | 8.8% | 28 | 4 |" in (
        anatomy.to_markdown()
    )
    assert "<caption>&lt;skip&gt;</caption>" in anatomy._repr_html_()


def test_describe_and_probe_leave_the_model_and_the_generator_alone() -> None:
    model = create_model("tiny_mnist").train()
    before = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    describe(model)
    probe(model)
    assert torch.equal(generator, torch.get_rng_state())
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_forward_that_wants_another_shape_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"fails on images of shape \(1, 1, 28, 28\).*channels"):
        describe(nn.Conv2d(2, 8, 3))


def test_forward_without_a_tensor_is_one_line() -> None:
    with pytest.raises(ModelError, match="returns no tensor"):
        describe(Functional(lambda self, x: "seven"))


def test_lazy_layers_are_counted_and_stay_lazy() -> None:
    model = nn.Sequential(nn.LazyConv2d(2, 3, stride=3), nn.Flatten(), nn.LazyLinear(10))
    assert describe(model).params == 20 + (2 * 9 * 9 * 10 + 10)
    assert probe(model).failures == ()
    assert isinstance(model[2].weight, nn.UninitializedParameter)


def test_network_for_single_images_is_described_and_its_failures_named() -> None:
    model = Functional(lambda self, x: self.fc(x.reshape(1, -1)), fc=nn.Linear(784, 10))
    assert describe(model).params == 7_850
    failures = probe(model).failures
    assert [failure.partition(":")[0] for failure in failures] == [
        f"{mode} mode, batch of {size}"
        for mode, size in [("eval", 2), ("eval", 16), ("train", 2), ("train", 16)]
    ]


def test_network_of_views_alone_weighs_nothing() -> None:
    anatomy = describe(Functional(lambda self, x: x.flatten(1)[:, :10]))
    assert (anatomy.params, anatomy.macs, anatomy.layers) == (0, 0, ())


def test_probe_of_a_sound_network() -> None:
    behaviour = probe(create_model("skip_13k"))
    assert behaviour.output_shapes == {1: (1, 10), 2: (2, 10), 16: (16, 10)}
    assert behaviour.failures == behaviour.not_finite == behaviour.without_gradient == ()
    assert (behaviour.reads_as, behaviour.depends_on_batch) == ("logits", 0.0)
    assert not behaviour.varies_in_eval
