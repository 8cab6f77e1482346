"""A module as a list of float layers, by way of torch.export, which has one spelling for what
modules, functions and methods spell in many ways."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from smidgen.errors import ExportError
from smidgen.quantize import layers as L

SUPPORTED = (
    "convolutions, linear layers, batch norm, max and average pools, sums, concatenations, "
    "products with learned scalars, dropout, flattening, and functions of one number such as ReLU"
)
UNCHANGED = (
    *("dropout", "feature_dropout", "flatten", "view", "reshape", "squeeze", "unsqueeze"),
    *("contiguous", "clone", "alias", "detach", "to"),
)
ENDINGS = ("softmax", "log_softmax")  # they leave the answer as it is; what is exported is logits

Value = L.Layer | Tensor  # what a node of the traced program is: computed from the image, or not


def trace(model: nn.Module, input_shape: tuple[int, int, int] = (1, 28, 28)) -> list[L.Layer]:
    """The layers of a module in eval mode, simplified, the image first and the logits last.

    Raises ExportError for an operation that the integer graph cannot express, with its module's
    path, and for weights that are not finite or all zero.
    """
    model = copy.deepcopy(model).eval()
    example = torch.rand(2, *input_shape, generator=torch.Generator().manual_seed(0))
    try:
        program = torch.export.export(model, (example,))
    except Exception as problem:
        reason = str(problem).strip().partition("\n")[0]
        raise ExportError(f"torch.export cannot trace the network: {reason}") from problem
    stored: dict[str, Tensor] = {**program.state_dict, **program.constants}
    image = L.Image("image", [])
    values: dict[fx.Node, Value] = {}
    layers: list[L.Layer] = [image]
    inputs = iter(program.graph_signature.input_specs)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            target = next(inputs).target
            values[node] = image if target is None else stored[target].detach()
        elif node.op == "call_function":
            value = values[node] = _value(node, values)
            if isinstance(value, L.Layer) and value not in layers:
                layers.append(value)
    traced = _end_in_sums(L.simplify(layers), example)
    _check_equal(model, traced, example)
    return traced


def _value(node: fx.Node, values: Mapping[fx.Node, Value]) -> Value:
    """What a node computes; at once if the image has no part in it."""
    arguments = _arguments(node, values)
    flat = [item for value in arguments.values() for item in _items(value)]
    if not any(isinstance(item, L.Layer) for item in flat):
        result: Tensor = node.target(**arguments)  # type: ignore[operator]
        return result
    operation = node.target.overloadpacket.__name__.rstrip("_")  # type: ignore[union-attr]
    layer = _lower(operation, _path(node), arguments, node)
    if layer is None:
        raise ExportError(
            f"{_path(node)}: the integer graph has no {operation!r} of this kind; "
            f"it knows {SUPPORTED}"
        )
    return layer


def _arguments(node: fx.Node, values: Mapping[fx.Node, Value]) -> dict[str, Any]:
    """The node's arguments by their names in the operation's schema, defaults filled in."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = dict(zip((argument.name for argument in schema), node.args, strict=False))
    given |= node.kwargs
    named = {a.name: given.get(a.name, a.default_value if a.has_default_value() else None)
             for a in schema}  # fmt: skip
    known: Any = values.__getitem__
    return {name: fx.node.map_arg(value, known) for name, value in named.items()}


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _path(node: fx.Node) -> str:
    """The path of the module that a node belongs to; the node's own name at the top level."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return (stack[-1][0] if stack else "") or node.name


def _lower(operation: str, name: str, a: dict[str, Any], node: fx.Node) -> L.Layer | None:
    """The layer of one operation of torch's ATen set; None where there is none."""
    x: Any = a.get("input", a.get("self"))
    match operation:
        case "conv2d":
            return _conv(name, a)
        case "linear":
            return _linear(name, a, node)
        case "batch_norm":
            gain = (a["running_var"] + a["eps"]).rsqrt() * (
                1 if a["weight"] is None else a["weight"]
            )
            offset = (0 if a["bias"] is None else a["bias"]) - a["running_mean"] * gain
            return L.Concat(name, [x], gain, offset)
        case "relu":
            return L.Concat(name, [x], low=0)
        case "hardtanh":
            return L.Concat(name, [x], low=a["min_val"], high=a["max_val"])
        case "max_pool2d" | "avg_pool2d":
            return _pool(operation, name, a)
        case "adaptive_avg_pool2d" | "mean" | "amax":
            return _global_pool(operation, name, a, node)
        case "add" | "sub" | "mul" | "div":
            return _arithmetic(operation, name, a)
        case "cat" if a["dim"] in (1, -3) and len(_shape(node)) == 4:
            return L.Concat(name, list(a["tensors"]))
    if (operation in UNCHANGED and _keeps_order(node)) or (operation in ENDINGS and _is_last(node)):
        return x  # type: ignore[no-any-return]
    return _function(operation, name, a, node)


def _conv(name: str, a: dict[str, Any]) -> L.Layer:
    weight, dilation = a["weight"], a["dilation"]
    kernel = [(side - 1) * d + 1 for side, d in zip(weight.shape[2:], dilation, strict=True)]
    padding = a["padding"]
    if isinstance(padding, str):
        padding = [(side - 1) // 2 for side in kernel] if padding == "same" else [0, 0]
    if max(dilation) > 1:  # the same convolution with zeros between the taps
        spread = weight.new_zeros(*weight.shape[:2], *kernel)
        spread[:, :, :: dilation[0], :: dilation[1]] = weight
        weight = spread
    gain = torch.ones(len(weight))
    offset = torch.zeros(len(weight)) if a["bias"] is None else a["bias"]
    pairs = _pair(a["stride"]), _pair(padding)
    return _checked(L.Conv(name, [a["input"]], weight, gain, offset, *pairs, a["groups"]))


def _linear(name: str, a: dict[str, Any], node: fx.Node) -> L.Layer | None:
    """A convolution over the whole input, whose height and width the flattening has hidden."""
    source, features = node.args[0], a["weight"].shape[1]
    while isinstance(source, fx.Node) and len(_shape(source)) == 2:
        before = source.args[0]
        if not isinstance(before, fx.Node) or math.prod(_shape(before)[1:]) != features:
            break
        source = before
    assert isinstance(source, fx.Node)
    if len(_shape(node)) != 2 or len(_shape(source)) not in (2, 4):
        return None
    sides = _shape(source)[2:] or (1, 1)
    weight = a["weight"].reshape(len(a["weight"]), -1, *sides)
    offset = torch.zeros(len(weight)) if a["bias"] is None else a["bias"]
    return _checked(L.Conv(name, [a["input"]], weight, torch.ones(len(weight)), offset))


def _checked(conv: L.Conv) -> L.Conv:
    """The layer itself, if its weights can be trusted."""
    if not all(bool(t.isfinite().all()) for t in (conv.weight, conv.offset)):
        raise ExportError(f"{conv.name}: the weights hold NaN or infinity; train the network again")
    if not conv.weight.any():
        raise ExportError(f"{conv.name}: the weights are all zero; train the network first")
    return conv


def _pool(operation: str, name: str, a: dict[str, Any]) -> L.Layer | None:
    kernel = _pair(a["kernel_size"])
    stride = _pair(a["stride"]) if a["stride"] else kernel
    plain = _pair(a["padding"]) == (0, 0) and not a["ceil_mode"]
    if not plain or max(_pair(a.get("dilation", 1))) > 1 or a.get("divisor_override"):
        return None
    kind = L.MaxPool if operation == "max_pool2d" else L.AveragePool
    return kind(name, [a["self"]], kernel, stride)


def _global_pool(operation: str, name: str, a: dict[str, Any], node: fx.Node) -> L.Layer | None:
    """A pool over the whole height and width, or into equal parts."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    sides = _shape(source)[2:]
    if operation == "adaptive_avg_pool2d":
        parts = _pair(a["output_size"])
    elif len(sides) == 2 and sorted(axis % 4 for axis in a["dim"]) == [2, 3]:
        parts = (1, 1)
    else:
        return None
    if len(sides) != 2 or any(side % part for side, part in zip(sides, parts, strict=True)):
        return None
    kernel = (sides[0] // parts[0], sides[1] // parts[1])
    kind = L.MaxPool if operation == "amax" else L.AveragePool
    return kind(name, [a["self"]], kernel, kernel)


def _arithmetic(operation: str, name: str, a: dict[str, Any]) -> L.Layer | None:
    """A sum of two tensors, or one tensor with a constant per channel or for all."""
    left, right, alpha = a["self"], a["other"], a.get("alpha", 1)
    if isinstance(left, L.Layer) and isinstance(right, L.Layer):
        sign = {"add": alpha, "sub": -alpha}.get(operation)
        return None if sign is None else L.Add(name, [left, right], [1.0, float(sign)])
    if not isinstance(left, L.Layer):
        if operation in ("sub", "div"):
            return None
        left, right = right, left
    constant = torch.as_tensor(right, dtype=torch.float32)
    per_channel = constant.dim() >= 3 and constant.numel() == constant.shape[-3]
    if constant.numel() != 1 and not per_channel:
        return None
    constant = constant.reshape(-1)
    one, zero = torch.ones(1), torch.zeros(1)
    match operation:
        case "add":
            return L.Concat(name, [left], one, constant * alpha)
        case "sub":
            return L.Concat(name, [left], one, -constant * alpha)
        case "mul":
            return L.Concat(name, [left], constant, zero)
    return L.Concat(name, [left], 1 / constant, zero)


def _function(operation: str, name: str, a: dict[str, Any], node: fx.Node) -> L.Layer | None:
    """Any function of one number: its parameters are bound, and it becomes a table."""
    pointwise = torch.Tag.pointwise in node.target.tags  # type: ignore[union-attr]
    if not pointwise and operation not in ("hardswish", "hardsigmoid", "prelu"):
        return None
    rest = {key: value for key, value in a.items() if key != "self"}
    for value in rest.values():
        if isinstance(value, L.Layer) or (isinstance(value, Tensor) and value.numel() > 1):
            return None
    packet = node.target.overloadpacket  # type: ignore[union-attr]
    function = getattr(torch.ops.aten, packet.__name__.rstrip("_"))
    return L.Function(name, [a["self"]], functools.partial(function, **rest))


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


def _keeps_order(node: fx.Node) -> bool:
    """Whether a reshaping only drops or adds sides of one pixel, or flattens."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    before, after = _shape(source), _shape(node)
    return before[0] == after[0] and (
        before == after or len(after) == 2 or after[1:] == (before[1], 1, 1)
    )


def _is_last(node: fx.Node) -> bool:
    return all(user.op == "output" for user in node.users)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return (value, value)
    return (value[0], value[-1])


def _end_in_sums(layers: list[L.Layer], images: Tensor) -> list[L.Layer]:
    """The layers, ending in a convolution or an average of everything: only sums have 32 bits.

    Where they end in something else, a 1 × 1 convolution that changes nothing follows.
    """
    last = layers[-1]
    if isinstance(last, L.Conv):
        return layers
    with torch.no_grad():
        outputs = L.forward(layers, images)
    if isinstance(last, L.AveragePool) and last.kernel == outputs[last.inputs[0]].shape[2:]:
        return layers
    channels = outputs[last].shape[1]
    same = torch.eye(channels).reshape(channels, channels, 1, 1)
    return [*layers, L.Conv("logits", [last], same, torch.ones(channels), torch.zeros(channels))]


def _check_equal(model: nn.Module, layers: Sequence[L.Layer], images: Tensor) -> None:
    """Raises ExportError unless the layers compute what the module does."""
    with torch.no_grad():
        expected = model(images).reshape(len(images), -1)
        try:
            made = L.forward(layers, images)[layers[-1]].reshape(len(images), -1)
        except RuntimeError as problem:
            raise ExportError(f"the network's shapes cannot be exported: {problem}") from problem
    if made.shape != expected.shape:
        raise ExportError(f"the network returns {tuple(expected.shape)}; logits are (N, classes)")
    gap = (made - made.mean(1, keepdim=True)) - (expected - expected.mean(1, keepdim=True))
    if not gap.abs().max() <= 1e-3 * expected.abs().max().clamp(min=1):
        raise ExportError(
            f"traced, the network differs from the module by {gap.abs().max():.2g}; an operation "
            "in place on a tensor that is read again cannot be exported"
        )
