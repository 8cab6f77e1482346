"""Judges: rebuilds the networks that submissions send, and weighs them.

No code of a submission runs here. The limits are those of a submission all the same, because a
network can be as large and as slow as its author likes.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from smidgen.anatomy import describe, probe
from smidgen.budget import Budget, judge
from smidgen.errors import ModelError, SmidgenError
from smidgen.grade.answers import Recorded, named, one_line, pack, unpack, write_answer
from smidgen.grade.sandbox import limit
from smidgen.inputs import InputShape
from smidgen.network import Record, noise, private_copy, record
from smidgen.network.operations import BatchNorm
from smidgen.network.rebuild import rebuild
from smidgen.network.transcript import BATCHES, Transcript


def judge_record(job: dict[str, Any], answer: int, file: int) -> None:
    """Judges the record in a file, in a process of its own, into a pipe."""
    with open(file, "rb") as opened:
        record = opened.read()
    limit(job, answer)
    try:
        document = judge_answer(record, job)
    except BaseException as problem:  # too little memory, too deep a recursion
        document = _failed(named(problem))
    write_answer(answer, pack(document))


def judge_answer(answer: bytes, job: dict[str, Any]) -> dict[str, Any]:
    """The document of a `Judged`, whatever the answer is."""
    try:
        text, tensors = unpack(answer)
        recorded = Recorded.model_validate_json(text)
    except Exception as problem:
        detail = problem.errors()[0]["msg"] if isinstance(problem, ValidationError) else ""
        return _failed(f"its process sent no record of a network: {detail or named(problem)}")
    if recorded.network is None:
        status = "forked" if recorded.status == "forked" else "error"
        note = recorded.note or "its process sent no network"
        return _failed(note, recorded.missing) | {"status": status}
    try:
        return _judge(recorded, recorded.network, tensors, job)
    except SmidgenError as problem:
        return _failed(str(problem), recorded.missing)
    except Exception as problem:
        return _failed(named(problem), recorded.missing)


def _failed(note: str, missing: list[str] | None = None) -> dict[str, Any]:
    notes = [one_line(note), *_stood_in(missing or [])]
    return {"status": "error", "note": "; ".join(notes), "figures": {}, "rules": []}


def _stood_in(missing: list[str]) -> list[str]:
    names = one_line(", ".join(missing))
    return [f"not installed, empty modules stood in: {names}"] if missing else []


def _judge(
    recorded: Recorded, network: Transcript, tensors: dict[str, Tensor], job: dict[str, Any]
) -> dict[str, Any]:
    shape = InputShape.of(network.input)
    if job["input"] and list(shape) != job["input"]:
        raise ModelError(f"the record is of images of {shape}")
    undeclared = _undeclared(rebuild(network, tensors), shape)
    model = rebuild(network, tensors, counted=undeclared)
    anatomy = describe(model, shape, recorded.name)
    budget = Budget.model_validate_json(job["budget"])
    if job["is_trained"] and recorded.classes and "classes" not in budget.model_fields_set:
        budget = budget.model_copy(update={"classes": recorded.classes})
    training = recorded.training if job["is_trained"] else None
    verdict = judge(budget, anatomy, probe(model, shape), training).to_dict()
    notes = [*filter(None, [one_line(recorded.left_out)]), *_stood_in(recorded.missing)]
    if undeclared:
        names = ", ".join(sorted(undeclared))
        notes.append(one_line(f"counted as parameters, though not declared as such: {names}"))
    if not job["input"] and shape != (1, 28, 28):
        notes.append(f"for images of {shape}")
    return {
        "status": "passed" if verdict["passed"] else "failed",
        "note": "; ".join(notes),
        "figures": {
            "params": anatomy.params,
            "macs": anatomy.macs,
            "receptive_field": anatomy.receptive_field,
        },
        "rules": verdict["rules"],
    }


def _undeclared(model: nn.Module, shape: InputShape) -> frozenset[str]:
    """The buffers and constants of more than one number that the network computes with.

    Whether they were learned cannot be known, so they count as parameters. The statistics of a
    batch norm do not. Raises ModelError where the output does not depend on the images, or another
    batch is computed with other numbers.
    """
    single = _record(model, shape, 1)
    assert single.output is not None
    if not single.output.flows:
        raise ModelError(
            "its output is not computed from the images by operations of PyTorch; "
            "a network that uses numpy or .item() for that cannot be graded"
        )
    read = _numbers_read(single)
    for images in (images for training, images in BATCHES[1:] if not training):
        try:
            more = _numbers_read(_record(model, shape, images)) - read
        except ModelError:
            continue  # `probe` says that
        if more:
            raise ModelError(f"a batch of {images} reads other numbers than one image does")
    return frozenset(name for name in read if single.buffers.get(name, 0) > 1)


def _record(model: nn.Module, shape: InputShape, images: int) -> Record:
    return record(private_copy(model, shape), noise(images, shape))


def _numbers_read(single: Record) -> set[str]:
    """The state that flowing operations read, except for a batch norm's statistics."""
    read = set()
    for op in single.flowing:
        values = [op.input, op.weight, op.bias] if isinstance(op, BatchNorm) else op.inputs
        read |= {name for value in values if value for name in value.state}
    return read
