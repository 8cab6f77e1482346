"""SOAP over all parameters at once: what a network of a thousand of them can afford.

Adam in the eigenbasis of the gradients' covariance (Vyas et al. 2024, arXiv:2409.11321). Where
others keep a Kronecker product for each layer, here is the whole n × n matrix: layers that share
their weights, norms and biases are whitened together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from smidgen.errors import RecipeError

COVARIANCE_DECAY = 0.999  # of the running mean of the gradients' outer products
FREQUENCY = 500  # steps from one eigenbasis to the next; Adam until the first
MOST = 5000  # parameters; two matrices of 100 MB each


class Soap(torch.optim.Optimizer):
    """SOAP over one vector of n parameters: 2 n² floats of state; weight decay as AdamW's.

    Raises RecipeError for more than `MOST` parameters.
    """

    def __init__(
        self,
        parameters: Tensor,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        if parameters.numel() > MOST:
            raise RecipeError(
                f"optimizer.name = 'soap' keeps n × n numbers: {parameters.numel():,} parameters "
                f"are too many, {MOST:,} are allowed; choose sgd, adam or adamw"
            )
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__([parameters], defaults)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure: the gradient is there
        """Moves the parameters against their gradient."""
        group = self.param_groups[0]
        parameters = group["params"][0]
        state = self.state[parameters]
        if not state:
            state.update(_start(parameters))
        state["step"] += 1
        step, (beta1, beta2) = int(state["step"]), group["betas"]
        gradient = parameters.grad
        covariance = state["covariance"].mul_(COVARIANCE_DECAY)
        covariance.addr_(gradient, gradient, alpha=1 - COVARIANCE_DECAY)
        if step % FREQUENCY == 0:
            _turn(state)
        turned = state["basis"].T @ gradient
        mean = state["exp_avg"].lerp_(turned, 1 - beta1) / (1 - beta1**step)
        square = state["exp_avg_sq"].lerp_(turned.square(), 1 - beta2) / (1 - beta2**step)
        update = state["basis"] @ (mean / (square.sqrt() + group["eps"]))
        parameters.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])


def _start(parameters: Tensor) -> dict[str, Tensor]:
    n = parameters.numel()
    return {
        "step": torch.tensor(0.0),
        "exp_avg": parameters.new_zeros(n),
        "exp_avg_sq": parameters.new_zeros(n),
        "covariance": parameters.new_zeros(n, n),
        "basis": torch.eye(n, dtype=parameters.dtype, device=parameters.device),
    }


def _turn(state: dict[str, Any]) -> None:
    """Turns the moments into the covariance's present eigenbasis.

    The mean turns with it. Of the squares only those along the old axes are known, so that they
    are carried over as if the gradient had no covariance between two of these. A covariance that
    is no longer finite has no basis, and a training that will be stopped for it.
    """
    if not state["covariance"].isfinite().all():
        return
    basis = torch.linalg.eigh(state["covariance"]).eigenvectors.contiguous()
    turn = basis.T @ state["basis"]
    state["exp_avg"] = turn @ state["exp_avg"]
    state["exp_avg_sq"] = turn.square() @ state["exp_avg_sq"]
    state["basis"] = basis
