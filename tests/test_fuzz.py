"""The readers of tests/fuzz, fed with examples, with what was found before, and with changes."""

from __future__ import annotations

import pytest
from fuzz.targets import CORPUS, TARGETS, check, examples
from hypothesis import given, settings
from hypothesis import strategies as st

EXAMPLES = {name: examples(name) for name in TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_the_examples_are_read_or_refused_in_one_line(name: str) -> None:
    for content in EXAMPLES[name]:
        check(name, content)


@settings(max_examples=200)
@given(st.data())
def test_changed_examples_are_read_or_refused_in_one_line(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(TARGETS)))
    content = bytearray(data.draw(st.sampled_from(EXAMPLES[name])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    check(name, bytes(content))


def test_every_example_that_is_kept_belongs_to_a_target_and_is_small() -> None:
    kept = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in kept} <= set(TARGETS)
    assert sum(path.stat().st_size for path in kept) < 200_000
