"""Rewrites of a program: what follows an operation joins it, and gradients share memory."""

from __future__ import annotations

from dataclasses import replace

from smidgen.train.native.instructions import (
    ACTIVATION,
    ADD,
    BATCH_NORM,
    CONVOLUTION,
    DROPOUT,
    ENDS_IN_RELU,
    FeatureMap,
    Instruction,
)


def with_sum(instructions: list[Instruction]) -> list[Instruction]:
    """The instructions with each sum made part of a batch norm that nothing else reads."""
    readers = [source for each in instructions for source in (each.source, each.other)]
    norms = {each.output: each for each in instructions if each.operation == BATCH_NORM}
    joined: list[Instruction] = []
    for each in instructions:
        for map, other in ((each.source, each.other), (each.other, each.source)):
            norm = norms.get(map)
            if each.operation != ADD or norm is None or readers.count(map) > 1:
                continue
            if other in (map, norm.source):
                continue
            joined.remove(norm)
            each = replace(norm, other=other, output=each.output)
            break
        joined.append(each)
    return joined


def with_relu(instructions: list[Instruction]) -> list[Instruction]:
    """The instructions with each ReLU made part of what it follows, if nothing else reads that."""
    readers = [source for each in instructions for source in (each.source, each.other)]
    joined: list[Instruction] = []
    for each in instructions:
        before = joined[-1] if joined else None
        if (
            each.operation == ACTIVATION
            and each.slope >= 0
            and before is not None
            and before.output == each.source
            and before.operation in ENDS_IN_RELU
            and not before.has_relu
            and readers.count(each.source) == 1
        ):
            joined[-1] = replace(before, has_relu=1, slope=each.slope, output=each.output)
        else:
            joined.append(each)
    return joined


def pad(maps: list[FeatureMap], instructions: list[Instruction]) -> None:
    """Gives each map the zeros that the convolutions read around it, and around its gradient."""
    for each in instructions:
        if each.operation != CONVOLUTION:
            continue
        source, output = maps[each.source], maps[each.output]
        source.padding = max(source.padding, each.pad_height, each.pad_width)
        if each.source == 0:
            continue  # nobody asks for the image's gradient
        for side, size, kernel, pad, stride in (
            (source.height, output.height, each.kernel_height, each.pad_height, each.stride_height),
            (source.width, output.width, each.kernel_width, each.pad_width, each.stride_width),
        ):
            before, last = (kernel - 1 - pad) // stride, (side - 1 + pad) // stride
            output.padding = max(output.padding, before, last - (size - 1))


def accumulate(instructions: list[Instruction]) -> list[Instruction]:
    """The instructions, told whether a gradient that they give is added to one that is there."""
    seen: set[int] = set()
    finished = []
    for each in reversed(instructions):
        add_source = each.source in seen
        add_other = each.other in seen | {each.source}
        seen |= each.sources
        finished.append(replace(each, add_source=int(add_source), add_other=int(add_other)))
    return finished[::-1]


def share_gradients(maps: list[FeatureMap], instructions: list[Instruction]) -> list[int]:
    """Where each gradient lies. The maps that share memory get the same padding.

    What works number by number may write over the gradient it comes from, and a sum may leave its
    own to its branches, as long as nobody has yet to read what is written over.
    """
    gradients = list(range(len(maps)))
    producers = {each.output: i for i, each in enumerate(instructions)}
    readers: dict[int, list[int]] = {}
    for i, each in enumerate(instructions):
        for source in each.sources:
            readers.setdefault(source, []).append(i)
    for i, each in reversed(list(enumerate(instructions))):
        place = gradients[each.output]
        if any(gradients[map] == place and maker < i for map, maker in producers.items()):
            continue  # another map's gradient is there, and its producer has yet to read it
        takers: list[int] = []
        if each.operation == BATCH_NORM and each.other >= 0:
            takers = _heirs(i, (each.other,), producers, readers)
        if takers:
            pass
        elif each.operation in (BATCH_NORM, ACTIVATION, DROPOUT) and readers[each.source] == [i]:
            takers = [each.source]
        elif each.operation == ADD and each.source != each.other:
            takers = _heirs(i, (each.source, each.other), producers, readers)
        for map in takers:
            gradients[map] = place if map else 0
    for i, place in enumerate(gradients):
        maps[place].padding = max(maps[place].padding, maps[i].padding)
    for i, place in enumerate(gradients):
        maps[i].padding = maps[place].padding
    return gradients


def _heirs(
    i: int, branches: tuple[int, ...], producers: dict[int, int], readers: dict[int, list[int]]
) -> list[int]:
    """The branches of sum i that may take over its gradient: those that nobody reads after it.

    Both may only if each has been read for its producer before what else reads the other adds to
    the gradient they share.
    """
    heirs = [map for map in branches if map and readers[map][-1] == i]
    if len(heirs) == 2:
        one, other = heirs
        apart = [r < producers[other] for r in readers[one][:-1]]
        apart += [r < producers[one] for r in readers[other][:-1]]
        return heirs if all(apart) else heirs[:1]
    return heirs
