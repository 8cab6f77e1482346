"""What a network weighs before it is trained, and whether that keeps the limits.

The checks go from cheap to dear and stop at the first limit that is broken: counting takes a fifth
of a millisecond, planning the memory of the C export up to tens of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from smidgen.blocks import parts as P
from smidgen.blocks.document import Network
from smidgen.blocks.parts import expand
from smidgen.budget import Budget
from smidgen.errors import SearchError
from smidgen.inputs import Preprocess
from smidgen.search.count import count

QUANTITIES = ("params", "stored_numbers", "macs", "flash_bytes", "ram_bytes")
LEAST_CODE = 1000  # bytes: every firmware that was built had more beside its constants


@dataclass(frozen=True)
class Limits:
    """The most that a network may take, inclusive; None where nothing is asked."""

    params: int | None = None
    stored_numbers: int | None = None
    macs: int | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None

    @classmethod
    def of(cls, budget: Budget) -> Limits:
        """The limits of a budget. Raises SearchError for one that limits nothing of these."""
        limits = cls(**{name: getattr(budget, f"max_{name}") for name in QUANTITIES})
        if limits == cls():
            keys = ", ".join(f"max_{name}" for name in QUANTITIES)
            raise SearchError(f"the budget {budget.title!r} limits no weight; set one of {keys}")
        return limits

    @staticmethod
    def leave_out(budget: Budget) -> list[str]:
        """The rules of a budget that are no such limits, and that nothing is searched for."""
        known = {"title", "source", "classes", "last_epochs", *(f"max_{q}" for q in QUANTITIES)}
        return [name for name, rule in budget if name not in known and rule not in (None, [])]

    @property
    def quantity(self) -> str:
        """The first thing that is limited: what the validation error is set against."""
        return next(name for name, limit in vars(self).items() if limit is not None)

    @property
    def need_firmware(self) -> bool:
        return self.flash_bytes is not None or self.ram_bytes is not None


@dataclass(frozen=True)
class Weight:
    """What is known of a network's weight; what was not asked for, or not reached, is None.

    `broken` is the first limit that the network breaks. Flash and RAM that are above their limit
    may then be bounds from below.
    """

    params: int
    stored_numbers: int
    macs: int
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    broken: str | None = None

    def excess(self, limits: Limits) -> float:
        """By how much the limit is broken, relative to it, or the nearest is kept (0 or less)."""
        known = ((getattr(self, name), limit) for name, limit in vars(limits).items() if limit)
        return max((value / limit - 1 for value, limit in known if value is not None), default=0.0)


def weigh(
    network: Network, preprocess: Preprocess, classes: int, limits: Limits, all_: bool = False
) -> Weight:
    """The weight of a network that is fed as `preprocess` says.

    Flash and RAM of one that keeps the limits are estimated with `all_`, whether or not a limit
    asks for them; otherwise they are looked at until it is certain that the limits are kept.
    Raises ModelError for a network that does not take such images.
    """
    parts = expand(network, preprocess.shape, classes)
    known = count(parts)._asdict()
    broken = _first_broken(known, limits)
    if broken is None and (limits.need_firmware or all_):
        for bounds in _firmware(parts, preprocess, known["stored_numbers"], limits, all_):
            broken = _first_broken(bounds, limits)
            if broken:
                break
        known |= bounds
    return Weight(**known, broken=broken)


def _firmware(
    parts: P.Chain, preprocess: Preprocess, numbers: int, limits: Limits, all_: bool
) -> Iterator[dict[str, int]]:
    """Bounds of flash and RAM from below, each nearer and dearer; the last are the estimates.

    Without `all_`, nothing is the last once the limits are certainly kept.
    """
    ram_bytes = max(_input_bytes(parts, None), default=0)
    yield {"flash_bytes": numbers + LEAST_CODE, "ram_bytes": ram_bytes}
    # What these need is slow to import.
    from smidgen.search.firmware import bound, estimate, plan_within
    from smidgen.search.skeleton import skeleton

    graph = skeleton(parts, preprocess)
    yield {"flash_bytes": graph.weight_bytes + LEAST_CODE, "ram_bytes": ram_bytes}
    bounds, schedule = bound(graph), None
    if bounds.is_certain:
        yield {"flash_bytes": bounds.least_flash_bytes, "ram_bytes": ram_bytes}
        kept, ram_limit = True, limits.ram_bytes
        if ram_limit is not None and bounds.most.ram_bytes > ram_limit:
            kept, schedule = plan_within(graph, bounds, ram_limit)
        if kept:
            schedule = None  # it keeps the limit, and there may be better ones
            if not all_ and bounds.most.flash_bytes <= (limits.flash_bytes or sys.maxsize):
                yield {}
                return
    yield asdict(estimate(graph, schedule))


def _first_broken(known: dict[str, int], limits: Limits) -> str | None:
    for name, limit in vars(limits).items():
        if limit is not None and known.get(name, 0) > limit:
            return str(name)
    return None


def _input_bytes(part: P.Part, shape: P.Shape | None) -> Iterator[int]:
    """The bytes of the rows that each layer reads at once; `shape` is None for the image.

    No plan of the memory can do with less than the largest of them.
    """
    match part:
        case P.Chain():
            for each in part.parts:
                yield from _input_bytes(each, shape)
                shape = shape if isinstance(each, P.Flatten | P.Dropout) else each.shape
        case P.Residual():
            yield from _input_bytes(part.body, shape)
        case P.Convolution() if shape and part.stride == 1 and shape[1] >= part.kernel:
            yield shape[0] * part.kernel * shape[2]
        case P.Linear() if shape:
            yield part.inputs
