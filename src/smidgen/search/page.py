"""The page of a search: report.html, one file that asks for nothing and runs no script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydantic import ConfigDict

from smidgen.escape import html_text
from smidgen.schema import Frozen
from smidgen.search import axes, charts
from smidgen.search.space import Range
from smidgen.search.study import Settings
from smidgen.search.table import LEAST_ERROR, Row
from smidgen.trials.driver import duration

NAMES = {
    "params": "parameters",
    "stored_numbers": "stored numbers",
    "macs": "multiply–accumulates",
    "flash_bytes": "flash, bytes",
    "ram_bytes": "RAM, bytes",
}
MOST = 1_000  # trials that are drawn and listed
MOST_RANGES = 10  # that have an axis
LEAST_SHARE = 0.01  # of what mattered, that has a bar


class _Read(Frozen):
    model_config = ConfigDict(extra="ignore")


class Score(_Read):
    """Accuracies, fractions, over `n` seeds."""

    mean: float
    sd: float
    n: int


class Point(_Read):
    """A network of the front; flash and RAM as built, where they are limited."""

    network: str
    params: int
    stored_numbers: int
    macs: int
    flash_bytes: int | None
    ram_bytes: int | None
    val_accuracy: float


class Finalist(Point):
    final_val_accuracy: Score


class Best(Finalist):
    epochs: int
    test_accuracy: Score


class Result(_Read):
    """What the page needs of result.json."""

    seconds: float
    front: list[Point]
    finalists: list[Finalist]
    best: Best


@dataclass(frozen=True)
class Report:
    """What a page says. `rows` are the trained trials, the best first; `counts` are of all.

    `best` is the front, from small to accurate; `result` is None before the search has ended.
    """

    settings: Settings
    rows: Sequence[Row]
    counts: Mapping[str, int]
    best: Sequence[Row]
    importance: Mapping[str, float]
    result: Result | None

    @property
    def quantities(self) -> list[str]:
        """What is known of all that were trained, the budgeted one first."""
        first = self.settings.limits.quantity
        ordered = [first, *(name for name in NAMES if name not in (first, "stored_numbers"))]
        return [name for name in ordered if all(name in row.weight for row in self.rows)]


def render(report: Report) -> str:
    """The page, as HTML."""
    style = (resources.files("smidgen") / "search" / "report.css").read_text("utf-8")
    style += "".join(_rule(name) for name in NAMES)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    title = html_text(f"Search: {report.settings.space.title}")
    sections = [_head(report, title), "<main>", *_sections(report), "</main>", _foot(report)]
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\">\n"
        f"<title>{title}</title>\n<style>{style}</style>\n" + "\n".join(sections) + "\n</html>\n"
    )


def _rule(name: str) -> str:
    """Shows the chart whose button is pressed."""
    return (
        f"#pick-{name}:checked ~ .charts .{name} {{ display: block; }}\n"
        f"#pick-{name}:checked ~ .choice .{name} {{ background: var(--accent); "
        "color: var(--card); border-color: var(--accent); }\n"
        f"#pick-{name}:focus-visible ~ .choice .{name} {{ outline: 2px solid var(--ink); }}\n"
    )


def _head(report: Report, title: str) -> str:
    counts, settings = report.counts, report.settings
    said = (
        f"Data {settings.data}; budget “{settings.budget.title}”. "
        f"{sum(counts.values()):,} trials: {counts['trained']:,} trained, "
        f"{counts['rejected']:,} rejected for their weight, {counts['repeated']:,} repeated."
    )
    if report.result is not None:
        said += f" It took {duration(report.result.seconds)}."
    return f"<header><h1>{title}</h1><p>{html_text(said)}</p></header>"


def _sections(report: Report) -> Iterator[str]:
    yield _winner(report)
    if report.rows:
        yield _front(report)
        yield _importance(report)
        yield _parallel(report)
        yield _table(report)


def _winner(report: Report) -> str:
    if report.result is None:
        text = "The search has not ended: no network has seen the test images yet."
        return f"<section><h2>Under way</h2><p>{text}</p></section>"
    best = report.result.best
    weights = {name: getattr(best, name) for name in NAMES}
    scores = ("main", "test", best.test_accuracy), ("", "validation", best.final_val_accuracy)
    facts = [
        (
            mark,
            f"{name} accuracy, {score.n} seeds",
            f"{100 * score.mean:.2f} ± {100 * score.sd:.2f} %",
        )
        for mark, name, score in scores
    ]
    facts += [("", NAMES[name], f"{value:,}") for name, value in weights.items() if value]
    cells = "".join(
        f'<div class="{mark}"><dt>{html_text(name)}</dt><dd>{html_text(value)}</dd></div>'
        for mark, name, value in facts
    )
    text = (
        f"Of {report.counts['trained']:,} networks the most accurate ones were trained again, "
        f"under several seeds for {best.epochs:,} epochs; this one has the best mean on "
        "validation images. Then it was trained anew on all training images, and only then were "
        "the test images read. Means with their standard deviation over the seeds."
    )
    finalists = ", ".join(map(_finalist, report.result.finalists))
    return (
        f"<section><h2>The winner</h2><dl class=facts>{cells}</dl><p>{html_text(text)} "
        '<a href="best/net.toml">net.toml</a>, <a href="best/recipe.toml">recipe.toml</a></p>'
        f"<p>The finalists on validation images: {finalists}.</p></section>"
    )


def _finalist(finalist: Finalist) -> str:
    key = html_text(Path(finalist.network).stem)
    mean = f"{100 * finalist.final_val_accuracy.mean:.2f} %"
    return f'<a href="networks/{key}.toml"><code>{key}</code></a> {mean}'


def _front(report: Report) -> str:
    limits, rows = vars(report.settings.limits), report.rows[:MOST]
    picks, labels, drawn = [], [], []
    for number, name in enumerate(report.quantities):
        label = html_text(NAMES[name].partition(",")[0])
        checked = "" if number else " checked"
        picks.append(f'<input class="pick" type="radio" name="pick" id="pick-{name}"{checked}>')
        labels.append(f'<label class="{name}" for="pick-{name}">{label}</label>')
        points = [_point(row, name, report.settings) for row in rows]
        best = report.best if number == 0 else front_of(rows, name, report.settings.rungs[-1])
        stairs = [_point(row, name, report.settings) for row in best]
        svg = charts.front(points, stairs, NAMES[name], limits[name])
        drawn.append(f'<div class="chart {name}">{svg}</div>')
    rungs = report.settings.rungs[::-1][:3]
    marks = [("front", 6, "the front")]
    marks += [(f"rung{place}", 4, _after(epochs)) for place, epochs in enumerate(rungs)]
    legend = "".join(
        f'<li><svg viewBox="-7 -7 14 14"><circle r="{radius}" class="{mark}"/></svg>{text}</li>'
        for mark, radius, text in marks
    )
    return (
        "<section><h2>The front</h2><p>Validation error of each network that was trained; those of "
        "the front are beaten by none in both figures. A point opens the network’s file.</p>"
        f'<ul class="legend">{legend}</ul>{"".join(picks)}'
        f'<div class="choice">{"".join(labels)}</div><div class="charts">{"".join(drawn)}</div>'
        "</section>"
    )


def front_of(rows: Sequence[Row], name: str, epochs: int) -> list[Row]:
    """Those trained for so many epochs that none beats in error and quantity, small to accurate."""
    front: list[Row] = []
    last = [row for row in rows if row.epochs == epochs]
    for row in sorted(last, key=lambda row: (row.weight[name], row.error)):
        if not front or row.error < front[-1].error:
            front.append(row)
    return front


def _point(row: Row, name: str, settings: Settings) -> charts.Point:
    place = settings.rungs[::-1].index(row.epochs)
    return charts.Point(
        _link(row), _title(row), row.weight[name], row.shown_error, f"rung{min(place, 2)}"
    )


def _after(epochs: int) -> str:
    return f"after {epochs:,} {'epoch' if epochs == 1 else 'epochs'}"


def _link(row: Row) -> str:
    return f"networks/{row.network}.toml"


def _title(row: Row) -> str:
    weights = "\n".join(f"{NAMES[name]}: {value:,}" for name, value in row.weight.items())
    return (
        f"{row.network}\nvalidation error: {100 * row.error:.2f} % {_after(row.epochs)}\n{weights}"
    )


def _importance(report: Report) -> str:
    epochs = report.settings.rungs[0]
    if not report.importance:
        return (
            "<section><h2>What mattered</h2><p>Too few networks were trained to say what mattered "
            "for the error.</p></section>"
        )
    text = (
        "How much each range of the space decided whether a network was among the best tenth on "
        f"validation images {_after(epochs)}, the first rung, which all were trained for "
        "(PED-ANOVA). A range’s name is its place in the space’s file; layers count from 0."
    )
    shown = {name: share for name, share in report.importance.items() if share >= LEAST_SHARE}
    others = ", ".join(name for name in report.importance if name not in shown)
    rest = f"<p>Less than 1 %: {html_text(others)}.</p>" if others else ""
    return f"<section><h2>What mattered</h2><p>{text}</p>{charts.bars(shown)}{rest}</section>"


def _parallel(report: Report) -> str:
    rows, ranges = report.rows[:MOST][::-1], report.settings.space.all_ranges()
    ordered = list(report.importance) or list(ranges)
    lines = []
    for name in ordered[:MOST_RANGES]:
        own, values = ranges[name], [row.values.get(name) for row in rows]
        if len(set(values)) > 1:
            log = isinstance(own, Range) and own.log
            lines.append(axes.line_of_values(name, values, log))
    first, epochs = report.quantities[0], report.settings.rungs[0]
    quantity = [row.weight[first] for row in rows]
    errors = [max(1 - row.accuracies[epochs], LEAST_ERROR) for row in rows]
    named = f"validation error {_after(epochs)}"
    lines.append(axes.line_of_numbers(NAMES[first], quantity, axes.whole))
    lines.append(axes.line_of_numbers(named, errors, axes.percent))
    top = {row.network for row in report.rows[: -(-len(report.rows) // 10)]}
    front = {row.network for row in report.best}
    marks = ["front" if r.network in front else "top" if r.network in top else "" for r in rows]
    titles = [(_link(r), _title(r), mark) for r, mark in zip(rows, marks, strict=True)]
    titles.sort(key=lambda title: ("", "top", "front").index(title[2]))
    return (
        "<section><h2>Parallel coordinates</h2><p>Each line is a network, and goes through its "
        "values from top to bottom; – is a layer that was left out.</p>"
        f'<ul class="legend">{_line_legend()}</ul>'
        f'<div class="lines">{charts.parallel(lines, titles)}</div></section>'
    )


def _line_legend() -> str:
    said = (("front", "the front"), ("top", "the best tenth"), ("", "the others"))
    line = '<svg viewBox="0 0 14 14"><polyline points="0,9 14,5" class="{}"/></svg>'
    return "".join(f"<li>{line.format(mark)}{text}</li>" for mark, text in said)


def _table(report: Report) -> str:
    heads = "".join(f'<th class="{_more(name, report)}">{NAMES[name]}</th>' for name in NAMES)
    front = {row.network for row in report.best}
    body = "".join(_cells(row, report, row.network in front) for row in report.rows[:MOST])
    others = len(report.rows) - MOST
    note = f" {others:,} more are in it, too." if others > 0 else ""
    return (
        "<section><h2>The networks that were trained</h2><p>Those of the last rung first, each by "
        'its validation error; ◆ is the front. <a href="trials.csv">trials.csv</a> has all trials, '
        f"with the values that were drawn.{note}</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="networks"><table><thead><tr>'
        f"<th>network</th><th>error</th><th class=epochs>epochs</th>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _cells(row: Row, report: Report, is_front: bool) -> str:
    figures = "".join(
        f'<td class="{_more(name, report)}">{row.weight[name]:,}</td>'
        if name in row.weight
        else f'<td class="{_more(name, report)}">–</td>'
        for name in NAMES
    )
    return (
        f'<tr{" class=front" if is_front else ""}><td><a href="{_link(row)}">{row.network}</a></td>'
        f"<td>{100 * row.error:.2f} %</td><td class=epochs>{row.epochs}</td>{figures}</tr>"
    )


def _more(name: str, report: Report) -> str:
    """The class of a column that a narrow window leaves out."""
    return "" if name == report.quantities[0] else "more"


def _foot(report: Report) -> str:
    settings = report.settings
    said = (
        f"Sampler {settings.sampler}, seed {settings.seed}, rungs of "
        f"{', '.join(map(str, settings.rungs))} epochs, batches of {settings.batch}."
    )
    return f"<footer>{html_text(said)}</footer>"
