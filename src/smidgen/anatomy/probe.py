"""How a network behaves, measured: finite at every batch size, the same for every batch, alive."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smidgen.errors import ModelError
from smidgen.inputs import InputShape
from smidgen.network import forward, guess_input, noise, one_thread_per_operator, private_copy

EVAL_BATCHES = (1, 2, 16)
TRAIN_BATCHES = (2, 16)  # batch norm over a single value has no variance to train with
_TOLERANCE = 1e-4  # relative; batch sizes choose different kernels, which round differently


@dataclass(frozen=True)
class Behaviour:
    """What a network did with noise and one blank image, in batches, in eval and train mode.

    `reads_as` says what the outputs are: "logits", "probabilities", "log-probabilities", or
    "probabilities over the batch", which is a softmax along the wrong dimension.
    """

    output_shapes: dict[int, tuple[int, ...]]  # by batch size, in eval mode
    failures: tuple[str, ...]  # batches that the forward or the backward pass failed on
    not_finite: tuple[str, ...]  # where a NaN or an infinity came out
    without_gradient: tuple[str, ...]  # trainable parameters that no loss reaches, if none failed
    reads_as: str
    depends_on_batch: float  # how far an image's output moves with its neighbours, in eval mode
    varies_in_eval: bool  # whether the same images give different outputs


@one_thread_per_operator()
def probe(model: nn.Module, input_shape: InputShape | None = None) -> Behaviour:
    """How the network behaves on a few batches of noise. The model itself is left as it is.

    Without an `input_shape` it is guessed. Raises ModelError where it fails on a single image.
    """
    input_shape = input_shape or guess_input(model)
    failures: list[str] = []
    not_finite: list[str] = []
    reached: set[str] = set()
    for mode, sizes in (("eval", EVAL_BATCHES), ("train", TRAIN_BATCHES)):
        for size in sizes:
            copy = private_copy(model, input_shape).train(mode == "train")
            place = f"{mode} mode, batch of {size}"
            try:
                not_finite += [f"{what} in {place}" for what in _step(copy, size, input_shape)]
            except ModelError as problem:
                failures.append(f"{place}: {problem.__cause__ or problem}".splitlines()[0])
            reached |= {name for name, p in copy.named_parameters() if p.grad is not None}
    still = private_copy(model, input_shape).eval()
    with torch.no_grad():
        shapes, depends, reads_as = _outputs(still, input_shape)
        first, second = (forward(still, noise(1, input_shape), seed=seed) for seed in (0, 1))
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    return Behaviour(
        output_shapes=shapes,
        failures=tuple(failures),
        not_finite=tuple(not_finite),
        without_gradient=tuple(n for n in trainable if n not in reached and not failures),
        reads_as=reads_as,
        depends_on_batch=depends,
        varies_in_eval=_distance(first, second) > _TOLERANCE,
    )


def _images(count: int, input_shape: InputShape) -> Tensor:
    """Noise, and last of all a blank image, on which a division by the contrast fails."""
    images = noise(count, input_shape)
    if count > 1:
        images[-1] = 0
    return images


def _step(model: nn.Module, size: int, input_shape: InputShape) -> list[str]:
    """What was not finite in one forward and backward pass: "outputs" or "gradients"."""
    output = forward(model, _images(size, input_shape))
    if not output.isfinite().all():
        return ["outputs"]
    try:
        _loss(output).backward()
    except RuntimeError as problem:
        raise ModelError(f"no gradient: {problem}") from problem
    gradients = (p.grad for p in model.parameters() if p.grad is not None)
    return [] if all(g.isfinite().all() for g in gradients) else ["gradients"]


def _loss(output: Tensor) -> Tensor:
    if output.dim() != 2:
        return output.square().mean()
    return F.cross_entropy(output, torch.arange(len(output)) % output.shape[1])


def _outputs(
    model: nn.Module, input_shape: InputShape
) -> tuple[dict[int, tuple[int, ...]], float, str]:
    """The output shapes by batch size, how an image's output depends on the batch, what it is."""
    shapes: dict[int, tuple[int, ...]] = {}
    images = _images(max(EVAL_BATCHES), input_shape)
    alone = forward(model, images[:1])
    depends, output = 0.0, alone
    for size in EVAL_BATCHES:
        try:
            output = forward(model, images[:size])
        except ModelError:
            continue  # `probe` has noted the failure
        shapes[size] = tuple(output.shape)
        if len(output) == size:
            depends = max(depends, _distance(output[:1], alone))
    return shapes, depends if depends > _TOLERANCE else 0.0, _reads_as(output)


def _distance(one: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest value; outputs of other sizes have none."""
    if one.numel() != other.numel():
        return 0.0
    scale = float(other.abs().max()) or 1.0
    return float((one.flatten() - other.flatten()).abs().max()) / scale


def _reads_as(output: Tensor) -> str:
    if output.dim() != 2:
        return "logits"
    for name, values in (("probabilities", output), ("log-probabilities", output.exp())):
        if bool((values >= 0).all()) and bool((values <= 1 + _TOLERANCE).all()):
            if _sums_to_one(values, 1):
                return name
            if len(values) > 1 and _sums_to_one(values, 0):
                return "probabilities over the batch"
    return "logits"


def _sums_to_one(values: Tensor, dim: int) -> bool:
    return bool(((values.sum(dim) - 1).abs() < _TOLERANCE).all())
