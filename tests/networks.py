"""Small networks for the tests of quantisation and export, their weights drawn from a seed."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EveryOperation(nn.Module):
    """Stride, a shared depthwise block with batch norms of its own, a learned scalar, a sum, a gate
    for each channel, a product, a concatenation, both kinds of pools, groups, dilation, and a
    function that is no ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
        self.pointwise = nn.Conv2d(6, 6, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6) for _ in range(2))
        self.share = nn.Parameter(torch.tensor(0.7))
        self.act = nn.Hardswish()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 6, 1), nn.Sigmoid())
        self.max_pool = nn.MaxPool2d(2)
        self.average_pool = nn.AvgPool2d(2)
        self.grouped = nn.Conv2d(12, 8, 3, padding=2, dilation=2, groups=2)
        self.late_norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(x)))  # (N, 6, 14, 14)
        for norm in self.norms:
            x = x + self.share * torch.relu(norm(self.pointwise(self.depthwise(x))))
        x = x * self.gate(x)
        x = x + 0.1 * x * x
        x = torch.cat([self.max_pool(x), self.average_pool(x)], dim=1)  # (N, 12, 7, 7)
        x = self.late_norm(torch.relu(self.grouped(x)))
        return self.head(x.mean(dim=(2, 3)))


class Shared(nn.Module):
    """A separable block applied `n` times, each time with a batch norm of its own, and added to
    what it read; halfway the map is pooled."""

    def __init__(self, channels: int, n: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(n))

    def forward(self, x: Tensor) -> Tensor:
        for i, norm in enumerate(self.norms):
            if i == len(self.norms) // 2:
                x = nn.functional.max_pool2d(x, 2)
            x = x + torch.relu(norm(self.pointwise(self.depthwise(x))))
        return x


def shared(channels: int = 16, n: int = 5) -> nn.Module:
    """A network of about a thousand parameters, most of its weights used `n` times."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.Conv2d(8, channels, 1, bias=False),
        nn.BatchNorm2d(channels), nn.ReLU(), Shared(channels, n),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10),
    )  # fmt: skip


def draw_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """The module in eval mode, with weights, biases and batch-norm statistics drawn from a seed.

    Some batch norms have a negative gain, as trained ones may.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                fan = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan**0.5)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                size = module.bias.shape
                module.bias.copy_(0.1 * torch.randn(size, generator=generator))
            if isinstance(module, nn.BatchNorm2d):
                size = module.running_mean.shape
                module.running_mean.copy_(0.2 * torch.randn(size, generator=generator))
                module.running_var.copy_(0.5 + torch.rand(size, generator=generator))
                if module.weight is not None:
                    module.weight.copy_(1.5 * torch.rand(size, generator=generator) - 0.3)
                module.bias.copy_(0.3 * torch.randn(size, generator=generator))
    return model.eval()


def images(count: int, seed: int = 0, shape: tuple[int, int, int] = (1, 28, 28)) -> Tensor:
    """uint8 images (N, C, H, W): half of them noise, half of them smooth blobs."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(count, *shape, generator=generator)
    coarse = torch.rand(count, shape[0], 4, 4, generator=generator)
    blobs = nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear")
    blobs = (3 * blobs - 1.5).clamp(0, 1)
    is_noise = (torch.arange(count) % 2 == 0)[:, None, None, None]
    return (255 * torch.where(is_noise, noise, blobs)).to(torch.uint8)
