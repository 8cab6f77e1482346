"""What PyTorch executes, in our vocabulary: the only place that knows how ATen spells it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from smidgen.network import operations as ops
from smidgen.network.operations import Call, Operation, Sizes, Value

Arguments = dict[str, Any]  # by the names in ATen's schema, defaults filled in, tensors as values

BOOKKEEPING = "detach"  # autograd's own: the same value under another name
READS_A_NUMBER = "_local_scalar_dense"  # .item(), float(), if: a tensor becomes a Python number
# These take a tensor for its shape alone, so nothing flows from it.
_SHAPE_ONLY = ("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like")
_MASKS = ("bernoulli", "rand", "rand_like", "uniform")
_NOISE = ("randn", "randn_like", "normal", "rrelu_with_noise", "randint", "randint_like")
_IDENTITIES = ("clone", "alias", "contiguous", "_to_copy", "lift_fresh", "expand")
_RESHAPES = ("view", "_unsafe_view", "_reshape_alias", "unsqueeze", "squeeze")
_NORMALISATIONS = ("native_layer_norm", "native_group_norm", "_fused_rms_norm")
_ALONG_DIMENSIONS = ("_softmax", "_log_softmax", "cumsum", "sort", "flip")
_POOLS = {
    "max_pool2d_with_indices": "max",
    "max_pool3d_with_indices": "max",
    "avg_pool2d": "average",
    "avg_pool3d": "average",
}
_ADAPTIVE_POOLS = {
    "adaptive_max_pool2d": "max",
    "_adaptive_avg_pool2d": "average",
    "adaptive_max_pool3d": "max",
    "_adaptive_avg_pool3d": "average",
}
# The operands of a product of matrices or vectors: the two factors, and what is added.
_PRODUCTS = {
    "mm": ("self", "mat2", None),
    "bmm": ("self", "mat2", None),
    "addmm": ("mat1", "mat2", "self"),
    "baddbmm": ("batch1", "batch2", "self"),
    "mv": ("self", "vec", None),
    "addmv": ("mat", "vec", "self"),
    "dot": ("self", "tensor", None),
}
_ATTENTION = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention",
)
_UPSAMPLES = {  # and the neighbours that they interpolate over
    "upsample_nearest2d": 1,
    "_upsample_nearest_exact2d": 1,
    "upsample_bilinear2d": 2,
    "upsample_bicubic2d": 4,
}
_PADS = ("constant_pad_nd", "reflection_pad2d", "replication_pad2d")
_POINTWISE = (  # which ATen does not mark as such
    *("channel_shuffle", "hardswish", "hardsigmoid", "_prelu_kernel", "log_sigmoid_forward"),
    *("fill", "zero", "_to_copy"),
)

# What a record from elsewhere may not ask for: files, and tensors over memory of another size.
_NEVER_REPEATED = ("from_file", "set", "resize", "resize_as", "resize_as_sparse")
# Private functions believe their arguments; of those, the ones that ordinary networks execute.
_PRIVATE = (
    *(*_IDENTITIES, *_RESHAPES, *_NORMALISATIONS, *_ALONG_DIMENSIONS),
    *(*_ADAPTIVE_POOLS, *_ATTENTION, *_UPSAMPLES, *_POINTWISE),
    *("_native_batch_norm_legit", "_safe_softmax", "_weight_norm_interface", "_unsafe_index"),
    *("_cdist_forward", "_euclidean_dist", "__and__", "__or__", "__xor__"),
)


def may_be_repeated(name: str) -> bool:
    """Whether an operation of a record from elsewhere may be executed here."""
    name = name if name in _PRIVATE else name.rstrip("_")
    return name in _PRIVATE if name.startswith("_") else name not in _NEVER_REPEATED


def keeps_numbers(name: str) -> bool:
    """Whether an operation reads its operands' numbers, and not their shapes alone."""
    return name not in _SHAPE_ONLY and not name.startswith("new_")


def is_random(name: str) -> bool:
    """Whether an operation draws random numbers."""
    return name.rstrip("_") in (*_MASKS, *_NOISE)


def kept_share(name: str, a: Arguments) -> float | None:
    """The share of elements that a mask keeps, where an operation makes a mask of dropout.

    dropout draws a mask with `bernoulli_` and divides it by the share that is kept.
    """
    kept = getattr(a.get("self"), "kept_share", None)
    match name.rstrip("_"):
        case "bernoulli" if isinstance(a.get("p"), float):
            return float(a["p"])
        case "div" if kept is not None and _number(a["other"]) == kept:
            return float(kept)
    return None


def transposed(name: str, a: Arguments) -> Value | None:
    """The matrix that an operation returns the transpose of, where it is a constant."""
    value = a.get("self")
    is_matrix = isinstance(value, Value) and not value.flows and len(value.shape) == 2
    return value if is_matrix and name in ("t", "transpose") else None


def read(func: Any, a: Arguments, call: Call, outputs: tuple[Value, ...]) -> Operation:
    """The operation that one executed function of ATen, `func`, is."""
    name = func.overloadpacket.__name__.rstrip("_")
    in_place = any(x.alias_info is not None and x.alias_info.is_write
                   for x in func._schema.arguments)  # fmt: skip
    common: dict[str, Any] = {
        "name": _common_name(name), "call": call, "outputs": outputs, "in_place": in_place,
    }  # fmt: skip
    if is_random(name):
        return ops.Random(**common, operands=_operands(a), is_mask=name in _MASKS)
    operation = (
        _layer(name, a, common)
        or _arithmetic(name, a, common)
        or _change_of_shape(name, a, common)
        or _reduction(name, a, common)
    )
    if operation is not None:
        return operation
    if torch.Tag.pointwise in func.tags or name in _POINTWISE:
        return _pointwise(name, a, common)
    return ops.Unknown(**common, operands=_operands(a))


def write(call: Call, before: Value, source: Value, after: Value) -> Operation:
    """What happens to a tensor when `source` is written to memory that it shares."""
    return ops.PartlyOverwritten(
        name="write", call=call, outputs=(after,), in_place=True, before=before, source=source
    )


def _common_name(name: str) -> str:
    """What people call it: native_batch_norm is batch_norm, _softmax is softmax."""
    return re.sub(r"^(native)?_|_with_indices$", "", name)


def _operands(a: Arguments) -> tuple[Value, ...]:
    lists = (value if isinstance(value, list) else [value] for value in a.values())
    flat = (item for items in lists for item in items)
    return tuple(item for item in flat if isinstance(item, Value))


def _number(item: Any) -> Any:
    """A number, which may come as a tensor without dimensions."""
    is_scalar = isinstance(item, Value) and item.tensor is not None and item.tensor.numel() == 1
    return item.tensor.item() if is_scalar else item


def _layer(name: str, a: Arguments, common: dict[str, Any]) -> Operation | None:
    """Convolutions, products of matrices, norms, pools: what has weights or windows."""
    match name:
        case "convolution":
            return _convolution(a, common)
        case "native_batch_norm" | "cudnn_batch_norm" | "_native_batch_norm_legit":
            keys = ("input", "weight", "bias", "training", "momentum")
            settings: Arguments = {key: a[key] for key in keys}
            settings |= {"mean": a.get("running_mean"), "var": a.get("running_var")}
            return ops.BatchNorm(
                **common, **settings, eps=a["epsilon" if "epsilon" in a else "eps"]
            )
        case "mkldnn_rnn_layer":
            weights = (a["weight0"], a["weight1"])
            others = tuple(v for v in _operands(a) if v not in (a["input"], *weights))
            return ops.Recurrent(
                **common | {"name": "rnn"}, input=a["input"], weights=weights, others=others
            )
        case "native_dropout":
            return ops.Dropout(**common, input=a["input"], mask=None, p=a["p"])
    if name in _PRODUCTS:
        left, right, added = (a[key] if key else None for key in _PRODUCTS[name])
        is_plain = _number(a.get("alpha", 1)) == _number(a.get("beta", 1)) == 1
        return _matrix_product(left, right, added, is_plain, common)
    if name in _POOLS or name in _ADAPTIVE_POOLS:
        return _pool(name, a, common)
    if name in _NORMALISATIONS:
        others = _operands(a)[1:]
        return ops.Normalisation(**common, input=_operands(a)[0], others=others)
    if name in _ATTENTION:
        return ops.Attention(
            **common | {"name": "attention"}, **{key: a[key] for key in ("query", "key", "value")}
        )
    return None


def _convolution(a: Arguments, common: dict[str, Any]) -> Operation:
    count = len(a["weight"].shape) - 2
    sizes: Arguments = {key: each(a[key], count) for key in ("stride", "padding", "dilation")}
    keys = ("input", "weight", "bias", "groups", "transposed")
    name = f"conv_transpose{count}d" if a["transposed"] else f"conv{count}d"
    return ops.Convolution(**common | {"name": name}, **{k: a[k] for k in keys}, **sizes)


def _matrix_product(
    left: Any, right: Any, added: Value | None, is_plain: bool, common: dict[str, Any]
) -> Operation:
    """A linear layer where only the left factor flows; anything else as it is."""
    is_bias = added is None or (not added.flows and added.shape == right.shape[1:])
    if left.flows and not right.flows and len(right.shape) == 2 and is_bias and is_plain:
        turned = None if right.tensor is None else right.tensor.t()
        weight = right.transposed or replace(
            right, shape=right.shape[::-1], name=None, tensor=turned
        )
        return ops.Linear(**common | {"name": "linear"}, input=left, weight=weight, bias=added)
    name = "matmul" if left.flows and right.flows else "linear"
    return ops.MatrixProduct(**common | {"name": name}, left=left, right=right, added=added)


def _pool(name: str, a: Arguments, common: dict[str, Any]) -> Operation:
    count = 3 if "3d" in name else 2
    if name in _ADAPTIVE_POOLS:
        size = each(a["output_size"], count)
        return ops.AdaptivePool(**common, kind=_ADAPTIVE_POOLS[name], input=a["self"], size=size)
    kernel = each(a["kernel_size"], count)
    return ops.Pool(
        **common, kind=_POOLS[name], input=a["self"], kernel=kernel,
        stride=each(a["stride"] or kernel, count), padding=each(a["padding"], count),
        dilation=each(a.get("dilation", 1), count), ceil_mode=a["ceil_mode"],
        divisor=a.get("divisor_override"),
    )  # fmt: skip


def each(sizes: Any, count: int) -> Sizes:
    """A size for each of `count` dimensions, where ATen may give one for all."""
    numbers = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    return numbers * count if len(numbers) == 1 else numbers


def _arithmetic(name: str, a: Arguments, common: dict[str, Any]) -> Operation | None:
    """Sums and products of two tensors or numbers; a product with a mask is a dropout."""
    if "self" not in a or "other" not in a:
        return None
    left, right = _as_value(a["self"]), _as_value(a["other"])
    match name:
        case "add" | "sub":
            factor = _number(a.get("alpha", 1)) * (1 if name == "add" else -1)
            return ops.Add(**common, left=left, right=right, factor=factor)
        case "mul" if left.flows and right.kept_share is not None:
            common["name"] = "dropout"
            return ops.Dropout(**common, input=left, mask=right, p=1 - right.kept_share)
        case "mul":
            return ops.Multiply(**common, left=left, right=right)
        case "div" if a.get("rounding_mode") is None and right.tensor is not None:
            return ops.Multiply(**common, left=left, right=replace(right, tensor=1 / right.tensor))
    return None


def _as_value(item: Any) -> Value:
    """A number as a constant without dimensions."""
    if isinstance(item, Value):
        return item
    return Value((), memory=0, flows=False, tensor=torch.tensor(float(item)))


def _change_of_shape(name: str, a: Arguments, common: dict[str, Any]) -> Operation | None:
    """What moves numbers and changes none."""
    outputs = common["outputs"]
    if name in ("cat", "stack"):
        operands, is_new = tuple(a["tensors"]), name == "stack"
        dim = a["dim"] % len(outputs[0].shape)
        return ops.Concatenation(**common, operands=operands, dim=dim, is_new=is_new)
    if name == "copy":
        source = a["src"] if a["src"].flows else a["self"]
        return ops.Identity(**common, input=source)
    source = a.get("self")
    if not isinstance(source, Value):
        return None
    common, rank = common | {"input": source}, len(source.shape)
    match name:
        case "slice" | "split" | "split_with_sizes" | "unsafe_split" | "select" | "unbind":
            return _parts(name, a, common)
        case "im2col":
            keys = {"kernel": "kernel_size", "stride": "stride", "padding": "padding"}
            sizes: Arguments = {key: each(a[aten], 2) for key, aten in keys.items()}
            return ops.Unfold(**common, **sizes, dilation=each(a["dilation"], 2))
        case "pixel_shuffle" | "pixel_unshuffle":
            factor = a.get("upscale_factor") or a["downscale_factor"]
            upwards = name == "pixel_shuffle"
            return ops.PixelShuffle(**common, upwards=upwards, factor=factor)
    if name in _IDENTITIES and a.get("dtype") in (None, torch.float32):
        return ops.Identity(**common)
    if name in _RESHAPES:
        return ops.Reshape(**common)
    if name in ("permute", "transpose", "t"):
        return ops.Permutation(**common, dims=_order(name, a, rank))
    if name in _PADS:
        before = tuple(a["pad" if "pad" in a else "padding"][::2])
        return ops.Pad(**common, before=before)
    return ops.Upsample(**common, taps=_UPSAMPLES[name]) if name in _UPSAMPLES else None


def _parts(name: str, a: Arguments, common: dict[str, Any]) -> Operation:
    """Some of the positions along one dimension, or all of them in several tensors."""
    source, outputs = a["self"], common["outputs"]
    dim = a["dim"] % len(source.shape)
    size = source.shape[dim]
    match name:
        case "slice":
            start = a["start"] or 0
            start = max(start + size if start < 0 else start, 0)
            return ops.Slice(**common, dim=dim, starts=(start,), step=a["step"])
        case "select" | "unbind":
            indices = (a["index"],) if name == "select" else range(len(outputs))
            return ops.Select(**common, dim=dim, indices=tuple(i % size for i in indices))
    starts = tuple(sum(o.shape[dim] for o in outputs[:i]) for i in range(len(outputs)))
    return ops.Slice(**common, dim=dim, starts=starts, step=1)


def _order(name: str, a: Arguments, rank: int) -> tuple[int, ...]:
    order = list(range(rank))
    if name == "permute":
        return tuple(dim % rank for dim in a["dims"])
    if name == "t":
        return tuple(order[::-1])
    one, other = a["dim0"] % rank, a["dim1"] % rank
    order[one], order[other] = other, one
    return tuple(order)


def _reduction(name: str, a: Arguments, common: dict[str, Any]) -> Operation | None:
    source = a.get("self")
    if not isinstance(source, Value) or not {"dim", "dims"} & a.keys():
        return None
    dim = a.get("dim", a.get("dims"))
    given = [dim] if isinstance(dim, int) else dim or range(len(source.shape))
    dims = tuple(dim % max(len(source.shape), 1) for dim in given)
    if name in _ALONG_DIMENSIONS:
        return ops.AlongDimensions(**common, input=source, dims=dims)
    if "keepdim" in a:
        return ops.Reduction(**common, input=source, dims=dims, keepdim=a["keepdim"])
    return None


def _pointwise(name: str, a: Arguments, common: dict[str, Any]) -> Operation:
    """An activation where the first operand flows and the others are single constants."""
    operands, first = _operands(a), next(iter(a))
    others = tuple(value for value in operands if not value.flows)
    if [value for value in operands if value.flows] != [a[first]] or any(
        v.size > 1 for v in others
    ):
        return ops.Pointwise(**common, operands=operands)
    rest = {key: value for key, value in a.items() if key != first}
    tensors = {key: v.tensor if isinstance(v, Value) else v for key, v in rest.items()}
    return ops.Activation(
        **common,
        input=a[first],
        others=others,
        settings=tuple((key, _number(value)) for key, value in rest.items()),
        function=functools.partial(_evaluate, getattr(torch.ops.aten, name), tensors),
    )


def _evaluate(function: Callable[..., Any], settings: Arguments, x: Tensor) -> Tensor:
    made: Any = function(x, **settings)
    result: Tensor = made[0] if isinstance(made, tuple) else made
    return result
