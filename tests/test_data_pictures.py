"""Folders of pictures: what becomes of them, how they are split, and how they are kept."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pictures import bars, plain, two_classes
from PIL import Image

from smidgen.data import Data, find_data, kept, load_data, scan, with_options
from smidgen.data.dataset import mean_and_std, stratified_mask
from smidgen.data.options import PictureOptions, split_name
from smidgen.errors import DataError
from smidgen.inputs import InputShape, Preprocess
from smidgen.preprocess import many


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("pictures")
    monkeypatch.setenv("SMIDGEN_CACHE", str(path))
    return path


def first_levels(data: Data) -> list[list[int]]:
    """Of each image, the levels of its first pixel."""
    images = torch.cat([data.train.images, data.test.images])
    return images[:, :, 0, 0].tolist()


# The name


@given(
    st.builds(
        PictureOptions,
        size=st.none() | st.tuples(st.integers(8, 128), st.integers(8, 128)),
        grey=st.booleans(),
        skip_bad=st.booleans(),
    )
    | st.builds(PictureOptions, glyph=st.just(True), skip_bad=st.booleans()),
    st.text(min_size=1),
)
def test_options_come_back_from_the_name(options, folder):
    assert split_name(f"folder:{folder}?{options}") == (folder, options)


@given(st.text())
def test_any_other_text_is_a_folder_or_refused(text):
    with contextlib.suppress(DataError):
        folder, options = split_name(f"folder:{text}")
        assert text == folder or text.startswith(f"{folder}?")
        assert split_name(f"folder:{folder}?{options}") == (folder, options)


def test_options_are_written_into_the_name():
    assert with_options("mnist", size=None, grey=False) == "mnist"
    assert with_options("folder:a", size="32", grey=True) == "folder:a?size=32x32&grey"
    assert with_options("folder:a?grey", size=48) == "folder:a?size=48x48&grey"
    assert with_options("folder:a?size=8&skip_bad", size=(9, 10)) == "folder:a?size=9x10&skip_bad"
    with pytest.raises(DataError, match=r"grey: only the pictures of folder:DIR can .* 'mnist'"):
        with_options("mnist", grey=True)
    with pytest.raises(DataError, match="a glyph is 28 x 28 and grey; leave out size and grey"):
        with_options("folder:a?glyph", size=32)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("folder:a?gray", "unknown option 'gray' in 'folder:a.gray'; did you mean 'grey'"),
        ("folder:a?/b", r"unknown option '/b'.* holds a question mark, write another one"),
        ("folder:a?grey&grey", "'grey' stands twice in 'folder:a.grey&grey'"),
        ("folder:a?grey=1", "'grey=1' in 'folder:a.grey=1': grey has no value"),
        ("folder:a?size", "'' is no size; write 32, or HEIGHTxWIDTH"),
        ("folder:a?size=32x", "'32x' is no size"),
        ("folder:a?size=7x32", "a side of 7 pixels in 7x32; 8 to 128 are allowed"),
        ("folder:a?size=32x129", "a side of 129 pixels in 32x129"),
        ("folder:a?", "cannot read the folder 'a'"),
        ("folder:?grey", "'folder:.grey' names no folder"),
    ],
)
def test_other_options_are_refused(name, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=match):
        load_data(name)


def test_the_name_is_kept_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    two_classes(tmp_path / "what?")
    data = load_data("folder:~/what??", grey=True)
    assert data.name == "folder:~/what??grey"
    assert find_data(data.name) == tmp_path / "what?"
    assert load_data(data.name).preprocess == data.preprocess


def test_pictures_of_one_level_are_refused(tmp_path):
    for part in ("train", "test"):
        for name in "ab":
            plain(tmp_path / part / name, [(7, 7, 7)] * 2)
    with pytest.raises(DataError, match=r"every pixel of the training pictures in .* same level"):
        load_data(f"folder:{tmp_path}")


# Photos


def test_pictures_are_photos_of_their_own_size_and_colour(tmp_path):
    data = load_data(f"folder:{two_classes(tmp_path)}")
    assert (data.preprocess.kind, data.input_shape) == ("photo", (3, 8, 10))
    assert data.classes == ("blue", "red")
    # One in twelve of six, but one of each class: numbers are drawn by the seed of every split.
    held_out = stratified_mask(np.repeat([0, 1], 3), 12)
    levels = np.array([[0, 0, 200 + i] for i in range(3)] + [[200 + i, 0, 0] for i in range(3)])
    assert first_levels(data) == [*levels[~held_out].tolist(), *levels[held_out].tolist(),
                                  *levels.tolist()]  # fmt: skip
    assert data.train.labels.tolist() == [0, 0, 1, 1, 0, 1]
    fit, val = data.fit_split()
    assert (fit.labels.tolist(), val.labels.tolist()) == ([0, 0, 1, 1], [0, 1])
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    mean, std = mean_and_std(data.train.images)
    assert (data.preprocess.mean, data.preprocess.std) == ((mean,) * 3, (std,) * 3)
    assert dict(data.origin.sizes) == {"8x10": 12}
    assert "12 of 12 pictures looked at have a colour" in data.origin.treatment


def test_options_choose_size_and_channels(tmp_path):
    two_classes(tmp_path)
    data = load_data(f"folder:{tmp_path}", size=(16, 12), grey=True)
    assert data.name == f"folder:{tmp_path}?size=16x12&grey"
    assert data.input_shape == (1, 16, 12)
    # ITU-R BT.601: 0.114 of blue, 0.299 of red
    assert [level for [level] in first_levels(data)][-6:] == [23, 23, 23, 60, 60, 60]


def test_pictures_without_colour_have_one_channel(tmp_path):
    for part in ("train", "test"):
        for name in "ab":
            plain(tmp_path / part / name, [(7, 7, 7), (9, 9, 9)])
    data = load_data(f"folder:{tmp_path}")
    assert data.input_shape == (1, 8, 10)
    assert "none of 8 pictures looked at has a colour" in data.origin.treatment


@pytest.mark.parametrize(
    ("size", "match"),
    [
        ((9, 10), "the 13 pictures looked at have 2 sizes; they become 32x32, or choose with"),
        ((200, 8), "the 13 pictures looked at have 2 sizes; they become 32x32"),
    ],
)
def test_a_size_that_was_not_asked_for_is_said(tmp_path, size, match):
    two_classes(tmp_path)
    Image.new("RGB", size[::-1]).save(tmp_path / "train" / "red" / "odd.png")
    with pytest.warns(UserWarning, match=match):
        data = load_data(f"folder:{tmp_path}")
    assert data.input_shape == (3, 32, 32)
    with pytest.warns(UserWarning, match=match):  # from the cache too
        load_data(f"folder:{tmp_path}")
    load_data(f"folder:{tmp_path}?size=32")


def test_one_size_beyond_the_allowed_is_said(tmp_path):
    for part in ("train", "test"):
        for name in "ab":
            plain(tmp_path / part / name, [(7, 7, 7), (9, 9, 9)], size=(8, 129))
    with pytest.warns(UserWarning, match="pictures are 8x129, beyond 8 to 128 a side; they become"):
        assert load_data(f"folder:{tmp_path}").input_shape == (1, 32, 32)


def test_validation_pictures_of_ones_own_validate(tmp_path):
    two_classes(tmp_path, parts=("train", "val", "test"))
    data = load_data(f"folder:{tmp_path}")
    fit, val = data.fit_split()
    assert (fit.labels.tolist(), val.labels.tolist()) == ([0, 0, 0, 1, 1, 1],) * 2
    assert len(data.train) == 12  # what `full` trains on
    assert val.images.data_ptr() == data.train.images[6:].data_ptr()


def test_a_folder_without_parts_is_cut_in_three(tmp_path):
    plain(tmp_path / "a", [(i, 0, 0) for i in range(24)])
    plain(tmp_path / "b", [(0, i, 0) for i in range(12)])
    (tmp_path / "b" / ".DS_Store").write_bytes(b"left by a file manager")
    (tmp_path / "notes.txt").write_text("beside the class folders")
    data = load_data(f"folder:{tmp_path}")
    fit, val = data.fit_split()
    counts = [part.labels.bincount().tolist() for part in (fit, val, data.test)]
    assert counts == [[19, 9], [1, 1], [4, 2]]  # 36 / 6 to test, 30 / 12 of the others validate
    assert len({tuple(level) for level in first_levels(data)}) == 35  # (0, 0, 0) is in both


# Glyphs


def test_glyphs_are_taken_for_the_asking(tmp_path):
    bars(tmp_path / "ring", 12)
    bars(tmp_path / "bar", 6, level=100)
    data = load_data(f"folder:{tmp_path}?glyph")
    assert data.classes == ("bar", "ring")
    assert data.preprocess.kind == "glyph"
    assert data.train.labels.tolist() == [0] * 4 + [1] * 9 + [0, 1]
    assert data.test.labels.tolist() == [0, 1, 1]
    assert data.train.images[0].max() == 100  # 28 × 28 on black is taken as it is


def test_a_glyph_on_paper_is_scaled_and_centred(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        bars(tmp_path / part / "a", count)
        bars(tmp_path / part / "b", count, suffix="jpg")
    Image.new("RGB", (90, 50), "white").save(tmp_path / "test" / "b" / "wide.png")
    with pytest.raises(DataError, match=r"wide.png' is blank"):
        load_data(f"folder:{tmp_path}?glyph")
    paper = Image.new("RGB", (90, 50), "white")
    paper.paste("black", (40, 5, 50, 45))
    paper.save(tmp_path / "test" / "b" / "wide.png")
    data = load_data(f"folder:{tmp_path}?glyph")
    assert (len(data.train), len(data.test)) == (6, 5)
    bar = torch.zeros(28, 28, dtype=torch.uint8)
    bar[4:24, 12:17] = 255  # 10 × 40 in a box of 20, centred, light on dark
    assert torch.equal(data.test.images[4, 0], bar)


# What is refused


def test_folders_that_make_no_data_set_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the folder .*none': No such file"):
        load_data(f"folder:{tmp_path / 'none'}")
    with pytest.raises(DataError, match="holds 0 class folders; make one for each"):
        load_data(f"folder:{tmp_path}")
    bars(tmp_path / "a", 3)
    bars(tmp_path / "b", 2)
    with pytest.raises(DataError, match=r"class 'b' in .* too few pictures: 0 to fit, 1 to val"):
        load_data(f"folder:{tmp_path}")
    bars(tmp_path / "both" / "train" / "a", 3)
    with pytest.raises(DataError, match=r"no folder .*both/test'; train and test go together"):
        load_data(f"folder:{tmp_path / 'both'}")
    bars(tmp_path / "both" / "test" / "b", 3)
    with pytest.raises(DataError, match=r"same classes in train and in test; .* has a, b"):
        load_data(f"folder:{tmp_path / 'both'}")
    (tmp_path / "both" / "valid").mkdir()
    with pytest.raises(DataError, match=r"valid' lies beside train and test and would not be"):
        load_data(f"folder:{tmp_path / 'both'}")


def test_an_empty_class_folder_is_refused(tmp_path):
    bars(tmp_path / "a", 3)
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=r"class folder .*b' is empty; put pictures into it"):
        load_data(f"folder:{tmp_path}")


def test_folders_of_millions_are_refused(tmp_path, monkeypatch):
    two_classes(tmp_path)
    monkeypatch.setattr(scan, "MOST_FILES", 4)
    with pytest.raises(DataError, match=r"more than 4 files at .*; is it the right folder"):
        load_data(f"folder:{tmp_path}")


def test_what_is_no_picture_is_refused(tmp_path, cache):
    two_classes(tmp_path)
    (tmp_path / "test" / "red" / "01.png").write_text("not a picture")
    match = r"red/01\.png' is no PNG, JPEG, WebP, BMP or GIF picture; .* with --skip-bad"
    for options in ("", "?size=32&grey"):
        with pytest.raises(DataError, match=match):
            load_data(f"folder:{tmp_path}{options}")
    assert [path.name for path in cache.glob("pictures/*") if path.is_dir()] == []


def test_a_decompression_bomb_is_refused(tmp_path):
    two_classes(tmp_path)
    bomb = tmp_path / "test" / "red" / "bomb.png"
    Image.new("1", (20_000, 10_000)).save(bomb)
    assert bomb.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"bomb\.png' has more than 50,000,000 pixels"):
        load_data(f"folder:{tmp_path}")


# What is kept


def test_pictures_are_decoded_once(tmp_path, monkeypatch):
    two_classes(tmp_path)
    seen: list[tuple[int, int]] = []
    first = load_data(f"folder:{tmp_path}", watch=lambda done, total: seen.append((done, total)))
    assert seen == [(12, 12)]
    array = np.load(first.origin.cache / "images.npy")
    assert torch.equal(torch.from_numpy(array)[:6], first.train.images)
    monkeypatch.setattr(many, "decode", None)
    again = load_data(f"folder:{tmp_path}")
    assert torch.equal(again.train.images, first.train.images)
    assert again.preprocess == first.preprocess
    again.train.images[:] = 0  # stays in this process
    assert kept.is_intact(first.origin.cache)


def test_a_changed_file_is_decoded_anew_and_the_old_copy_removed(tmp_path, cache):
    two_classes(tmp_path)
    first = load_data(f"folder:{tmp_path}").origin.cache
    other = load_data(f"folder:{tmp_path}?grey").origin.cache
    os.utime(tmp_path / "train" / "red" / "00.png", ns=(1, 1))
    second = load_data(f"folder:{tmp_path}").origin.cache
    assert {path for path in cache.glob("pictures/*") if path.is_dir()} == {other, second}
    assert first != second


@pytest.mark.parametrize("damage", ["cut", "no json", "json", "gone"])
def test_a_damaged_copy_is_made_anew(tmp_path, damage):
    two_classes(tmp_path)
    data = load_data(f"folder:{tmp_path}")
    images, about = data.origin.cache / "images.npy", data.origin.cache / "about.json"
    match damage:
        case "cut":
            images.write_bytes(images.read_bytes()[:-1])
        case "no json":
            about.write_text("{")
        case "json":
            about.write_text("[]")
        case "gone":
            images.unlink()
    again = load_data(f"folder:{tmp_path}")
    assert torch.equal(again.test.images, data.test.images)
    assert kept.is_intact(data.origin.cache)


def test_changed_bytes_are_found(tmp_path):
    two_classes(tmp_path)
    cache = load_data(f"folder:{tmp_path}").origin.cache
    assert json.loads((cache / "about.json").read_text())["bytes"] == 128 + 12 * 3 * 8 * 10
    content = bytearray((cache / "images.npy").read_bytes())
    content[-1] ^= 1
    (cache / "images.npy").write_bytes(content)
    assert not kept.is_intact(cache)


def test_a_cache_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    two_classes(tmp_path / "set")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SMIDGEN_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot keep the decoded pictures in .*SMIDGEN_CACHE"):
        load_data(f"folder:{tmp_path / 'set'}")


def test_processes_read_the_same_in_the_same_order(tmp_path, monkeypatch):
    plain(tmp_path / "a", [(i, 2 * i, 0) for i in range(100)])
    paths = sorted((tmp_path / "a").iterdir())
    paths.insert(70, tmp_path / "none.png")
    preprocess = Preprocess("photo", InputShape(3, 8, 10), (0.0,), (1.0,))
    alone = list(many.read_batches(paths, preprocess))
    monkeypatch.setattr(many, "FEW", 10)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = list(many.read_batches(paths, preprocess))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.images, other.images)
        assert (one.sizes, one.problems) == (other.sizes, other.problems)
    assert list(together[1].problems) == [6]
    assert together[1].images[:7, 0, 0, 0].tolist() == [*range(64, 70), 70]
