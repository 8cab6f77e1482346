"""SOAP, over the whole network at once where it is small.

Adam in the eigenbasis of the gradients' covariance (Vyas et al. 2024, arXiv:2409.11321). A matrix
of weights keeps one covariance for its rows and one for its columns, whose product stands for that
of its weights. A network of up to `WHOLE` parameters can afford the real one: it is taken for a
single column, so that shared weights, norms and biases are whitened together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from smidgen.train.flat import views

WHOLE = 2000  # parameters; two matrices of 16 MB each
DECAY = 0.999  # of the running means of the covariances
FREQUENCY = 500  # steps from one eigenbasis to the next; Adam until the first
# Kept for each matrix (m, n): moments (m, n), covariances (m, m) and (n, n), their eigenvectors.
NAMES = ("exp_avg", "exp_avg_sq", "row_covariance", "column_covariance", "rows", "columns")


class Soap(torch.optim.Optimizer):
    """SOAP over a flat vector of parameters, (n,), which `tensors` are windows on, in order.

    `betas`, `eps` and the decoupled `weight_decay` are AdamW's.
    """

    def __init__(
        self,
        parameters: Tensor,
        tensors: list[Tensor],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__([parameters], defaults)
        self.tensors = tensors if parameters.numel() > WHOLE else [parameters.detach()]

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure: the gradient is there
        """Moves the parameters against their gradient."""
        group = self.param_groups[0]
        parameters, (beta1, beta2) = group["params"][0], group["betas"]
        state = self.state[parameters]
        if not state:
            state["step"] = torch.tensor(0.0)
            for i, tensor in enumerate(self.tensors):
                state |= {f"{name}.{i}": kept for name, kept in _start(_matrix(tensor)).items()}
        state["step"] += 1
        step, update = int(state["step"]), torch.empty_like(parameters)
        changes, gradients = (views(self.tensors, flat) for flat in (update, parameters.grad))
        for i, (change, gradient) in enumerate(zip(changes, gradients, strict=True)):
            kept = {name: state[f"{name}.{i}"] for name in NAMES}
            _follow(kept, _matrix(gradient))
            if step % FREQUENCY == 0:
                _turn(kept)
            turned = kept["rows"].T @ _matrix(gradient) @ kept["columns"]
            mean = kept["exp_avg"].lerp_(turned, 1 - beta1) / (1 - beta1**step)
            square = kept["exp_avg_sq"].lerp_(turned.square(), 1 - beta2) / (1 - beta2**step)
            adam = mean / (square.sqrt() + group["eps"])
            change.copy_((kept["rows"] @ adam @ kept["columns"].T).view(change.shape))
        parameters.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])


def _matrix(tensor: Tensor) -> Tensor:
    """One row for each output; a vector is a column."""
    return tensor.reshape(len(tensor), -1)


def _start(matrix: Tensor) -> dict[str, Tensor]:
    """`NAMES` before the first gradient: zeros, and the axes (m, m) and (n, n) as they are."""
    m, n = matrix.shape
    zeros = matrix.detach().new_zeros
    shapes = ((m, n), (m, n), (m, m), (n, n), (m, m), (n, n))
    kept = {name: zeros(shape) for name, shape in zip(NAMES, shapes, strict=True)}
    kept["rows"].fill_diagonal_(1)
    kept["columns"].fill_diagonal_(1)
    return kept


def _follow(kept: dict[str, Tensor], gradient: Tensor) -> None:
    kept["row_covariance"].addmm_(gradient, gradient.T, beta=DECAY, alpha=1 - DECAY)
    kept["column_covariance"].addmm_(gradient.T, gradient, beta=DECAY, alpha=1 - DECAY)


def _turn(kept: dict[str, Tensor]) -> None:
    """Turns the moments into the covariances' present eigenbases.

    The mean turns with them. Of the squares only those along the old axes are known, so that they
    are carried over as if the gradient had no covariance between two of these. A covariance that
    is no longer finite has no basis, and its training will be stopped for it.
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
