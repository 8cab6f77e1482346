"""The facts of MNIST, which stand in wherever no data set says its own."""

from __future__ import annotations

INPUT_SHAPE = (1, 28, 28)  # channels, height, width
CLASSES = tuple("0123456789")
NUM_CLASSES = len(CLASSES)
MEAN, STD = 0.1307, 0.3081  # of pixels / 255, as the field prints them; precisely 0.13066, 0.30811
