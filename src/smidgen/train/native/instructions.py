"""The instructions of the kernels and the feature maps that they read and write."""

from __future__ import annotations

from dataclasses import dataclass

(CONVOLUTION, LINEAR, BATCH_NORM, ACTIVATION, MAX_POOL, AVERAGE_POOL,
 ADD, MULTIPLY, CONCATENATION, DROPOUT) = range(10)  # fmt: skip
ENDS_IN_RELU = (BATCH_NORM, MAX_POOL, AVERAGE_POOL, ADD)


@dataclass
class FeatureMap:
    """A tensor of one image: its shape, and the width of the zeros around each channel."""

    channels: int
    height: int = 1
    width: int = 1
    padding: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class Instruction:
    """One operation on feature maps; the names are those of `instruction` in kernels.h."""

    operation: int
    source: int
    output: int
    other: int = -1
    has_relu: int = 0
    add_source: int = 0
    add_other: int = 0
    kernel_height: int = 1
    kernel_width: int = 1
    stride_height: int = 1
    stride_width: int = 1
    groups: int = 1
    pad_height: int = 0
    pad_width: int = 0
    weight: int = -1
    bias: int = -1
    statistics: int = -1
    function: int = -1
    setting: tuple[float, ...] = ()
    eps: float = 0.0
    momentum: float = 0.0
    p: float = 0.0
    slope: float = 0.0

    @property
    def sources(self) -> set[int]:
        """The feature maps that it reads."""
        return {self.source, self.other} - {-1}
