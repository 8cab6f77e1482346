from __future__ import annotations

from pathlib import Path

import pytest
import torch

from smidgen.errors import RunError
from smidgen.recipe import Recipe
from smidgen.run import Run, fingerprint, free_folder, read_weights

ROW = {
    "epoch": 1, "images_seen": 60000, "lr": 0.1, "seconds": 3.5, "train_loss": 0.25,
    "train_accuracy": 0.95, "val_loss": None, "val_accuracy": None, "test_loss": None,
    "test_accuracy": None,
}  # fmt: skip


def test_a_run_gives_back_what_was_written(recipe: Recipe, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", recipe)
    run.append_metrics(ROW)
    run.append_metrics(ROW | {"epoch": 2, "val_accuracy": 0.5})
    run.write_weights({"w": torch.arange(3.0)}, {"model": "m"})
    run.write_checkpoint({"v": torch.ones(2)}, {"epochs": 1})
    run.write_test_logits(torch.eye(2))
    run.write_result({"test_accuracy": 0.5})
    again = Run.open(run.path)
    assert again.recipe == recipe
    assert [row["val_accuracy"] for row in again.metrics()] == [None, 0.5]
    assert again.metrics()[0]["images_seen"] == 60000
    assert again.state_dict()["w"].tolist() == [0, 1, 2]
    assert again.weights_header()["model"] == "m"
    assert again.checkpoint()["epochs"] == 1
    assert again.result() == {"test_accuracy": 0.5}
    logits = again.test_logits()
    assert logits is not None
    assert torch.equal(logits, torch.eye(2))
    again.write_metrics(again.metrics()[:1])
    again.write_result(again.result())
    assert len(again.metrics()) == 1


def test_what_is_not_there_is_named(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run folder: it holds no recipe\.toml"):
        Run.open(tmp_path)
    run = Run.create(tmp_path / "run", recipe)
    with pytest.raises(
        RunError, match=r"not finished: it holds no result\.json; go on with .* --resume "
    ):
        run.result()
    with pytest.raises(RunError, match=r"holds no model\.safetensors"):
        run.state_dict()
    with pytest.raises(RunError, match="is not empty; choose another --out"):
        Run.create(tmp_path / "run", recipe)


def test_damage_is_noticed(recipe: Recipe, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", recipe)
    run.write_weights({"w": torch.arange(100.0)}, {"model": "m"})
    path = run.path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-4] ^= 1  # inside the last number
    path.write_bytes(content)
    with pytest.raises(RunError, match="were changed or damaged"):
        run.state_dict()
    path.write_bytes(content[:50])
    with pytest.raises(RunError, match="cannot read the weights"):
        read_weights(path)
    (run.path / "last.pt").write_bytes(b"PK but no archive")
    with pytest.raises(RunError, match=r"last\.pt' is damaged"):
        run.checkpoint()


def test_a_fingerprint_is_of_names_shapes_and_bytes() -> None:
    prints = [
        fingerprint({"a": torch.zeros(2)}),
        fingerprint({"b": torch.zeros(2)}),
        fingerprint({"a": torch.zeros(1, 2)}),
        fingerprint({"a": torch.zeros(2, dtype=torch.float64)}),
        fingerprint({"a": torch.tensor([0.0, -0.0])}),
    ]
    assert len(set(prints)) == 5
    assert fingerprint({"a": torch.zeros(2)}) == prints[0]


def test_a_folder_that_cannot_be_made_is_named(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*Not a directory; free the space or choose"):
        Run.create(tmp_path / "file" / "run", recipe)


def test_new_folders_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert free_folder("net") == Path("runs/net")
    Path("runs/net").mkdir(parents=True)
    Path("runs/net-2").mkdir()
    assert free_folder("net") == Path("runs/net-3")
    assert free_folder("../mine/net.toml") == Path("runs/net-3")
    assert free_folder("mine/model.py:Small") == Path("runs/Small")
    assert free_folder("mine/model.ipynb") == Path("runs/model")
