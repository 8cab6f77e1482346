"""Networks as plain data: a rebuilt one weighs and behaves as the one that it was written from."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from networks import EveryOperation, draw_weights, shared
from pydantic import ValidationError
from test_vocabulary import SAMPLES, Sample
from torch import Tensor, nn

from smidgen.anatomy import describe, probe
from smidgen.errors import ModelError
from smidgen.inputs import InputShape
from smidgen.network.rebuild import rebuild
from smidgen.network.scribe import transcribe
from smidgen.network.transcript import Transcript
from smidgen.zoo import create_model

SHAPE = InputShape(1, 28, 28)


def sent(model: nn.Module, shape: InputShape = SHAPE) -> nn.Module:
    """The network after its way through JSON."""
    document, tensors = transcribe(model, shape)
    return rebuild(Transcript.model_validate_json(json.dumps(document)), tensors)


def assert_the_same(model: nn.Module, shape: InputShape = SHAPE) -> None:
    twin = sent(model, shape)
    assert describe(twin, shape) == describe(model, shape)
    assert probe(twin, shape) == probe(model, shape)


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class Odd(nn.Module):
    """A layer, and a function of what it gives."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.names = nn.Linear(784, 10)
        self.never = nn.Linear(3, 3)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.names(x.flatten(1)))


def _noisy(self: Odd, x: Tensor) -> Tensor:
    return x + torch.rand_like(x)


def _without_gradient(self: Odd, x: Tensor) -> Tensor:
    with torch.no_grad():
        return x + 1


ODD = {
    "custom gradient": lambda self, x: Sign.apply(x),
    "detached": lambda self, x: x.detach() + x,
    "without gradient": _without_gradient,
    "random": _noisy,
    "batch written in": lambda self, x: x.view(2, 10) if self.training else x.view(-1, 10),
    "one image only": lambda self, x: x.view(10).unsqueeze(0),
    "not finite": lambda self, x: x.log(),
    "over the batch": lambda self, x: x.softmax(0),
    "in place": lambda self, x: x.relu_().mul_(2)[:, :5].add_(1),
    "frozen": lambda self, x: x @ torch.eye(10) + torch.tensor([0.5]),
}


@pytest.mark.parametrize("name", ["tiny_mnist", "skip_13k", "net", "smidgen_575"])
def test_models_of_the_zoo_are_the_same(name: str) -> None:
    assert_the_same(create_model(name))


def test_networks_of_many_operations_are_the_same() -> None:
    assert_the_same(draw_weights(EveryOperation()))
    assert_the_same(shared(4, 2))
    tied = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64), nn.LazyLinear(10))
    tied[2].weight = tied[1].weight
    nn.utils.parametrizations.weight_norm(tied[1])
    assert_the_same(tied, InputShape(1, 8, 8))
    assert_the_same(create_model("smidgen_cifar_25k"), InputShape(3, 32, 32))


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_every_operation_of_the_vocabulary_is_the_same(kind: type) -> None:
    assert_the_same(Sample(SAMPLES[kind]), InputShape(1, 12, 11))


@pytest.mark.parametrize("name", ODD)
def test_what_a_network_does_wrong_it_does_wrong_again(name: str) -> None:
    assert_the_same(Odd(ODD[name]))


def test_numbers_from_elsewhere_that_change_are_refused() -> None:
    numbers = iter(range(1000))

    def odd(self: Odd, x: Tensor) -> Tensor:
        return x[:, :1] + torch.from_numpy(np.full((1, 90), next(numbers), np.float32))

    with pytest.raises(ModelError, match="change from call to call and that PyTorch has not"):
        transcribe(Odd(odd), SHAPE)


def _edit(document: dict[str, Any], edit: str) -> None:
    steps = document["programs"][0]["steps"]
    operations = [step for step in steps if "function" in step]
    match edit:
        case "file":
            operations[0] |= {"function": "from_file.default", "arguments": ["/etc/passwd"]}
        case "private":
            operations[0]["function"] = "_embedding_bag.default"
        case "unknown":
            operations[0]["function"] = "no_such_thing.default"
        case "attribute":
            operations[0]["function"] = "__class__.__base__"
        case "later tensor":
            operations[0]["arguments"][0] = {"made": 99}
        case "no tensor":
            document["state"][0]["kept"] = 10**9
        case "no end":
            steps.pop()
        case "no begin":
            steps.pop(0)
        case "calls itself":
            steps.insert(1, {"enter": ""})
        case "no batch":
            document["programs"].pop()
        case "no module":
            document["state"][0]["name"] = "nowhere.weight"
        case "type":
            operations[0]["arguments"].append({"dtype": "load"})


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ("file", "'from_file.default' cannot be graded"),
        ("private", "'_embedding_bag.default' cannot be graded"),
        ("unknown", "no operation 'no_such_thing.default'"),
        ("attribute", "'__class__.__base__' cannot be graded"),
        ("later tensor", "reads tensor 99 before it is there"),
        ("no tensor", "names tensor 1000000000"),
        ("no end", "ends inside of a call"),
        ("no begin", "does not begin with a call"),
        ("calls itself", "calls '', which cannot be called there"),
        ("no batch", "it needs"),
        ("no module", "no module for 'nowhere.weight'"),
        ("type", "no dtype 'load'"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(edit: str, said: str) -> None:
    document, tensors = transcribe(Odd(ODD["in place"]), SHAPE)
    _edit(document, edit)
    with pytest.raises(ModelError, match=said):
        describe(rebuild(Transcript.model_validate(document), tensors), SHAPE)


@pytest.mark.parametrize("key", ["input", "modules", "state", "programs"])
def test_a_record_of_other_types_is_refused(key: str) -> None:
    document, _ = transcribe(nn.Flatten(), SHAPE)
    for wrong in (None, "x", [[]], {"a": 1}, [{"steps": [{"enter": 3}]}]):
        with pytest.raises(ValidationError, match=key):
            Transcript.model_validate(document | {key: wrong})
