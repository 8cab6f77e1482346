"""What the tests share: real data in memory, and recipes that train in a second."""

from __future__ import annotations

import os

# Tests share the cores between processes; torch's own threads would only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from made_up_runs import tiny_data, write_run
from PIL import Image

from smidgen.data import Data, Split, load_data
from smidgen.errors import DataError
from smidgen.recipe import Recipe, parse_recipe

settings.register_profile("smidgen", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("smidgen")

if TYPE_CHECKING:
    from playwright.sync_api import Page


def pytest_xdist_auto_num_workers() -> int:
    """More than there are cores: a third of a test's time it waits for a browser or a process."""
    return (os.cpu_count() or 1) + 2


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps the cache of the tests, which all their processes share, apart from the user's."""
    folder = tmp_path_factory.getbasetemp()
    of_all = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    os.environ["SMIDGEN_CACHE"] = str(of_all / "cache")


@pytest.fixture(scope="session")
def mnist() -> Data:
    """Real MNIST, where $SMIDGEN_DATA or ./data holds it."""
    try:
        return load_data("mnist", download=False)
    except DataError as problem:
        pytest.skip(f"real MNIST is not on this machine: {problem}")


@pytest.fixture(scope="session")
def digits() -> Data:
    """The embedded digits, 1,497 to train and 300 to test."""
    return load_data("digits")


@pytest.fixture(scope="session")
def few(digits: Data) -> Data:
    """240 digits to train and 60 to test: enough to run every path of a training."""
    train = Split(digits.train.images[:240], digits.train.labels[:240])
    test = Split(digits.test.images[:60], digits.test.labels[:60])
    return Data("digits", train, test, digits.classes, digits.preprocess)


@pytest.fixture
def recipe() -> Recipe:
    """Two epochs of tiny_mnist."""
    return parse_recipe(
        {
            "model": "tiny_mnist",
            "data": "digits",
            "epochs": 2,
            "batch_size": 32,
            "workers": 2,
            "optimizer": {"name": "sgd", "lr": 0.05},
            "augment": {"rotation": 10.0, "translation": 0.1},
        },
        source="test",
    )


@pytest.fixture
def run_folder(few: Data, recipe: Recipe, tmp_path: Path) -> Path:
    """A finished run."""
    from smidgen.train import fit

    with torch.random.fork_rng():
        return fit(recipe, few, tmp_path / "run").path


@pytest.fixture
def one_seed(tmp_path: Path) -> Path:
    """A made-up run that is wrong about images 3, 13 and 7 of 200."""
    return write_run(tmp_path / "one", tiny_data(), [3, 13, 7]).path


@pytest.fixture
def three_seeds(tmp_path: Path) -> Path:
    """A folder of three made-up runs, with 2, 4 and 6 mistakes of 200."""
    for seed in range(3):
        write_run(tmp_path / f"many/seed-{seed}", tiny_data(), list(range(2 * seed + 2)), seed)
    return tmp_path / "many"


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """How pytest-playwright starts Debian's chromium."""
    from browser import ARGUMENTS, CHROMIUM

    return {"executable_path": CHROMIUM, "args": ARGUMENTS}


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of all shipped frontier models, as a file."""
    return _write_page(tmp_path_factory.mktemp("page"), [])


@pytest.fixture(scope="session")
def first_address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the first of them alone, which answers sooner."""
    from smidgen.export.document import frontier_document

    return _write_page(tmp_path_factory.mktemp("page"), [frontier_document()["models"][0]["name"]])


@pytest.fixture
def desk(page: Page, address: str) -> Iterator[Page]:
    """The page in a window of a desk's size, watched for errors and requests."""
    yield from _watched(page, address)


@pytest.fixture
def first_desk(page: Page, first_address: str) -> Iterator[Page]:
    """The same with the first network alone."""
    yield from _watched(page, first_address)


def _write_page(folder: Path, targets: list[str]) -> str:
    from smidgen.export.document import page_document
    from smidgen.export.html import render

    path = folder / "index.html"
    path.write_text(render(page_document(targets)), "utf-8")
    return path.as_uri()


def _watched(page: Page, address: str) -> Iterator[Page]:
    from browser import DESK, watched

    page.set_viewport_size(DESK)
    with watched(page, address):
        yield page


@pytest.fixture
def pictures(tmp_path: Path) -> None:
    """A folder `fruit`: forty pictures of two classes, one red and one green, of odd sizes."""
    generator = np.random.default_rng(0)
    for name, colour in (("apple", (200, 30, 30)), ("pear", (60, 180, 40))):
        (tmp_path / "fruit" / name).mkdir(parents=True)
        for number in range(20):
            noise = generator.integers(-30, 30, (40 + number, 50, 3))
            picture = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "fruit" / name / f"{number}.png")
