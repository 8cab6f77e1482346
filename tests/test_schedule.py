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
    plain = plan_memory(graph, 10**9)
    assert (plain.size_bytes, plain.order, plain.rings) == plan_slowly(graph, waits=0)
    for enough in range(plan.size_bytes, plain.size_bytes, 16):
        assert plan.size_bytes <= plan_memory(graph, enough).size_bytes <= enough
