"""CIFAR-10 from small made-up archives and folders in the published layout."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from smidgen.cli import run
from smidgen.data import cifar, find_data, load_data
from smidgen.errors import DataError
from smidgen.target import load

FILES = (*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin")


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Six files of twenty records; record i of file f has label i % 10 and planes f, i, 255."""
    monkeypatch.setattr(cifar, "RECORDS", 20)
    return {
        name: b"".join(
            bytes([i % 10]) + bytes([number]) * 1024 + bytes([i]) * 1024 + b"\xff" * 1024
            for i in range(20)
        )
        for number, name in enumerate(FILES)
    }


def write_archive(path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    monkeypatch.setattr(cifar, "ARCHIVE_MD5", hashlib.md5(path.read_bytes()).hexdigest())


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_records_are_a_label_and_three_planes(tmp_path, files, packed, monkeypatch):
    if packed:
        place = tmp_path / "cifar-10-binary.tar.gz"
        write_archive(place, files, monkeypatch)
    else:
        place = write_folder(tmp_path, files)
    assert find_data("cifar10", tmp_path) == place
    data = load_data("cifar10", tmp_path, download=False)
    assert data.train.images.shape == (100, 3, 32, 32)
    assert data.train.labels.tolist() == list(range(10)) * 10
    assert data.train.images[47, :, 31, 0].tolist() == [2, 7, 255]
    assert data.test.images[19, :, 0, 31].tolist() == [5, 19, 255]
    pixels = np.stack([np.repeat(range(5), 20), np.tile(range(20), 5), np.full(100, 255)]) / 255
    assert data.preprocess.mean == pytest.approx((pixels.mean(),) * 3)
    assert data.preprocess.std == pytest.approx((pixels.std(),) * 3)
    assert data.preprocess.kind == "photo"
    assert data.classes[3] == "cat"


def test_what_was_not_published_is_refused(tmp_path, files, monkeypatch):
    write_archive(tmp_path / cifar.ARCHIVE, files, monkeypatch)
    monkeypatch.setattr(cifar, "ARCHIVE_MD5", "0" * 32)
    with pytest.raises(DataError, match=r"binary\.tar\.gz' is not the file that was published"):
        load_data("cifar10", tmp_path)
    folder = write_folder(tmp_path, files)  # is preferred
    (folder / FILES[1]).write_bytes(files[FILES[1]][:-1])
    with pytest.raises(DataError, match=r"has 61,459 bytes, not 61,460; unpack cifar-10-binary"):
        load_data("cifar10", tmp_path)
    (folder / FILES[1]).write_bytes(b"\x0a" + files[FILES[1]][1:])
    with pytest.raises(DataError, match="holds the label 10; they go from 0 to 9"):
        load_data("cifar10", tmp_path)
    (folder / FILES[1]).unlink()
    (folder / FILES[1]).symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"has more than 61,460 bytes, not 61,460; unpack"):
        load_data("cifar10", tmp_path)
    (folder / FILES[1]).unlink()
    with pytest.raises(DataError, match=r"cannot read .*data_batch_2\.bin'.*; unpack"):
        load_data("cifar10", tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08 damaged"])
def test_an_archive_that_cannot_be_read_is_one_line(tmp_path, content, monkeypatch):
    (tmp_path / cifar.ARCHIVE).write_bytes(content)
    monkeypatch.setattr(cifar, "ARCHIVE_MD5", hashlib.md5(content).hexdigest())
    with pytest.raises(DataError, match=r"^cannot read .*; get it anew$"):
        load_data("cifar10", tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar10_jpeg"])
def test_what_is_nowhere_is_said(tmp_path, name):
    assert find_data(name, tmp_path) is None
    with pytest.raises(DataError, match=f"'{name}' is not on this machine; .*--data-dir"):
        load_data(name, tmp_path, download=False)
    assert list(tmp_path.iterdir()) == []


def test_the_archive_is_downloaded_and_checked(tmp_path, files, monkeypatch):
    def download(checks, mirrors, folder):
        assert list(checks) == ["cifar-10-binary.tar.gz"]
        assert mirrors == ("https://www.cs.toronto.edu/~kriz/",)
        write_archive(folder / cifar.ARCHIVE, files, monkeypatch)
        checks[cifar.ARCHIVE](folder / cifar.ARCHIVE)

    monkeypatch.setattr(cifar, "download_files", download)
    assert len(load_data("cifar10", tmp_path).test) == 20


def test_jpeg_copies_are_three_channels_in_the_published_order(tmp_path):
    for part in ("train", "test"):
        for label, name in enumerate(cifar.CLASSES):
            folder = tmp_path / "cifar10-jpeg" / part / name
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("L", (32, 32), 8 * label).save(folder / f"{number}.jpg", quality=95)
    data = load_data("cifar10_jpeg", tmp_path)
    assert (data.name, data.classes, data.input_shape) == (
        "cifar10_jpeg",
        cifar.CLASSES,
        (3, 32, 32),
    )
    assert data.test.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert torch.equal(data.test.images[:, 2, 5, 5].long(), 8 * data.test.labels)
    for part in ("train", "test"):
        (tmp_path / "cifar10-jpeg" / part / "cat").rename(tmp_path / "cifar10-jpeg" / part / "cow")
    with pytest.raises(DataError, match=r"holds the classes .* cow, .*; those of CIFAR-10 are"):
        load_data("cifar10_jpeg", tmp_path)


@pytest.mark.filterwarnings("default:the JPEG copies")
def test_cifar_stands_in_for_copies_that_are_not_here(
    tmp_path: Path,
    files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SMIDGEN_DATA", raising=False)
    write_folder(tmp_path, files)
    target = load("smidgen_cifar_25k")
    with pytest.warns(UserWarning, match="are not on this machine; CIFAR-10 itself is used"):
        assert target.own_data(tmp_path) == "cifar10"
    assert run(["evaluate", target.name, "--data-dir", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert re.search(r"smidgen_cifar_25k on cifar10: .* of 20 test images", said.out)
    assert said.err.startswith("smidgen: the JPEG copies of CIFAR-10 that smidgen_cifar_25k was")
    (tmp_path / "cifar10-jpeg").mkdir()
    assert target.own_data(tmp_path) == "cifar10_jpeg"
