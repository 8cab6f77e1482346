"""A run's figures in a README, between two markers, and the check that they are current.

    <!-- smidgen:begin runs/one -->
    <!-- smidgen:end runs/one -->

The markers name the run's folder as seen from the README. What stands between them is written
from the run alone, so that it can be compared letter for letter.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from smidgen.errors import RunError
from smidgen.escape import markdown, markdown_code, plain
from smidgen.files import write_whole
from smidgen.report.figures import NOT_MNIST, accuracy, certainty, data_title, interval
from smidgen.report.trial import Trial


def inject(trial: Trial, readme: Path) -> None:
    """Writes the trial's figures between its markers in the README.

    Raises RunError where the README cannot be read or does not hold one pair of these markers.
    """
    before, _, after = _split(trial, readme)
    text = before + _block(trial, readme) + after
    write_whole(readme, text)


def is_current(trial: Trial, readme: Path) -> bool:
    """Whether the README's figures are those of the trial. Raises RunError as `inject` does."""
    _, inside, _ = _split(trial, readme)
    return inside == _block(trial, readme)


def _block(trial: Trial, readme: Path) -> str:
    """What belongs between the markers, with the README's own line ends."""
    result, folder = trial.results[0], _link(trial, readme)
    name = result["model"]
    row = {
        "model": markdown_code(name),
        "data": data_title(result["data"]),
        "parameters": f"{result['params']:,}",
        "epochs": result["epochs"],
        "images seen": f"{result['images_seen']:,}",
        "seeds": trial.seeds,
        "test accuracy": accuracy(trial),
        "95 % interval": interval(trial),
    }
    parts = [
        f"![test accuracy]({quote(folder)}/badges/accuracy.svg) "
        f"![parameters]({quote(folder)}/badges/parameters.svg)",
        f"| {' | '.join(row)} |\n|{' --- |' * len(row)}\n"
        f"| {' | '.join(str(value) for value in row.values())} |",
        certainty(trial),
        *([NOT_MNIST] if result["data"] == "digits" else []),
        f"![training curves of {markdown(name)}]({quote(folder)}/plots/curves.png)",
    ]
    text = "\n" + "\n\n".join(parts) + "\n"
    return text.replace("\n", "\r\n") if "\r\n" in _read(readme) else text


def _split(trial: Trial, readme: Path) -> tuple[str, str, str]:
    """The README up to and with the first marker, between the two, and from the second on."""
    text, folder = _read(readme), _link(trial, readme)
    begin, end = f"<!-- smidgen:begin {folder} -->", f"<!-- smidgen:end {folder} -->"
    if text.count(begin) == text.count(end) == 1 and text.index(begin) < text.index(end):
        start, stop = text.index(begin) + len(begin), text.index(end)
        return text[:start], text[start:stop], text[stop:]
    others = re.findall(r"<!-- smidgen:begin (.+?) -->", text)
    holds = f" (it has markers of {', '.join(others)})" if others else ""
    raise RunError(
        f"{str(readme)!r} does not hold one pair of markers for {folder!r}{holds}; "
        f"write {begin} and {end} on two lines where the figures belong"
    )


def _link(trial: Trial, readme: Path) -> str:
    """The trial's folder as seen from the README's. Raises RunError for one that ends comments."""
    link = Path(os.path.relpath(trial.path.resolve(), readme.resolve().parent)).as_posix()
    if "--" in link or link != plain(link):
        raise RunError(
            f"the folder {link!r} cannot stand in a comment of {str(readme)!r}; rename it to have "
            "no --, and only letters that can be printed"
        )
    return link


def _read(readme: Path) -> str:
    try:
        return readme.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as problem:
        raise RunError(f"cannot read {str(readme)!r}: {problem}; name a README in UTF-8") from None
