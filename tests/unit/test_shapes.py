"""What may come in over the wire: nothing unknown, nothing converted, nothing that a database cannot keep."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from flask_neolith_orchestrator.core.errors import NotFound
from flask_neolith_orchestrator.web.shapes import Body, Line, Malformed, OwnId, Text, own_id, validated


class Example(Body):
    """A body with one member of each kind."""

    own_id: OwnId
    text: Text = ""
    line: Line = ""
    number: int = 0


@pytest.mark.parametrize("bad", ["\x00", "a\x07", "\x1b[31m", "\x7f", "\ud800", "a\udfffb"])
def test_text_that_no_database_or_browser_should_see_is_refused(bad: str) -> None:
    """Control characters, NUL and half surrogate pairs are neither text nor lines."""
    for kind in (Text, Line):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(bad, strict=True)


@pytest.mark.parametrize("good", ["a\nb\r\n\tc", "שלום", "👩‍👩‍👧", "e\u0301"])
def test_text_of_any_language_is_kept(good: str) -> None:
    """Line ends, tabs, every script and joined emoji come through unchanged."""
    assert TypeAdapter(Text).validate_python(good, strict=True) == good


@pytest.mark.parametrize("bad", ["a\nb", "a\u2028b"])
def test_a_line_is_one_line(bad: str) -> None:
    """A label with a line break could look like two."""
    with pytest.raises(ValidationError):
        TypeAdapter(Line).validate_python(bad, strict=True)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"ownId": 1},
        {"own_id": "1"},
        {"ownId": "1", "extra": 1},
        {"ownId": "1", "number": "1"},
        {"ownId": "1", "number": True},
        {"ownId": "1", "number": 1.5},
        {"ownId": "٣"},
        {"ownId": "1\n"},
        {"ownId": "9" * 19},
        {"ownId": ["1"]},
        [],
        None,
        "x",
    ],
)
def test_a_body_is_taken_as_it_is_or_not_at_all(bad: object) -> None:
    """Camel case names, exact types, ids that fit into 64 bits, and nothing unknown."""
    with pytest.raises(Malformed) as caught:
        validated(Example, bad)
    assert caught.value.problems


def test_what_was_sent_is_not_repeated_in_the_problem() -> None:
    """Values may be secret or huge, and names unprintable: neither comes back."""
    with pytest.raises(Malformed) as caught:
        validated(Example, {"ownId": "hunter2", "\ud800" + "x" * 1000: 1})
    shown = str(caught.value.problems)
    assert "hunter2" not in shown
    assert len(shown) < 500
    shown.encode()


@pytest.mark.parametrize("bad", ["", "0x1", "-1", "1 ", "9" * 19, "٣", "1e3"])
def test_an_id_that_can_be_none_is_not_found(bad: str) -> None:
    """There is nothing with such an id, so there is nothing to complain about either."""
    with pytest.raises(NotFound):
        own_id(bad)
