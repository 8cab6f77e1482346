"""The report of a search's folder: report.html, and front.png for a README."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from smidgen.errors import SearchError
from smidgen.files import write_whole
from smidgen.report import save
from smidgen.schema import parse_json, read_text, validate
from smidgen.search.folder import read_settings
from smidgen.search.importance import importances
from smidgen.search.page import Report, Result, front_of, render
from smidgen.search.picture import draw_front
from smidgen.search.table import OUTCOMES, read_table

LARGEST = 2**28  # bytes of a table, of a million trials


def write_search_report(out: Path) -> list[Path]:
    """The files written into the folder of a search, which may be under way.

    Raises SearchError for a folder that holds no search, nothing trained, or a damaged table.
    """
    settings = read_settings(out)
    rows = read_table(read_text(out / "trials.csv", SearchError, LARGEST), settings)
    trained = sorted(
        (row for row in rows if row.outcome == "trained" and row.accuracies),
        key=lambda row: (-row.epochs, row.error, row.network),
    )
    if not trained:
        raise SearchError(f"nothing was trained in {str(out)!r} yet; wait for the first batch")
    outcomes = Counter(row.outcome for row in rows)
    quantity, result = settings.limits.quantity, _read_result(out / "result.json")
    best = front_of(trained, quantity, settings.rungs[-1])
    if result is not None:  # it knows what was too large once it was built
        kept = {Path(point.network).stem for point in result.front}
        best = [row for row in trained if row.network in kept]
        best.sort(key=lambda row: row.weight[quantity])
    report = Report(
        settings, trained, {name: outcomes[name] for name in OUTCOMES}, best,
        importances(settings.space, trained, settings.rungs[0]), result,
    )  # fmt: skip
    write_whole(out / "report.html", render(report))
    save(draw_front(report), out / "front.png")
    return [out / "report.html", out / "front.png"]


def _read_result(path: Path) -> Result | None:
    if not path.is_file():
        return None
    document = parse_json(read_text(path, SearchError), str(path), SearchError)
    return validate(Result, document, str(path), SearchError)
