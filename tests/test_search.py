"""Spaces of networks, and what a network weighs before it is trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_documents import DOCUMENTS
from hypothesis import given
from torch import nn

from smidgen.anatomy.cost import macs, stored
from smidgen.blocks.build import build
from smidgen.blocks.document import load_network, parse_network
from smidgen.blocks.parts import Chain, expand
from smidgen.errors import ModelError, SearchError
from smidgen.export.footprint import footprint, quantize_on_noise
from smidgen.export.schedule import plan_memory
from smidgen.export.toolchain import is_installed
from smidgen.inputs import InputShape, Preprocess
from smidgen.mnist import GLYPH
from smidgen.network import noise, record
from smidgen.quantize import graph as G
from smidgen.search.count import Count, count
from smidgen.search.firmware import estimate
from smidgen.search.skeleton import skeleton
from smidgen.search.space import RandomTrial, Range, list_spaces, load_space
from smidgen.search.weigh import Limits, weigh

COLOUR = Preprocess("photo", InputShape(3, 16, 20), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "networks").glob("*.toml"))


def counted(parts: Chain, preprocess: Preprocess) -> Count:
    """What torch and the recorded network say."""
    module = build(parts).eval()
    recorded = record(module, noise(1, preprocess.shape))
    return Count(
        sum(parameter.numel() for parameter in module.parameters()),
        stored(recorded).numbers,
        sum(macs(op) for op in recorded.flowing),
    )


@pytest.mark.parametrize("hundred", range(10))
def test_a_drawn_network_is_counted_as_describe_counts_it(hundred: int) -> None:
    spaces = [load_space(name) for name in list_spaces()]
    for seed in range(100 * hundred, 100 * hundred + 100):
        preprocess = COLOUR if seed % 2 else GLYPH
        parts = expand(spaces[seed % 3].draw(RandomTrial(seed)).network, preprocess.shape, 10)
        assert count(parts) == counted(parts, preprocess), seed


def parts_of(document: dict[str, Any], preprocess: Preprocess) -> Chain | None:
    try:
        return expand(parse_network(document, "drawn"), preprocess.shape, 7)
    except ModelError:
        return None


@given(DOCUMENTS)
def test_any_network_is_counted_as_describe_counts_it(document: dict[str, Any]) -> None:
    parts = parts_of(document, COLOUR)
    if parts is not None:
        assert count(parts) == counted(parts, COLOUR)


def test_a_count_worked_out_by_hand() -> None:
    layers = [{"separable": 4, "stride": 2}, {"conv": 4, "repeat": 2, "share": True}]
    network = parse_network({"layers": [*layers, {"head": "gap_linear"}]}, "test")
    weights, norms, head = 9 + 4 + 9 * 4 * 4, 3 * 4 * 2, 4 * 10 + 10
    places = 14 * 14
    assert count(expand(network, GLYPH.shape, 10)) == Count(
        weights + norms + head,
        weights + 4 + 2 * 2 * 4 + head,  # the first norm folds, the others cannot
        places * (9 + 4 + 2 * 9 * 4 * 4) + 40,
    )


def trained(parts: Chain) -> nn.Module:
    """A network as after a training: no two channels have the same bias."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(parts)
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.normal_(norm.bias, 0, 0.3)
    return module


def layout(graph: G.Graph) -> list[Any]:
    """All of a graph but its numbers."""
    nodes = []
    for node in graph.nodes:
        of_conv = (
            (graph.weights[node.weights].values.shape, node.weights, node.stride, node.padding,
             node.groups, node.rescale.bias.size)
            if isinstance(node, G.Conv)
            else ()
        )  # fmt: skip
        nodes.append((type(node), node.inputs, node.shape, getattr(node, "kernel", ()), *of_conv))
    return nodes


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("preprocess", [GLYPH, COLOUR], ids=["grey", "colour"])
def test_the_skeleton_is_the_graph_without_its_numbers(seed: int, preprocess: Preprocess) -> None:
    network = load_space(list_spaces()[seed % 3]).draw(RandomTrial(seed)).network
    parts = expand(network, preprocess.shape, 10)
    made, graph = skeleton(parts, preprocess), quantize_on_noise(trained(parts), preprocess, "net")
    assert layout(made) == layout(graph)
    assert plan_memory(made).size_bytes == plan_memory(graph).size_bytes


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_skeleton_of_an_example(path: Path) -> None:
    network = load_network(path)
    preprocess = COLOUR if network.input else GLYPH
    parts = expand(network, preprocess.shape, 10)
    graph = quantize_on_noise(trained(parts), preprocess, "net")
    assert layout(skeleton(parts, preprocess)) == layout(graph)


@pytest.mark.skipif(
    not is_installed("arm-none-eabi-gcc", "qemu-system-arm"),
    reason="gcc for Arm or its emulator is not installed",
)
@pytest.mark.parametrize("name", ["smidgen_mcu", "smidgen_575", "smidgen_fashion_8k"])
def test_flash_and_ram_are_within_three_percent_of_a_build(name: str) -> None:
    network = next(load_network(path) for path in EXAMPLES if path.stem == name)
    parts = expand(network, GLYPH.shape, 10)
    measured = footprint(quantize_on_noise(trained(parts), GLYPH, name))
    estimated = estimate(skeleton(parts, GLYPH))
    assert estimated.flash_bytes == pytest.approx(measured.flash_bytes, rel=0.03)
    assert estimated.ram_bytes == pytest.approx(measured.ram_bytes, rel=0.03)


def test_the_first_broken_limit_is_named_and_the_dear_checks_are_left_out() -> None:
    network = load_network(next(path for path in EXAMPLES if path.stem == "smidgen_8k"))
    roomy = Limits(params=7_842, flash_bytes=20_000, ram_bytes=10_000)
    assert weigh(network, GLYPH, 10, roomy).broken is None
    fits = weigh(network, GLYPH, 10, roomy, all_=True)
    assert (fits.params, fits.broken) == (7_842, None)
    assert fits.flash_bytes is not None
    assert fits.ram_bytes is not None
    many = weigh(network, GLYPH, 10, Limits(params=7_841, flash_bytes=1))
    assert (many.broken, many.flash_bytes, many.ram_bytes) == ("params", None, None)
    tight = Limits(flash_bytes=fits.flash_bytes, ram_bytes=fits.ram_bytes)
    assert weigh(network, GLYPH, 10, tight).broken is None
    below = Limits(flash_bytes=fits.flash_bytes - 1, ram_bytes=fits.ram_bytes)
    assert weigh(network, GLYPH, 10, below).broken == "flash_bytes"
    below = Limits(ram_bytes=fits.ram_bytes - 1)
    assert weigh(network, GLYPH, 10, below).broken == "ram_bytes"


@pytest.mark.parametrize("seed", range(15))
def test_bounds_reject_what_the_estimate_rejects_and_nothing_else(seed: int) -> None:
    network = load_space(list_spaces()[seed % 3]).draw(RandomTrial(seed)).network
    whole = weigh(network, COLOUR, 10, Limits(), all_=True)
    flash, ram = whole.flash_bytes, whole.ram_bytes
    assert flash is not None
    assert ram is not None
    for more in (0, 1, 30, 300, 3_000):
        assert weigh(network, COLOUR, 10, Limits(flash_bytes=flash + more)).broken is None
        assert weigh(network, COLOUR, 10, Limits(ram_bytes=ram + more)).broken is None
        both = Limits(flash_bytes=flash + more, ram_bytes=ram)
        assert weigh(network, COLOUR, 10, both).broken is None
    for less in (1, 30, 300):
        below = Limits(flash_bytes=flash - less, ram_bytes=ram)
        assert weigh(network, COLOUR, 10, below).broken == "flash_bytes"
        below = Limits(flash_bytes=flash, ram_bytes=ram - less)
        assert weigh(network, COLOUR, 10, below).broken == "ram_bytes"


@pytest.mark.parametrize("name", list_spaces())
def test_a_shipped_space_draws_networks_of_its_ranges(name: str) -> None:
    space = load_space(name)
    ranges, seen = space.all_ranges(), set()
    for seed in range(200):
        trial = RandomTrial(seed)
        candidate = space.draw(trial)
        expand(candidate.network, GLYPH.shape, 10)
        assert set(candidate.recipe) == {"optimizer.lr", "optimizer.weight_decay"}
        for key, value in trial.params.items():
            own = ranges[key]
            low, high = min(own.ends()), max(own.ends())  # type: ignore[type-var]
            assert low <= value <= high if isinstance(own, Range) else value in own.choose
        assert space.draw(RandomTrial(seed)) == candidate
        seen.add(str(candidate.network))
    assert len(seen) > 190


SPACE = """
title = "a test"
layers = [
    { conv = "$width" },
    { separable = "$width", residual = true, kernel = { choose = [3, 5] }, repeat = "$times" },
    { head = "gap" },
]
[ranges]
width = { from = 4, to = 8, step = 2 }
times = { from = 0, to = 1 }
[recipe]
"optimizer.lr" = { from = 0.01, to = 0.1, log = true }
"""


class First:
    """Chooses the first value of everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked.append((name, choices))
        return choices[0]

    def suggest_int(self, name: str, low: int, high: int, **options: Any) -> int:
        self.asked.append((name, low, high, options))
        return low

    def suggest_float(self, name: str, low: float, high: float, **options: Any) -> float:
        self.asked.append((name, low, high, options))
        return low


def test_a_layer_that_is_left_out_draws_nothing(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text(SPACE)
    trial = First()
    candidate = load_space(tmp_path / "space.toml").draw(trial)
    assert trial.asked == [
        ("width", 4, 8, {"step": 2, "log": False}),
        ("times", 0, 1, {"step": 1, "log": False}),
        ("optimizer.lr", 0.01, 0.1, {"log": True}),
    ]
    assert candidate.network == parse_network({"layers": [{"conv": 4}, {"head": "gap"}]}, "test")
    assert candidate.recipe == {"optimizer.lr": 0.01}


def test_optuna_draws_from_a_space(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    study = optuna.create_study()
    trial = study.ask()
    candidate = load_space("chain").draw(trial)
    again = load_space("chain").draw(optuna.trial.FixedTrial(trial.params))
    assert again == candidate


WRONG = [
    ("to = 8, step = 2", "to = 2, step = 2", "ranges.width: from = 4 is above to = 2; exchange"),
    ("step = 2", "step = 3", "ranges.width: steps of 3 do not lead from 4 to 8"),
    ("from = 0.01", "from = 0.0", "optimizer.lr: log = true needs from above 0, not 0.0"),
    ("choose = [3, 5]", "choose = []", "layers[1].kernel.choose: List should have at least 1"),
    ("choose = [3, 5]", "pick = [3, 5]", "layers[1].kernel = {'pick': [3, 5]} is no range; write"),
    ("choose = [3, 5]", "choose = [3, 99]", "layers[1].kernel = 99: should be less than or equal"),
    ('"$times"', '"$tiems"', "layers[1].repeat = '$tiems': there is no such range; did you mean"),
    ("conv =", "cnov =", "layers[0]: unknown layer 'cnov'; did you mean 'conv'?"),
    ("from = 4", "from = 0", "conv = 0: should be greater than or equal to 1 (with width = 0)"),
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_a_space_that_is_wrong_is_refused_in_one_line(
    change: tuple[str, str, str], tmp_path: Path
) -> None:
    before, after, said = change
    assert before in SPACE
    path = tmp_path / "space.toml"
    path.write_text(SPACE.replace(before, after, 1))
    with pytest.raises(SearchError, match=re.escape(said)) as caught:
        load_space(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_space_is_refused() -> None:
    with pytest.raises(SearchError, match="unknown space 'chian'; did you mean 'chain'"):
        load_space("chian")
