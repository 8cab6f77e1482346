"""How a network is quantised: a grid for every tensor, a step for every output channel's weights,
and the multipliers that lead from one grid to the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from smidgen.quantize import float_graph as FG

SAMPLE = 2**17  # values of a tensor that its grid is fitted to
MULTIPLIER_LIMIT = 127  # one byte; what it rounds away is taken into the weights' steps


@dataclass(frozen=True)
class Grid:
    """The numbers a tensor can hold: scale * (q - zero) for q = 0…255."""

    scale: float
    zero: float = 0.0

    def round(self, x: Tensor) -> Tensor:
        """The nearest number of the grid to each of x; the gradient passes where x is in range.

        Of a grid whose `zero` is a whole number, as all have but an image's.
        """
        inside = F.hardtanh(x, -self.zero * self.scale, (255 - self.zero) * self.scale)
        nearest = (inside.detach() / self.scale).round_().mul_(self.scale)
        return inside + (nearest - inside).detach()


@dataclass(frozen=True, eq=False)
class Steps:
    """Quantised weights are step * integer, |integer| <= limit; step is (O, 1, 1, 1)."""

    step: Tensor
    bits: int

    @property
    def limit(self) -> int:
        """127, 7 or 1: the range is symmetric, so two bits are ternary."""
        return int(2 ** (self.bits - 1) - 1)

    def integers(self, weight: Tensor) -> Tensor:
        return (weight / self.step).round().clamp(-self.limit, self.limit)

    def round(self, weight: Tensor) -> Tensor:
        """The quantised weights; the gradient passes as if they were not."""
        return weight + (self.integers(weight) * self.step - weight).detach()


@dataclass(eq=False)
class Scheme:
    """The grid of every layer's output, and for every convolution its steps and multipliers.

    The accumulator times `multipliers[conv]`, shifted right by `shifts[conv]`, is on the grid of
    its output but for the bias. Convolutions that share a weight have the same Steps.
    """

    grids: dict[FG.Node, Grid] = field(default_factory=dict)
    steps: dict[FG.Conv, Steps] = field(default_factory=dict)
    multipliers: dict[FG.Conv, Tensor] = field(default_factory=dict)
    shifts: dict[FG.Conv, int] = field(default_factory=dict)


def calibrate(layers: Sequence[FG.Node], images: Tensor, image_grid: Grid, bits: int) -> Scheme:
    """The scheme that rounds the network least on normalised images (N, C, H, W).

    The first and the last convolution keep 8 bits; they are small, and every answer goes through
    them. Where convolutions share a weight their gains become those that the multipliers give.
    """
    scheme = Scheme()
    with torch.no_grad():
        outputs = FG.forward(layers, images)
    convs = [layer for layer in layers if isinstance(layer, FG.Conv)]
    users: dict[int, list[FG.Conv]] = {}  # of each weight
    for conv in convs:
        users.setdefault(id(conv.weight), []).append(conv)
        width = 8 if conv in (convs[0], convs[-1]) else bits
        first = users[id(conv.weight)][0]
        scheme.steps[conv] = scheme.steps.get(first) or fit_steps(conv.weight, width)
    for layer in layers:
        if isinstance(layer, FG.Image):
            scheme.grids[layer] = image_grid
        elif layer is layers[-1]:
            scheme.grids[layer] = _logit_grid(layer, scheme)
        elif isinstance(layer, FG.MaxPool):
            scheme.grids[layer] = scheme.grids[layer.inputs[0]]
        else:
            scheme.grids[layer] = fit_grid(outputs[layer], _read_through(layer, layers))
        if isinstance(layer, FG.AveragePool) and layer is not layers[-1]:
            scheme.grids[layer] = _average_grid(layer, scheme)
    for sharing in users.values():
        _fit_multipliers(sharing, scheme, last=layers[-1])
    return scheme


def _read_through(layer: FG.Node, layers: Sequence[FG.Node]) -> Callable[[Tensor], Tensor]:
    """The function through which alone a layer's output is seen, at once or after a max pool."""
    readers = [other for other in layers if layer in other.inputs]
    match readers:
        case [FG.MaxPool() as pool]:
            return _read_through(pool, layers)
        case [FG.Function() as seen]:
            return seen.function
    return lambda x: x


def fit_grid(values: Tensor, function: Callable[[Tensor], Tensor] = lambda x: x) -> Grid:
    """The grid with the least mean squared error of a function of the values; zero is one of its
    numbers.

    It may be narrower than the values, whose rare extremes are then clamped.
    """
    flat = values.flatten()
    flat = flat[:: -(-flat.numel() // SAMPLE)]
    low, high = min(flat.min().item(), 0.0), max(flat.max().item(), 0.0)
    if low == high:
        return Grid(1.0)
    exact = function(flat)

    def error(grid: Grid) -> float:
        return (function(grid.round(flat)) - exact).square().mean().item()

    shares = [1.0 - 0.025 * i for i in range(40)]
    highs = [_grid_between(low, high * share) for share in shares] if high > 0 else []
    best = min(highs or [_grid_between(low, high)], key=error)
    if low < 0:
        top = best.scale * (255 - best.zero)
        lows = [_grid_between(low * share, top) for share in shares]
        best = min(lows, key=error)
    return best


def _grid_between(low: float, high: float) -> Grid:
    scale = (high - low) / 255
    return Grid(scale, float(round(-low / scale)))


def fit_steps(weight: Tensor, bits: int) -> Steps:
    """The steps, one per output channel, with the least squared error over its weights."""
    weight = weight.detach()
    limit = 2 ** (bits - 1) - 1
    largest = weight.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    best, least = largest / limit, torch.full_like(largest, torch.inf)
    for share in torch.linspace(0.3, 1.0, 57).tolist():
        steps = Steps(largest * share / limit, bits)
        error = (steps.round(weight) - weight).square().sum(dim=(1, 2, 3), keepdim=True)
        best, least = torch.where(error < least, steps.step, best), torch.minimum(error, least)
    return Steps(best, bits)


def _logit_grid(layer: FG.Node, scheme: Scheme) -> Grid:
    """Logits are not clamped: their scale is the finest that the multipliers allow."""
    scale = scheme.grids[layer.inputs[0]].scale
    if isinstance(layer, FG.Conv):
        step = scheme.steps[layer].step.flatten()
        return Grid(scale * (step * layer.gain.abs()).max().item() / _limit(layer, scheme))
    assert isinstance(layer, FG.AveragePool)  # `lower` sees to it
    return Grid(scale / (layer.kernel[0] * layer.kernel[1]))


def _average_grid(pool: FG.AveragePool, scheme: Scheme) -> Grid:
    """The pool's grid, a little wider, so that its multiplier is an exact one-byte integer."""
    grid, area = scheme.grids[pool], pool.kernel[0] * pool.kernel[1]
    ratio = scheme.grids[pool.inputs[0]].scale / area / grid.scale
    doublings = math.floor(math.log2(MULTIPLIER_LIMIT / ratio))
    return Grid(grid.scale * ratio * 2**doublings / math.floor(ratio * 2**doublings), grid.zero)


def _limit(conv: FG.Conv, scheme: Scheme) -> int:
    """The largest multiplier: no accumulator times it can pass half of int32."""
    largest_acc = 255 * scheme.steps[conv].integers(conv.weight).abs().sum(dim=(1, 2, 3)).max()
    return min(MULTIPLIER_LIMIT, int(2**30 / largest_acc))


def _fit_multipliers(convs: Sequence[FG.Conv], scheme: Scheme, last: FG.Node) -> None:
    """Chooses, for the convolutions of one weight, integers m and a shift each.

    m / 2**shift ≈ step * gain * scale in / scale out. Of one convolution the steps then change so
    that it is exact; of several they change so that its error and that of the weights are least,
    and the gains become exact.
    """
    steps = scheme.steps[convs[0]]
    exact = torch.stack([_exact_multiplier(conv, scheme, conv is last) for conv in convs])
    if len(convs) == 1:
        multipliers = exact.sign() * exact.abs().ceil().clamp(max=_limit(convs[0], scheme))
        change = torch.where(multipliers == 0, 1.0, multipliers / exact)[0]
    else:
        change = _least_change(steps, convs[0].weight, exact, _limit(convs[0], scheme))
        multipliers = (exact * change).round()
    steps = Steps(steps.step * change.reshape(-1, 1, 1, 1), steps.bits)
    for conv, wanted, multiplier in zip(convs, exact * change, multipliers, strict=True):
        scheme.steps[conv], scheme.multipliers[conv] = steps, multiplier
        if len(convs) > 1:
            conv.gain = torch.where(wanted == 0, conv.gain, conv.gain * multiplier / wanted)


def _exact_multiplier(conv: FG.Conv, scheme: Scheme, is_last: bool) -> Tensor:
    """The real number (O,) for each of a convolution's multipliers, at the largest shift."""
    scale_in, scale_out = scheme.grids[conv.inputs[0]].scale, scheme.grids[conv].scale
    ratio = scheme.steps[conv].step.flatten() * conv.gain * scale_in / scale_out
    limit = _limit(conv, scheme)
    reach = (conv.offset / scale_out).abs().max().item() + 512  # the bias must fit as well
    shift = 0
    while (
        not is_last
        and shift < 24
        and (ratio.abs().max() * 2 ** (shift + 1)).round() <= limit
        and reach * 2 ** (shift + 1) < 2**29
    ):
        shift += 1
    scheme.shifts[conv] = shift
    return ratio * float(2**shift)


def _least_change(steps: Steps, weight: Tensor, exact: Tensor, limit: int) -> Tensor:
    """The factor (O,) for each step by which rounding both the weights and the multipliers costs
    least; `exact` is (convolutions, O), and no multiplier comes to more than `limit`."""
    weight = weight.detach()
    power = weight.square().sum(dim=(1, 2, 3)).clamp(min=1e-24)
    best, least = torch.ones(len(weight)), torch.full((len(weight),), torch.inf)
    for factor in torch.logspace(0, 2, 400, base=2.0):
        coarser = Steps(steps.step * factor, steps.bits)
        error = (coarser.round(weight) - weight).square().sum(dim=(1, 2, 3)) / power
        wanted = exact * factor
        off = torch.where(wanted == 0, 0.0, wanted.round() / wanted - 1.0)
        error = error + off.square().mean(dim=0)
        error = torch.where(wanted.abs().amax(dim=0) > limit + 0.5, torch.inf, error)
        better = error < least
        best, least = torch.where(better, factor, best), torch.where(better, error, least)
    return best
