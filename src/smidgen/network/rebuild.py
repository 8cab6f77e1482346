"""A network made of a transcript: a module that repeats its steps, and nothing else.

What a transcript says is not believed: functions are looked up in a list, tensors are those that
came along, and everything that is counted is counted on what this module executes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from smidgen.errors import ModelError
from smidgen.network.aten import may_be_repeated
from smidgen.network.record import tensors_in
from smidgen.network.transcript import (
    BATCHES,
    Argument,
    Dtype,
    Enter,
    Kept,
    Leave,
    Made,
    MemoryFormat,
    Module,
    Program,
    Step,
    Transcript,
)

_DEEPEST = 100  # calls inside calls
_LISTS = {kind.__name__: kind for kind in (nn.ModuleList, nn.ModuleDict, nn.ParameterList)}


def rebuild(
    transcript: Transcript, tensors: Mapping[str, Tensor], counted: frozenset[str] = frozenset()
) -> nn.Module:
    """The network of a transcript and of its tensors by number, in eval mode.

    What is no parameter is a buffer, constants under the names `constant_NUMBER`; those `counted`
    become parameters too, and a constant of one number is neither. It takes the batches of
    `BATCHES` only. Raises ModelError for a transcript that does not make sense.
    """
    programs = _Programs({(each.training, each.images): each for each in transcript.programs})
    if programs.keys() != set(BATCHES):
        raise ModelError(f"the record holds batches {sorted(programs)}; it needs {list(BATCHES)}")
    first, *rest = transcript.modules
    if first.path or any(not module.path for module in rest):
        raise ModelError("the record does not begin with the network itself")
    root: _Network = _kind(first, _Network)(programs)
    for module in rest:
        _owner(root, module.path).add_module(module.path.rpartition(".")[2], _node(module))
    for state in transcript.state:
        is_parameter = state.parameter or state.name in counted
        _register(root, state.name, _tensor(tensors, state.kept), is_parameter, state.trainable)
    root._names = {state.kept: state.name for state in reversed(transcript.state)}
    for number in map(int, tensors.keys() - set(map(str, root._names))):
        if tensors[str(number)].numel() > 1:
            root._names[number] = name = f"constant_{number}"
            _register(root, name, tensors[str(number)], name in counted, trainable=False)
        else:  # a setting, as a Python number would be
            root._settings[number] = tensors[str(number)]
    return root.eval()


def _tensor(tensors: Mapping[str, Tensor], number: int) -> Tensor:
    if str(number) not in tensors:
        raise ModelError(f"the record names tensor {number}, which it does not hold")
    return tensors[str(number)]


def _owner(root: nn.Module, path: str) -> nn.Module:
    owner = root
    for part in path.split(".")[:-1]:
        found = owner._modules.get(part)
        if found is None:
            raise ModelError(f"the record has no module for {path[:100]!r}")
        owner = found
    return owner


def _register(root: nn.Module, name: str, tensor: Tensor, parameter: bool, trainable: bool) -> None:
    owner, last = _owner(root, name), name.rpartition(".")[2]
    if parameter:
        trainable = trainable and tensor.is_floating_point()
        owner.register_parameter(last, nn.Parameter(tensor.detach(), requires_grad=trainable))
    else:
        owner.register_buffer(last, tensor.detach())


def _kind(module: Module, base: type[nn.Module]) -> Any:
    """A class whose calls are shown under the name and the home of the module's own class."""
    home = "torch.nn.rebuilt" if module.builtin else "rebuilt"
    return type(module.kind or "Module", (base,), {"__module__": home})


def _node(module: Module) -> nn.Module:
    if module.builtin and module.kind in _LISTS:
        return _LISTS[module.kind]()
    made: nn.Module = _kind(module, _Node)()
    return made


class _Programs(dict[tuple[bool, int], Program]):
    """A program for each batch; copies of a network share them."""

    def __deepcopy__(self, _: object) -> _Programs:
        return self


class _Node(nn.Module):
    """A module whose call goes on with the program's steps, up to its return."""

    def forward(self, run: _Run) -> Any:
        return run.until_return()


class _Network(nn.Module):
    """The network itself, which has a program for each batch that it takes."""

    def __init__(self, programs: _Programs) -> None:
        super().__init__()
        self._programs = programs
        self._names: dict[int, str] = {}  # of the tensors, by number
        self._settings: dict[int, Tensor] = {}  # constants of one number

    def forward(self, images: Tensor) -> Any:
        program = self._programs.get((self.training, len(images)))
        if program is None:
            raise ModelError(f"the record holds no batch of {len(images)}")
        if program.failure:
            raise ModelError(program.failure)
        return _Run(self, program, images).until_return()


class _Run:
    """One forward pass through a program."""

    def __init__(self, network: _Network, program: Program, images: Tensor) -> None:
        self.modules = dict(network.named_modules())
        state = dict([*network.named_parameters(), *network.named_buffers()])
        self.kept: dict[int, Tensor | None] = dict(network._settings)
        self.kept |= {number: state.get(name) for number, name in network._names.items()}
        self.made = {0: images}
        self.steps: Iterator[Step | Enter | Leave] = iter(program.steps)
        self.depth = 0
        first = next(self.steps, None)
        if not isinstance(first, Enter) or first.enter:
            raise ModelError("the program does not begin with a call of the network")

    def until_return(self) -> Tensor | None:
        """Repeats the steps up to the return of the module that was entered last."""
        for step in self.steps:
            match step:
                case Step():
                    self._repeat(step)
                case Enter():
                    self._call(step.enter)
                case Leave():
                    return None if step.leave is None else self._read(step.leave)
        raise ModelError("the program ends inside of a call")

    def _call(self, path: str) -> None:
        module = self.modules.get(path)
        if not isinstance(module, _Node) or self.depth == _DEEPEST:
            raise ModelError(f"the program calls {path[:100]!r}, which cannot be called there")
        self.depth += 1
        module(self)
        self.depth -= 1

    def _repeat(self, step: Step) -> None:
        packet, _, overload = step.function.partition(".")
        if not may_be_repeated(packet):
            raise ModelError(f"the operation {step.function[:100]!r} cannot be graded")
        function = getattr(getattr(torch.ops.aten, packet, None), overload, None)
        if function is None:
            raise ModelError(f"PyTorch has no operation {step.function[:100]!r}")
        arguments = [self._value(item) for item in step.arguments]
        named = {name: self._value(item) for name, item in step.named.items()}
        with torch.set_grad_enabled(step.gradient and torch.is_grad_enabled()):
            made = tensors_in(function(*arguments, **named))
        # Some functions make more, or less, where a gradient will be asked for.
        self.made.update(zip(step.outputs, made, strict=False))

    def _value(self, item: Argument) -> Any:
        match item:
            case Made() | Kept():
                return self._read(item)
            case Dtype():
                return _of_torch(item.dtype, torch.dtype)
            case MemoryFormat():
                return _of_torch(item.memory_format, torch.memory_format)
            case list():
                return [self._value(part) for part in item]
        return item

    def _read(self, reference: Made | Kept) -> Tensor:
        if isinstance(reference, Made):
            number, tensor = reference.made, self.made.get(reference.made)
        else:
            number, tensor = reference.kept, self.kept.get(reference.kept)
        if tensor is None:
            raise ModelError(f"the program reads tensor {number} before it is there")
        return tensor


def _of_torch(name: str, kind: type) -> Any:
    found = getattr(torch, name, None)
    if not isinstance(found, kind):
        raise ModelError(f"PyTorch has no {kind.__name__} {name[:100]!r}")
    return found
