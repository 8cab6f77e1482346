"""One forward pass, recorded: which operations ran, on which values, inside which module.

A dispatch mode sees every operation that PyTorch executes, below modules and functional calls
alike, so nothing here depends on how a network is written. The record holds no tensors: a `Value`
stands for one state of one tensor, and an operation that writes in place makes a new one.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from smidgen.errors import ModelError

# These take a tensor for its shape alone, so nothing flows from it.
_SHAPE_ONLY = ("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like")
_NEVER_CALLED = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


@dataclass(frozen=True, eq=False)
class Value:
    """One state of one tensor: what it holds between two operations."""

    shape: tuple[int, ...]
    memory: int  # values with the same number share their memory
    flows: bool  # whether it was computed from the images
    state: frozenset[str] = frozenset()  # else: the parameters and buffers it was computed from

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(eq=False)
class Call:
    """One call of one module."""

    path: str  # "" for the network itself
    kind: str
    builtin: bool  # one of torch's own layers, shown as one row whatever it executes
    start: int  # how many operations had run before it
    children: int = 0
    output: Value | None = None


@dataclass(frozen=True, eq=False)
class Op:
    """One executed operation; tensors among the arguments stand as values."""

    name: str
    arguments: dict[str, Any]
    outputs: tuple[Value, ...]
    call: Call
    pointwise: bool = False
    in_place: bool = False

    @property
    def inputs(self) -> list[Value]:
        return list(_values(list(self.arguments.values())))

    @property
    def flows(self) -> bool:
        return any(value.flows for value in self.outputs)

    @property
    def is_view(self) -> bool:
        """Whether it only looks at its input's memory in another shape."""
        shared = {value.memory for value in self.inputs if value.flows}
        return not self.in_place and bool(self.outputs) and self.outputs[0].memory in shared


@dataclass
class Trace:
    """A recorded forward pass of one image."""

    ops: list[Op] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    images: Value | None = None
    output: Value | None = None
    uncalled: list[str] = field(default_factory=list)  # layers that were defined and never called
    parameters: dict[str, int] = field(default_factory=dict)  # name -> numbers, each tensor once
    trainable: set[str] = field(default_factory=set)
    buffers: dict[str, int] = field(default_factory=dict)

    @property
    def read(self) -> set[str]:
        """The parameters and buffers that the forward pass reads."""
        return {name for op in self.ops if op.flows for value in op.inputs for name in value.state}


def record(model: nn.Module, images: Tensor) -> Trace:
    """The record of `model(images)`, with the model in the mode it is in.

    The model may change (running statistics in train mode): hand over a copy. Raises ModelError
    where the forward pass fails or returns no tensor.
    """
    recorder = _Recorder(model, images)
    with recorder.hooks(model):
        output = forward(model, images, recorder)
    recorder.finish(model, output)
    return recorder.trace


def forward(
    model: nn.Module,
    images: Tensor,
    mode: contextlib.AbstractContextManager[Any] | None = None,
    seed: int = 0,
) -> Tensor:
    """What the model makes of the images: the first tensor it returns.

    Masks and other random numbers are drawn from the seed, and torch's own generator is left as
    it was. Raises ModelError, one line, where the network's own code raises or returns no tensor.
    """
    shape = tuple(images.shape)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            torch.default_generator.manual_seed(seed)
            warnings.simplefilter("ignore")  # the network's own, and none of our business
            with mode or contextlib.nullcontext():
                output = _first_tensor(model(images))
    except Exception as problem:
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise ModelError(
            f"{type(model).__name__} fails on images of shape {shape}: {reason}; "
            "smidgen feeds float32 (N, 1, 28, 28)"
        ) from problem
    if output is None:
        raise ModelError(
            f"{type(model).__name__} returns no tensor for images of shape {shape}; "
            "forward must return logits (N, classes)"
        )
    return output


class _Recorder(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # The wrapper that this leaves out imports the whole compiler, more than a second of it.
        return False

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self.stack: list[Call] = [Call("", type(model).__name__, False, 0)]
        self.kept: list[Tensor] = []  # alive, so that no identity is used twice
        self.value_of: dict[int, Value] = {}
        self.sharing: dict[int, list[Tensor]] = defaultdict(list)
        self.state = _state_by_memory(model)
        self.trace.images = self._bind(images, flows=True)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        arguments = self._arguments(func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        written = [
            argument.alias_info is not None and argument.alias_info.is_write
            for argument in func._schema.arguments
        ]
        self._append(func, arguments, _tensors(result), in_place=any(written))
        return result

    def _append(
        self, func: Any, arguments: dict[str, Any], results: list[Tensor], in_place: bool
    ) -> None:
        name = func.overloadpacket.__name__
        if name == "detach":  # autograd's own bookkeeping: the same value under another name
            self.value_of[id(results[0])] = arguments["self"]
            self.kept.append(results[0])
            return
        inputs = list(_values(list(arguments.values())))
        reads = name not in _SHAPE_ONLY and not name.startswith("new_")
        flows = reads and any(value.flows for value in inputs)
        state = frozenset(name for value in inputs if not value.flows for name in value.state)
        outputs = tuple(self._bind(t, flows, frozenset() if flows else state) for t in results)
        op = Op(
            name=name.rstrip("_"),
            arguments=arguments,
            outputs=outputs,
            call=self.stack[-1],
            pointwise=torch.Tag.pointwise in func.tags,
            in_place=in_place,
        )
        self.trace.ops.append(op)
        if in_place and outputs:
            self._spread_write(results[0], outputs[0])

    def _spread_write(self, written: Tensor, value: Value) -> None:
        """Every other tensor on that memory now holds what was written, too."""
        for tensor in self.sharing[value.memory]:
            if tensor is not written and value.flows:
                before = self.value_of[id(tensor)]
                after = self._bind(tensor, flows=True)
                arguments = {"self": before, "source": value}
                self.trace.ops.append(
                    Op("write", arguments, (after,), self.stack[-1], in_place=True)
                )

    def _arguments(self, func: Any, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, defaults filled in, tensors replaced by their values."""
        named = {}
        for position, argument in enumerate(func._schema.arguments):
            given = args[position] if position < len(args) else None
            given = kwargs.get(argument.name, argument.default_value) if given is None else given
            named[argument.name] = self._replace(given)
        return named

    def _replace(self, item: Any) -> Any:
        if isinstance(item, Tensor):
            return self.value_of.get(id(item)) or self._bind(item, flows=False)
        return [self._replace(part) for part in item] if isinstance(item, (list, tuple)) else item

    def _bind(self, tensor: Tensor, flows: bool, state: frozenset[str] = frozenset()) -> Value:
        memory = _memory(tensor)
        value = Value(tuple(tensor.shape), memory, flows, state or self._own_state(memory, flows))
        if id(tensor) not in self.value_of:
            self.kept.append(tensor)
            self.sharing[memory].append(tensor)
        self.value_of[id(tensor)] = value
        return value

    def _own_state(self, memory: int, flows: bool) -> frozenset[str]:
        return frozenset() if flows else self.state.get(memory, frozenset())

    @contextlib.contextmanager
    def hooks(self, model: nn.Module) -> Iterator[None]:
        """While it lasts, every call of a submodule is put on the stack."""
        handles = []
        for path, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(self._enter(path)))
            handles.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, path: str) -> Callable[[nn.Module, Any], None]:
        def enter(module: nn.Module, _: Any) -> None:
            self.stack[-1].children += 1
            kind = type(module)
            builtin = kind.__module__.startswith("torch.nn.")
            self.stack.append(Call(path, kind.__name__, builtin, len(self.trace.ops)))

        return enter

    def _leave(self, module: nn.Module, _: Any, output: Any) -> None:
        call = self.stack.pop()
        tensor = _first_tensor(output)
        call.output = None if tensor is None else self.value_of.get(id(tensor))
        self.trace.calls.append(call)

    def finish(self, model: nn.Module, output: Tensor) -> None:
        trace = self.trace
        trace.output = self.value_of.get(id(output)) or self._bind(output, flows=False)
        seen = set()
        for name, parameter in model.named_parameters():
            place = (_memory(parameter), parameter.storage_offset(), parameter.shape)
            if place not in seen:
                seen.add(place)
                trace.parameters[name] = parameter.numel()
                if parameter.requires_grad:
                    trace.trainable.add(name)
        trace.buffers = {name: buffer.numel() for name, buffer in model.named_buffers()}
        called = {call.path for call in trace.calls}
        for path, module in model.named_modules():
            own = {f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)}
            leaf = not any(module.children()) and not isinstance(module, _NEVER_CALLED)
            if leaf and path not in called and not own & trace.read:
                trace.uncalled.append(path)


def _state_by_memory(model: nn.Module) -> dict[int, frozenset[str]]:
    """The names of the parameters and buffers on each piece of memory, shared tensors once."""
    names: dict[int, dict[tuple[Any, ...], str]] = defaultdict(dict)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        names[_memory(tensor)].setdefault((tensor.storage_offset(), tensor.shape), name)
    return {memory: frozenset(places.values()) for memory, places in names.items()}


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _first_tensor(output: Any) -> Tensor | None:
    return next(iter(_tensors(output)), None)


def _tensors(item: Any) -> list[Tensor]:
    if isinstance(item, Tensor):
        return [item]
    if isinstance(item, dict):
        item = list(item.values())
    return [t for part in item for t in _tensors(part)] if isinstance(item, (list, tuple)) else []


def _values(item: Any) -> Iterator[Value]:
    if isinstance(item, Value):
        yield item
    elif isinstance(item, list):
        for part in item:
            yield from _values(part)
