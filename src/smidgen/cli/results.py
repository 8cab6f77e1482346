"""Commands that report on runs: report, compare."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smidgen.cli.completion import complete_budget
from smidgen.cli.options import DataDir, Json
from smidgen.cli.output import console, emit, percent
from smidgen.errors import SearchError

if TYPE_CHECKING:
    from rich.table import Table

    from smidgen.report import Comparison, Trial

Goal = Annotated[
    str | None,
    typer.Option(
        help="A budget's name or file: the target on the card.", autocompletion=complete_budget
    ),
]


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run, of seeds, or of a search.")],
    inject: Annotated[
        Path | None, typer.Option(help="Write the run's figures between a README's markers.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Fail if a README's figures are not those of the run.")
    ] = None,
    budget: Goal = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Draw a run's pictures and write its card, or keep a README true to it.

    Of a search, it writes the page.
    """
    from smidgen import report as reports
    from smidgen.budget import load_budget
    from smidgen.check import check as check_budget
    from smidgen.data import load_data
    from smidgen.search.folder import is_search

    if is_search(run):
        if inject or check or budget:
            raise SearchError(f"{str(run)!r} is a search; name its winner: {run / 'best' / 'runs'}")
        return _report_search(run, json_)
    trial = reports.open_trial(run)
    if check is not None:
        return _check(trial, check, json_)
    if inject is not None:
        reports.inject(trial, inject)
        files = [inject]
    else:
        with console(json_).status("drawing"):
            rules = load_budget(budget) if budget is not None else None
            goal = (rules, check_budget(str(run), rules)) if rules is not None else None
            files = reports.write_report(run, load_data(trial.results[0]["data"], data_dir), goal)
    return _print_files(run, files, json_)


def _report_search(folder: Path, json_: bool) -> None:
    from smidgen.search.report import write_search_report

    with console(json_).status("drawing"):
        files = write_search_report(folder)
    _print_files(folder, files, json_)


def _print_files(folder: Path, files: list[Path], json_: bool) -> None:
    if json_:
        return emit({"run": str(folder), "files": [str(file) for file in files]})
    return console().print("\n".join(str(file) for file in files))


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Run folders; the first is the reference."),
    ],
    plot: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("comparison.png"),
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Say which runs differ from the first, and which cannot be told apart from it."""
    from smidgen import report as reports

    with console(json_).status("comparing"):
        trials, data = reports.open_trials(runs, data_dir)
        comparisons = reports.compare(trials, data)
        reports.save(reports.draw_comparison(trials, comparisons), plot)
    _say_same(reports.find_same(trials))
    if json_:
        return emit(
            {
                "data": data.name,
                "test_images": len(data.test),
                "runs": [
                    {"run": str(trial.path), "model": trial.results[0]["model"]}
                    | {"params": trial.results[0]["params"], "test_accuracy": trial.summary}
                    for trial in trials
                ],
                "comparisons": [asdict(each) | {"verdict": each.verdict} for each in comparisons],
                "plot": str(plot),
            }
        )
    out = console()
    out.print(_accuracies(trials))
    out.print(_differences(comparisons))
    if any(each.test == "McNemar" for each in comparisons):
        out.print(
            "McNemar's test of one seed each says whether these weights differ, not whether their "
            "recipes do: train more with --seeds 5."
        )
    return out.print(str(plot))


def _say_same(pairs: list[tuple[str, str]]) -> None:
    for one, other in pairs:
        console(json_=True).print(
            f"compare: {one} and {other} give the same answers to the bit; "
            "is it the same run twice?"
        )


def _check(trial: Trial, readme: Path, json_: bool) -> None:
    from smidgen.report import is_current

    current = is_current(trial, readme)
    if json_:
        emit({"run": str(trial.path), "readme": str(readme), "current": current})
    elif current:
        console().print(f"{readme} says what {trial.path} says")
    else:
        console().print(
            f"{readme} does not say what {trial.path} says; "
            f"to mend it: smidgen report {trial.path} --inject {readme}"
        )
    if not current:
        raise typer.Exit(1)


def _accuracies(trials: list[Trial]) -> Table:
    from smidgen.report.figures import accuracy

    table = _table("run", "parameters", "seeds", "accuracy ± sd", "lowest", "95 % interval")
    for trial in trials:
        summary = trial.summary
        low, high = summary["interval"]
        table.add_row(
            str(trial.path),
            f"{trial.results[0]['params']:,}",
            str(trial.seeds),
            accuracy(trial),
            percent(summary["min"]),
            f"{100 * low:.2f} to {percent(high)}",
        )
    return table


def _differences(comparisons: list[Comparison]) -> Table:
    first = comparisons[0]
    interval = f"{100 * first.confidence:.4g} % interval"
    table = _table(f"against {first.reference}", "points", interval, "test", "p", "verdict")
    for each in comparisons:
        low, high = each.interval
        table.add_row(
            each.other,
            f"{100 * each.difference:+z.2f}",
            f"{100 * low:+z.2f} to {100 * high:+z.2f}",
            each.test,
            f"{each.p_value:.2g}",
            each.verdict,
        )
    return table


def _table(first: str, *others: str) -> Table:
    from rich.table import Table

    table = Table()
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table
