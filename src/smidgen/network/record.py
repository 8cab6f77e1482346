"""One forward pass, recorded: which operations ran, on which values, inside which module.

A dispatch mode sees every operation that PyTorch executes, below modules and functional calls
alike, so nothing here depends on how a network is written. An operation that writes in place makes
a new `Value`, so that a record has no order but that of its operations.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.utils._python_dispatch import TorchDispatchMode

from smidgen.errors import ModelError
from smidgen.inputs import InputShape
from smidgen.network import aten
from smidgen.network.operations import Call, Operation, Value

_NEVER_CALLED = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


@dataclass
class Record:
    """A recorded forward pass of images (N, C, H, W)."""

    operations: list[Operation] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    images: Value | None = None
    output: Value | None = None
    uncalled: list[str] = field(default_factory=list)  # layers that were defined and never called
    parameters: dict[str, int] = field(default_factory=dict)  # name -> numbers, each tensor once
    trainable: set[str] = field(default_factory=set)
    buffers: dict[str, int] = field(default_factory=dict)
    numbers_read: list[str] = field(default_factory=list)  # where Python took numbers from images

    @property
    def read(self) -> set[str]:
        """The parameters and buffers that the forward pass reads."""
        return {name for op in self.flowing for value in op.inputs for name in value.state}

    @property
    def flowing(self) -> list[Operation]:
        """The operations whose outputs depend on the images."""
        return [op for op in self.operations if op.flows]

    @property
    def needed(self) -> list[Operation]:
        """The operations that the output depends on, of those that depend on the images."""
        wanted, needed = {self.output}, []
        for op in reversed(self.flowing):
            if not wanted.isdisjoint(op.outputs):
                wanted.update(op.inputs)
                needed.append(op)
        return needed[::-1]


def keeps_order(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether a reshaping of (N, …) only drops or adds sides of one pixel, or flattens."""
    return before[0] == after[0] and (
        tuple(before) == tuple(after) or len(after) == 2 or tuple(after[1:]) == (before[1], 1, 1)
    )


def record(model: nn.Module, images: Tensor) -> Record:
    """The record of `model(images)`, with the model in the mode it is in.

    The model may change (running statistics in train mode): hand over a copy. Raises ModelError
    where the forward pass fails or returns no tensor.
    """
    recorder = _Recorder(model, images)
    with each_call(model, recorder.enter, recorder.leave):
        output = forward(model, images, recorder)
    recorder.finish(model, output)
    return recorder.record


@contextlib.contextmanager
def each_call(
    model: nn.Module,
    enter: Callable[[str, nn.Module], None],
    leave: Callable[[Tensor | None], None],
) -> Iterator[None]:
    """While it lasts, `enter` hears of each submodule that is called, by its path, and `leave` of
    the first tensor that it returns."""
    handles = []
    for path, module in model.named_modules():
        before = partial(lambda path, module, _: enter(path, module), path)
        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(lambda _, __, out: leave(first_tensor(out))))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
            warnings.simplefilter("ignore")  # the network's own, which are not about smidgen
            with mode or contextlib.nullcontext():
                output = first_tensor(model(images))
    except Exception as problem:
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise ModelError(
            f"{type(model).__name__} fails on images of shape {shape}: {reason}; "
            f"smidgen feeds float32 {shape}; --input CxHxW or the data say another shape"
        ) from problem
    if output is None:
        raise ModelError(
            f"{type(model).__name__} returns no tensor for images of shape {shape}; "
            "forward must return logits (N, classes)"
        )
    return output


def private_copy(model: nn.Module, input_shape: InputShape) -> nn.Module:
    """A copy on the CPU that may be run and changed; lazy layers know their shapes afterwards.

    Raises ModelError where there can be none.
    """
    try:
        twin = copy.deepcopy(model).cpu()
    except Exception as problem:
        raise ModelError(
            f"{type(model).__name__} cannot be copied: {problem}; keep only parameters, buffers "
            "and plain values as attributes"
        ) from problem
    if any(isinstance(parameter, UninitializedParameter) for parameter in twin.parameters()):
        mode = twin.training
        forward(twin.eval(), noise(1, input_shape))
        twin.train(mode)
    return twin


def noise(images: int, input_shape: InputShape, seed: int = 0) -> Tensor:
    """Normal noise (N, C, H, W), the same for the same arguments."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, *input_shape, generator=generator)


@contextlib.contextmanager
def one_thread_per_operator() -> Iterator[None]:
    """Runs each operator of torch in the thread that calls it: for callers with many threads, and
    for networks so small that threads would only wait for each other.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Recorder(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # The wrapper that this leaves out imports the whole compiler, more than a second of it.
        return False

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.record = Record()
        self.stack: list[Call] = [Call("", type(model).__name__, False, 0)]
        self.kept: list[Tensor] = []  # alive, so that no identity is used twice
        self.value_of: dict[int, Value] = {}
        self.sharing: dict[int, list[Tensor]] = defaultdict(list)
        self.names = _names_by_memory(model)
        self.record.images = self._bind(images, flows=True)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        arguments = self._arguments(func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        self._append(func, arguments, tensors_in(result))
        return result

    def _append(self, func: Any, arguments: dict[str, Any], results: list[Tensor]) -> None:
        name = func.overloadpacket.__name__
        if name == aten.BOOKKEEPING:
            self.value_of[id(results[0])] = arguments["self"]
            self.kept.append(results[0])
            return
        inputs = list(_values(list(arguments.values())))
        flows = aten.keeps_numbers(name) and any(value.flows for value in inputs)
        known: dict[str, Any] = {
            "state": frozenset(name for value in inputs for name in value.state),
            "transposed": aten.transposed(name, arguments),
            "kept_share": aten.kept_share(name, arguments),
            "is_random": aten.is_random(name) or any(value.is_random for value in inputs),
        }
        outputs = tuple(self._bind(t, flows, **({} if flows else known)) for t in results)
        if name == aten.READS_A_NUMBER and any(value.flows for value in inputs):
            self.record.numbers_read.append(self.stack[-1].path or "forward")
        operation = aten.read(func, arguments, self.stack[-1], outputs)
        self.record.operations.append(operation)
        if operation.in_place and outputs:
            self._spread_write(results[0], outputs[0])

    def _spread_write(self, written: Tensor, value: Value) -> None:
        """Every other tensor on that memory now holds what was written, too."""
        for tensor in self.sharing[value.memory]:
            if tensor is not written and value.flows:
                before = self.value_of[id(tensor)]
                after = self._bind(tensor, flows=True)
                write = aten.write(self.stack[-1], before, value, after)
                self.record.operations.append(write)

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
            return self.value_of.get(id(item)) or self._constant(item)
        return [self._replace(part) for part in item] if isinstance(item, (list, tuple)) else item

    def _constant(self, tensor: Tensor) -> Value:
        """The value of a tensor that no recorded operation made: a parameter, a buffer."""
        names = self.names[memory_of(tensor)]
        name = names.get((tensor.storage_offset(), tensor.shape))
        state = frozenset([name] if name else names.values())
        return self._bind(tensor, flows=False, state=state, name=name)

    def _bind(self, tensor: Tensor, flows: bool, **known: Any) -> Value:
        """A new value, which the tensor now has."""
        memory, kept = memory_of(tensor), None if flows else tensor.detach()
        value = Value(tuple(tensor.shape), memory, flows, tensor=kept, **known)
        if id(tensor) not in self.value_of:
            self.kept.append(tensor)
            self.sharing[memory].append(tensor)
        self.value_of[id(tensor)] = value
        return value

    def enter(self, path: str, module: nn.Module) -> None:
        self.stack[-1].children += 1
        kind = type(module)
        builtin = kind.__module__.startswith("torch.nn.")
        self.stack.append(Call(path, kind.__name__, builtin, len(self.record.operations)))

    def leave(self, tensor: Tensor | None) -> None:
        call = self.stack.pop()
        call.output = None if tensor is None else self.value_of.get(id(tensor))
        self.record.calls.append(call)

    def finish(self, model: nn.Module, output: Tensor) -> None:
        done = self.record
        done.output = self.value_of.get(id(output)) or self._bind(output, flows=False)
        seen = set()
        for name, parameter in model.named_parameters():
            place = (memory_of(parameter), parameter.storage_offset(), parameter.shape)
            if place not in seen:
                seen.add(place)
                done.parameters[name] = parameter.numel()
                if parameter.requires_grad:
                    done.trainable.add(name)
        done.buffers = {name: buffer.numel() for name, buffer in model.named_buffers()}
        called, read = {call.path for call in done.calls}, done.read
        for path, module in model.named_modules():
            own = {f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)}
            leaf = not any(module.children()) and not isinstance(module, _NEVER_CALLED)
            if leaf and path not in called and not own & read:
                done.uncalled.append(path)


def _names_by_memory(model: nn.Module) -> dict[int, dict[tuple[Any, ...], str]]:
    """The parameters and buffers on each piece of memory by offset and shape, shared ones once."""
    names: dict[int, dict[tuple[Any, ...], str]] = defaultdict(dict)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        names[memory_of(tensor)].setdefault((tensor.storage_offset(), tensor.shape), name)
    return names


def memory_of(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def first_tensor(output: Any) -> Tensor | None:
    """The first tensor that a forward pass returns, if it returns any."""
    return next(iter(tensors_in(output)), None)


def tensors_in(item: Any) -> list[Tensor]:
    if isinstance(item, Tensor):
        return [item]
    if isinstance(item, dict):
        item = list(item.values())
    return [t for part in item for t in tensors_in(part)] if isinstance(item, (list, tuple)) else []


def _values(item: Any) -> Iterator[Value]:
    if isinstance(item, Value):
        yield item
    elif isinstance(item, list):
        for part in item:
            yield from _values(part)
