"""What differs between charters, what of it is less safe, and what an author is warned of."""

from __future__ import annotations

from typing import Any

import pytest

from flask_neolith_orchestrator.chat.charter_advice import warnings
from flask_neolith_orchestrator.chat.charter_changes import Change, as_text, changes, loosenings, weakenings
from flask_neolith_orchestrator.chat.charter_reading import EMPTY, read_document, read_parent


def test_changes_are_named_by_path() -> None:
    """What is new, gone and other, in the order of the fields; lists as a whole."""
    before = {"mission": "Count.", "limits": {"cost_per_day": 5}, "expertise": ["a"]}
    after = {"mission": "Add.", "limits": {"tokens_per_day": 9}, "expertise": ["a", "b"]}
    assert changes(before, after) == [
        Change("mission", "Count.", "Add."),
        Change("expertise", ["a"], ["a", "b"]),
        Change("limits.cost_per_day", "5", None),
        Change("limits.tokens_per_day", None, 9),
    ]
    assert as_text(changes(before, after)).splitlines() == [
        '- mission: "Count."',
        '+ mission: "Add."',
        '- expertise: ["a"]',
        '+ expertise: ["a", "b"]',
        '- limits.cost_per_day: "5"',
        "+ limits.tokens_per_day: 9",
    ]


def test_another_spelling_is_no_change() -> None:
    """Short forms, camelCase and other names of a field mean the same."""
    short = {"system_prompt": "Count.", "model": "m", "max_tokens": 7, "personality": "dry"}
    long = {"mission": "Count.\n", "model": {"name": "m", "maxTokens": 7}, "personality": {"background": "dry"}}
    assert changes(short, long) == []
    assert as_text([]) == ""


def test_text_of_several_lines_is_compared_line_by_line() -> None:
    """As people know it from elsewhere; a text that is new is new in all its lines."""
    found = changes({"mission": "One.\nTwo.\nThree."}, {"mission": "One.\n2.\nThree."})
    near = changes({"mission": "One two.\nx"}, {"mission": "One twO.\nx"})
    assert as_text(near).splitlines() == ["mission:", "  - One two.", "  + One twO.", "    x"]
    assert as_text(found).splitlines() == ["mission:", "    One.", "  - Two.", "  + 2.", "    Three."]
    assert as_text(changes({}, {"mission": "a\nb"})).splitlines() == ["mission:", "  + a", "  + b"]


def test_what_a_host_wrote_wrong_is_compared_as_it_is() -> None:
    """A version that cannot be used can still be looked at."""
    assert changes({"safty": {"x": 1}}, {}) == [Change("safty.x", 1, None)]


WEAKER: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"safety": {"always_reject": ["x"]}}, {}, ["safety.always_reject"]),
    ({"safety": {"require_confirmation": ["x"]}}, {}, ["safety.require_confirmation"]),
    ({"safety": {"escalate": ["x"]}}, {"safety": {"require_confirmation": ["x"]}}, ["safety.escalate"]),
    ({}, {"safety": {"auto_approve": ["x"]}}, ["safety.auto_approve"]),
    ({"safety": {"always_reject": ["x"]}}, {"safety": {"auto_approve": ["x"]}}, ["safety.auto_approve"]),
    ({"safety": {"always_reject": ["*"]}}, {"safety": {"always_reject": ["x"]}}, ["safety.always_reject"]),
    ({"limits": {"cost_per_day": 5}}, {"limits": {"cost_per_day": 6}}, ["limits.cost_per_day"]),
    ({"limits": {"tokens_per_day": 5}}, {}, ["limits.tokens_per_day"]),
    ({"behaviour": {"replies_per_hour": 5}}, {"behaviour": {"replies_per_hour": 6}}, ["behaviour.replies_per_hour"]),
    ({"safety": {"require_confirmation": ["x"]}}, {"safety": {"always_reject": ["x"]}}, []),
    ({"safety": {"always_reject": ["x"]}}, {"safety": {"always_reject": ["*"]}}, []),
    ({"safety": {"auto_approve": ["x"]}}, {}, []),
    ({"limits": {"cost_per_day": 5}}, {"limits": {"cost_per_day": "5.00"}}, []),
    ({}, {"limits": {"cost_per_day": 5}, "mission": "x"}, []),
]


@pytest.mark.parametrize(("before", "after", "paths"), WEAKER)
def test_what_is_less_safe_is_named(before: dict[str, Any], after: dict[str, Any], paths: list[str]) -> None:
    """Anything that may happen now and might not before; what is stricter is not."""
    assert [one.path for one in weakenings(read_document(before), read_document(after))] == paths


def test_a_weakening_is_a_sentence() -> None:
    """With what was and what will be."""
    before = read_document({"safety": {"always_reject": ["*"]}, "limits": {"cost_per_day": "2.50"}})
    tool, limit = weakenings(before, EMPTY)
    assert tool.text == "Any other tool: never runs now, and is as the tool itself says then"
    assert (limit.text, limit.before, limit.after) == ("limits.cost_per_day: 2.50 now, and no limit then", "2.50", None)


def test_an_organization_that_approves_no_tools_any_more_bounds_nobody() -> None:
    """What it approved was all that any of its orchestrators might: without it their own approvals hold."""
    before = read_document({"safety": {"auto_approve": ["x"]}})
    (found,) = loosenings(before, EMPTY)
    assert (found.path, found.before, found.after) == ("safety.auto_approve", ["x"], None)
    assert loosenings(EMPTY, EMPTY) == loosenings(before, before) == []


ADVICE: list[tuple[dict[str, Any], str]] = [
    ({"behaviour": {"mention_only": True, "keyword_triggers": ["x"]}}, "behaviour.keyword_triggers does nothing"),
    ({"behaviour": {"auto_reply": False, "follow_threads": True}}, "auto_reply is off"),
    ({"availability": {"hours": {"mon": "09:00-10:00"}}}, "without an offline_message"),
    ({"safety": {"escalate": ["x"]}}, "without an escalation on approval"),
    ({"model": {"name": "m", "fallbacks": ["m"]}}, "model itself"),
    ({"limits": {"cost_per_day": 9}}, "limits.cost_per_day: the organization allows 5"),
    ({"safety": {"auto_approve": ["y"]}}, "the organization is stricter about y"),
]


@pytest.mark.parametrize(("charter", "said"), ADVICE)
def test_an_author_is_warned_of_what_may_not_be_meant(charter: dict[str, Any], said: str) -> None:
    """One sentence each; nothing is refused for it."""
    parent = read_parent({"limits": {"cost_per_day": 5}, "safety": {"always_reject": ["y"]}})
    (found,) = warnings(read_document(charter), parent)
    assert said in found


def test_a_charter_that_is_meant_so_has_no_warning() -> None:
    """The same things, done right."""
    charter = {
        "behaviour": {"mention_only": True},
        "availability": {
            "hours": {"mon": "09:00-10:00"},
            "offline_message": "Later.",
            "escalation": [{"on": "hours", "to": "Maya"}, {"on": "approval", "to": "Maya"}],
        },
        "safety": {"escalate": ["x"], "always_reject": ["y"]},
    }
    assert warnings(read_document(charter), EMPTY) == []
    assert warnings(read_document({"behaviour": {"auto_reply": False}}), EMPTY) == []
