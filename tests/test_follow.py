"""A training that is followed: its page, and its line on a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smidgen.cli.watching import MOST_EPOCHS, sparkline
from smidgen.data import Data
from smidgen.recipe import Recipe
from smidgen.train import Progress, fit
from smidgen.train.follow import write_page


def test_the_page_follows_a_training_and_rests_at_its_end(
    few: Data, recipe: Recipe, tmp_path: Path
) -> None:
    folder, opened, seen = tmp_path / "run", list[str](), list[str]()
    page = folder / "live.html"
    with write_page(folder, opened.append) as write:

        def watch(progress: Progress) -> None:
            write(progress)
            if progress.row:
                seen.append(page.read_text("utf-8"))

        fit(recipe.model_copy(update={"epochs": 3, "full": False}), few, folder, watch=watch)
    assert opened == [page.as_uri()]
    assert [f"epoch {epoch} of 3" in text for epoch, text in enumerate(seen, 1)] == [True] * 3
    assert all('http-equiv="refresh"' in text for text in seen)
    at_rest = page.read_text("utf-8")
    assert 'http-equiv="refresh"' not in at_rest
    assert at_rest.count("<polyline") == 2  # training and validation


def test_a_program_that_imports_a_kernel_is_no_notebook() -> None:
    pytest.importorskip("ipykernel", reason="ipykernel is of the extra `dev`")
    code = (
        "import ipykernel.kernelapp; from smidgen.train.follow import in_notebook as i; print(i())"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == b"False\n"


def test_open_shows_the_page_in_the_browser(tmp_path: Path) -> None:
    browser = tmp_path / "browser.sh"
    browser.write_text('#!/bin/sh\necho "$1" >> opened.txt\n')
    browser.chmod(0o755)
    typed = ["train", "tiny_mnist", "--data", "digits", "--epochs", "1", "--out", "one"]
    environment = os.environ | {"BROWSER": f"{browser} %s"}
    command = [sys.executable, "-m", "smidgen", *typed, "--open"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    address = (tmp_path / "one" / "live.html").as_uri()
    assert (tmp_path / "opened.txt").read_text() == f"{address}\n"


def test_a_sparkline_by_hand() -> None:
    assert sparkline([]) == ""
    assert sparkline([0.5]) == "▁"
    assert sparkline([0.0, 0.5, 1.0, 0.75]) == "▁▅█▆"  # 7 · (0, 1/2, 1, 3/4), rounded to even
    assert sparkline([9.0, *[0.0] * MOST_EPOCHS]) == "▁" * MOST_EPOCHS
