"""Grades as CSV, JSON and one HTML page."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from smidgen.errors import RunError
from smidgen.files import write_whole
from smidgen.grade.process import Grade

_FIGURES = ("params", "macs", "receptive_field")
COLUMNS = ("submission", "status", *_FIGURES, "seconds", "broken", "note")

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  color: #1b1b1b; background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ccc;
  vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums }
.grade { color: #a11212 } .grade.passed { color: #12652f }
@media (prefers-color-scheme: dark) {
  body { color: #eee; background: #16181c } th, td { border-color: #444 }
  .grade { color: #ff9c9c } .grade.passed { color: #7bd88f }
}
"""


def write_results(grades: Iterable[Grade], budget: str, folder: Path) -> list[Path]:
    """The files grades.csv, grades.json and grades.html, written to the folder, sorted by name.

    Each is whole at any time. Raises RunError where they cannot be written.
    """
    grades = sorted(grades, key=lambda grade: grade.submission)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise RunError(f"cannot make the folder {str(folder)!r}: {problem.strerror}") from None
    document = {"budget": budget, "submissions": [grade.to_dict() for grade in grades]}
    texts = {
        "grades.csv": _csv(grades),
        "grades.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
        "grades.html": _page(grades, budget),
    }
    for name, text in texts.items():
        write_whole(folder / name, text)
    return [folder / name for name in texts]


def read_results(folder: Path) -> dict[str, Grade]:
    """The grades that the folder's grades.json holds, by the submissions' names.

    None where there is no such file. Raises RunError for one that write_results has not written.
    """
    path = folder / "grades.json"
    try:
        grades = _Results.model_validate_json(path.read_bytes()).submissions
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise RunError(f"cannot read {str(path)!r}: {problem.strerror}") from None
    except ValidationError:
        raise RunError(
            f"{str(path)!r} holds no grades that can be gone on with; remove it, or choose "
            "another --out"
        ) from None
    return {grade.submission: grade for grade in grades}


class _Results(BaseModel):
    submissions: list[Grade]


def cells(grade: Grade) -> tuple[str, ...]:
    """One row of the table, as text, in the order of the columns."""
    figures = [str(grade.figures.get(name, "")) for name in _FIGURES]
    reasons = ", ".join(grade.broken)
    return (grade.submission, grade.status, *figures, f"{grade.seconds:.1f}", reasons, grade.note)


def _csv(grades: Sequence[Grade]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(map(_no_formula, cells(grade)) for grade in grades)
    return text.getvalue()


def _no_formula(cell: str) -> str:
    """The text so that no spreadsheet takes it for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell


def _page(grades: Sequence[Grade], budget: str) -> str:
    passed = sum(grade.passed for grade in grades)
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in COLUMNS)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Grades: {html.escape(budget)}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(budget)}</h1><p>{passed} of {len(grades)} passed.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_row, grades))}</tbody></table>"
        "</html>\n"
    )


def _row(grade: Grade) -> str:
    name, status, *figures, broken, note = map(html.escape, cells(grade))
    numbers = "".join(f'<td class="n">{figure}</td>' for figure in figures)
    details = "".join(
        f"<li><b>{html.escape(rule['rule'])}</b>: limit {html.escape(str(rule['limit']))}, "
        f"actual {html.escape(str(rule['actual']))}. {html.escape(rule['note'])}</li>"
        for rule in grade.rules
        if not rule["passed"]
    )
    reasons = f"<details><summary>{broken}</summary><ul>{details}</ul></details>" if details else ""
    return (
        f'<tr><td>{name}</td><td class="grade {status}">{status}</td>{numbers}'
        f"<td>{reasons}</td><td>{note}</td></tr>"
    )
