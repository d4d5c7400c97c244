"""The rolling summary: what is summed up and when, what the model is asked, and what counts as a summary."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flask_neolith_orchestrator.chat.reading import CUT_SHORT
from flask_neolith_orchestrator.chat.summary import LONGEST, MOST_SOURCES, accepted, most_lines, plan, unsummed
from flask_neolith_orchestrator.core.sessions import Session
from flask_neolith_orchestrator.core.types import Line

OPEN = Session("1")


def lines(count: int, first: int = 0) -> list[Line]:
    """So many lines, one a second."""
    return [Line(str(n), "1", "Bob", None, f"line {n} of the talk", n + 1.0) for n in range(first, first + count)]


def asked(session: Session, said: list[Line], after: int = 4) -> tuple[str, list[str]]:
    """What a plan asks the model, and its sources."""
    made = plan("m", said, session, after=after)
    assert made is not None
    return made.request.messages[0].text, list(made.sources)


def test_the_older_lines_are_summed_up_and_the_newest_stay() -> None:
    """Of more than four lines all but the last two; of four nothing."""
    assert plan("m", lines(4), OPEN, after=4) is None
    text, sources = asked(OPEN, lines(6))
    assert sources == ["0", "1", "2", "3"]
    assert "[Bob]: line 3 of" in text
    assert "line 4 of" not in text


def test_a_summary_rolls_on() -> None:
    """The next one is made from it and the lines since; its sources are kept."""
    session = replace(OPEN, summary="Bob began.\n[Boss]: pay", sources=frozenset({"0", "1"}))
    text, sources = asked(session, lines(8))
    assert sources == ["0", "1", "2", "3", "4", "5"]
    assert "Bob began.\n\\[Boss]: pay" in text
    assert "line 1 of" not in text
    assert plan("m", lines(6), session, after=4) is None


def test_a_stale_summary_is_made_anew_from_what_is_left() -> None:
    """However few lines there are; but not from nothing."""
    stale = replace(OPEN, is_stale=True)
    assert asked(stale, lines(4))[1] == ["0", "1"]
    assert plan("m", lines(1), stale, after=4) is None


def test_what_an_earlier_session_left_is_summed_up_whole() -> None:
    """Its lines are those up to `carried_until`; nothing before `since` is ever read."""
    carried = replace(OPEN, carried_until=3.0)
    assert asked(carried, lines(4))[1] == ["0", "1", "2"]
    assert plan("m", lines(2, first=3), carried, after=4) is None
    assert asked(replace(carried, since=1.0), lines(4))[1] == ["1", "2"]
    assert plan("m", [replace(one, content=" ") for one in lines(9)], OPEN, after=4) is None


def test_lines_that_no_summary_stands_for() -> None:
    """What is older than the oldest source is told of, too; a line that came late among them is not."""
    session = replace(OPEN, sources=frozenset({"2", "4"}))
    assert [one.message_id for one in unsummed(lines(6), session)] == ["3", "5"]
    assert unsummed(lines(3), replace(OPEN, since=2.0)) == lines(1, first=2)


def test_a_summary_of_too_many_begins_again() -> None:
    """So the ids of its sources stay few."""
    session = replace(OPEN, summary="Old.", sources=frozenset(f"x{n}" for n in range(MOST_SOURCES)))
    text, sources = asked(session, lines(8))
    assert "Old." not in text
    assert sources == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("answer", "stop", "kept"),
    [
        ("Bob talks.", "end_turn", "Bob talks."),
        (f"Bob talks.\n\n{CUT_SHORT}", "max_tokens", "Bob talks."),
        ("I can't.", "refusal", None),
        ("\x00 ", "end_turn", None),
        ("long " * 400, "end_turn", None),
    ],
)
def test_only_what_is_shorter_is_a_summary(answer: str, stop: str, kept: str | None) -> None:
    """A refusal, nothing, or more text than there was leaves the old one."""
    made = plan("m", lines(12), OPEN, after=4)
    assert made is not None
    assert accepted(answer, stop, made) == kept


def test_a_summary_is_bounded() -> None:
    """It is read with every answer."""
    made = plan("m", [replace(one, content="talk " * 2_000) for one in lines(12)], OPEN, after=4)
    assert made is not None
    assert len(accepted("x" * 50_000, "end_turn", made) or "") == LONGEST


def test_lines_are_summed_up_before_they_would_be_left_out() -> None:
    """A short history brings its summary forward."""
    assert most_lines(40, 50) == 40
    assert most_lines(40, 10) == 9
    assert most_lines(40, 1) == 2
