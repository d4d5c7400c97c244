"""Charters as files: YAML without its traps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_neolith_orchestrator.chat.charter_reading import UnusableCharter
from flask_neolith_orchestrator.chat.charter_yaml import LONGEST, parse, to_yaml

READ: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    ("# nothing yet\n", {}),
    ('{"mission": "x", "tier": 2}', {"mission": "x", "tier": 2}),
    ("on: refusal\nto: [no, yes]", {"on": "refusal", "to": ["no", "yes"]}),
    ("a: true\nb: false\nc: off", {"a": True, "b": False, "c": "off"}),
    ("a: 17:30\nb: 2026-01-01\nc: 0x1F\nd: 1_000", {"a": "17:30", "b": "2026-01-01", "c": "0x1F", "d": "1_000"}),
    ("a: -5\nb: 2.50\nc: null\nd:", {"a": -5, "b": 2.5, "c": None, "d": None}),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_a_file_says_what_it_seems_to_say(text: str, expected: dict[str, Any]) -> None:
    """Times, dates, yes and no are text; JSON is taken too."""
    assert parse(text) == expected


REFUSED: list[tuple[str, str]] = [
    ("- a\n- b", "file: a mapping of fields is expected"),
    ("just text", "file: a mapping of fields is expected"),
    ("a: [1, 2", "line 1: "),
    ("a: 1\nb: 2\na: 3", "line 1: a is given twice"),
    ("a: &x [1]\nb: *x", "line 2: anchors are not taken here"),
    ("a: !!python/object:os.system {}", "line 1: could not determine a constructor"),
    ("a: \x07", "file: it is neither YAML nor JSON"),
    ("a: " + "[" * 5_000, "file: it is neither YAML nor JSON"),
    ("? [1]\n: 2", "line 1: found unhashable key"),
    ("x" * (LONGEST + 1), "file: it is too long"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_what_is_no_charter_file_is_refused_with_its_line(text: str, said: str) -> None:
    """Also what would become large or run code."""
    with pytest.raises(UnusableCharter) as caught:
        parse(text)
    assert str(caught.value).startswith(said)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")) | st.just("\n"), max_size=12)
    | st.sampled_from(["on", "no", "12:30", "1e3", "0x1", "# x", "- y", " a\nb ", "~", "=", "<<", "2026-01-01", "1_0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcon", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcdon", min_size=1, max_size=4), VALUES, max_size=4))
def test_what_is_written_reads_back_as_it_was(charter: dict[str, Any]) -> None:
    """Whatever a stored charter holds: `show` and `set` are each other's inverse."""
    assert parse(to_yaml(charter)) == charter
