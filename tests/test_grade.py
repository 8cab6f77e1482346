"""Submissions of every kind, good and hostile, each in a process of its own."""

from __future__ import annotations

import csv
import json
import os
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smidgen import entry
from smidgen.cli import app
from smidgen.entry import find_entry
from smidgen.errors import BudgetError, ModelError, RunError
from smidgen.grade import Grade, Limits, find_submissions, grade_folder, grade_one, write_results

pytestmark = pytest.mark.skipif(
    sys.platform == "darwin", reason="macOS refuses the limit of address space that grading sets"
)

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1),
            nn.Conv2d(width, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )

    def forward(self, x):
        return self.layers(x)
"""

# What each prints, does or is, and the status and a part of the note that it deserves.
SUBMISSIONS = {
    "good.py": (NET, "passed", ""),
    "heavy.py": (NET.replace("width=8", "width=800"), "failed", ""),
    "noisy.py": ("print('{\"passed\": true}' * 10_000)\n" + NET.replace("0.1", "0"), "failed", ""),
    "broken.py": ("from no_such_package import Net\nNet() + 1\n", "error",
                  "not installed, empty modules stood in: no_such_package"),
    "trains.py": ("import torch\np = torch.nn.Parameter(torch.ones(1))\n"
                  "torch.optim.SGD([p], 0.1).step()\n" + NET, "error", "trains when it is imp"),
    "leaves.py": ("import os\nos._exit(0)\n" + NET, "exited", "exited with code 0 before"),
    "crashes.py": ("import ctypes\nctypes.string_at(0)\n" + NET, "crashed", "SIGSEGV"),
    "forks.py": ("import os\ntry:\n    os.fork()\nexcept OSError:\n    pass\n" + NET, "forked", ""),
    "forks_below.py": ("import ctypes\nctypes.CDLL(None).fork()\n" + NET, "forked", ""),
    "greedy.py": ("bytearray(2**36)\n" + NET, "error", "MemoryError"),
    "writes.py": ("open('large', 'wb').write(bytes(2**25))\n" + NET, "error", "File too large"),
    "calls_out.py": ("import os\nos.system('true')\n" + NET, "error", "may not call os.system"),
}  # fmt: skip


@pytest.fixture(scope="module")
def grades(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Grade]:
    folder = tmp_path_factory.mktemp("submissions")
    for name, (source, *_) in SUBMISSIONS.items():
        (folder / name).write_text(source)
    (folder / "a_folder").mkdir()
    (folder / "a_folder" / "network.py").write_text("from widths import *\n" + NET)
    (folder / "a_folder" / "widths.py").write_text("")
    (folder / "a_folder" / "train.py").write_text("raise SystemExit('not me')\n")
    (folder / ".hidden.py").write_text("")
    return {grade.submission: grade for grade in grade_folder(folder, "era-8k")}


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_submission_gets_the_grade_it_deserves(grades: dict[str, Grade], name: str) -> None:
    _, status, note = SUBMISSIONS[name]
    assert grades[name].status == status, grades[name]
    assert note in grades[name].note


def test_every_submission_is_graded_and_the_broken_rules_are_named(
    grades: dict[str, Grade],
) -> None:
    assert sorted(grades) == sorted([*SUBMISSIONS, "a_folder"])
    assert grades["a_folder"].passed
    assert grades["heavy.py"].broken == ["max_params"]
    assert grades["noisy.py"].broken == ["dropout"]
    assert grades["good.py"].figures["params"] == 72 + 16 + 90
    assert all("/" not in grade.note for grade in grades.values())  # no path of the machine


def test_submission_that_hangs_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "hangs.py"
    path.write_text("import time\nwhile True:\n    time.sleep(1)\n")
    grade = grade_one(path, "era-8k", Limits(seconds=1))
    assert (grade.status, grade.note) == ("timeout", "did not end within 1 seconds")
    assert grade.seconds < 20


def test_submission_inherits_no_secret_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_GRADER", "42")
    path = tmp_path / "curious.py"
    path.write_text(
        "import os\nopen('left.txt', 'w').write('x')\n"
        "assert 'SECRET_OF_THE_GRADER' not in os.environ\n"
        "assert os.environ['HOME'] == os.getcwd()\n" + NET
    )
    assert grade_one(path, "era-8k", Limits()).status == "passed"
    assert os.listdir(tmp_path) == ["curious.py"]


def test_file_that_is_too_large_is_left_out(tmp_path: Path) -> None:
    submission = tmp_path / "heavy"
    submission.mkdir()
    with (submission / "weights.bin").open("wb") as file:
        file.truncate(2**21)
    (submission / "model.py").write_text(
        "import os\nassert os.listdir('heavy') == ['model.py']\n" + NET
    )
    assert grade_one(submission, "era-8k", Limits(file_mb=1)).status == "passed"
    alone = tmp_path / "alone.py"
    alone.write_bytes(b"#" * 2**21)
    grade = grade_one(alone, "era-8k", Limits(file_mb=1))
    assert (grade.status, grade.note) == ("error", "cannot be copied: it is larger than 1 MB")


def test_misuse_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot read the folder"):
        find_submissions(tmp_path / "none")
    with pytest.raises(RunError, match=r"holds no submissions; each is one \.py file"):
        find_submissions(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    with pytest.raises(BudgetError, match="unknown budget 'era'"):
        list(grade_folder(tmp_path, "era"))


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_results_are_csv_json_and_one_page(tmp_path: Path, grades: dict[str, Grade]) -> None:
    hostile = Grade("<script>alert(1)</script>.py", "error", 1.0, 'said, "no"\nand left')
    write_results([hostile, *grades.values()], "era-8k", tmp_path / "out")
    with (tmp_path / "out" / "grades.csv").open(newline="") as file:
        rows = {row["submission"]: row for row in csv.DictReader(file)}
    assert rows[hostile.submission]["note"] == hostile.note
    assert (rows["heavy.py"]["status"], rows["heavy.py"]["broken"]) == ("failed", "max_params")
    document = json.loads((tmp_path / "out" / "grades.json").read_text())
    assert [each["submission"] for each in document["submissions"]] == sorted(
        [hostile.submission, *grades]
    )
    page = _Page()
    page.feed((tmp_path / "out" / "grades.html").read_text())
    assert "script" not in page.tags
    assert hostile.submission in page.text
    assert f"2 of {len(grades) + 1} passed" in page.text


def test_command_prints_the_grades_and_writes_the_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.py").write_text(NET)
    arguments = ["grade", str(tmp_path / "in"), "--budget", "era-8k", "--json"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert [each["passed"] for each in document["submissions"]] == [True]
    assert sorted(os.listdir(tmp_path / "out")) == ["grades.csv", "grades.html", "grades.json"]


def test_the_file_of_a_network_is_found_where_it_is_clear(tmp_path: Path) -> None:
    (tmp_path / "deep" / "code").mkdir(parents=True)
    (tmp_path / "deep" / "code" / "net.py").write_text(NET)
    assert find_entry(tmp_path) == str(tmp_path / "deep" / "code" / "net.py")
    for number in range(entry._MOST_FOLDERS):  # one more than are looked into
        (tmp_path / f"{number}").mkdir()
    assert find_entry(tmp_path) is None
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(NET)
    with pytest.raises(ModelError, match=r"^one\.py, two\.py define networks; put it in one model"):
        find_entry(tmp_path)
