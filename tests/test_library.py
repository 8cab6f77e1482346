"""The cache of the compiled kernels: what is damaged, planted or slow, and who compiles."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smidgen.train.native.library import UNITS, library

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


def load() -> ctypes.CDLL | None:
    """The library as a new process would find it."""
    return library.__wrapped__()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the library in it."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMIDGEN_CACHE", str(folder))
        assert load() is not None
    return folder


@pytest.fixture
def cache(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with that library, by a compiler that copies it instead of taking seconds."""
    script = f'cp {the_library(built)} "$(out "$@")"'
    stub_compiler(tmp_path, monkeypatch, script)
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path / "first"))
    with contextlib.redirect_stderr(io.StringIO()):
        assert load() is not None
    # A copy, since a test may damage it: this process runs the first.
    shutil.copytree(tmp_path / "first", tmp_path / "cache")
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that copies a library instead of taking seconds; it notes each call in `calls`."""
    script = 'echo >> "$0.calls"; sleep 1; cp "$0.so" "$(out "$@")"'
    return stub_compiler(tmp_path, monkeypatch, script)


def stub_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    compiler = tmp_path / "bin" / "cc"
    compiler.parent.mkdir()
    out = 'out() { while [ "$1" != -o ]; do shift; done; echo "$2"; }\n'
    compiler.write_text(f"#!/bin/sh\nPATH={os.environ['PATH']}\n{out}{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}:{os.environ['PATH']}")
    return compiler


def the_library(cache: Path) -> Path:
    (path,) = cache.rglob("*.so")
    return path


def without_symbols(path: Path) -> bytes:
    """A whole library that is not ours."""
    assert COMPILER is not None
    command = [COMPILER, "-shared", "-fPIC", "-x", "c", "-o", str(path), "-"]
    subprocess.run(command, input=b"int nothing;", check=True)
    return path.read_bytes()


@pytest.mark.parametrize("damage", ["truncated", "empty", "another", "flipped"])
def test_a_damaged_library_is_built_again(
    damage: str, cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = the_library(cache)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(flipped) // 2] ^= 1
    damaged = {
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "another": without_symbols(tmp_path / "other.so"),
        "flipped": bytes(flipped),
    }
    path.write_bytes(damaged[damage])
    assert load() is not None
    assert path.stat().st_size == len(content)
    assert capfd.readouterr().err == "smidgen: compiling the kernels for this machine, once\n"


def test_what_is_intact_is_not_compiled(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert load() is not None
    assert capfd.readouterr().err == ""
    digest = the_library(cache).with_suffix(".sha256")
    checked = subprocess.run(["sha256sum", "--check", digest.name], cwd=digest.parent, check=False)
    assert checked.returncode == 0
    assert digest.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("suffix", [".so", ".sha256"])
@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_what_others_can_write_is_built_again(
    suffix: str, mode: int, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = the_library(cache).with_suffix(suffix)
    path.chmod(mode)
    assert load() is not None
    assert "compiling" in capfd.readouterr().err
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_link_is_built_again(cache: Path, tmp_path: Path) -> None:
    path = the_library(cache)
    path.rename(tmp_path / "elsewhere.so")
    path.symlink_to(tmp_path / "elsewhere.so")
    assert load() is not None
    assert not path.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_others_is_not_loaded(cache: Path) -> None:
    path = the_library(cache)
    os.chown(path, 12345, 12345)
    assert load() is not None
    assert path.stat().st_uid == 0
    os.chown(path.parent, 12345, 12345)
    with pytest.warns(UserWarning, match="kernels' belongs to another user; name another folder"):
        assert load() is None


def test_a_folder_open_to_others_is_closed(cache: Path) -> None:
    folder = the_library(cache).parent
    folder.chmod(0o777)
    assert load() is not None
    assert folder.stat().st_mode & 0o777 == 0o700


def test_an_empty_variable_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: Path
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("SMIDGEN_CACHE", "")
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "usual" / name)
    shutil.copytree(built, tmp_path / "usual" / "smidgen")
    assert load() is not None
    assert list(Path.cwd().iterdir()) == []


def test_of_three_processes_one_compiles(
    stub: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(the_library(built), f"{stub}.so")
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path / "new"))
    command = "from smidgen.train.native import library; assert library()"
    started = [subprocess.Popen([sys.executable, "-c", command]) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert Path(f"{stub}.calls").read_text() == "\n" * (len(UNITS) + 1)  # and the linker's


def test_a_compiler_that_is_too_slow_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_compiler(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path / "new"))
    monkeypatch.setattr(sys.modules[library.__module__], "COMPILER_LIMIT_S", 0.1)
    with pytest.warns(UserWarning, match=r"torch trains, .*cc'.* timed out after 0.1 seconds$"):
        assert load() is None


def test_a_compiler_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_compiler(tmp_path, monkeypatch, "echo 'no such flag' >&2; exit 3")
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path / "new"))
    with pytest.warns(UserWarning, match=r"torch trains, .*cc failed \(3\): no such flag$"):
        assert load() is None


def test_a_compiler_of_another_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_symbols(tmp_path / "other.so")
    script = f'cp {tmp_path}/other.so "$(out "$@")"'
    stub_compiler(tmp_path, monkeypatch, script)
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path / "new"))
    with pytest.warns(UserWarning, match="torch trains, .* undefined symbol: smidgen_activation"):
        assert load() is None


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="torch trains, .*cannot write .*file/kernels'"):
        assert load() is None
