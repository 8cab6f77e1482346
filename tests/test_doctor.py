from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import pytest

from smidgen import cli, doctor
from smidgen.data import NAMES
from smidgen.export.toolchain import PACKAGES


def found() -> dict[str, doctor.Finding]:
    return {each.name: each for each in doctor.diagnose()}


def test_it_knows_all_extras_tools_and_data_sets() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    extras = set(project["project"]["optional-dependencies"])
    assert set(doctor.EXTRAS) == extras - {"fuzz", "dev"}
    assert {name: package for name, (_, package) in doctor.TOOLS.items()} == PACKAGES
    assert set(doctor.DATA) <= set(NAMES)


def test_what_is_there_has_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "qemu-system-arm"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    seen = found()
    assert (seen["qemu-system-arm"].found, seen["qemu-system-arm"].command) == (str(program), "")
    assert (seen["node"].found, seen["node"].command) == (None, "apt-get install nodejs")
    assert seen["C compiler"].found is seen["kernels"].found is None
    assert seen["kernels"].command == "apt-get install gcc libc6-dev"
    assert "cpu" in (seen["devices"].found or "")


def test_data_are_found_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMIDGEN_DATA", str(tmp_path))
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    assert found()["cifar10"].found == str(folder)


def test_nothing_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path / "cache"))
    assert found()["kernels"].found is None
    assert not (tmp_path / "cache").exists()


def test_an_installation_without_torch_or_an_extra_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.run(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    commands = {each["name"]: each["command"] for each in findings if each["found"] is None}
    assert commands["torch works"] == "pip install --force-reinstall torch"
    assert commands["search"] == "pip install 'smidgen[search]'"
    assert cli.run(["doctor"]) == 0
    assert "  pip install 'smidgen[search]'\n" in capsys.readouterr().out
