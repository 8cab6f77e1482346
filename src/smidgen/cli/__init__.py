"""The command line: parse, call, print. A command imports what it needs when it is called, so that
`--help` loads this folder alone.
"""

from __future__ import annotations

import atexit
import gc
import io
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from smidgen.cli import bench, choosing, data, doctor, results, search, ship, training, using, weigh
from smidgen.cli.output import emit
from smidgen.cli.usage import UsageError, explain
from smidgen.errors import SmidgenError

app = typer.Typer(
    name="smidgen",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        import smidgen

        print(f"smidgen {smidgen.__version__}")
        raise typer.Exit


@app.callback()
def _smidgen(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say which it is."),
    ] = False,
) -> None:
    """Image classifiers that fit in a smidgen: design, train, verify and ship them."""


for command in (
    training.quickstart,
    using.models,
    training.train,
    choosing.recipe,
    training.sweep,
    search.search,
    using.evaluate,
    using.predict,
    weigh.describe,
    weigh.check,
    weigh.grade,
    ship.export,
    results.report,
    results.compare,
    bench.bench,
    ship.serve,
    data.data,
    doctor.doctor,
):
    app.command()(command)


def main() -> None:
    """Runs the command line, and exits with its code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold what it cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    # Importing torch makes half a million objects and no garbage. Python would look for it all the
    # same: while it imports, a tenth of that time, and at exit, 0.3 seconds.
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """The exit code of one command line: 0 fine, 1 a check failed, 2 misuse or bad input.

    A user's mistake becomes one line on stderr, and with --json {"error": ...} on stdout, too. A
    warning becomes a line without an exit, and with --quiet nothing.
    """
    with warnings.catch_warnings():
        if "--quiet" in arguments:
            warnings.simplefilter("ignore")
        warnings.showwarning = lambda message, *_: _complain(str(message))
        try:
            code = app(list(arguments) or ["--help"], prog_name="smidgen", standalone_mode=False)
        except SmidgenError as problem:
            return _refuse(str(problem), arguments)
        except UsageError as problem:
            return _refuse(explain(problem, arguments), arguments)
    return code if isinstance(code, int) else 0


def _refuse(problem: str, arguments: Sequence[str]) -> int:
    if "--json" in arguments:
        emit({"error": " ".join(problem.split())})
    _complain(problem)
    return 2


def _complain(problem: str) -> None:
    print("smidgen:", *problem.split(), file=sys.stderr)
