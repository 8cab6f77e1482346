"""Schedules of networks drawn from seeds, against the plain method."""

from __future__ import annotations

import pytest
from drawn_networks import draw_network
from slow_schedule import plan_slowly

from smidgen.errors import ExportError
from smidgen.export.footprint import quantize_on_noise
from smidgen.export.schedule import plan_memory
from smidgen.inputs import InputShape, Preprocess


@pytest.mark.parametrize("seed", range(24))
def test_the_schedule_is_that_of_the_plain_method(seed: int) -> None:
    network = draw_network(seed, products=True)
    preprocess = Preprocess("photo", InputShape(1, 12, 11), (0.5,), (0.25,))
    try:
        graph = quantize_on_noise(network, preprocess, "drawn")
    except ExportError:
        pytest.skip("the integer graph cannot express it")
    plan = plan_memory(graph)
    assert (plan.size_bytes, plan.order, plan.rings) == plan_slowly(graph)
