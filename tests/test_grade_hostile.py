"""Submissions that forge, and submissions that attack: each gets the grade that it deserves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner

from smidgen.budget import load_budget
from smidgen.cli import app
from smidgen.errors import BudgetError, RunError
from smidgen.grade import (
    Grade,
    Isolation,
    Limits,
    child,
    choose_isolation,
    grade_folder,
    grade_one,
    read_results,
    sandbox,
    write_results,
)
from smidgen.grade.answers import Judged, pack, unpack
from smidgen.grade.copying import copy_submission
from smidgen.grade.judge import judge_answer
from smidgen.grade.kernel import has_seccomp, landlock_version
from smidgen.grade.worker import Worker
from smidgen.inputs import InputShape
from smidgen.network.scribe import transcribe

pytestmark = pytest.mark.skipif(
    sys.platform == "darwin", reason="macOS refuses the limit of address space that grading sets"
)

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8, outputs=10):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1),
            nn.Conv2d(width, outputs, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )

    def forward(self, x):
        return self.layers(x)
"""
HEAVY = NET.replace("width=8", "width=800")  # 7,200 + 1,600 + 8,010 numbers
PIPE = """
import os, stat, struct
pipes = []
for handle in range(3, 64):
    try:
        pipes += [handle] if stat.S_ISFIFO(os.fstat(handle).st_mode) else []
    except OSError:
        pass
answer = pipes[0]

def send(text):
    weights = struct.pack("<Q", 2) + b"{}"
    os.write(answer, struct.pack("<QQ", 8 + len(text) + len(weights), len(text)) + text + weights)
"""
VERDICT = '{"status": "passed", "note": "", "figures": {"params": 1}, "rules": [], "passed": true}'

# What each forges, and the status and a part of the note or the broken rule that it deserves.
FORGERS = {
    "writes_everywhere.py": (
        "import os\nfor handle in range(3, 64):\n    try:\n"
        f"        os.write(handle, b'{VERDICT}')\n    except OSError:\n        pass\n" + HEAVY,
        "exited", "before the check ended",
    ),
    "sends_a_verdict.py": (
        PIPE + f"send(b'{VERDICT}')\nos._exit(0)\n" + HEAVY,
        "error", "sent no record of a network",
    ),
    "patches_the_judge.py": (
        "import smidgen.budget, smidgen.check, smidgen.budget.judge\n"
        "from smidgen.budget import Verdict\nVerdict.passed = True\n"
        "smidgen.budget.judge = smidgen.check.judge = lambda *_: Verdict(())\n" + HEAVY,
        "failed", "max_params",
    ),
    "hides_parameters.py": (
        HEAVY + "    def named_parameters(self, *_, **__):\n        return iter(())\n"
        "    parameters = named_parameters\n"
        "torch.Tensor.numel = lambda self: 0\n",
        "failed", "max_params",
    ),
    "in_buffers.py": (
        HEAVY.replace("return self.layers(x)", "return self.layers(x)  # as it was")
        + "class Buffers(Net):\n    def __init__(self):\n        super().__init__()\n"
        "        layer = self.layers[4]\n        weight = layer.weight.detach()\n"
        "        del layer.weight\n        layer.register_buffer('weight', weight)\n"
        "Net = Buffers\nBuffers.__module__ = __name__\ndel Buffers\n",
        "failed", "max_params",
    ),
    "in_attributes.py": (
        NET.replace("return self.layers(x)", "return self.layers(x) + x.flatten(1) @ self.hidden")
        .replace("super().__init__()", "super().__init__()\n        "
                 "self.hidden = torch.linspace(-1, 1, 7840).reshape(784, 10)"),
        "failed", "max_params",
    ),
    "in_numbers.py": (
        NET.replace("return self.layers(x)", "return self.layers(x) + x.flatten(1) @ "
                    "torch.tensor([i % 7 / 7 for i in range(7840)]).reshape(784, 10)"),
        "failed", "max_params",
    ),
    "in_numpy.py": (
        NET.replace("return self.layers(x)", "return torch.from_numpy(x.detach().numpy()"
                    ".reshape(len(x), -1)[:, :10].clip(5, 5))"),
        "error", "not computed from the images",
    ),
    "larger_in_batches.py": (
        NET.replace("super().__init__()", "super().__init__()\n        "
                    "self.large = nn.Linear(784, 10)")
        .replace("return self.layers(x)", "return self.layers(x) if len(x) == 1 else "
                 "self.layers(x) + 0 * self.large(x.flatten(1))"),
        "error", "reads other numbers than one image",
    ),
    "leaves_steps_out.py": (
        HEAVY + "import smidgen.network.scribe as scribe\nwrite = scribe._steps\n"
        "scribe._steps = lambda *a: [s for s in write(*a)\n"
        "    if not s.get('function', '').startswith('convolution')]\n",
        "error", "before it is there",
    ),
    "changes_the_grader.py": (
        "import pathlib, smidgen.budget\n"
        "for path in pathlib.Path(smidgen.budget.__file__).parent.glob('*.py'):\n"
        "    try:\n        path.open('a').write('')\n    except OSError:\n        continue\n"
        "    raise SystemExit('could write')\n" + HEAVY,
        "failed", "max_params",
    ),
    "claims_a_training.py": (
        NET.replace("outputs=10", "outputs=7")
        + "import sys\nchild = sys.modules['smidgen.grade.child']\npack = child.pack\n"
        "child.pack = lambda document, tensors: pack(document | {'classes': 7}, tensors)\n",
        "failed", "output_shape",
    ),
}  # fmt: skip

REFUSED = "try:\n    {}\nexcept OSError:\n    pass\nelse:\n    raise SystemExit('got through')\n"
LIBC = "import ctypes\nlibc = ctypes.CDLL(None)\n"

# What each does; those that are passed find their way barred and go on as any other.
ATTACKERS = {
    "surrogate.py": ("raise ValueError('\\udc80')\n" + NET, "error", "ValueError: ?"),
    "rubbish.py": (PIPE + "os.write(answer, b'[' * 60_000)\n" + NET, "exited", ""),
    "deep.py": (PIPE + "send(b'[' * 60_000)\n" + NET, "error", "no record of a network"),
    "wrong_types.py": (
        PIPE + "send(b'{\"status\": 3, \"note\": [], \"network\": \"x\"}')\n" + NET,
        "error", "no record of a network",
    ),
    "flood.py": (
        PIPE + "while True:\n    os.write(answer, b'\\x7f' * 2**20)\n" + NET,
        "error", "sends more than 256 MB",
    ),
    "sends.py": (
        "import socket\nsocket.socket(2, 2).sendto(b'x', ('127.0.0.1', 9))\n" + NET,
        "error", "PermissionError",
    ),
    "sends_below.py": (
        LIBC + "assert libc.socket(2, 2, 0) < 0 and libc.socket(10, 1, 0) < 0\n" + NET,
        "passed", "",
    ),
    "reads_environments.py": (
        "import glob, os\nfor path in glob.glob('/proc/[0-9]*/environ'):\n    try:\n"
        "        assert b'SECRET_OF_THE_GRADER' not in open(path, 'rb').read()\n"
        "    except OSError:\n        pass\n" + NET,
        "passed", "",
    ),
    "reads_a_file.py": (REFUSED.format("open('@SECRET@').read()") + NET, "passed", ""),
    "writes_a_file.py": (REFUSED.format("open('@SECRET@', 'a')") + NET, "passed", ""),
    "kills.py": (
        LIBC + "import os\nassert libc.kill(os.getppid(), 9) < 0 and libc.kill(-1, 9) < 0\n" + NET,
        "passed", "",
    ),
    "kills_by_a_file.py": (
        "import fcntl, os\nfile = open(os.devnull)\ntry:\n"
        "    fcntl.fcntl(file, fcntl.F_SETOWN, os.getppid())\nexcept OSError:\n    pass\n" + NET,
        "passed", "",
    ),
    "slows_down.py": (
        LIBC + "import os\nparent = os.getppid()\n"
        "assert libc.setpriority(0, parent, 19) < 0 and libc.setsid() < 0\n"
        "assert libc.sched_setaffinity(parent, 8, b'\\1' * 8) < 0\n" + NET,
        "passed", "",
    ),
    "writes_memory.py": (
        "import os\n" + REFUSED.format("open(f'/proc/{os.getppid()}/mem', 'r+b')")
        + REFUSED.format("os.readlink(f'/proc/{os.getppid()}/fd/0')") + NET,
        "passed", "",
    ),
    "interrupts.py": ("raise KeyboardInterrupt\n" + NET, "error", "KeyboardInterrupt"),
    "unprintable.py": (
        "class Bad(Exception):\n    def __str__(self):\n        raise SystemExit\n" + NET
        + "raise Bad\n",
        "error", "SystemExit",
    ),
    "overflows.py": (
        "import sys\nsys.setrecursionlimit(10**9)\n"
        "f = lambda x: sorted([x], key=f)\nf(0)\n" + NET,
        "crashed", "SIGSEGV",
    ),
    "bombs.py": (LIBC + "while True:\n    libc.fork()\n" + NET, "forked", ""),
    "closes.py": ("import os\nos.closerange(3, 1000)\n" + NET, "exited", ""),
    "caf\udce9.py": (NET, "passed", ""),
    "zero.py": ("", "error", "cannot be copied: it is no file"),
    "links": (NET, "passed", "2 files left out"),
}  # fmt: skip

HONEST = {
    "plain.py": (NET, "passed", ""),
    "begins_as_all_do.py": (
        "import no_such_tqdm.auto\nimport no_such_plot.pyplot as plt\n"
        "from no_such_vision import datasets, transforms\nfrom no_such_summary import summary\n"
        "plt.style.use('ggplot')\n"
        "transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.1, 0.3)])\n"
        + NET + "if __name__ == '__main__':\n    summary(Net())\n",
        "passed",
        "not installed, empty modules stood in: no_such_tqdm, no_such_plot, no_such_vision, "
        "no_such_summary",
    ),
    "needs_it.py": (
        "from no_such_vision.models import resnet18\n"
        + NET.replace("self.layers(x)", "resnet18()(x)"),
        "error", "empty modules stood in: no_such_vision",
    ),
    "in_a_subfolder": (NET, "passed", ""),
    "large.py": (  # more numbers than a file of a submission may have
        NET.replace("return self.layers(x)", "return self.layers(x) + self.wide(x)").replace(
            "super().__init__()", "super().__init__()\n        self.wide = nn.Sequential("
            "nn.Flatten(), nn.Linear(784, 6000), nn.Linear(6000, 10))"),
        "failed", "max_params",
    ),
}  # fmt: skip

EXPECTED = FORGERS | ATTACKERS | HONEST


def write_submissions(folder: Path, names: list[str], secret: Path) -> None:
    for name in names:
        source = EXPECTED[name][0].replace("@SECRET@", str(secret))
        match name:
            case "zero.py":
                (folder / name).symlink_to("/dev/zero")
            case "links":
                (folder / name).mkdir()
                (folder / name / "model.py").write_text(source)
                (folder / name / "data.bin").symlink_to("/dev/zero")
                os.mkfifo(folder / name / "pipe.py")
            case "in_a_subfolder":
                models = folder / name / "code" / "models"
                models.mkdir(parents=True)
                (models / "model.py").write_text("from models.widths import *\n" + source)
                (models / "widths.py").write_text("")
                (folder / name / "train.py").write_text("raise SystemExit('not me')\n")
            case _:
                (folder / name).write_text(source)


def grade_all(tmp: Path, names: list[str], isolation: Isolation) -> dict[str, Grade]:
    (tmp / "in").mkdir()
    (tmp / "secret.txt").write_text("42")
    write_submissions(tmp / "in", names, tmp / "secret.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET_OF_THE_GRADER", "42")
        coming = grade_folder(tmp / "in", "era-8k", Limits(seconds=60), isolation=isolation)
        return {grade.submission: grade for grade in coming}


def assert_deserved(grade: Grade, name: str) -> None:
    _, status, said = EXPECTED[name]
    assert grade.status == status, grade
    assert said in (grade.broken if status == "failed" else grade.note), grade


def shown(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


@pytest.fixture(scope="module")
def grades(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Grade]:
    isolation = choose_isolation()
    if isolation.kind == "limits":
        pytest.skip(f"there is no sandbox on this machine: {isolation.warning}")
    return grade_all(tmp_path_factory.mktemp("hostile"), list(EXPECTED), isolation)


@pytest.mark.parametrize("name", EXPECTED, ids=shown)
def test_submission_gets_the_grade_it_deserves(grades: dict[str, Grade], name: str) -> None:
    assert_deserved(grades[shown(name)], name)


def test_landlock_bars_what_bubblewrap_bars(tmp_path: Path) -> None:
    if not landlock_version() or not has_seccomp():
        pytest.skip("this kernel has no Landlock or no seccomp")
    names = [
        *("sends_below.py", "reads_environments.py", "reads_a_file.py", "writes_a_file.py"),
        *("kills.py", "bombs.py", "changes_the_grader.py", "plain.py"),
        *("slows_down.py", "writes_memory.py"),
    ]
    graded = grade_all(tmp_path, names, Isolation("landlock"))
    for name in names:
        assert_deserved(graded[name], name)


def test_without_a_sandbox_there_is_a_warning_and_strict_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "bubblewrap_problem", lambda: "bwrap is not installed")
    monkeypatch.setattr(sandbox, "landlock_version", lambda: 0)
    (tmp_path / "plain.py").write_text(NET)
    arguments = ["grade", str(tmp_path), "--budget", "era-8k"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["submissions"][0]["passed"]
    assert "no sandbox (bwrap is not installed; the kernel lacks Landlock" in result.stderr
    refused = CliRunner().invoke(app, [*arguments, "--isolation", "strict"])
    assert isinstance(refused.exception, BudgetError)
    assert str(refused.exception).startswith("--isolation strict: no sandbox")


def test_bubblewrap_that_fails_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bwrap"
    program.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    sandbox.bubblewrap_problem.cache_clear()
    problem = sandbox.bubblewrap_problem()
    sandbox.bubblewrap_problem.cache_clear()
    assert problem == "bwrap fails: bwrap: No permissions to create new namespace"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.py").write_text(NET)
    (tmp_path / "in" / "b.py").write_text(HEAVY)
    return tmp_path


def test_results_are_written_as_they_come_and_stand_when_it_goes_on(two: Path) -> None:
    coming = grade_folder(two / "in", "era-8k", jobs=1)
    first = next(coming)
    write_results([first], "era-8k", two / "out")
    coming.close()  # as if it had been ended here
    earlier = read_results(two / "out")
    assert list(earlier.values()) == [first]
    again = list(grade_folder(two / "in", "era-8k", earlier=earlier))
    assert sorted(grade.status for grade in again) == ["failed", "passed"]
    assert sum(grade is earlier.get(grade.submission) for grade in again) == 1


def test_a_grading_that_was_killed_leaves_whole_results_and_no_process(two: Path) -> None:
    (two / "in" / "z.py").write_text("import time\ntime.sleep(1000)\n")
    code = (
        "import sys\nfrom pathlib import Path\nfrom smidgen.grade import *\ngrades = []\n"
        "for grade in grade_folder(sys.argv[1], 'era-8k', Limits(seconds=500), jobs=1):\n"
        "    grades.append(grade)\n    write_results(grades, 'era-8k', Path(sys.argv[2]))\n"
        "    print(len(grades), flush=True)\n"
    )
    environment = os.environ | {"TMPDIR": str(two)}
    command = [sys.executable, "-c", code, str(two / "in"), str(two / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as grading:
        assert grading.stdout is not None
        assert [grading.stdout.readline() for _ in range(2)] == [b"1\n", b"2\n"]
        grading.kill()
        assert grading.stdout.read() == b""
    assert sorted(read_results(two / "out")) == ["a.py", "b.py"]
    scratch = str(two / "smidgen-grade-").encode()
    # The folders can be in use for a moment while the kernel ends the processes.
    deadline = time.monotonic() + 60
    while any(scratch in line for line in command_lines()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_grading_that_was_killed_while_a_sandbox_was_set_up_leaves_no_process(
    tmp_path: Path,
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "z.py").write_text("import time\ntime.sleep(1000)\n")
    code = (
        "import os, signal, sys, time\nfrom smidgen.grade import *\n"
        "isolation = choose_isolation()\n"
        "for milliseconds in (15, 20, 25, 30):\n"
        "    reader, writer = os.pipe()\n    child = os.fork()\n"
        "    if child == 0:\n"
        "        says = lambda event, _: event == 'subprocess.Popen' and os.write(writer, b'.')\n"
        "        sys.addaudithook(says)\n"
        "        limits = Limits(seconds=500)\n"
        "        list(grade_folder(sys.argv[1], 'era-8k', limits, isolation=isolation))\n"
        "    os.read(reader, 1)\n    time.sleep(milliseconds / 1000)\n"
        "    os.kill(child, signal.SIGKILL)\n    os.waitpid(child, 0)\n"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, tmp_path / "in"], env=environment, check=True)
    scratch = str(tmp_path / "smidgen-grade-").encode()
    deadline = time.monotonic() + 120
    while any(scratch in line for line in command_lines()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_a_worker_that_ends_or_hangs_is_replaced(number: signal.Signals) -> None:
    job = {
        "seconds": 5.0, "memory_mb": 4096, "file_mb": 16, "isolation": "limits", "input": None,
        "budget": load_budget("era-8k").model_dump_json(exclude_unset=True), "is_trained": False,
    }  # fmt: skip
    said = pack({"status": "error", "note": "all zero", "missing": []})
    with Worker(Isolation("limits")) as worker:
        worker.start()
        assert worker._process
        worker._process.send_signal(number)
        if number == signal.SIGKILL:
            worker._process.wait()
        else:
            assert worker.do(job, said) == (None, b"")
        code, answer = worker.do(job | {"seconds": 60.0}, said)
    assert code == 0
    assert json.loads(unpack(answer)[0])["note"] == "all zero"


LEAVES = """
import os
for folder in (".", "/dev/shm"):
    try:
        open(f"{folder}/torch.py", "w").write("raise SystemExit('hijacked')")
        os.symlink("/usr", f"{folder}/link")
        os.makedirs(f"{folder}/" + "/".join(["deep"] * 50))
        @LOCKS@
    except PermissionError:
        if folder == ".":
            raise
"""
FINDS = """
import os
assert os.listdir() == ["b_finds.py"], os.listdir()
try:
    left = os.listdir("/dev/shm")
except PermissionError:
    left = []
assert left == [], left
"""


@pytest.mark.parametrize("kind", ["bubblewrap", "landlock"])
@pytest.mark.parametrize(
    "locks",
    ["pass", "os.makedirs(f'{folder}/locked/in'); os.chmod(f'{folder}/locked', 0)"],
    ids=["removable", "locked"],
)
def test_what_a_submission_leaves_is_gone_before_the_next(
    kind: Any, locks: str, tmp_path: Path
) -> None:
    if kind == "bubblewrap" and sandbox.bubblewrap_problem():
        pytest.skip(sandbox.bubblewrap_problem())
    if kind == "landlock" and not (landlock_version() and has_seccomp()):
        pytest.skip("this kernel has no Landlock or no seccomp")
    (tmp_path / "a_leaves.py").write_text(LEAVES.replace("@LOCKS@", locks) + NET)
    (tmp_path / "b_finds.py").write_text(FINDS + NET)
    graded = list(grade_folder(tmp_path, "era-8k", jobs=1, isolation=Isolation(kind)))
    assert [(grade.status, grade.note) for grade in graded] == [("passed", "")] * 2


def command_lines() -> list[bytes]:
    """The command lines of this machine's processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return found


def test_what_changed_is_graded_again(two: Path) -> None:
    path = two / "in" / "a.py"
    limits = Limits()
    before = grade_one(path, "era-8k", limits)
    assert grade_one(path, "era-8k", limits, earlier=before) is before
    assert grade_one(path, "mnist-net", limits, earlier=before) is not before
    path.write_text(HEAVY)
    assert grade_one(path, "era-8k", limits, earlier=before).status == "failed"


def test_the_command_goes_on_where_it_was_ended(two: Path) -> None:
    arguments = ["grade", str(two / "in"), "--budget", "era-8k", "--out", str(two / "out")]
    assert CliRunner().invoke(app, arguments).exit_code == 1
    written = (two / "out" / "grades.json").read_bytes()
    result = CliRunner().invoke(app, arguments)
    assert "1 of 2 passed, 2 of them graded before" in result.output
    assert (two / "out" / "grades.json").read_bytes() == written


@pytest.mark.parametrize(
    "text", ["", "[" * 9999, "null", '{"submissions": [{"status": 3}]}', "\xff"]
)
def test_results_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    assert read_results(tmp_path) == {}
    (tmp_path / "grades.json").write_text(text, encoding="latin-1")
    with pytest.raises(RunError, match="holds no grades that can be gone on with; remove it"):
        read_results(tmp_path)


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    write_results([Grade("=cmd()", "error", 0.0, "@SUM(1)")], "era-8k", tmp_path)
    assert "'=cmd(),error" in (tmp_path / "grades.csv").read_text()
    assert "'@SUM(1)" in (tmp_path / "grades.csv").read_text()


def test_a_copy_is_bounded(tmp_path: Path) -> None:
    submission = tmp_path / "large"
    deep = submission / "/".join(["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "lost.txt").write_text("x")
    for number in range(20):
        (submission / f"{number:02}.bin").write_bytes(bytes(2**20))
    copied = copy_submission(submission, tmp_path / "given", 1)
    # 16 files of a megabyte; four files, and the folders from the 31st on, are too much.
    assert (copied.files, copied.size_bytes, copied.left_out) == (16, 16 * 2**20, 5)
    assert len(os.listdir(tmp_path / "given" / "large")) == 16 + 1


JOB = {
    "budget": load_budget("era-8k").model_dump_json(exclude_unset=True),
    "input": None,
    "is_trained": False,
}


def judged(answer: bytes) -> Judged:
    """What the judge says of an answer, which must fit its own schema."""
    return Judged.model_validate_json(json.dumps(judge_answer(answer, JOB)))


def a_record() -> dict[str, Any]:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    network, _ = transcribe(model, InputShape(1, 8, 8))
    return {"status": "recorded", "note": "", "name": "net", "network": network}


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("plain.py", "passed", ""),
        ("in_attributes.py", "failed", "counted as parameters, though not declared as such"),
        ("in_numpy.py", "error", "not computed from the images by operations of PyTorch"),
        ("larger_in_batches.py", "error", "reads other numbers than one image does"),
        ("unprintable.py", "error", "SystemExit"),
        ("needs_it.py", "error", "not installed, empty modules stood in: no_such_vision"),
    ],
)
def test_both_programs_say_so_without_their_sandbox(
    name: str, status: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_submissions(tmp_path, [name], tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    sent = child._record(tmp_path / name, JOB | {"last_epochs": 5})
    verdict = judged(pack(*sent))
    assert (verdict.status, said in verdict.note) == (status, True), verdict


@given(st.binary(max_size=200))
def test_no_rubbish_is_a_verdict(rubbish: bytes) -> None:
    assert judged(rubbish).status == "error"
    assert judged(pack({})[:16] + rubbish).status == "error"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(max_examples=60)
@given(st.data())
def test_no_record_with_a_wrong_part_ends_the_judge(data: st.DataObject) -> None:
    document: Any = a_record()
    place = document
    while isinstance(place, dict | list) and place:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(keys))
        if data.draw(st.booleans()) or not isinstance(place[key], dict | list):
            place[key] = data.draw(JSON)
            break
        place = place[key]
    assert judged(pack(document)).status in ("error", "failed")
