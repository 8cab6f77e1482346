"""SOAP, over the whole network at once where it is small.

Adam in the eigenbasis of the gradients' covariance (Vyas et al. 2024, arXiv:2409.11321). For a
matrix of weights that covariance is approximated by the Kronecker product of two, of its rows and
of its columns. A network of up to `WHOLE` parameters can afford the exact one: all its parameters
are treated as a single column, so that shared weights, norms and biases are whitened together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from smidgen.recipe import Soap
from smidgen.train.flat import views

WHOLE = 2000  # parameters; two matrices of 16 MB each
DECAY = 0.999  # of the running means of the covariances
FREQUENCY = 500  # steps from one eigenbasis to the next; Adam until the first
# Kept for each matrix (m, n): moments (m, n), covariances (m, m) and (n, n), their eigenvectors.
NAMES = ("exp_avg", "exp_avg_sq", "row_covariance", "column_covariance", "rows", "columns")


def step_soap(
    parameters: Tensor,
    gradient: Tensor,
    tensors: list[Tensor],
    state: dict[str, Tensor],
    lr: float,
    settings: Soap,
) -> None:
    """Moves a flat vector of parameters, (n,), against its gradient.

    `tensors` are the parameters in order, as they are shaped. What the next step needs is kept in
    `state`, which is empty before the first.
    """
    blocks = tensors if parameters.numel() > WHOLE else [parameters]
    if not state:
        state["step"] = torch.tensor(0.0)
        for i, tensor in enumerate(blocks):
            initial = _initial_state(_matrix(tensor))
            state |= {f"{name}.{i}": kept for name, kept in initial.items()}
    state["step"] += 1
    step, beta1, beta2 = int(state["step"]), settings.beta1, settings.beta2
    update = torch.empty_like(parameters)
    changes, gradients = (views(blocks, flat) for flat in (update, gradient))
    for i, (change, part) in enumerate(zip(changes, gradients, strict=True)):
        kept = {name: state[f"{name}.{i}"] for name in NAMES}
        _update_covariances(kept, _matrix(part))
        if step % FREQUENCY == 0:
            _rotate_moments(kept)
        rotated = kept["rows"].T @ _matrix(part) @ kept["columns"]
        mean = kept["exp_avg"].lerp_(rotated, 1 - beta1) / (1 - beta1**step)
        square = kept["exp_avg_sq"].lerp_(rotated.square(), 1 - beta2) / (1 - beta2**step)
        adam = mean / (square.sqrt() + settings.eps)
        change.copy_((kept["rows"] @ adam @ kept["columns"].T).view(change.shape))
    parameters.mul_(1 - lr * settings.weight_decay).sub_(update, alpha=lr)


def _matrix(tensor: Tensor) -> Tensor:
    """One row for each output; a vector is a column."""
    return tensor.reshape(len(tensor), -1)


def _initial_state(matrix: Tensor) -> dict[str, Tensor]:
    """`NAMES` before the first gradient: zeros, and the axes (m, m) and (n, n) as they are."""
    m, n = matrix.shape
    zeros = matrix.detach().new_zeros
    shapes = ((m, n), (m, n), (m, m), (n, n), (m, m), (n, n))
    kept = {name: zeros(shape) for name, shape in zip(NAMES, shapes, strict=True)}
    kept["rows"].fill_diagonal_(1)
    kept["columns"].fill_diagonal_(1)
    return kept


def _update_covariances(kept: dict[str, Tensor], gradient: Tensor) -> None:
    kept["row_covariance"].addmm_(gradient, gradient.T, beta=DECAY, alpha=1 - DECAY)
    kept["column_covariance"].addmm_(gradient.T, gradient, beta=DECAY, alpha=1 - DECAY)


def _rotate_moments(kept: dict[str, Tensor]) -> None:
    """Rotates the moments into the eigenbases of the covariances as they are now.

    The mean is rotated exactly. The squares are known along the old axes only, and are rotated as
    if the gradient had no covariance between two of these. A covariance that is no longer finite
    has no eigenbasis; the training is stopped soon after, for its loss.
    """
    covariances = kept["row_covariance"], kept["column_covariance"]
    if not all(covariance.isfinite().all() for covariance in covariances):
        return
    rows, columns = (torch.linalg.eigh(covariance).eigenvectors for covariance in covariances)
    left, right = rows.T @ kept["rows"], kept["columns"].T @ columns
    kept["exp_avg"].copy_(left @ kept["exp_avg"] @ right)
    kept["exp_avg_sq"].copy_(left.square() @ kept["exp_avg_sq"] @ right.square())
    kept["rows"].copy_(rows)
    kept["columns"].copy_(columns)
