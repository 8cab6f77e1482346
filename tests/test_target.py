"""Bundles that are damaged, or meant to break what reads them: each is refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from smidgen.errors import RunError, SmidgenError
from smidgen.run import read_weights
from smidgen.target import load
from smidgen.zoo import weights

CONFIG: dict[str, Any] = {
    "model": "tiny_mnist", "data": "mnist", "mean": 0.1307, "std": 0.3081,
    "classes": [str(digit) for digit in range(10)],
}  # fmt: skip
FIRST = "0.weight"  # of tiny_mnist, a convolution


def bundle(folder: Path, config: Any = CONFIG, **tensors: torch.Tensor) -> str:
    """The path of a bundle of tiny_mnist, with another config or other tensors."""
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(text, encoding="utf-8")
    save_file(weights("tiny_mnist") | tensors, folder / "model.safetensors")
    return str(folder)


def refusal(target: str) -> str:
    with pytest.raises(SmidgenError) as refused:
        load(target)
    said = str(refused.value)
    assert "\n" not in said
    assert len(said) < 600
    return said


def test_a_bundle_is_a_network_with_its_names(tmp_path: Path) -> None:
    loaded = load(bundle(tmp_path))
    assert loaded.classes == tuple("0123456789")
    assert loaded.preprocess.std == (0.3081,)
    assert torch.equal(loaded.model.state_dict()[FIRST], weights("tiny_mnist")[FIRST])


CONFIGS: dict[str, tuple[Any, str]] = {
    "deep list": ("[" * 100_000, "is not JSON that can be read: it is nested too deeply"),
    "deep object": ('{"model":' * 100_000, "nested too deeply"),
    "deep value": ('{"model":' + "[" * 900 + "]" * 900 + "}", "'data' is missing"),
    "digits": ('{"mean": ' + "9" * 4301 + "}", "Exceeds the limit (4300 digits)"),
    "no object": ("[]", "is no JSON object"),
    "nothing": ("", "is not JSON: Expecting value"),
    "no classes": ({k: v for k, v in CONFIG.items() if k != "classes"}, "'classes' is missing"),
    "std 0": (CONFIG | {"std": 0}, "std = 0; a deviation is at least"),
    "std negative": (CONFIG | {"std": -0.3}, "std = -0.3; a deviation is at least"),
    "std infinite": (CONFIG | {"std": float("inf")}, "std = inf; it is one number"),
    "classes a number": (CONFIG | {"classes": 10}, "classes = 10; it is a list of names"),
    "classes a string": (CONFIG | {"classes": "0123456789"}, "it is a list of names"),
    "classes the same": (CONFIG | {"classes": ["1"] * 10}, "10 classes are named '1'"),
    "fewer classes": (CONFIG | {"classes": ["a", "b"]}, "are not of 'tiny_mnist': Error(s) in"),
    "a long name": (CONFIG | {"model": "n" * 10**6}, "unknown model 'nnnnn"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_cannot_be_meant_is_one_line(tmp_path: Path, name: str) -> None:
    config, said = CONFIGS[name]
    assert said in refusal(bundle(tmp_path, config))


def test_opening_a_bundle_runs_no_file(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(mark)!r}, 'w')")
    assert "names the Python file" in refusal(
        bundle(tmp_path, CONFIG | {"model": str(tmp_path / "evil.py")})
    )
    assert not mark.exists()


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    good = weights("tiny_mnist")[FIRST]
    for value in (float("nan"), float("inf")):
        spoilt = good.clone()
        spoilt[0, 0, 0, 0] = value
        said = refusal(bundle(tmp_path, **{FIRST: spoilt}))
        assert said.startswith(f"'{FIRST}' in '{tmp_path}")
        assert "holds NaN or infinity" in said
    for kind in (torch.bfloat16, torch.float8_e4m3fn, torch.complex64):
        said = refusal(bundle(tmp_path, **{FIRST: good.to(kind)}))
        assert f"is {kind}; save it as float32" in said


def test_finite_weights_that_answer_nan_are_refused(tmp_path: Path) -> None:
    name = next(name for name in weights("tiny_mnist") if name.endswith("running_var"))
    variance = torch.full_like(weights("tiny_mnist")[name], -1.0)  # its root is NaN
    assert "'tiny_mnist' answers NaN" in refusal(bundle(tmp_path, **{name: variance}))


def test_missing_and_cut_weights_are_one_line(tmp_path: Path) -> None:
    target = bundle(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    for content in (b"", whole[:7], whole[:100], whole[:-1], b"\xff" * 100, whole + b"\0"):
        path.write_bytes(content)
        assert "cannot read the weights in" in refusal(target)
    path.unlink()
    assert "cannot read" in refusal(target)


def test_large_weights_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.safetensors").open("wb") as file:
        file.truncate(2**30 + 1)  # a hole, which takes no room on the disk
    with pytest.raises(RunError, match="too large; at most 1,073,741,824 bytes are read"):
        read_weights(tmp_path / "large.safetensors")


NAMES = ("n" * 300, "n" * 5000, "n" * 300 + "/x", "n" * 300 + ".py", "n" * 300 + ".py:Net")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_too_long_for_a_file_is_one_line(name: str) -> None:
    command = [sys.executable, "-m", "smidgen", "check", name, "--budget", "era-8k"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "unknown model" in done.stderr or "there is no " in done.stderr
