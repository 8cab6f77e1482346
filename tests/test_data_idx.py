from __future__ import annotations

import gzip
import hashlib
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from idx_files import CODES, idx_bytes, small_set, write_set

from smidgen.data import load_data
from smidgen.data.idx import read_idx, read_split
from smidgen.errors import DataError

arrays = hnp.arrays(
    dtype=st.sampled_from([np.dtype(name) for name in CODES]),
    shape=hnp.array_shapes(max_dims=4, min_side=0, max_side=4),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("idx") / "file"


def read_or_refuse(path: Path) -> np.ndarray | None:
    """The array, or None where it is refused in one line; any other exception passes."""
    try:
        return read_idx(path)
    except DataError as error:
        refusal = str(error)
    assert "\n" not in refusal
    return None


@given(array=arrays, zipped=st.booleans())
def test_any_array_comes_back_as_it_was_written(path, array, zipped):
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content) if zipped else content)
    read = read_idx(path)
    assert read.dtype == array.dtype
    assert read.shape == array.shape
    assert read.tobytes() == array.tobytes()  # bit for bit, NaN and all
    assert read.flags.writeable


@given(array=arrays, zipped=st.booleans(), data=st.data())
def test_every_truncation_is_refused(path, array, zipped, data):
    content = gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array)
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(DataError, match="get the file anew"):
        read_idx(path)


@given(array=arrays, data=st.data())
def test_a_changed_byte_is_refused_or_changes_values_alone(path, array, data):
    content = bytearray(idx_bytes(array))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    if position >= 4 + 4 * array.ndim:  # in the values
        read = read_idx(path)
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        differing = np.frombuffer(read.tobytes(), np.uint8) != np.frombuffer(
            array.tobytes(), np.uint8
        )
        assert differing.sum() == 1
    else:
        read = read_or_refuse(path)
        assert read is None or read.nbytes == array.nbytes


@given(array=arrays, data=st.data())
def test_a_changed_byte_never_passes_the_digest(path, array, data):
    content = bytearray(idx_bytes(array))
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path.write_bytes(content)
    assert read_idx(path, digest).shape == array.shape
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"published|get the file anew"):
        read_idx(path, digest)


@given(array=arrays, data=st.data())
def test_a_changed_byte_inside_gzip_is_refused_or_changes_nothing(path, array, data):
    content = bytearray(gzip.compress(idx_bytes(array)))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    read = read_or_refuse(path)
    assert read is None or read.tobytes() == array.tobytes()


@given(content=st.binary(max_size=64), zipped=st.booleans(), start=st.booleans())
def test_no_bytes_at_all_cause_another_exception(path, content, zipped, start):
    content = b"\0\0\x08" * start + content
    path.write_bytes(gzip.compress(content) if zipped else content)
    read = read_or_refuse(path)
    assert read is None or read.nbytes <= len(content)


def test_no_more_is_inflated_than_the_header_announces(tmp_path):
    announced = idx_bytes(np.zeros(10, np.uint8))
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(announced + bytes(50_000_000)))
    tracemalloc.start()
    with pytest.raises(DataError, match="announces 10 bytes and holds more"):
        read_idx(bomb)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_header_that_announces_too_much_is_refused(tmp_path):
    file = tmp_path / "big"
    file.write_bytes(b"\0\0\x08\x03" + b"\xff" * 12)
    with pytest.raises(DataError, match=r"at most 1,073,741,824 are read"):
        read_idx(file)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none': No such file"):
        read_idx(tmp_path / "none")
    with pytest.raises(DataError, match=r"cannot read .*Is a directory"):
        read_idx(tmp_path)


def test_an_md5_digest_is_checked_too(tmp_path):
    file = tmp_path / "labels"
    file.write_bytes(idx_bytes(np.arange(3, dtype=np.uint8)))
    digest = hashlib.md5(file.read_bytes()).hexdigest()
    assert read_idx(file, f"md5:{digest}").tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="is not the file that was published"):
        read_idx(file, "md5:" + "0" * 32)


@pytest.mark.parametrize(
    ("images", "labels", "match"),
    [
        (np.zeros(2, np.uint8), np.zeros(2, np.uint8), "holds uint8 2; .* swapped"),
        (np.zeros((2, 28, 7), np.uint8), np.zeros(2, np.uint8), "uint8 2 × 28 × 7; .* 8 to 128"),
        (np.zeros((2, 129, 28), np.uint8), np.zeros(2, np.uint8), "holds uint8 2 × 129 × 28"),
        (np.zeros((2, 28, 28), np.int16), np.zeros(2, np.uint8), "holds int16 2 × 28 × 28"),
        (np.zeros((2, 28, 28), np.uint8), np.zeros((2, 28, 28), np.uint8), "labels are N whole"),
        (np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.float32), "holds float32 2; labels"),
        (np.zeros((2, 28, 28), np.uint8), np.zeros(3, np.uint8), "2 images in .* and 3 labels"),
        (np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8), "0 images"),
        (np.zeros((2, 28, 28), np.uint8), np.array([0, -1], np.int8), "holds the label -1"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(tmp_path, images, labels, match):
    files = (tmp_path / "images", tmp_path / "labels")
    files[0].write_bytes(idx_bytes(images))
    files[1].write_bytes(idx_bytes(labels))
    with pytest.raises(DataError, match=match):
        read_split(files)


def test_images_of_one_level_are_refused(tmp_path: Path) -> None:
    files = small_set()
    name = next(iter(files))
    write_set(tmp_path, files | {name: idx_bytes(np.full((24, 28, 28), 7, np.uint8))})
    with pytest.raises(DataError, match=r"every pixel of the training images in .* same level"):
        load_data(f"idx:{tmp_path}")


def test_no_rows_of_a_huge_size_are_refused(path: Path) -> None:
    path.write_bytes(struct.pack(">HBB4I", 0, 0x0E, 4, 0, 2**32 - 1, 2**32 - 1, 1))
    with pytest.raises(DataError, match=r"announces [0-9,]+ bytes; at most 1,073,741,824"):
        read_idx(path)
    path.write_bytes(struct.pack(">HBB2I", 0, 8, 2, 0, 28))
    assert read_idx(path).shape == (0, 28)
