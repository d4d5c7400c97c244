"""Charters with their fields' own names: what a form shows of what anybody wrote."""

from __future__ import annotations

from typing import Any

import pytest

from flask_neolith_orchestrator.chat.charter_spelling import spelled_out
from flask_neolith_orchestrator.chat.charter_yaml import lines

SPELLED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"systemPrompt": "x", "behavior": {"replyIn": "thread"}}, {"mission": "x", "behaviour": {"reply_in": "thread"}}),
    ({"personality": "dry", "model": "m"}, {"personality": {"background": "dry"}, "model": {"name": "m"}}),
    ({"max_tokens": 5}, {"model": {"max_tokens": 5}}),
    ({"maxTokens": 5, "model": {"maxTokens": 6}}, {"max_tokens": 5, "model": {"max_tokens": 6}}),
    ({"max_tokens": 5, "model": 7}, {"max_tokens": 5, "model": 7}),
    ({"mission": "x", "system_prompt": "y"}, {"mission": "x", "system_prompt": "y"}),
    ({"safty": {"a": 1}, "tier": None}, {"safty": {"a": 1}}),
    (
        {"availability": {"hours": {"Monday": "9:00-10:00"}, "escalation": [{"on": "failure", "to": "Maya"}, 7]}},
        {"availability": {"hours": {"mon": "9:00-10:00"}, "escalation": [{"on": "failure", "to": "Maya"}, 7]}},
    ),
    ({"availability": {"hours": "always"}, "limits": 3}, {"availability": {"hours": "always"}, "limits": 3}),
]


@pytest.mark.parametrize(("written", "expected"), SPELLED)
def test_each_field_has_its_own_name(written: dict[str, Any], expected: dict[str, Any]) -> None:
    """Other spellings and short forms become the field's own; what is not known stays as it is."""
    assert spelled_out(written) == expected


def test_each_field_of_a_file_has_its_line() -> None:
    """By path, also within lists; an empty file has none."""
    text = "mission: x\nsafety:\n  escalate:\n    - a\n    - b\n"
    assert lines(text) == {
        "mission": 1,
        "safety": 2,
        "safety.escalate": 3,
        "safety.escalate.0": 4,
        "safety.escalate.1": 5,
    }
    assert lines("") == {}
    assert lines("just text") == {}
