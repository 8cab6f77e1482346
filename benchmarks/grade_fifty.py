"""Grades fifty submissions, five of them hostile, and compares each status with the right one.

    python benchmarks/grade_fifty.py       # some minutes

45 are variants of one small network: 36 sound ones, of which one prints a megabyte of garbage, and
one for each of nine mistakes. The hostile ones hang, crash, leave, fork and train on import.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from smidgen.grade import Limits, grade_folder

NETWORK = """
import torch
import torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, {width}, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d({width})
        self.conv2 = nn.Conv2d({width}, 16, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(16)
        self.dropout = nn.Dropout(0.05)
        self.conv3 = nn.Conv2d(16, 10, 1)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 4)
        x = self.conv3(self.dropout(F.relu(self.norm2(self.conv2(x)))))
        return F.adaptive_avg_pool2d(x, 1).flatten(1)
"""

# A mistake is one replacement in the source.
MISTAKES = {
    "too_heavy": ("{width}", "64"),
    "never_called": ("self.dropout = ", "self.fc = nn.Linear(10, 10); self.dropout = "),
    "not_global": ("F.adaptive_avg_pool2d(x, 1).flatten(1)", "F.avg_pool2d(x, 5).flatten(1)"),
    "32_outputs": ("16, 10, 1", "16, 32, 1"),
    "dropout_at_test": ("self.dropout(", "F.dropout("),
    "softmax_over_batch": (".flatten(1)", ".flatten(1).softmax(0)"),
    "no_batch_norm": ("self.norm1(self.conv1(x))", "self.conv1(x)"),
    "squeezed": (".flatten(1)", ".squeeze()"),
    "no_dropout": ("Dropout(0.05)", "Dropout(0.0)"),
}
HOSTILE = {
    "hangs": ("timeout", "while True: pass\n"),
    "crashes": ("crashed", "import ctypes\nctypes.string_at(0)\n"),
    "leaves": ("exited", "import os\nos._exit(0)\n"),
    "forks": ("forked", "import os\ntry:\n    while True: os.fork()\nexcept OSError: pass\n"),
    "trains": (
        "error",
        "import torch\np = torch.nn.Parameter(torch.ones(1))\ntorch.optim.SGD([p], 0.1).step()\n",
    ),
}
GARBAGE = "print('{\"passed\": true}' * 1_000_000)\n"


def write_submissions(folder: Path) -> dict[str, str]:
    """Fifty files in the folder; the right status of each by its name."""
    right = {}
    for number in range(36):
        source = NETWORK.format(width=4 + number % 12)
        (folder / f"sound_{number:02}.py").write_text(source if number else GARBAGE + source)
        right[f"sound_{number:02}.py"] = "passed"
    for name, (old, new) in MISTAKES.items():
        (folder / f"{name}.py").write_text(NETWORK.replace(old, new).format(width=8))
        right[f"{name}.py"] = "failed"
    for name, (status, source) in HOSTILE.items():
        (folder / f"{name}.py").write_text(source + NETWORK.format(width=8))
        right[f"{name}.py"] = status
    return right


def main() -> int:
    """Prints what came out; the exit code is the number of wrong verdicts."""
    with tempfile.TemporaryDirectory() as folder:
        right = write_submissions(Path(folder))
        start = time.perf_counter()
        grades = list(grade_folder(folder, "era-8k", Limits()))
        seconds = time.perf_counter() - start
    wrong = [grade for grade in grades if grade.status != right[grade.submission]]
    print(f"{len(grades) - len(wrong)} of {len(grades)} right in {seconds:.0f} s")
    for grade in wrong:
        print(f"{grade.submission}: {grade.status}, not {right[grade.submission]}: {grade.note}")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
