"""Grading: every submission of a folder against one budget, each in a process of its own.

    for grade in grade_folder("submissions", "era-8k"):
        print(grade.submission, grade.status)

A submission runs in a sandbox (`sandbox.py`), where it is asked for no verdict: its process sends
the network as plain data (`child.py`), and another process, in which no code of a submission runs,
rebuilds it, counts and judges it (`judge.py`). `programs.py` starts both. What is graded is the
network that was sent.
"""

from smidgen.grade.process import Grade, Limits, find_submissions, grade_folder, grade_one
from smidgen.grade.results import read_results, write_results
from smidgen.grade.sandbox import Isolation, choose_isolation

__all__ = [
    "Grade",
    "Isolation",
    "Limits",
    "choose_isolation",
    "find_submissions",
    "grade_folder",
    "grade_one",
    "read_results",
    "write_results",
]
