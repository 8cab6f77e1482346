"""The command that looks at the machine."""

from __future__ import annotations

import dataclasses

from smidgen.cli.options import Json
from smidgen.cli.output import console, emit, table


def doctor(json_: Json = False) -> None:
    """Show what is found on this machine, and for what is missing the command that brings it."""
    from smidgen.doctor import diagnose

    findings = diagnose()
    if json_:
        return emit({"findings": [dataclasses.asdict(each) for each in findings]})
    rows = [
        (f"{each.section}: {each.name}", each.found or f"missing, for {each.purpose}")
        for each in findings
    ]
    people = console()
    people.print(table(("what", "found"), rows))
    missing = [each for each in findings if each.found is None]
    if missing:
        people.print("To have what is missing (on Debian and Ubuntu):")
    for each in missing:
        people.print(f"  {each.command}", soft_wrap=True)
    return None
