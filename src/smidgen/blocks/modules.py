"""The modules that a network of a file is made of, beside torch's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

NEGATIVE_SLOPE = 0.1  # of leaky ReLUs

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(NEGATIVE_SLOPE),
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "none": nn.Identity,
}


class Residual(nn.Module):
    """activation(x + body(x)); the body keeps the shape."""

    def __init__(self, body: nn.Sequential, activation: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(x + self.body(x))
        return y


class Repeated(nn.Module):
    """One body applied again and again, each time with a norm of its own and an activation."""

    def __init__(
        self, kind: str, body: nn.Module, norms: Sequence[nn.Module], activation: nn.Module
    ) -> None:
        super().__init__()
        self.kind = kind
        self.add_module(kind, body)
        self.norms = nn.ModuleList(norms)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        body = getattr(self, self.kind)
        for norm in self.norms:
            x = self.activation(norm(body(x)))
        return x


def gainless_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm without a gain, which the convolution that follows can hold as well."""
    norm = nn.BatchNorm2d(channels)
    norm.register_parameter("weight", None)
    return norm
