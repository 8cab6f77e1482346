"""Networks as files: what a document means, how it is written, and how it can be wrong."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_documents import DOCUMENTS
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner

import smidgen
from smidgen.blocks.build import make
from smidgen.blocks.document import load_network, parse_network, to_toml
from smidgen.blocks.parts import expand
from smidgen.cli import app
from smidgen.data import Data
from smidgen.errors import ModelError
from smidgen.evaluate import evaluate
from smidgen.inputs import InputShape
from smidgen.target import load
from smidgen.train import resume
from smidgen.zoo import create_model, list_models

EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "networks").glob("*.toml"))
GREY = InputShape(1, 28, 28)
SMALL = 'layers = [{ conv = 4, kernel = 5, stride = 4 }, { head = "gap" }]\n'


def build(*layers: dict[str, Any], shape: InputShape = GREY) -> nn.Module:
    return make(parse_network({"layers": list(layers)}, "test"), shape, 10)


def complaint(document: dict[str, Any]) -> str:
    """What is wrong with a document, or nothing."""
    try:
        expand(parse_network(document, "test"), GREY, 10)
    except ModelError as problem:
        return str(problem)
    return ""


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_model_of_the_zoo_is_written_with_the_same_weights(path: Path) -> None:
    network = load_network(path)
    models = []
    for name in (path.stem, str(path)):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            models.append(create_model(name))
    ours, written = (model.state_dict() for model in models)
    assert list(written) == list(ours)
    assert all(torch.equal(written[key], ours[key]) for key in ours)
    images = torch.rand(2, *(network.input or GREY))
    assert torch.equal(*(model.eval()(images) for model in models))


def test_every_model_of_our_own_is_written() -> None:
    assert set(list_models("smidgen_*")) <= {path.stem for path in EXAMPLES}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_written_and_read_again(path: Path, tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text(to_toml(load_network(path)), encoding="utf-8")
    assert load_network(tmp_path / "net.toml") == load_network(path)


def test_a_network_is_written_with_a_layer_a_line() -> None:
    layers = [{"conv": 4, "padding": 0}, {"pool": 2, "kind": "average"}, {"head": "gap"}]
    network = parse_network({"input": [3, 32, 32], "layers": layers}, "test")
    assert to_toml(network).splitlines()[-5:] == [
        "layers = [",
        "    { conv = 4, padding = 0 },",
        '    { pool = 2, kind = "average" },',
        '    { head = "gap" },',
        "]",
    ]


def test_a_convolution_its_norm_and_head() -> None:
    model = build({"conv": 6, "kernel": 5, "stride": 2}, {"head": "gap_linear"})
    assert shapes(model) == {
        "0.0.weight": (6, 1, 5, 5), "0.1.weight": (6,), "0.1.bias": (6,),
        "3.weight": (10, 6), "3.bias": (10,),
    }  # fmt: skip


def test_a_separable_convolution_without_a_norm_has_a_bias() -> None:
    model = build({"separable": 6, "norm": "none", "flat": True}, {"head": "linear"})
    assert shapes(model) == {
        "0.weight": (1, 1, 3, 3), "1.weight": (6, 1, 1, 1), "1.bias": (6,),
        "4.weight": (10, 6 * 28 * 28), "4.bias": (10,),
    }  # fmt: skip


def test_a_bottleneck_expands_and_ends_without_an_activation() -> None:
    layer = {"bottleneck": 3, "expand": 2, "residual": True}
    model = build(layer, {"head": "gap"}, shape=InputShape(3, 16, 16))
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.groups) for c in convolutions] == [
        (3, 6, 1), (6, 6, 6), (6, 3, 1), (3, 10, 1),
    ]  # fmt: skip
    assert sum(isinstance(m, nn.ReLU) for m in model.modules()) == 2
    body, images = model[0].body.eval(), torch.randn(2, 3, 16, 16)  # type: ignore[index, union-attr]
    assert torch.equal(model.eval()[0](images), images + body(images))  # type: ignore[index]


def test_a_residual_group_adds_what_it_read() -> None:
    group = {"layers": [{"conv": 1}], "residual": True, "activation": "relu6"}
    model, images = build(group, {"head": "gap"}).eval(), torch.randn(2, 1, 28, 28)
    expected = (images + model[0].body(images)).clamp(0, 6)  # type: ignore[index, union-attr]
    assert torch.equal(model[0](images), expected)  # type: ignore[index]


def test_a_shared_layer_has_one_weight_and_many_norms() -> None:
    layer = {"conv": 1, "kernel": 5, "padding": 0, "repeat": 3, "share": True, "activation": "none"}
    model, x = build(layer, {"head": "gap"}), torch.randn(2, 1, 28, 28)
    kept = [key for key in shapes(model) if key.startswith("0.")]
    assert len([key for key in kept if "norms" in key]) == 6
    assert [key for key in kept if "norms" not in key] == ["0.conv.weight"]
    first = model.eval()[0]  # type: ignore[index]
    expected = x
    for norm in first.norms:  # type: ignore[union-attr]
        expected = norm(first.conv(expected))  # type: ignore[union-attr, operator]
    assert torch.equal(first(x), expected)
    assert expected.shape[2:] == (16, 16)


@given(DOCUMENTS)
def test_any_document_round_trips_and_its_parts_say_what_its_modules_make(
    document: dict[str, Any],
) -> None:
    said = complaint(document)
    assert "\n" not in said
    if said:
        assert "layers" in said
        return
    network = parse_network(document, "test")
    assert parse_network(tomllib.loads(to_toml(network)), "test") == network
    parts = expand(network, GREY, 10)
    with torch.random.fork_rng(), torch.no_grad():
        x = torch.zeros(1, *GREY)
        for part, module in zip(parts.parts, make(network, GREY, 10).eval(), strict=True):
            x = module(x)
            assert (*x.shape[1:], 1, 1)[:3] == part.shape


WRONG: list[tuple[list[Any], str]] = [
    ([], r"layers = \[\]: List should have at least 1 item"),
    ([{"conv": 4}], "layers: no head; the last layer alone is one"),
    ([{"head": "gap"}, {"conv": 4}], r"layers: a head at layers\[0\]; the last layer alone"),
    ([{"cnov": 4}], r"layers\[0\]: unknown layer 'cnov'; did you mean 'conv'\?"),
    ([{}], r"layers\[0\]: an empty table is no layer; choose from activation, bottleneck, conv"),
    ([4], r"layers\[0\]: a layer is a table such as \{ conv = 16 \}, not 4"),
    ([{"conv": 4, "pool": 2}], r"layers\[0\]: conv and pool are layers of their own; write one"),
    ([{"conv": 4, "kernal": 3}], r"layers\[0\]: conv has no key 'kernal'; did you mean 'kernel'"),
    ([{"pool": 2, "share": True}], r"layers\[0\]: pool has no key 'share'; choose from activation"),
    ([{"conv": 4}, {"conv": 0}], r"layers\[1\].conv = 0: should be greater than or equal to 1"),
    ([{"conv": True}], r"layers\[0\].conv = True: should be a valid integer"),
    ([{"conv": 4, "kernel": 99}], r"layers\[0\].kernel = 99: should be less than or equal to 31"),
    ([{"conv": 4, "padding": 3}], r"layers\[0\]: padding = 3 with kernel = 3 would convolve zeros"),
    ([{"conv": 1, "residual": True, "flat": True}], r"layers\[0\]: flat and residual exclude"),
    ([{"conv": 1, "residual": True, "stride": 2}], r"layers\[0\]: .*stride = 2 does not keep"),
    ([{"conv": 1, "share": True}], r"layers\[0\]: share = true needs repeat = 2 or more"),
    ([{"conv": 1, "share": True, "repeat": 2, "flat": True}], "share excludes residual and flat"),
    ([{"conv": 1, "share": True, "repeat": 2, "norm": "none"}], "share = true needs a norm"),
    ([{"dropout": 1.0}], r"layers\[0\].dropout = 1.0: should be less than 1"),
    ([{"head": "gpa"}], r"layers\[0\].head = 'gpa': should be 'gap', 'gap_linear' or 'linear'"),
    ([{"layers": [{"head": "gap"}]}], r"layers\[0\].layers\[0\]: head cannot stand inside of lay"),
    ([{"layers": [{"conv": -1}]}], r"layers\[0\].layers\[0\].conv = -1: should be greater than"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "said"), WRONG, ids=str)
def test_a_document_that_is_wrong_is_refused_in_one_line(layers: list[Any], said: str) -> None:
    with pytest.raises(ModelError, match=f"^net.toml: .*{said}") as caught:
        parse_network({"layers": layers}, "net.toml")
    assert "\n" not in str(caught.value)


TOO_SMALL: list[tuple[list[dict[str, Any]], str]] = [
    (
        [{"pool": 14}, {"conv": 4, "kernel": 3, "padding": 0}],
        r"layers\[1\].kernel = 3 leaves nothing of a map of 2 × 2; choose a smaller one",
    ),
    ([{"pool": 14}, {"pool": 3}], r"layers\[1\].pool = 3 leaves nothing of a map of 2 × 2"),
    (
        [{"conv": 4, "padding": 0, "repeat": 20}],
        r"layers\[0\].kernel = 3 leaves nothing of a map of 2 × 2",
    ),
    (
        [{"conv": 1, "padding": 0, "repeat": 20, "share": True}],
        r"layers\[0\].kernel = 3 leaves nothing of a map of 2 × 2",
    ),
    (
        [{"conv": 4}, {"separable": 8, "residual": True}],
        r"layers\[1\].residual adds what the layer reads, 4 × 28 × 28, to what it makes, 8 × 28",
    ),
    (
        [{"conv": 4}, {"separable": 8, "share": True, "repeat": 2}],
        r"layers\[1\].share applies the layer to what it makes, 8 channels, but it reads 4",
    ),
    (
        [{"layers": [{"conv": 4, "padding": 0}, {"pool": 27}]}],
        r"layers\[0\].layers\[1\].pool = 27 leaves nothing of a map of 26 × 26",
    ),
]


@pytest.mark.parametrize(("layers", "said"), TOO_SMALL, ids=str)
def test_a_network_that_does_not_fit_its_images_is_refused(
    layers: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(ModelError, match=f"^{said}") as caught:
        build(*layers, {"head": "gap"})
    assert "\n" not in str(caught.value)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["layers", "conv", "head", "pool", "kernel", "input", "x"]), inner,
        max_size=4),
))  # fmt: skip
def test_anything_else_is_refused_in_one_line(document: Any) -> None:
    assert "\n" not in complaint(document if isinstance(document, dict) else {"layers": document})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*none.toml': No such file"):
        create_model(str(tmp_path / "none.toml"))
    path = tmp_path / "net.toml"
    path.write_text("layers = [")
    with pytest.raises(ModelError, match=r"net.toml' is not TOML: "):
        create_model(str(path))
    path.write_text("layers = " + 100_000 * "[")
    with pytest.raises(ModelError, match=r"net.toml' is not TOML .* nested too deeply"):
        create_model(str(path))
    path.write_text(SMALL)
    with pytest.raises(ModelError, match=r"net.toml' is a network without trained weights"):
        create_model(str(path), pretrained=True)
    with pytest.raises(ModelError, match=r"net.toml' has no option 'widths'; write it in the file"):
        create_model(str(path), widths=(4, 8))
    path.write_text(SMALL.replace("stride = 4", "stride = 4, padding = 0"))
    with pytest.raises(ModelError, match=r"net.toml: layers\[0\].kernel = 5 leaves .*1x28x3"):
        create_model(str(path), input=(1, 28, 3))


def test_the_file_says_what_stands_in_for_a_data_set(tmp_path: Path) -> None:
    path = tmp_path / "net.toml"
    path.write_text(f"input = [3, 16, 20]\nclasses = 5\n{SMALL}")
    loaded = load(str(path), weights=False)
    assert loaded.preprocess.shape == (3, 16, 20)
    assert shapes(loaded.model)["1.weight"] == (5, 4, 1, 1)
    assert shapes(create_model(str(path), classes=3, in_chans=1))["0.0.weight"] == (4, 1, 5, 5)
    other = load(str(path), weights=False, input_shape=GREY)
    assert other.preprocess.shape == GREY


def test_commands_take_a_network_and_the_run_that_keeps_it(
    few: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "nets" / "net.toml"
    path.parent.mkdir()
    path.write_text(SMALL)
    command = CliRunner().invoke
    described = json.loads(command(app, ["describe", "nets/net.toml", "--json"]).stdout)
    # 25 * 4 weights, 4 gains, 4 biases, 10 * 4 weights and 10 biases.
    assert (described["params"], described["stored_numbers"]) == (158, 154)
    assert described["macs"] == 7 * 7 * (25 * 4 + 4 * 10)
    assert command(app, ["check", "nets/net.toml", "--budget", "era-8k", "--json"]).exit_code == 1
    run = smidgen.train("nets/net.toml", data=few, epochs=1)
    assert run.path == Path("runs/net")
    accuracy = evaluate(str(run.path), few)
    path.unlink()
    assert (run.path / "source" / "net.toml").read_text() == SMALL
    assert evaluate(str(run.path), few) == accuracy
    assert resume(run.path, few) == run
    again = json.loads(command(app, ["describe", str(run.path), "--json"]).stdout)
    assert again["params"] == 158
    files = ["export", str(run.path), "--format", "c", "--out", "c", "--json"]
    assert json.loads(command(app, files).stdout)["parity"]["label_mismatches"] == 0


def test_a_wrong_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "net.toml"
    path.write_text('layers = [{ conv = 4, kernel = 0 }, { head = "gap" }]')
    for command in (["describe", str(path)], ["train", str(path), "--out", str(tmp_path / "run")]):
        raised = CliRunner().invoke(app, command).exception
        assert isinstance(raised, ModelError)
        assert "net.toml: layers[0].kernel = 0: should be greater" in str(raised)
    assert not (tmp_path / "run").exists()
