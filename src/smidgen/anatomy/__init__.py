"""What a network is, counted from what its forward pass executes.

anatomy = describe(model)      # layer table, parameters, MACs, receptive field, memory
print(anatomy.to_markdown())
behaviour = probe(model)       # finite, alive, and the same whatever else is in the batch
"""

from smidgen.anatomy.layers import Anatomy, Layer, count_parameters, describe
from smidgen.anatomy.probe import Behaviour, probe
from smidgen.anatomy.structure import GlobalPool, Structure

__all__ = [
    "Anatomy",
    "Behaviour",
    "GlobalPool",
    "Layer",
    "Structure",
    "count_parameters",
    "describe",
    "probe",
]
