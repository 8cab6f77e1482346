"""Writes a transcript: runs a network and notes each step as plain data."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from smidgen.errors import ModelError
from smidgen.inputs import InputShape
from smidgen.network.consistency import read_network
from smidgen.network.record import (
    each_call,
    forward,
    memory_of,
    noise,
    private_copy,
    tensors_in,
)
from smidgen.network.transcript import BATCHES


def transcribe(
    model: nn.Module, input_shape: InputShape
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The document of a `Transcript`, for JSON, and the tensors that it names by their numbers.

    The model itself is left as it is. Raises ModelError where the forward pass fails on one image,
    where what is executed depends on what is in the image, and for what is not PyTorch's own.
    """
    read_network(model, input_shape)
    model = private_copy(model, input_shape)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.contiguous()
    store = _Store()
    state = [
        {
            "name": name,
            "kept": store.number_of(tensor),
            "parameter": isinstance(tensor, nn.Parameter),
            "trainable": tensor.requires_grad,
        }
        for name, tensor in _named(model)
    ]
    programs = [_program(model, input_shape, store, state, *batch) for batch in BATCHES]
    known = len(store.tensors)
    _steps(private_copy(model, input_shape).eval(), store, state, noise(1, input_shape, seed=1))
    if len(store.tensors) > known:
        raise ModelError(
            "forward reads numbers that change from call to call and that PyTorch has not "
            "computed; compute and draw them by operations of PyTorch"
        )
    modules = [
        {"path": path, "kind": type(module).__name__, "builtin": _is_builtin(module)}
        for path, module in model.named_modules()
    ]
    document = {
        "input": list(input_shape), "modules": modules, "state": state, "programs": programs,
    }  # fmt: skip
    return document, store.tensors


def _program(
    model: nn.Module,
    input_shape: InputShape,
    store: _Store,
    state: list[dict[str, Any]],
    training: bool,
    images: int,
) -> dict[str, Any]:
    """The steps of one batch, or why it fails; a single image may not fail."""
    copy = private_copy(model, input_shape).train(training)
    steps, failure = [], ""
    try:
        steps = _steps(copy, store, state, noise(images, input_shape))
    except ModelError as problem:
        if (training, images) == BATCHES[0]:
            raise
        said = str(problem.__cause__ or problem).encode("utf-8", "replace").decode()
        failure = said[:1000] or type(problem.__cause__).__name__
    return {"training": training, "images": images, "steps": steps, "failure": failure}


def _is_builtin(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def _named(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


class _Store:
    """The tensors that steps read and no step made; equal constants are kept once."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.number_by_key: dict[Any, int] = {}

    def number_of(self, tensor: Tensor) -> int:
        """The number of a parameter or a buffer, by where it lies."""
        return self._number(_place(tensor), tensor)

    def constant(self, tensor: Tensor) -> int:
        """The number of any other tensor, by what it holds."""
        held = tensor.detach().cpu().contiguous()
        digest = hashlib.sha256(held.flatten().view(torch.uint8).numpy().tobytes())
        return self._number((digest.digest(), held.dtype, held.shape), held)

    def _number(self, key: Any, tensor: Tensor) -> int:
        if key not in self.number_by_key:
            self.number_by_key[key] = len(self.tensors)
            self.tensors[str(len(self.tensors))] = tensor.detach().clone()
        return self.number_by_key[key]


def _place(tensor: Tensor) -> tuple[Any, ...]:
    return memory_of(tensor), tensor.storage_offset(), tensor.shape, tensor.stride()


def _steps(
    model: nn.Module, store: _Store, state: list[dict[str, Any]], images: Tensor
) -> list[dict[str, Any]]:
    """The steps of `model(images)`, with the model in the mode it is in."""
    places = {
        _place(tensor): entry["kept"]
        for (_, tensor), entry in zip(_named(model), state, strict=True)
    }
    scribe = _Scribe(places, store, images)
    with each_call(model, scribe.enter, scribe.leave), scribe.custom_gradients():
        forward(model, images, scribe)
    return scribe.steps


class _Scribe(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as for the recorder

    def __init__(self, places: dict[Any, int], store: _Store, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[dict[str, Any]] = []
        self.places, self.store = places, store  # of parameters and buffers; of all else
        self.made = {id(images): 0}
        self.alive = [images]  # so that no identity is used twice
        self.in_custom_function = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.namespace != "aten":
            raise ModelError(f"it calls {func}, which is none of PyTorch's own operations")
        step = {
            "function": str(func).removeprefix("aten."),
            "arguments": [self._plain(item) for item in args],
            "named": {name: self._plain(item) for name, item in (kwargs or {}).items()},
            "gradient": torch.is_grad_enabled() or self.in_custom_function,
        }
        result = func(*args, **(kwargs or {}))
        made = tensors_in(result)
        if made:  # what gives a number or nothing is no part of what flows
            self.steps.append(step | {"outputs": [self._number(tensor) for tensor in made]})
        return result

    def _number(self, tensor: Tensor) -> int:
        self.alive.append(tensor)
        return self.made.setdefault(id(tensor), len(self.alive))

    def _plain(self, item: Any) -> Any:
        """An argument as JSON; devices, layouts and generators are those of whoever reads it."""
        match item:
            case Tensor():
                return self._reference(item)
            case torch.dtype():
                return {"dtype": str(item).removeprefix("torch.")}
            case torch.memory_format():
                return {"memory_format": str(item).removeprefix("torch.")}
            case None | torch.device() | torch.layout() | torch.Generator():
                return None
            case bool() | str():
                return item
            case int():
                return int(item)
            case float():
                return float(item)
            case list() | tuple():
                return [self._plain(part) for part in item]
        raise ModelError(f"it computes with a {type(item).__name__}, which cannot be recorded")

    def _reference(self, tensor: Tensor) -> dict[str, int]:
        if id(tensor) in self.made:
            return {"made": self.made[id(tensor)]}
        self.alive.append(tensor)
        place = _place(tensor)
        if place in self.places:
            return {"kept": self.places[place]}
        return {"kept": self.store.constant(tensor)}

    def enter(self, path: str, _: nn.Module) -> None:
        self.steps.append({"enter": path})

    def leave(self, tensor: Tensor | None) -> None:
        self.steps.append({"leave": None if tensor is None else self._reference(tensor)})

    @contextlib.contextmanager
    def custom_gradients(self) -> Iterator[None]:
        """While it lasts, what runs in a torch.autograd.Function is noted as having a gradient.

        Such a function brings a gradient of its own, so PyTorch records none for its steps.
        """
        kind: Any = torch.autograd.Function
        original = kind.__dict__["apply"]

        def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
            before, self.in_custom_function = self.in_custom_function, True
            try:
                return original.__func__(cls, *args, **kwargs)
            finally:
                self.in_custom_function = before

        kind.apply = classmethod(apply)
        try:
            yield
        finally:
            kind.apply = original
