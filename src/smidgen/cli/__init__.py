"""The command line: parse, call, print. A command imports what it needs when it is called, so that
`--help` loads this folder alone.
"""

from __future__ import annotations

import atexit
import gc
import io
import sys
import warnings
from typing import Annotated

import typer

from smidgen.cli import bench, data, results, search, ship, training, using, weigh
from smidgen.errors import SmidgenError

app = typer.Typer(
    name="smidgen",
    no_args_is_help=True,
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
):
    app.command()(command)


def main() -> None:
    """Runs the command line; a user's mistake becomes one line on stderr and exit code 2.

    So does a warning, without an exit.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold what it cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    # At exit Python would look for garbage among the half million objects of torch: 0.3 seconds.
    atexit.register(gc.freeze)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _complain(message)
        try:
            app()
        except SmidgenError as problem:
            _complain(problem)
            sys.exit(2)


def _complain(problem: object) -> None:
    print("smidgen:", *str(problem).split(), file=sys.stderr)
