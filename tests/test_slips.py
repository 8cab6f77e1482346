"""What a newcomer mistypes is one line, which names it, what is allowed and what to do."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up_runs import tiny_data, write_run
from PIL import Image

from smidgen.cli import run
from smidgen.recipe import load_recipe, to_toml

NET = (
    "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self): super().__init__(3, 4)\n"
)
SMALL = "--data digits"  # so that no test needs MNIST

# What is typed, and what the message must hold: the value, what is allowed, the next step.
SLIPS = {
    # commands and options
    "trian": ["'trian'", "did you mean 'train'?", "smidgen --help says more"],
    "--epochs 3": ["--epochs", "smidgen --help says more"],
    "train tiny_mnist --epoch 3": ["--epoch ", "--epochs", "smidgen train --help"],
    "train tiny_mnist --epochs ten": ["'ten'", "--epochs", "valid integer", "train --help"],
    "train tiny_mnist --lr=fast": ["'fast'", "--lr", "valid number", "train --help"],
    "train tiny_mnist tiny_net": ["tiny_net", "smidgen train --help"],
    "predict": ["'TARGET'", "smidgen predict --help"],
    "predict tiny_mnist": ["'IMAGE...'", "smidgen predict --help"],
    "export tiny_mnist --format c": ["'--out'", "smidgen export --help"],
    "models --sort size": ["'size'", "'params', 'accuracy', 'bytes'", "smidgen models --help"],
    "sweep tiny_mnist": ["'--grid'", "smidgen sweep --help"],
    "sweep tiny_mnist --grid epochs=1 --seeds 0": ["'0'", "--seeds", "equal to 1"],
    "models --filter size<8000": ["'size<8000'", "params, accuracy", "--filter 'params<8000'"],
    # models, runs and files
    "models tinymnist": ["'tinymnist'", "did you mean 'tiny_mnist'?"],
    "train tiny_mnst": ["'tiny_mnst'", "did you mean 'tiny_mnist'?"],
    "sweep tiny_mnst --grid epochs=1": ["'tiny_mnst'", "did you mean 'tiny_mnist'?"],
    "describe smidgen8k": ["'smidgen8k'", "did you mean 'smidgen_8k'?"],
    "evaluate runs/nope": ["no folder or file 'runs/nope'", "check the path"],
    "train runs/nope": ["no folder or file 'runs/nope'", "check the path"],
    "train one": ["'one' is a folder", "`smidgen models`"],
    "report runs/nope": ["no folder 'runs/nope'", "smidgen train"],
    "evaluate empty": ["'empty'", "recipe.toml", "smidgen train"],
    "evaluate begun": ["'begun' has not finished", "smidgen train --resume begun"],
    "check begun --budget era-8k": ["'begun' has not finished", "train --resume begun"],
    "report begun": ["'begun' has not finished", "smidgen train --resume begun"],
    "train --resume begun": ["'begun' holds no last.pt", "remove the folder"],
    "train --resume nowhere": ["'nowhere'", "smidgen train"],
    "train tiny_mnist --resume begun": ["--resume", "leave the rest out"],
    "evaluate net": ["'net'", "smidgen_8k", "smidgen train net"],
    "compare one": ["at least two runs", "name two or more"],
    f"train model.py {SMALL}": ["'model.py'", "FILE.py:NAME"],
    f"train own.py:Nt {SMALL}": ["'Nt'", "did you mean 'Net'?"],
    f"train own.py:Net {SMALL}": ["Net fails on images", "(2, 1, 28, 28)", "--input CxHxW"],
    f"train wrong.py {SMALL}": ["'nothing_like_that'", "`python wrong.py` says where"],
    "train recipe.toml": ["'recipe.toml' is a recipe", "--recipe recipe.toml"],
    "describe nope.toml": ["'nope.toml'", "check the path"],
    "predict pic.png tiny_mnist": ["'pic.png' is a file", "name a model, a run folder"],
    "predict tiny_mnist none.png": ["'none.png'", "check the path"],
    "predict tiny_mnist full": ["'full'", "name the pictures in it"],
    "predict tiny_mnist own.py": ["'own.py'", "PNG, JPEG, WebP", "save it as one"],
    # values
    "train tiny_mnist --epochs 0": ["--epochs: epochs = 0", "greater than or equal to 1"],
    "train tiny_mnist --lr -1": ["--lr: optimizer.lr = -1", "greater than 0"],
    "train tiny_mnist --batch-size 1": ["--batch-size: batch_size = 1", "equal to 2"],
    "train tiny_mnist --seed -1": ["--seed: seed = -1", "equal to 0"],
    "train tiny_mnist --gamma 2": ["--gamma: schedule.gamma = 2", "equal to 1"],
    "train tiny_mnist --seeds 1": ["--seeds 1", "at least 2"],
    "train tiny_mnist --set epoch=2": ["--set", "'epoch'", "did you mean 'epochs'?"],
    "train tiny_mnist --set lr=0.1": ["'lr'", "did you mean 'optimizer.lr'?"],
    "train tiny_mnist --set epochs": ["'epochs'", "key=value", "--set optimizer.lr=0.01"],
    "train tiny_mnist --set epochs=three": ["--set: epochs = 'three'", "valid integer"],
    "train tiny_mnist --epochs 2 --set epochs=0": ["--set: epochs = 0", "equal to 1"],
    "train tiny_mnist --set optimizer=adam": ["'adam'", "a table", "set optimizer.name"],
    "train tiny_mnist --set optimizer.name=adm": ["'adm'", "did you mean 'adam'?"],
    "train tiny_mnist --device gpu --data digits": ["--device 'gpu'", "choose from cpu"],
    f"train tiny_mnist --out full {SMALL}": ["'full' is not empty", "another --out"],
    "sweep tiny_mnist --grid lr=1": ["--grid", "'lr'", "did you mean 'optimizer.lr'?"],
    "sweep tiny_mnist --grid epochs=0,1": ["--grid: epochs = 0", "equal to 1"],
    "sweep tiny_mnist --grid seed=1 --set full=true": ["full = true", "on validation"],
    "sweep tiny_mnist --grid optimizer.lr": ["--grid", "key=value"],
    "describe own.py --input 28x28": ["'28x28'", "CxHxW", "3x32x32"],
    "export tiny_mnist --format tflite --out x": ["'tflite'", "c, html, hub, onnx"],
    "evaluate tiny_mnist --plot x.png": ["--plot x.png", "add --robust"],
    "bench speed": ["'speed'", "standard"],
    "serve tiny_mnst": ["'tiny_mnst'", "did you mean 'tiny_mnist'?"],
    # recipes, budgets and data
    "train": ["name a model or a --recipe", "`smidgen models`"],
    "train tiny_mnist --recipe tiny_mnits": ["'tiny_mnits'", "did you mean 'tiny_mnist'?"],
    "train tiny_mnist --recipe nope.toml": ["'nope.toml'", "check the path"],
    "train tiny_mnist --recipe broken.toml": ["'broken.toml'", "not TOML", "line 1, column 10"],
    "check tiny_mnist": ["--budget NAME", "smidgen check --list"],
    "check tiny_mnist --budget era-9k": ["'era-9k'", "did you mean 'era-8k'?"],
    "check tiny_mnist --budget 8000": ["'8000'", "choose from era-10k"],
    "check tiny_mnist --claims READNE.md": ["'READNE.md'", "check the path"],
    "grade nope --budget era-8k": ["'nope'", "check the path"],
    "grade empty --budget era-8k": ["'empty'", "one .py file, notebook or subfolder"],
    "data minst": ["'minst'", "did you mean 'mnist'?"],
    "train tiny_mnist --data photos": ["'photos'", "folder:DIR", "choose from"],
    "data folder:nope": ["'nope'", "check the path"],
    "data folder:empty": ["'empty' holds 0 class folders", "make one for each"],
    "data folder:pictures": ["'pictures' holds 1 class folder", "make one for each"],
    "data folder:pictures --size 7": ["7", "8 to 128"],
    "data mnist --size 48": ["size", "folder:DIR", "'mnist'", "leave it out"],
    # searches
    "search": ["--budget", "--resume DIR"],
    "search --budget era-8k --time soon": ["'soon'", "90s, 30m, 2h or 1d"],
    "search --budget era-8k --space chian": ["'chian'", "did you mean 'chain'?"],
    "search --budget era-8k --sampler foo": ["--sampler: sampler = 'foo'", "'nsga2'"],
    "search --budget era-8k --backend ry": ["'ry'", "did you mean 'ray'?"],
    "search --budget era-8k --trials 0": ["--trials 0", "at least 1"],
    "search --budget era-8k --jobs 0": ["--jobs 0", "at least 1, or -1"],
    "search --resume nowhere": ["'nowhere'", "without --resume"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, one that has only begun, files of all kinds, and a folder with one class."""
    path = tmp_path_factory.mktemp("slips")
    write_run(path / "one", tiny_data(), [3])
    recipe = to_toml(load_recipe("tiny_mnist"))
    for name in ("begun", "full", "empty", "pictures/cats"):
        (path / name).mkdir(parents=True)
    files = {"begun/recipe.toml": recipe, "recipe.toml": recipe, "full/file": "", "own.py": NET}
    files |= {"broken.toml": "epochs = = 3", "wrong.py": "import nothing_like_that\n"}
    for name, text in files.items():
        (path / name).write_text(text)
    picture = Image.fromarray(np.zeros((32, 32), dtype=np.uint8))
    for name in ("pic.png", "pictures/cats/tom.png"):
        picture.save(path / name)
    return path


def files_in(folder: Path) -> set[Path]:
    """All but what Python keeps of a module that it has imported."""
    return {path for path in folder.rglob("*") if "__pycache__" not in str(path)}


def test_there_are_more_than_forty_slips() -> None:
    assert len(SLIPS) > 40


@pytest.mark.parametrize("typed", SLIPS)
def test_a_slip_is_one_line_and_exit_2(
    typed: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = files_in(folder)
    assert run(shlex.split(typed)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("smidgen: ")
    assert said.err.count("\n") == 1
    assert [part for part in SLIPS[typed] if part not in said.err] == []
    assert run([*shlex.split(typed), "--json"]) == 2
    also = capsys.readouterr()
    assert also.err == said.err
    assert f"smidgen: {json.loads(also.out)['error']}\n" == said.err
    assert files_in(folder) == before


@pytest.mark.parametrize(
    ("typed", "module", "extra"),
    [
        ("search --budget era-8k --data digits", "optuna", "smidgen[search]"),
        ("search --budget era-8k --data digits --backend ray", "ray", "smidgen[ray]"),
        ("search --budget era-8k --data digits --tensorboard", "tensorboard", "[tensorboard]"),
        ("train tiny_mnist --data digits --tensorboard", "tensorboard", "[tensorboard]"),
    ],
)
def test_an_extra_that_is_missing_is_named_with_its_command(
    typed: str,
    module: str,
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (module, f"torch.utils.{module}"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run(shlex.split(typed)) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert module in message
    assert f"pip install 'smidgen{extra.removeprefix('smidgen')}'" in message


def test_the_process_says_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "smidgen", "trian", "--json"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"] == done.stderr.removeprefix("smidgen: ").strip()
