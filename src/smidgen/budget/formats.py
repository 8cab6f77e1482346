"""Verdicts for machines that show them: GitHub annotations and JUnit XML."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from smidgen.budget.judge import Rule, shown
from smidgen.escape import plain


def sentence(rule: Rule) -> str:
    """A rule's limit, measurement and note in one line."""
    note = f"; {rule.note}" if rule.note else ""
    return f"limit {shown(rule.limit)}, actual {shown(rule.actual)}{note}"


def to_github(rules: Sequence[Rule], title: str) -> str:
    """One annotation for each broken rule, and a notice that sums up.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    """
    broken = [rule for rule in rules if not rule.passed]
    lines = [
        f"::error title={_property(f'{title}: {rule.rule}')}::{_data(sentence(rule))}"
        for rule in broken
    ]
    kept = len(rules) - len(broken)
    return "\n".join(
        [*lines, f"::notice title={_property(title)}::{kept} of {len(rules)} rules kept"]
    )


def to_junit(rules: Sequence[Rule], title: str) -> str:
    """A test suite with one test case a rule, as continuous integration systems read it."""
    broken = sum(not rule.passed for rule in rules)
    suite = ElementTree.Element(
        "testsuite", name=plain(title), tests=str(len(rules)), failures=str(broken), errors="0"
    )
    for rule in rules:
        case = ElementTree.SubElement(
            suite, "testcase", classname=plain(title), name=plain(rule.rule)
        )
        if not rule.passed:
            ElementTree.SubElement(case, "failure", message=plain(sentence(rule)))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
