"""The optimisers, over the one flat vector of a network's parameters.

torch computes the steps of SGD and Adam. They are asked for as functions, since torch's optimiser
classes import its compiler, which takes longer than a short training's first epoch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from smidgen.recipe import SGD, Adam, Soap
from smidgen.train.flat import FlatParameters, trainable
from smidgen.train.soap import step_soap


class Optimizer:
    """Moves a network's parameters; `state` is what it keeps from step to step, by name."""

    def __init__(self, weights: FlatParameters, settings: SGD | Adam | Soap) -> None:
        self.parameters, self.settings = weights.parameters, settings
        self.tensors = trainable(weights.module)
        self.state: dict[str, Tensor] = {}

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Moves the parameters against their gradient, which they hold."""
        parameters, gradient = self.parameters.detach(), self.parameters.grad
        assert gradient is not None
        match self.settings:
            case SGD() as settings:
                _step_sgd(parameters, gradient, self.state, lr, settings)
            case Adam() as settings:
                _step_adam(parameters, gradient, self.state, lr, settings)
            case settings:
                step_soap(parameters, gradient, self.tensors, self.state, lr, settings)

    def load(self, state: dict[str, Tensor]) -> None:
        """Goes on from the state of an optimiser of the same settings."""
        self.state = {name: kept.to(self.parameters.device) for name, kept in state.items()}


def _step_sgd(
    parameters: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: float, settings: SGD
) -> None:
    buffers = [state.get("momentum_buffer")]
    sgd(
        [parameters], [gradient], buffers, fused=True, lr=lr, momentum=settings.momentum,
        nesterov=settings.nesterov, weight_decay=settings.weight_decay, dampening=0, maximize=False,
    )  # fmt: skip
    if buffers[0] is not None:
        state["momentum_buffer"] = buffers[0]


def _step_adam(
    parameters: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: float, settings: Adam
) -> None:
    if not state:
        state["step"] = torch.zeros((), device=parameters.device)
        state["exp_avg"] = torch.zeros_like(parameters)
        state["exp_avg_sq"] = torch.zeros_like(parameters)
    adam(
        [parameters], [gradient], [state["exp_avg"]], [state["exp_avg_sq"]], [], [state["step"]],
        fused=True, amsgrad=False, maximize=False, lr=lr, beta1=settings.beta1,
        beta2=settings.beta2, eps=settings.eps, weight_decay=settings.weight_decay,
        decoupled_weight_decay=settings.name == "adamw",
    )  # fmt: skip
