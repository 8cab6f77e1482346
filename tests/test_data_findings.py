"""What is said about a data set, and `smidgen data` of pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
import typer
from pictures import plain, two_classes
from PIL import Image
from typer.testing import CliRunner

from smidgen.cli.data import data as data_command
from smidgen.data import Data, Split
from smidgen.data.findings import find_problems
from smidgen.mnist import GLYPH

app = typer.Typer()
app.command()(data_command)


def numbered(levels: list[int], labels: list[int]) -> Split:
    images = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 28, 28)
    return Split(images, torch.tensor(labels))


def test_a_sound_data_set_has_nothing_to_be_said():
    train = numbered([1, 2, 3, 4], [0, 0, 0, 1])  # three to one
    assert find_problems(Data("x", train, numbered([5, 6], [0, 1]), ("a", "b"), GLYPH)) == []


def test_duplicates_imbalance_and_absent_classes_are_said():
    train = numbered([1, 2, 3, 4, 5], [0, 0, 0, 0, 1])
    test = numbered([4, 4, 5, 6], [0, 0, 0, 0])
    assert find_problems(Data("x", train, test, ("a", "b"), GLYPH)) == [
        "3 of 4 test images are training images too, byte for byte; an accuracy on them says "
        "little about new pictures",
        "4 training images of 'a' and 1 of 'b'; the accuracy hides how the small classes do",
        "no test image of b; nothing will be known about it",
    ]


def test_one_pixel_makes_another_image():
    train, test = numbered([1, 2], [0, 1]), numbered([1, 2], [0, 1])
    test.images[:, 0, 27, 27] += 100
    assert find_problems(Data("x", train, test, ("a", "b"), GLYPH)) == []


def distinct(folder: Path) -> Path:
    """Two classes in two parts, no picture of which is in both."""
    two_classes(folder, parts=("train",))
    plain(folder / "test" / "blue", [(0, 9, 200), (0, 9, 201)])
    plain(folder / "test" / "red", [(200, 9, 0)], size=(16, 20))
    return folder


def test_the_command_says_what_was_done_to_pictures(tmp_path):
    name = f"folder:{distinct(tmp_path / 'set')}"
    result = CliRunner().invoke(app, [name, "--size", "8x10", "--json"])
    document = json.loads(result.stdout)
    assert document["data"] == f"{name}?size=8x10"
    assert document["counts"] == {"fit": [2, 2], "val": [1, 1], "test": [2, 1]}
    assert document["input"] == [3, 8, 10]
    assert document["notes"] == []
    pictures = document["pictures"]
    assert (pictures["sizes"], pictures["skipped"]) == ({"8x10": 8, "16x20": 1}, [])
    assert Path(pictures["cache"], "images.npy").is_file()
    shown = CliRunner().invoke(app, [name, "--size", "8x10"]).stdout
    assert "pictures found: 8 of 8x10, 1 of 16x20\n" in shown
    assert f"kept in {pictures['cache']}\n" in shown
    assert (
        "photos, the largest part in the middle with the shape 8x10, scaled to it by area "
        "averaging, RGB (the size: as asked; the channels: 9 of 9 pictures looked at have a "
        "colour)\n"
    ) in shown
    shutil.rmtree(tmp_path / "set" / "test" / "red")
    plain(tmp_path / "set" / "test" / "red", [(200, 9, 0)])
    shown = CliRunner().invoke(app, [name, "--grey"]).stdout
    assert "photos, taken as they are, 8x10, grey (the size: that of all 9 pictures" in shown


def test_a_copy_whose_bytes_were_changed_is_refused(tmp_path):
    arguments = [f"folder:{distinct(tmp_path)}", "--size", "9", "--json"]
    cache = Path(json.loads(CliRunner().invoke(app, arguments).stdout)["pictures"]["cache"])
    content = bytearray((cache / "images.npy").read_bytes())
    content[-1] ^= 1
    (cache / "images.npy").write_bytes(content)
    problem = CliRunner().invoke(app, arguments).exception
    assert "were changed or damaged; remove that folder" in str(problem)


def test_the_sheet_shows_the_images_as_they_are_fed(tmp_path):
    name = f"folder:{distinct(tmp_path / 'set')}"
    sheet = tmp_path / "sheet.png"
    result = CliRunner().invoke(app, [name, "--size", "8x10", "--sheet", str(sheet)])
    assert result.exit_code == 0
    colours = {colour for _, colour in Image.open(sheet).convert("RGB").getcolors(2**24)}
    assert {(0, 0, 200), (0, 0, 201), (0, 0, 202), (200, 0, 0), (202, 0, 0)} <= colours
