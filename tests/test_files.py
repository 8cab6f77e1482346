"""Files on a full disk, and names that no file can hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import largest_file, small_disk

from smidgen.errors import RunError
from smidgen.files import append_whole, cache_folder, make_folder, remove_parts, write_whole


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    with small_disk(tmp_path / "disk", 64) as folder:
        yield folder


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "é")
    write_whole(path, b"\xff\n")
    assert path.read_bytes() == b"\xff\n"
    assert path.stat().st_mode & 0o777 == 0o644
    append_whole(path, "ü\n")
    assert path.read_bytes() == b"\xff\n\xc3\xbc\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(disk: Path) -> None:
    path = disk / "file"
    write_whole(path, b"old")
    for write in (write_whole, append_whole):
        content = "x" * 100_000
        with pytest.raises(RunError, match=r"cannot write .*file': No space left on device; free"):
            write(path, content)
        assert path.read_bytes() == b"old"
        assert list(disk.iterdir()) == [path]


def test_a_file_that_may_not_grow_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with largest_file(1000):
        for write in (write_whole, append_whole):
            with pytest.raises(RunError, match=r"cannot write .*file': File too large; free"):
                write(path, "x" * 2000)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_utf_8_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*: '\\udcff' is no letter of UTF-8; rename"):
        write_whole(tmp_path / "file", "folder:\udcff")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    write_whole(tmp_path / "file", "")
    with pytest.raises(RunError, match=r"cannot write .*file/b': Not a directory"):
        make_folder(tmp_path / "file" / "b")


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    for name in (".smidgen-abc.part", ".other", "a.part"):
        (tmp_path / name).touch()
    remove_parts(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other", "a.part"]


def test_an_empty_variable_names_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pooch.os_cache", lambda name: Path("/usual") / name)
    monkeypatch.setenv("SMIDGEN_CACHE", "mine")
    assert cache_folder() == Path("mine")
    monkeypatch.setenv("SMIDGEN_CACHE", "")
    assert cache_folder() == Path("/usual/smidgen")
    monkeypatch.delenv("SMIDGEN_CACHE")
    assert cache_folder() == Path("/usual/smidgen")
