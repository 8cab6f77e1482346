"""Run folders that were damaged, cut short, or begun on other data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from disks import enlarge, small_disk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smidgen.cli import main
from smidgen.data import Data, Split
from smidgen.errors import RunError
from smidgen.recipe import Recipe, override
from smidgen.report import open_trial, write_report
from smidgen.run import EVIDENCE, Run, serialise
from smidgen.sweep import fit_seeds
from smidgen.train import Progress, fit, resume

WITHOUT_SECONDS = ("epoch", "images_seen", "lr", "train_loss", "train_accuracy", "val_accuracy")


@pytest.fixture(scope="module")
def recipe_of_three() -> Recipe:
    optimizer = {"name": "sgd", "lr": 0.05}
    return Recipe.model_validate(
        {"model": "tiny_mnist", "data": "digits", "epochs": 3, "batch_size": 32, "workers": 1,
         "backend": "torch", "precision": "float32", "memory_format": "contiguous",
         "optimizer": optimizer}
    )  # fmt: skip


@pytest.fixture(scope="module")
def few_images(digits: Data) -> Data:
    train = Split(digits.train.images[:240], digits.train.labels[:240])
    test = Split(digits.test.images[:60], digits.test.labels[:60])
    return replace(digits, train=train, test=test)


@pytest.fixture(scope="module")
def runs(
    recipe_of_three: Recipe, few_images: Data, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished run, `whole`, and `killed`, which was killed in its third epoch."""
    folder = tmp_path_factory.mktemp("runs")

    def kill(progress: Progress) -> None:
        if progress.epoch == 3:
            raise InterruptedError("killed")

    fit(recipe_of_three, few_images, folder / "whole")
    with pytest.raises(InterruptedError, match="killed"):
        fit(recipe_of_three, few_images, folder / "killed", watch=kill)
    return folder


@pytest.fixture
def whole(runs: Path, tmp_path: Path) -> Run:
    shutil.copytree(runs / "whole", tmp_path / "whole")
    return Run.open(tmp_path / "whole")


@pytest.fixture
def killed(runs: Path, tmp_path: Path) -> Run:
    shutil.copytree(runs / "killed", tmp_path / "killed")
    return Run.open(tmp_path / "killed")


def rows(run: Run) -> list[list[float | None]]:
    return [[row[key] for key in WITHOUT_SECONDS] for row in run.metrics()]


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "garbage": lambda text: b"\xff\xfe garbage \x00",
    "flipped digit": lambda text: text[:-9] + bytes([text[-9] ^ 1]) + text[-8:],
    "zero tail": lambda text: text[:-20] + bytes(20),
    "half": lambda text: text[: len(text) // 2],
    "a row less": lambda text: text[: text[:-2].rindex(b"\n") + 1],
    "a row more": lambda text: text + b"3,660,0.1,1,1,1,,,,\r\n",
    "too many columns": lambda text: text.replace(b"\r\n", b",1\r\n"),
    "empty": lambda text: b"",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_metrics_neither_block_a_resume_nor_lose_rows(
    damage: str, killed: Run, whole: Run, few_images: Data
) -> None:
    path = killed.path / "metrics.csv"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    resumed = resume(killed.path, few_images)
    assert rows(resumed) == rows(whole)
    assert resumed.weights_header()["fingerprint"] == whole.weights_header()["fingerprint"]


def test_missing_metrics_are_restored(killed: Run, whole: Run, few_images: Data) -> None:
    (killed.path / "metrics.csv").unlink()
    assert rows(resume(killed.path, few_images)) == rows(whole)


@pytest.mark.parametrize("damage", ["garbage", "zero tail", "half", "too many columns"])
def test_damaged_metrics_are_one_line(damage: str, killed: Run) -> None:
    path = killed.path / "metrics.csv"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(
        RunError, match=r"^.*metrics\.csv' is damaged \([^\n]+\); --resume mends it"
    ):
        killed.metrics()


@pytest.mark.parametrize("name", [*EVIDENCE, "SHA256SUMS"])
@pytest.mark.parametrize("damage", ["flip", "half", "empty"])
def test_damaged_evidence_is_refused(name: str, damage: str, whole: Run) -> None:
    path = whole.path / name
    if damage == "flip":
        flip(path, len(path.read_bytes()) // 2 if name != "SHA256SUMS" else 70)
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if damage == "half" else 0])
    with pytest.raises(RunError, match="was changed or damaged: its digest is not in SHA256SUMS"):
        _read_all(whole)


def _read_all(run: Run) -> None:
    open_trial(run)
    run.metrics()
    run.state_dict()


def test_digests_are_those_of_sha256sum(whole: Run) -> None:
    command = ["sha256sum", "--check", "SHA256SUMS"]
    done = subprocess.run(command, cwd=whole.path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [word for name in EVIDENCE for word in (f"{name}:", "OK")]


@pytest.mark.parametrize("content", [b"\xff", b"{", b"[1]", b"[" * 100_000, b"\x00"])
def test_a_result_that_is_none_is_one_line(content: bytes, whole: Run) -> None:
    (whole.path / "SHA256SUMS").unlink()  # as in runs of version 0.2
    (whole.path / "result.json").write_bytes(content)
    with pytest.raises(RunError, match=r"^[^\n]*result\.json'[^\n]*; train it again$"):
        whole.result()


def test_logits_without_digests_have_their_fingerprint(whole: Run) -> None:
    (whole.path / "SHA256SUMS").unlink()
    flip(whole.path / "test_logits.safetensors", -2)
    with pytest.raises(RunError, match="were changed or damaged"):
        whole.test_logits()
    (whole.path / "test_logits.safetensors").write_bytes(serialise({"other": torch.ones(1)}, {}))
    with pytest.raises(RunError, match=r"test_logits\.safetensors' holds no logits"):
        whole.test_logits()


@given(st.floats(0, 1), st.integers(1, 255), st.booleans())
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_a_damaged_checkpoint_is_one_line_or_whole(
    runs: Path, tmp_path: Path, share: float, change: int, is_cut: bool
) -> None:
    expected = Run.open(runs / "killed").checkpoint()
    content = bytearray((runs / "killed" / "last.pt").read_bytes())
    place = min(int(share * len(content)), len(content) - 1)
    content[place] ^= change
    (tmp_path / "last.pt").write_bytes(content[:place] if is_cut else content)
    try:
        found = Run(tmp_path).checkpoint()
    except RunError as problem:
        found = str(problem)
    if isinstance(found, str):
        line = r"[^\n]*last\.pt' is damaged or [^\n]*; train again without --resume"
        assert re.fullmatch(line, found)
        return
    tensors, other = found.pop("tensors"), expected.pop("tensors")
    assert found == expected  # the change is in what no reader looks at
    assert all(torch.equal(tensor, other[name]) for name, tensor in tensors.items())


def test_a_run_knows_its_data(killed: Run, whole: Run, few_images: Data) -> None:
    other = replace(few_images, train=replace(few_images.train, labels=few_images.train.labels * 0))
    for run in (killed, whole):
        with pytest.raises(RunError, match="was trained on other images or labels than 'digits'"):
            resume(run.path, other)
        with pytest.raises(RunError, match="was trained on 'digits', not on 'mnist'"):
            resume(run.path, replace(few_images, name="mnist"))
    assert whole.result()["data_fingerprint"] == few_images.fingerprint


def test_the_fingerprint_is_of_images_labels_classes_and_cut(few_images: Data) -> None:
    train = few_images.train
    brighter = train.images.clone()
    brighter[0, 0, 0, 0] += 1
    others = [
        replace(few_images, train=replace(train, images=brighter)),
        replace(few_images, test=replace(few_images.test, labels=few_images.test.labels.flip(0))),
        replace(few_images, classes=few_images.classes[::-1]),
        replace(few_images, fit_images=200),
        replace(few_images, preprocess=replace(few_images.preprocess, kind="photo")),
    ]
    assert len({data.fingerprint for data in (few_images, *others)}) == 6
    moved = few_images.preprocess.with_statistics(0.1, 0.2)
    same = replace(few_images, name="other", preprocess=moved)
    assert same.fingerprint == few_images.fingerprint


def test_a_finished_run_is_not_changed(
    whole: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole.write_text("README.md", "Its card.")
    before = {path: path.read_bytes() for path in whole.path.rglob("*")}
    monkeypatch.setattr(sys, "argv", ["smidgen", "train", "--resume", str(whole.path)])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert "has finished; nothing was changed" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in whole.path.rglob("*")} == before


def test_a_run_that_was_killed_before_its_card_gets_one(
    whole: Run, few_images: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in whole.path.iterdir()}
    left = whole.path / "plots" / ".smidgen-abc.part"
    left.parent.mkdir()
    left.touch()
    monkeypatch.setattr("smidgen.cli.training.load_shown", lambda *_: few_images)
    monkeypatch.setattr(sys, "argv", ["smidgen", "train", "--resume", str(whole.path)])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert (whole.path / "plots" / "confusion.png").is_file()
    assert (whole.path / "README.md").is_file()
    assert not left.exists()
    assert {path: path.read_bytes() for path in before} == before


def test_equal_trainings_write_equal_bytes(
    recipe_of_three: Recipe, few_images: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = override(recipe_of_three, {"epochs": 2, "augment.rotation": 10.0})
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    written = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        write_report(fit(recipe, few_images, "run"), few_images)
        paths = [path for path in Path().rglob("*") if path.is_file()]
        written.append({path: path.read_bytes() for path in paths})
    assert len(written[0]) >= 15
    assert [path for path in written[0] if written[0][path] != written[1].get(path)] == []
    assert set(written[0]) == set(written[1])


def test_equal_weights_give_equal_bytes() -> None:
    header = {f"key {i}": str(i) for i in range(20)}
    tensors = {f"tensor {i}": torch.ones(i) for i in range(5)}
    files = {serialise(tensors, dict(reversed(header.items()))), serialise(tensors, header)}
    assert len(files) == 1


def test_a_full_disk_is_one_line_and_loses_nothing(
    recipe_of_three: Recipe, few_images: Data, whole: Run, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 150) as disk:
        with pytest.raises(RunError, match=r"^cannot write .*: No space left on device; free the"):
            fit(recipe_of_three, few_images, disk / "run")
        run = Run.open(disk / "run")
        names = {path.name for path in run.path.iterdir()}
        assert names == {"recipe.toml", "metrics.csv", "last.pt", "README.md"}
        assert len(run.checkpoint()["rows"]) == 1
        enlarge(disk, 2000)
        resumed = resume(run.path, few_images)
        assert rows(resumed) == rows(whole)
        assert resumed.state_dict().keys() == whole.state_dict().keys()
        shutil.rmtree(run.path)


def test_a_full_disk_at_the_start_leaves_nothing(
    recipe_of_three: Recipe, few_images: Data, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 40) as disk:
        with pytest.raises(RunError, match=r"^cannot write .*last\.pt': No space left on device"):
            fit(recipe_of_three, few_images, disk / "run")
        assert list(disk.iterdir()) == []


def test_a_killed_series_goes_on(recipe_of_three: Recipe, digits: Data, tmp_path: Path) -> None:
    recipe = override(recipe_of_three, {"epochs": 1, "workers": 1})
    whole = [run.weights_header() for run in _series(recipe, tmp_path / "whole")]
    first, second = _series(recipe, tmp_path / "killed")
    for name in ("result.json", "SHA256SUMS", "model.safetensors"):
        (first.path / name).unlink()
    for path in second.path.iterdir():
        if path.name != "recipe.toml":
            path.unlink()
    (second.path / ".smidgen-x.part").touch()
    assert [run.weights_header() for run in _series(recipe, tmp_path / "killed")] == whole
    with pytest.raises(RunError, match="holds a run of another recipe"):
        _series(override(recipe, {"epochs": 2}), tmp_path / "killed")


def _series(recipe: Recipe, out: Path) -> list[Run]:
    return sorted(fit_seeds(recipe, 2, out, jobs=1), key=lambda run: run.path.name)


def test_a_run_without_an_epoch_cannot_be_resumed(recipe: Recipe, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", recipe)
    with pytest.raises(RunError, match=r"holds no last\.pt, for it finished no epoch; remove the"):
        run.checkpoint()


def test_a_result_holds_what_json_can(whole: Run) -> None:
    assert json.loads((whole.path / "result.json").read_text("utf-8")) == whole.result()
