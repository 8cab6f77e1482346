"""What a network is, counted from what its forward pass executes.

    anatomy = describe(model)      # layer table, parameters, MACs, receptive field, memory
    print(anatomy.to_markdown())
"""

from smidgen.anatomy.layers import Anatomy, Layer, describe
from smidgen.anatomy.structure import GlobalPool, Structure

__all__ = ["Anatomy", "GlobalPool", "Layer", "Structure", "describe"]
