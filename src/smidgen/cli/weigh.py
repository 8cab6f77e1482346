"""Commands that weigh a network without training it: describe, check, grade."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smidgen.cli.completion import complete_budget, complete_target
from smidgen.cli.options import BudgetName, Input, Json, Quiet
from smidgen.cli.output import console, emit, table
from smidgen.errors import BudgetError, DataError

if TYPE_CHECKING:
    from rich.console import Console

    from smidgen.anatomy import Anatomy
    from smidgen.budget import Budget, Rule, Verdict
    from smidgen.check import Measured
    from smidgen.claims import Claim
    from smidgen.grade import Grade
    from smidgen.inputs import InputShape


class Isolation(StrEnum):
    AUTO = "auto"
    STRICT = "strict"


_any_target = typer.Argument(
    metavar="TARGET",
    help="A model's name, a run or bundle folder, net.toml or FILE.py[:NAME].",
    autocompletion=complete_target,
)
AnyTarget = Annotated[str, _any_target]
CheckedTarget = Annotated[str | None, _any_target]
GradedBudget = Annotated[
    str,
    typer.Option(help="A shipped budget's name, or a .toml file.", autocompletion=complete_budget),
]

MAX_README = 2**18  # bytes of a README whose figures are checked


class TableFormat(StrEnum):
    TABLE = "table"
    MARKDOWN = "markdown"


class VerdictFormat(StrEnum):
    TABLE = "table"
    GITHUB = "github"
    JUNIT = "junit"


def describe(
    target: AnyTarget,
    input_: Input = None,
    format_: Annotated[TableFormat, typer.Option("--format")] = TableFormat.TABLE,
    json_: Json = False,
) -> None:
    """Show what a network weighs: parameters, MACs, receptive field and memory, by layer."""
    with _no_garbage_collection():
        from smidgen.anatomy import describe
        from smidgen.target import load

    with _prints_to_stderr():
        loaded = load(target, weights=False, input_shape=_parse(input_))
        anatomy = describe(loaded.model, loaded.preprocess.shape, loaded.name)
    _say_guess(target, input_, anatomy)
    if json_:
        return emit(anatomy.to_dict())
    if format_ is TableFormat.MARKDOWN:
        return print(anatomy.to_markdown())
    out = console()
    heading, *body, total = anatomy.rows()
    layers = table(heading, body, anatomy.model, right=range(3, len(heading)))
    layers.add_section()
    layers.add_row(*total)
    if out.measure(layers, options=out.options.update(width=1000)).maximum > out.width:
        layers.padding = 0  # the numbers need the room
    out.print(layers)
    return out.print("\n".join(anatomy.facts()))


def check(
    target: CheckedTarget = None,
    budget: BudgetName = None,
    claims: Annotated[
        Path | None, typer.Option(metavar="README", help="Check the figures that it states.")
    ] = None,
    input_: Input = None,
    format_: Annotated[VerdictFormat, typer.Option("--format")] = VerdictFormat.TABLE,
    list_: Annotated[bool, typer.Option("--list", help="List the shipped budgets.")] = False,
    json_: Json = False,
) -> None:
    """Hold a network to a budget, rule by rule; exit code 1 where it breaks one."""
    if list_:
        return _list_budgets(json_)
    if target is None or (budget is None and claims is None):
        raise BudgetError(
            "check needs a target and --budget NAME, or --claims README.md; "
            "smidgen check --list shows the budgets"
        )
    from smidgen.budget import load_budget

    rules = load_budget(budget) if budget else None
    known, verdict, stated = _weigh(target, rules, _read(claims) if claims else "", _parse(input_))
    _say_guess(target, input_, known.anatomy)
    passed = verdict.passed and not any(claim.passed is False for claim in stated)
    if json_:
        listed = {"claims": [vars(claim) for claim in stated]} if claims else {}
        emit(verdict.to_dict() | {"passed": passed} | listed)
    else:
        title = " · ".join(str(part) for part in (known.name, budget, claims) if part)
        _print_verdict(verdict, stated, title, format_)
    if not passed:
        raise typer.Exit(1)
    return None


def grade(
    folder: Annotated[Path, typer.Argument(help="Submissions: a .py file or a subfolder each.")],
    budget: GradedBudget,
    out: Annotated[
        Path | None, typer.Option(help="Write grades.csv, grades.json and grades.html there.")
    ] = None,
    input_: Input = None,
    seconds: Annotated[float, typer.Option(help="Time for each submission.")] = 30.0,
    memory_mb: Annotated[int, typer.Option(help="Address space for each submission.")] = 4096,
    file_mb: Annotated[int, typer.Option(help="The largest file it may hold or write.")] = 16,
    isolation: Annotated[
        Isolation, typer.Option(help="strict: grade only where there is a sandbox.")
    ] = Isolation.AUTO,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Hold every submission of a folder to a budget; exit code 1 unless all of them pass.

    With --out, results are written as they come, and a grading that was ended goes on there.
    """
    from smidgen.grade import Limits, choose_isolation, find_submissions, grade_folder, read_results

    count = len(find_submissions(folder))
    screen = console(json_)
    chosen = choose_isolation(isolation is Isolation.STRICT)
    if chosen.warning:
        console(json_=True).print(f"grade: {chosen.warning}", markup=False)
    limits, earlier = Limits(seconds, memory_mb, file_mb), read_results(out) if out else {}
    coming = grade_folder(
        folder, budget, limits, input_shape=_parse(input_), isolation=chosen, earlier=earlier
    )
    grades, files = _collect(coming, count, budget, out, console(json_, quiet))
    if json_:
        emit({"budget": budget, "submissions": [grade.to_dict() for grade in grades]})
    else:
        _print_grades(grades, f"{folder} · {budget}", screen)
    again = sum(earlier.get(grade.submission) is grade for grade in grades)
    _print_passed(grades, again, files, screen)


def _collect(
    coming: Iterator[Grade], count: int, budget: str, out: Path | None, screen: Console
) -> tuple[list[Grade], list[Path]]:
    """The grades by name, and the files that hold them; those are written after each grade."""
    from rich.progress import track

    from smidgen.grade import write_results

    grades: list[Grade] = []
    files: list[Path] = []
    for each in track(coming, "grading", total=count, console=screen):
        grades = sorted([*grades, each], key=lambda grade: grade.submission)
        files = write_results(grades, budget, out) if out else []
    return grades, files


def _print_grades(grades: list[Grade], title: str, screen: Console) -> None:
    from smidgen.grade.results import COLUMNS, cells

    screen.print(table(COLUMNS, map(cells, grades), title, right=range(2, 6)))


def _print_passed(grades: list[Grade], again: int, files: list[Path], screen: Console) -> None:
    """Says how many passed; the exit code is 1 unless all of them did."""
    passed = sum(grade.passed for grade in grades)
    as_before = f", {again} of them graded before" if again else ""
    said = f"{passed} of {len(grades)} passed{as_before}"
    screen.print(said, *(f"\n{file}" for file in files))
    if passed < len(grades):
        raise typer.Exit(1)


def _weigh(
    target: str, rules: Budget | None, readme: str, input_shape: InputShape | None
) -> tuple[Measured, Verdict, list[Claim]]:
    """What is known of the target, the rules' verdict over it, and what a README states."""
    with _no_garbage_collection():
        from smidgen.budget import Verdict
        from smidgen.check import measure
        from smidgen.claims import check_claims

    epochs, firmware = (rules.last_epochs, rules.weighs_firmware) if rules else (1, False)
    with _prints_to_stderr():
        known = measure(target, epochs, firmware, input_shape)
    verdict = known.judge(rules) if rules else Verdict(())
    return known, verdict, check_claims(readme, known.anatomy, known.training)


def _parse(text: str | None) -> InputShape | None:
    from smidgen.inputs import InputShape

    return InputShape.parse(text) if text else None


def _say_guess(target: str, given: str | None, anatomy: Anatomy) -> None:
    """Says on stderr which images a file's network was weighed for, where nobody said it."""
    from smidgen.source import is_source

    if given is None and is_source(target):
        console(json_=True).print(
            f"weighed for images of {anatomy.input_shape}; --input CxHxW says others"
        )


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keeps Python from looking for garbage among what is imported meanwhile: all of it stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _prints_to_stderr() -> Iterator[None]:
    """Sends what a user's network prints to stderr; stdout is for the result."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _read(readme: Path) -> str:
    from smidgen.schema import read_text

    return read_text(readme, DataError, MAX_README)


def _list_budgets(json_: bool) -> None:
    from smidgen.budget import list_budgets, load_budget

    budgets = {name: load_budget(name) for name in list_budgets()}
    if json_:
        documents = {name: budget.model_dump(exclude_none=True) for name, budget in budgets.items()}
        return emit({"budgets": documents})
    rows = [(name, budget.title) for name, budget in budgets.items()]
    return console().print(table(("budget", "what it asks"), rows))


def _print_verdict(
    verdict: Verdict, claims: list[Claim], title: str, format_: VerdictFormat
) -> None:
    from smidgen.budget.formats import to_github, to_junit
    from smidgen.budget.judge import shown

    rules = [*verdict.rules, *(_as_rule(claim) for claim in claims if claim.passed is not None)]
    if format_ is VerdictFormat.GITHUB:
        return print(to_github(rules, title))
    if format_ is VerdictFormat.JUNIT:
        return print(to_junit(rules, title))
    rows = [
        (rule.rule, shown(rule.limit), shown(rule.actual), "ok" if rule.passed else "BROKEN")
        for rule in rules
    ]
    out = console()
    out.print(table(("rule", "limit", "actual", "verdict"), rows, title))
    for rule in rules:
        if rule.note:
            out.print(f"{rule.rule}: {rule.note}")
    if verdict.unmeasured:
        out.print(
            f"Not measured: {', '.join(verdict.unmeasured)}. They need a run folder, and those of "
            "single epochs a recipe with watch_test = true."
        )
    unknown = sum(claim.passed is None for claim in claims)
    if unknown:
        out.print(f"{unknown} stated figures could not be measured; --json lists them.")
    broken = sum(not rule.passed for rule in rules)
    return out.print(f"{broken} of {len(rules)} broken" if broken else f"all {len(rules)} kept")


def _as_rule(claim: Claim) -> Rule:
    from smidgen.budget import Rule

    actual = "not measured" if claim.actual is None else claim.actual
    name = f"line {claim.line}: {claim.figure}"
    return Rule(name, claim.claimed, actual, bool(claim.passed), claim.note)
