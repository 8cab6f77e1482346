"""The facts of MNIST, which stand in wherever no data set says its own."""

from __future__ import annotations

from smidgen.inputs import InputShape, Preprocess

INPUT_SHAPE = InputShape(channels=1, height=28, width=28)
CLASSES = tuple("0123456789")
NUM_CLASSES = len(CLASSES)
# Of pixels / 255, as the field prints them; precisely 0.13066 and 0.30811.
GLYPH = Preprocess("glyph", INPUT_SHAPE, mean=(0.1307,), std=(0.3081,))
