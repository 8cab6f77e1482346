"""The command that searches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smidgen.cli.completion import complete_budget, complete_recipe, one_of, shipped
from smidgen.cli.loading import load_shown
from smidgen.cli.options import (
    DATA_NAMES,
    DataDir,
    Json,
    Quiet,
    Settings,
    complete_data,
)
from smidgen.cli.output import console, emit, interruptible, percent, table
from smidgen.errors import SearchError

if TYPE_CHECKING:
    from rich.table import Table

    from smidgen.search.run import Watch
    from smidgen.search.study import Settings as Searched
    from smidgen.search.study import Study
    from smidgen.trials.driver import Progress

SHOWN = ("params", "macs", "flash_bytes", "ram_bytes")
LIVE = 8  # networks of the front that are shown while it searches
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


Budget = Annotated[
    str | None,
    typer.Option(
        help="A budget's name or file: its limits of weight.", autocompletion=complete_budget
    ),
]
Space = Annotated[
    str,
    typer.Option(help="chain, residual, mobile, or a file.", autocompletion=shipped("spaces")),
]
Trials = Annotated[
    int | None, typer.Option(help="Candidates to train [default: 200, or as --time allows].")
]
Time = Annotated[str | None, typer.Option(metavar="2h", help="Seconds, or with s, m, h or d.")]
Sampler = Annotated[
    str, typer.Option(help="tpe, nsga2 or random.", autocompletion=one_of("tpe", "nsga2", "random"))
]
Rungs = Annotated[str, typer.Option(metavar="E,E,...", help="Epochs of the rungs.")]
Batch = Annotated[int, typer.Option(help="Candidates that are asked at once.")]
Trainer = Annotated[
    str,
    typer.Option(
        help="What trains the candidates, and for its epochs the winner.",
        autocompletion=complete_recipe,
    ),
]
Seeds = Annotated[int, typer.Option(help="Of each finalist, and of the winner.")]
Jobs = Annotated[int, typer.Option(help="Trainings side by side [-1: one a core].")]
Backend = Annotated[
    str,
    typer.Option(
        help="joblib, here, or ray, on a cluster that runs.", autocompletion=one_of("joblib", "ray")
    ),
]
Storage = Annotated[
    str | None, typer.Option(metavar="URL", help="A database that many shells search with.")
]
Tensorboard = Annotated[
    bool, typer.Option("--tensorboard", help="Write DIR/tensorboard, too; needs that extra.")
]
Out = Annotated[Path | None, typer.Option(help="The search's folder.")]
Resume = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Go on with the search in a folder.")
]
Plan = Annotated[bool, typer.Option("--plan", help="Say what it would take, and stop.")]
Emit = Annotated[
    Path | None, typer.Option("--emit", metavar="DIR", help="Copy the winner to a new folder.")
]


def search(
    budget: Budget = None,
    space: Space = "chain",
    trials: Trials = None,
    time: Time = None,
    sampler: Sampler = "tpe",
    rungs: Rungs = "1,3,9",
    batch: Batch = 18,
    recipe: Trainer = "default",
    settings: Settings = None,
    seed: Annotated[int, typer.Option(help="Of the sampler.")] = 0,
    seeds: Seeds = 3,
    jobs: Jobs = -1,
    backend: Backend = "joblib",
    storage: Storage = None,
    tensorboard: Tensorboard = False,
    out: Out = None,
    resume: Resume = None,
    plan: Plan = False,
    emit_: Emit = None,
    data: Annotated[str, typer.Option(help=DATA_NAMES, autocompletion=complete_data)] = "mnist",
    data_dir: DataDir = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Search the best network under a budget, on validation images, and prove it at the end."""
    from smidgen.run import free_folder
    from smidgen.search.folder import read_settings
    from smidgen.search.run import Effort

    most = 200 if trials is None and time is None else trials
    effort = Effort(most, _seconds(time), seeds, jobs, backend, storage, tensorboard)
    own = {"data": data, "rungs": _rungs(rungs), "batch": batch, "seed": seed, "sampler": sampler}
    if emit_ is not None and emit_.exists():
        raise SearchError(f"--emit {str(emit_)!r} is there already; choose another folder")
    folder = resume or out or free_folder(f"search-{space}")
    searched = read_settings(folder) if resume else _settings(budget, space, recipe, settings, own)
    _Searcher(searched, folder, data_dir, quiet, json_).run(effort, plan, emit_)


def _settings(
    budget: str | None, space: str, recipe: str, changes: list[str] | None, own: dict[str, Any]
) -> Searched:
    from smidgen.budget import load_budget
    from smidgen.recipe import load_recipe, override, parse_setting
    from smidgen.schema import validate
    from smidgen.search.space import load_space
    from smidgen.search.study import Settings as Searched

    if budget is None:
        raise SearchError("name a --budget, or go on with a search by --resume DIR")
    chosen = override(load_recipe(recipe), dict(map(parse_setting, changes or [])))
    document = {
        "space": load_space(space).model_dump(),
        "budget": load_budget(budget).model_dump(),
        "recipe": chosen.model_dump(),
    }
    typed = {key: f"--{key}" for key in own}
    return validate(Searched, document | own, "search", SearchError, typed)


@dataclass(frozen=True)
class _Searcher:
    """Runs one search and shows it, in JSON or for people."""

    settings: Searched
    out: Path
    data_dir: Path | None
    quiet: bool
    json_: bool

    def run(self, effort: Any, plan_only: bool, emit_to: Path | None) -> None:
        """Plans or searches, and prints the document."""
        from smidgen.report import write_report
        from smidgen.search.finish import emit_winner
        from smidgen.search.plan import plan
        from smidgen.search.report import write_search_report
        from smidgen.search.run import search

        people = console(self.json_)
        if not self.quiet:
            _say_what_is_left_out(self.settings)
        data = load_shown(self.settings.data, self.data_dir, self.quiet)
        if plan_only:
            planned = plan(self.settings, data, effort)
            return emit(planned) if self.json_ else people.print("\n".join(_plan_lines(planned)))
        with interruptible(self._how_to_go_on), _watched(people, self.quiet) as watch:
            document = search(
                self.settings, data, self.out, effort, data_dir=self.data_dir, watch=watch
            )
        write_report(self.out / "best" / "runs", data)
        page, _ = write_search_report(self.out)
        if emit_to is not None:
            run = emit_winner(self.out, emit_to)
            write_report(run, data)
        if self.json_:
            return emit(document)
        people.print(_points("the front", document["front"]))
        people.print(_points("finalists, trained again", document["finalists"]))
        best = document["best"]
        score = best["test_accuracy"]
        people.print(
            f"{document['trained']:,} candidates trained, {document['rejected']:,} rejected for "
            f"their weight, {document['repeated']:,} repeated\n"
            f"{best['network']}: trained anew on all images: test mean {percent(score['mean'], 3)} "
            f"± {percent(score['sd'], 3)} (sd), n = {score['n']}\n{page}",
            soft_wrap=True,
        )
        return None

    def _how_to_go_on(self) -> str:
        return f"smidgen search --resume {self.out} goes on, with --trials or --time as before"


def _say_what_is_left_out(settings: Searched) -> None:
    """Names, on stderr, the budget's rules that a search does not look at."""
    from smidgen.search.weigh import Limits

    rules = Limits.leave_out(settings.budget)
    if rules:
        named = ", ".join(rules)
        console(json_=True).print(f"not searched for, left to `smidgen check`: {named}")


def _points(title: str, points: list[dict[str, Any]]) -> Table:
    """Networks with their weights and validation accuracies, for finalists the mean over seeds."""
    rows = []
    for point in points:
        final = point.get("final_val_accuracy")
        accuracy = percent(final["mean"], 3) if final else percent(point["val_accuracy"])
        figures = (f"{point[key]:,}" for key in SHOWN)
        rows.append((Path(point["network"]).stem, *figures, accuracy))
    heading = ("network", "parameters", "MACs", "flash", "RAM", "validation")
    return table(heading, rows, title, range(1, 6))


def _plan_lines(planned: dict[str, Any]) -> Iterator[str]:
    networks = planned["networks"]
    yield f"{networks:,.0f} networks at most" if networks else "more networks than can be counted"
    yield f"{planned['fit']:,} of {planned['drawn']:,} drawn ones fit"
    smallest = planned["smallest"]
    yield f"the smallest drawn has {smallest['params']:,} parameters and {smallest['macs']:,} MACs"
    yield (
        f"{planned['epochs']:,} epochs of {planned['seconds_per_epoch']:.1f} s on "
        f"{planned['cores']} cores: {planned['seconds'] / 3600:.1f} hours, without the final "
        "trainings"
    )


@contextmanager
def _watched(people: Any, quiet: bool) -> Iterator[Watch]:
    """A live table on a terminal, a plain line a round elsewhere."""
    if quiet:
        yield lambda progress, study: None
        return
    if not people.is_terminal:

        def plain(progress: Progress, study: Study) -> None:
            if progress.finished_round:
                figures = _figures(progress, study)
                people.print("  ".join(f"{name} {value}" for name, value in figures))

        yield plain
        return
    from rich.console import Group
    from rich.live import Live

    with Live(console=people, refresh_per_second=4) as live:

        def show(progress: Progress, study: Study) -> None:
            figures = table(("search", ""), _figures(progress, study))
            live.update(Group(figures, _live_front(study)))

        yield show


def _figures(progress: Progress, study: Study) -> list[tuple[str, str]]:
    """How far the search is, by name."""
    from smidgen.trials.driver import duration

    left = progress.seconds_left
    final = [("final trainings", progress.final)] if progress.final else []
    most = "" if progress.trials is None else f" of {progress.trials:,}"
    known = ((t.val_accuracy or 0, t.epochs) for t in study.trials if t.accuracies)
    best = max(known, default=(None, 0))
    return [
        ("trained", f"{progress.trained:,}{most}"),
        ("rejected", f"{study.count('rejected'):,}"),
        ("repeated", f"{study.count('repeated'):,}"),
        ("best", f"{percent(best[0])} after epoch {best[1]}" if best[1] else "–"),
        ("time", duration(progress.seconds)),
        ("left", "–" if left is None else duration(left)),
        *final,
    ]


def _live_front(study: Study) -> Table:
    """The front so far: its most accurate networks."""
    from smidgen.search.finish import front_of

    name = study.limits.quantity
    rows = [
        (trial.key, f"{study.quantity(trial):,.0f}", percent(trial.val_accuracy))
        for trial in front_of(study)[-LIVE:]
    ]
    return table(("the front", name, "validation"), rows or [("–", "–", "–")], right=(1, 2))


def _seconds(text: str | None) -> float | None:
    """The seconds that `90`, `90s`, `30m`, `2h` or `1.5d` says."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", text)
    if not found or not float(found[1]):
        raise SearchError(f"--time {text!r} is no time; write 90s, 30m, 2h or 1d")
    return float(found[1]) * UNITS[found[2]]


def _rungs(text: str) -> list[int]:
    """The epochs in `1,3,9`, each more than the one before."""
    if not re.fullmatch(r"[0-9]{1,6}(,[0-9]{1,6})*", text):
        raise SearchError(f"--rungs {text!r} are no epochs; write 1,3,9")
    rungs = [int(part) for part in text.split(",")]
    if rungs != sorted(set(rungs)) or not rungs[0]:
        raise SearchError(f"--rungs {text!r} do not rise from 1 or more; write 1,3,9")
    return rungs
