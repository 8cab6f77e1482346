"""Grading: every submission of a folder against one budget, each in a process of its own.

    for grade in grade_folder("submissions", "era-8k"):
        print(grade.submission, grade.status)

The process has limits of time, memory and file size, a copy of the submission to work in, an
empty environment and no terminal; when it ends, it and all that it started are killed. That
protects against accidents, not against malice: a submission runs as the same user, can read what
that user can read and could forge its own verdict. Grade the code of strangers in a container.
"""

from smidgen.grade.process import Grade, Limits, find_submissions, grade_folder, grade_one
from smidgen.grade.results import write_results

__all__ = ["Grade", "Limits", "find_submissions", "grade_folder", "grade_one", "write_results"]
