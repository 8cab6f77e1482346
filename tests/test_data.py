from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from idx_files import NAMES, digests, idx_bytes, small_set, write_set
from sklearn import datasets
from typer.testing import CliRunner

from smidgen.cli.data import data as data_command
from smidgen.data import Data, Split, find_data, load_data, normalise, published
from smidgen.data.dataset import mean_and_std, stratified_mask
from smidgen.errors import DataError
from smidgen.inputs import InputShape, Preprocess
from smidgen.mnist import GLYPH
from smidgen.preprocess import scale_and_centre

MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]

# Recorded when the split was first drawn; figures on another split are not comparable.
RECORDED_SPLIT = [15, 47, 61, 62, 69, 73, 75, 88, 100, 112]
RECORDED_SPLIT += [136, 137, 153, 166, 169, 181, 184, 194, 200, 218]


def test_the_room_opens_without_what_only_some_data_needs():
    heavy = "{'sklearn', 'PIL', 'pooch', 'requests', 'filelock'}"
    code = (
        f"import sys, smidgen.data; print({heavy} & set(sys.modules))\n"
        "smidgen.data.load_data('digits'); print({'sklearn', 'scipy'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\nset()\n"


# The split


def test_one_in_so_many_of_every_class_is_masked():
    labels = np.repeat([0, 1, 2], [24, 12, 3])
    assert np.bincount(labels[stratified_mask(labels, 12)]).tolist() == [2, 1, 1]
    assert np.bincount(labels[stratified_mask(labels, 6)]).tolist() == [4, 2, 1]


def test_largest_remainders_round_up_to_the_exact_total():
    labels = np.repeat(np.arange(10), MNIST_COUNTS)
    held_out = np.bincount(labels[stratified_mask(labels, 12)])
    # 60,000 / 12 = 5,000; a class of 12 q + r gets q, and one more where r ≥ 7.
    assert held_out.sum() == 5000
    assert held_out.tolist() == [494, 562, 496, 511, 487, 452, 493, 522, 487, 496]


def test_the_split_is_the_same_for_ever():
    mask = stratified_mask(np.arange(240) % 10, 12)
    assert np.flatnonzero(mask).tolist() == RECORDED_SPLIT


def test_images_to_validate_of_ones_own_are_slices():
    numbers = torch.arange(120, dtype=torch.uint8)
    train = Split(numbers[:, None, None, None].expand(-1, 1, 28, 28), numbers.long() % 3)
    data = Data("own", train, train, ("a", "b", "c"), GLYPH, fit_images=100)
    fit, val = data.fit_split()
    assert (len(fit), val.images[:, 0, 0, 0].tolist()) == (100, list(range(100, 120)))
    assert val.images.data_ptr() == train.images[100:].data_ptr()  # nothing is copied


def test_fit_and_validation_part_the_training_images():
    numbers = torch.arange(120, dtype=torch.uint8)
    train = Split(numbers[:, None, None, None].expand(-1, 1, 28, 28), numbers.long() % 3)
    data = Data("numbers", train, train, ("a", "b", "c"), GLYPH.with_statistics(0.5, 0.5))
    fit, val = data.fit_split()
    assert (len(fit), len(val), val.labels.bincount().tolist()) == (110, 10, [4, 3, 3])
    both = torch.cat([fit.images, val.images])[:, 0, 0, 0]
    assert torch.equal(both.sort().values, numbers)
    assert torch.equal(fit.images[:, 0, 0, 0].long() % 3, fit.labels)


def test_the_split_and_the_global_generators_do_not_touch_each_other(digits):
    first = digits.fit_split()[1]
    np.random.seed(1)
    torch.manual_seed(1)
    second = digits.fit_split()[1]
    assert torch.equal(first.images, second.images)
    drawn = np.random.random(), torch.rand(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert drawn == (np.random.random(), torch.rand(1))


def test_normalise_by_hand():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    expected = torch.tensor([[[[-0.4, 0.0, 1.6]]]])  # 51 / 255 = 0.2
    torch.testing.assert_close(normalise(images, GLYPH.with_statistics(0.2, 0.5)), expected)
    coloured = Preprocess("photo", InputShape(3, 8, 8), (0.2, 0.0, 1.0), (0.5, 1.0, 0.25))
    pixel = torch.tensor([51, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    torch.testing.assert_close(normalise(pixel, coloured).flatten(), torch.tensor([0.0, 0.2, 0.0]))
    with pytest.raises(DataError, match=r"takes uint8 images from 0 to 255, not torch\.float32"):
        normalise(images.float(), GLYPH)


def test_mean_and_std_agree_with_numpy():
    images = torch.randint(
        0, 256, (5000, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    scaled = images.numpy() / 255
    assert mean_and_std(images) == pytest.approx((scaled.mean(), scaled.std()), rel=1e-12)


# Published sets


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The four files of a small "mnist" that nobody offers for download."""
    files = small_set(classes=10, train=40, test=20)
    small = published.Published(
        "MNIST", tuple("0123456789"), GLYPH.with_statistics(0.1, 0.3), (), digests(files)
    )
    monkeypatch.setitem(published.PUBLISHED, "mnist", small)
    return files


@pytest.mark.parametrize("zipped", [False, True])
def test_files_are_found_raw_or_gzipped(tmp_path, files, zipped):
    folder = write_set(tmp_path / "MNIST" / "raw", files, zipped)
    data = load_data("mnist", tmp_path, download=False)
    assert find_data("mnist", tmp_path) == folder
    assert data.train.images.shape == (40, 1, 28, 28)
    assert data.train.images.dtype == torch.uint8
    assert data.train.images[:, 0, 27, 3].tolist() == list(range(40))
    assert data.test.labels.tolist() == [*range(10), *range(10)]
    assert data.test.labels.dtype == torch.int64
    assert data.preprocess == GLYPH.with_statistics(0.1, 0.3)


def test_places_are_searched_in_their_order(tmp_path, files, monkeypatch):
    named, here, cache = tmp_path / "named", tmp_path / "here", tmp_path / "cache"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("SMIDGEN_DATA", str(named))
    monkeypatch.setattr("pooch.os_cache", lambda name: cache)
    assert find_data("mnist") is None
    write_set(cache / "MNIST" / "raw", files)
    assert find_data("mnist") == cache / "MNIST" / "raw"
    write_set(here / "data" / "MNIST" / "raw", files)
    assert find_data("mnist") == Path("data/MNIST/raw")
    write_set(named / "MNIST" / "raw", files)
    assert find_data("mnist") == named / "MNIST" / "raw"
    assert find_data("mnist", tmp_path) is None


def test_a_changed_copy_is_not_taken_for_the_published_set(tmp_path, files):
    folder = write_set(tmp_path / "MNIST" / "raw", files)
    path = folder / NAMES[1]
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    with pytest.raises(DataError, match=r"train-labels.* is not the file that was published.*idx:"):
        load_data("mnist", tmp_path)


def test_swapped_files_are_refused(tmp_path, files):
    images, labels = NAMES[:2]
    files[images], files[labels] = files[labels], files[images]
    write_set(tmp_path, files)
    with pytest.raises(DataError, match="are the files swapped"):
        load_data(f"idx:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("mnits", "unknown data set 'mnits'; did you mean 'mnist'"),
        ("fashion-mnist", "did you mean 'fashion_mnist'"),
        ("zip:x", "choose from cifar10, cifar10_jpeg, digits, fashion_mnist, folder:DIR, idx:DIR"),
        ("folder:", "'folder:' names no folder; write folder:DIR"),
    ],
)
def test_unknown_names_are_refused(name, match):
    with pytest.raises(DataError, match=match):
        load_data(name)
    with pytest.raises(DataError, match=match):
        find_data(name)


def test_real_mnist_is_what_it_should_be(mnist):
    assert (len(mnist.train), len(mnist.test)) == (60_000, 10_000)
    assert mnist.train.labels.bincount().tolist() == MNIST_COUNTS
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert mean_and_std(mnist.train.images) == pytest.approx((*GLYPH.mean, *GLYPH.std), abs=5e-5)
    assert [len(split) for split in mnist.fit_split()] == [55_000, 5_000]


# Digits


def test_digits_are_scikit_learns_in_mnists_frame(digits):
    labels = torch.cat([digits.train.labels, digits.test.labels])
    bunch = datasets.load_digits()
    assert labels.bincount().tolist() == np.bincount(bunch.target).tolist()
    assert len(digits.test) == 300  # 1,797 / 6, rounded
    held_out = stratified_mask(bunch.target, 6)
    framed = [scale_and_centre(grey * (255 / 16)) for grey in bunch.images[held_out]]
    assert np.array_equal(digits.test.images[:, 0].numpy(), framed)
    images = torch.cat([digits.train.images, digits.test.images])[:, 0].double()
    pixels = torch.arange(28, dtype=torch.float64)
    for axis in (1, 2):
        mass = images.sum(3 - axis)  # (N, 28)
        centres = (mass * pixels).sum(1) / mass.sum(1)
        assert (centres - 14).abs().max() <= 0.5
    rows, columns = images.amax(2) > 0, images.amax(1) > 0
    assert torch.maximum(rows.sum(1), columns.sum(1)).max() == 20
    assert digits.preprocess == GLYPH.with_statistics(*mean_and_std(digits.train.images))


# Data of one's own


def test_idx_folder(tmp_path):
    write_set(tmp_path, small_set(classes=3, train=24, test=6), zipped=True)
    data = load_data(f"idx:{tmp_path}")
    assert data.classes == ("0", "1", "2")
    assert data.train.labels.bincount().tolist() == [8, 8, 8]
    assert data.preprocess.mean == pytest.approx((11.5 / 255,))
    assert data.preprocess.std == pytest.approx((np.arange(24).std() / 255,))


@pytest.mark.parametrize(
    ("name", "labels", "match"),
    [
        (NAMES[3], [0, 1, 2, 0, 1, 3], "holds the label 3; the training labels go from 0 to 2"),
        (NAMES[1], [0, 2] * 12, r"the class '1' in .* has too few images, 0; .* needs at least 2"),
        (NAMES[1], [0, 1] * 11 + [0, 2], r"the class '2' in .* has too few images, 1; "),
        (NAMES[1], [0] * 23 + [200], "holds the label 200 and only 24 labels; number the classes"),
    ],
)
def test_labels_out_of_range_are_refused(tmp_path, name, labels, match):
    write_set(tmp_path, small_set() | {name: idx_bytes(np.array(labels, np.uint8))})
    with pytest.raises(DataError, match=match):
        load_data(f"idx:{tmp_path}")


def test_idx_images_of_other_sides_are_photos_as_they_lie(tmp_path):
    files = small_set()
    images = np.arange(24 * 9 * 13, dtype=np.uint32).astype(np.uint8).reshape(24, 9, 13)
    files |= {NAMES[0]: idx_bytes(images), NAMES[2]: idx_bytes(images[:6])}
    write_set(tmp_path, files)
    data = load_data(f"idx:{tmp_path}")
    assert (data.preprocess.kind, data.input_shape) == ("photo", (1, 9, 13))
    assert np.array_equal(data.train.images[:, 0].numpy(), images)
    files[NAMES[2]] = idx_bytes(images[:6, :, :9])
    write_set(tmp_path, files)
    with pytest.raises(DataError, match=r"are 1x9x13 and the test images 1x9x9; do the files"):
        load_data(f"idx:{tmp_path}")


def test_a_missing_idx_file_is_named(tmp_path):
    write_set(tmp_path, small_set())
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(DataError, match=r"no file .*t10k-images-idx3-ubyte', raw or \.gz"):
        load_data(f"idx:{tmp_path}")


# The command


def test_the_command_shows_what_is_there(tmp_path, files):
    folder = write_set(tmp_path / "MNIST" / "raw", files)
    app = typer.Typer()
    app.command()(data_command)
    arguments = ["mnist", "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "data": "mnist",
        "path": str(folder),
        "classes": list("0123456789"),
        "counts": {"fit": [3] * 10, "val": [1] * 10, "test": [2] * 10},
        "pictures": None,
        "notes": [
            "20 of 20 test images are training images too, byte for byte; an accuracy on "
            "them says little about new pictures"
        ],
        "input": [1, 28, 28],
        "preprocess": "glyph",
        "mean": 0.1,
        "std": 0.3,
    }
    with pytest.warns(UserWarning, match="20 of 20 test images are training images too"):
        shown = CliRunner().invoke(app, arguments).stdout
    assert "MNIST/raw" in shown.replace("\n", "")
    assert "mean 0.1000" in shown
