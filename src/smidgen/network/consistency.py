"""Whether a record holds for every image: networks that decide as they go are refused."""

from __future__ import annotations

from dataclasses import fields
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from smidgen.errors import ModelError
from smidgen.inputs import InputShape
from smidgen.network.operations import Call, Operation, Value
from smidgen.network.record import Record, noise, private_copy, record


def read_network(
    model: nn.Module, input_shape: InputShape, images: int = 1, training: bool = False
) -> Record:
    """What the network executes on images of that shape (C, H, W), in eval or train mode.

    Recorded on different images, on more of them where Python reads numbers out of them; the model
    itself is left as it is. Raises ModelError, with the module's path, where the forward pass
    fails, where its operations depend on what is in the image, or on how often it was called.
    """
    copy = private_copy(model, input_shape).train(training)
    plain = noise(images, input_shape)
    first = record(copy, plain)
    others = [3 * noise(images, input_shape, seed=1)]
    if first.numbers_read:
        others += [torch.zeros_like(plain), 100 * plain, -100 * plain]
    for other in others:
        again = record(copy, other)
        difference = _difference(first, again)
        if difference is None:
            continue
        fresh = record(private_copy(model, input_shape).train(training), other)
        if _difference(fresh, again) is None:
            raise ModelError(
                f"{difference} from one image to another; what a network executes must not depend "
                "on the numbers in its input: use torch.where instead of if and .item()"
            )
        raise ModelError(
            f"{difference} from one call to the next; a module must not change itself in forward"
        )
    return first


def _difference(one: Record, other: Record) -> str | None:
    """Where two records first differ, in words; None where they agree."""
    signatures = (_signatures(one), _signatures(other))
    pairs = zip_longest(one.operations, other.operations)
    for (a, b), (x, y) in zip(pairs, zip_longest(*signatures), strict=True):
        if x != y:
            found = a or b
            assert found is not None
            return f"{found.place}: {found.name!r} changes"
    return None


def _signatures(record: Record) -> list[list[Any]]:
    """What each operation does, in a form that two records of one network have in common."""
    numbers: dict[Value, int] = {}
    return [_signature(op, numbers) for op in record.operations]


def _signature(op: Operation, numbers: dict[Value, int]) -> list[Any]:
    return [type(op), *(_plain(getattr(op, each.name), numbers) for each in fields(op))]


def _plain(item: Any, numbers: dict[Value, int]) -> Any:
    match item:
        case Value():
            number = numbers.setdefault(item, len(numbers))
            return number, item.shape, item.name, _constant(item)
        case tuple():
            return [_plain(part, numbers) for part in item]
        case Call():
            return item.path
        case str() | int() | float() | None:
            return repr(item)
    return None  # a function, which its name and settings say


def _constant(value: Value) -> list[Any] | None:
    """The numbers of a constant that is no part of the network's state."""
    tensor: Tensor | None = value.tensor
    is_own = tensor is None or value.state or value.is_random or value.size > 64
    return None if is_own or tensor is None else [repr(x) for x in tensor.flatten().tolist()]
