"""What a charter listens for, and what is written down of it."""

from __future__ import annotations

from typing import Any

from flask_neolith_orchestrator.chat.charter import Charter
from flask_neolith_orchestrator.chat.ears import LONGEST, PLAIN, Cue, Kind, cues_of, ears_of


def charter(**fields: Any) -> Charter:
    """A charter of some fields."""
    return Charter.model_validate(fields)


def test_a_charter_that_says_nothing_listens_for_nothing() -> None:
    """Nobody pays for it."""
    assert ears_of(charter()) == PLAIN
    assert cues_of(charter()) == []


def test_whether_it_answers_is_its_own_word_first() -> None:
    """Else the app's setting."""
    assert not ears_of(charter(), answers=False).answers
    assert ears_of(charter(behaviour={"auto_reply": True}), answers=False).answers
    assert not ears_of(charter(behaviour={"auto_reply": False})).answers


def test_everything_is_written_down_once_and_folded() -> None:
    """Each as a message looks it up."""
    behaviour = {
        "keyword_triggers": ["Production down", "production up", "!"],
        "watched_channels": ["#General", "17"],
        "role_mentions": True,
        "follow_threads": True,
        "answers_bots": ["Pager Bot"],
    }
    rules = [{"on": "failure", "to": ["ann"]}, {"on": "failure", "to": ["bob"]}]
    found = charter(
        role="Release Manager",
        discipline=" ",
        behaviour=behaviour,
        availability={"escalation": rules, "hours": {"mon": "09:00-17:00"}},
    )
    assert cues_of(found) == [
        Cue(Kind.BOT, "pager bot"),
        Cue(Kind.CHANNEL, "17"),
        Cue(Kind.CHANNEL, "general"),
        Cue(Kind.ESCALATE, "failure"),
        Cue(Kind.FOLLOW),
        Cue(Kind.HOURS),
        Cue(Kind.KEYWORD, "production"),
        Cue(Kind.ROLE, "release manager"),
        Cue(Kind.ROLE, "release-manager"),
    ]


def test_mention_only_listens_for_mentions_alone() -> None:
    """Roles are mentions, and bots still have to be allowed."""
    behaviour = {
        "mention_only": True,
        "keyword_triggers": ["deploy"],
        "watched_channels": ["general"],
        "role_mentions": True,
        "follow_threads": True,
        "answers_bots": ["max"],
    }
    assert cues_of(charter(role="Ops", behaviour=behaviour)) == [Cue(Kind.BOT, "max"), Cue(Kind.ROLE, "ops")]


def test_a_role_is_listened_for_only_where_that_is_asked() -> None:
    """A role alone is no call (D2)."""
    assert cues_of(charter(role="Ops")) == []


def test_long_values_are_cut_on_both_sides() -> None:
    """What is kept fits into its column."""
    (cue,) = cues_of(charter(behaviour={"keyword_triggers": ["x" * 300]}))
    assert len(cue.value) == LONGEST
