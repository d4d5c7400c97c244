"""An organization's charter is the parent of its orchestrators': merging never weakens it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_neolith_orchestrator.chat.charter import ANY, CharterDocument, Limits, Safety
from flask_neolith_orchestrator.chat.charter_changes import weakenings
from flask_neolith_orchestrator.chat.charter_parent import IDENTITY, STRICTNESS, under
from flask_neolith_orchestrator.chat.charter_reading import UnusableCharter, read_document, read_parent

TOOLS = ("a", "b", "c", ANY)
LISTS = ("auto_approve", "require_confirmation", "always_reject", "escalate")


def merged(parent: Mapping[str, Any], child: Mapping[str, Any]) -> CharterDocument:
    """What comes of two documents."""
    return under(read_parent(parent), read_document(child))


@st.composite
def safeties(draw: st.DrawFn) -> dict[str, Any]:
    """Each tool in one list or in none."""
    lists: dict[str, list[str]] = {}
    for tool in TOOLS:
        name = draw(st.sampled_from((*LISTS, None)))
        if name is not None:
            lists.setdefault(name, []).append(tool)
    if draw(st.booleans()):
        lists.setdefault("auto_approve", [])
    return lists


LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "concurrent_conversations": st.integers(1, 9),
        "tokens_per_day": st.integers(1, 9),
        "cost_per_day": st.decimals(0, 9, places=2),
        "tool_rounds": st.integers(0, 9),
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "safety": safeties(),
        "limits": LIMITS,
        "behaviour": st.fixed_dictionaries({}, optional={"replies_per_hour": st.integers(1, 9)}),
    },
)


@given(DOCUMENTS, DOCUMENTS)
def test_merging_never_weakens_the_parent(parent: dict[str, Any], child: dict[str, Any]) -> None:
    """No tool that the parent rejects, escalates or has confirmed gets a weaker rule; no limit of its is raised."""
    above, both = read_parent(parent), merged(parent, child)
    for one in weakenings(above, both):
        assert one.before is None, one  # a tool that the parent says nothing about
        assert not above.safety.auto_approve, one  # and approves others: then its word is the last
    for tool in (*TOOLS, "unheard-of"):
        rule, theirs = both.safety.rule(tool), above.safety.rule(tool)
        if STRICTNESS[theirs] > STRICTNESS[None]:
            assert STRICTNESS[rule] >= STRICTNESS[theirs]


@given(DOCUMENTS, DOCUMENTS)
def test_merging_never_weakens_the_child_but_for_approvals_it_leaves_to_its_parent(
    parent: dict[str, Any], child: dict[str, Any]
) -> None:
    """What the orchestrator's own charter forbids or limits stays so."""
    own, both = read_document(child), merged(parent, child)
    for one in weakenings(own, both):
        assert (one.before, one.after) == (None, "approve"), one
        assert "auto_approve" not in own.safety.model_fields_set, one


@given(DOCUMENTS, DOCUMENTS)
def test_merging_twice_changes_nothing_more(parent: dict[str, Any], child: dict[str, Any]) -> None:
    """The result within the same parent is the result."""
    once = merged(parent, child)
    twice = under(read_parent(parent), once)
    assert twice.limits == once.limits
    for tool in (*TOOLS, "unheard-of"):
        assert twice.safety.rule(tool) == once.safety.rule(tool)


@given(DOCUMENTS)
def test_a_parent_that_says_nothing_changes_nothing(child: dict[str, Any]) -> None:
    """And a child that says nothing has its parent's charter."""
    own = read_document(child)
    both, only = merged({}, child), merged(child, {})
    for tool in (*TOOLS, "unheard-of"):
        assert both.safety.rule(tool) == only.safety.rule(tool) == own.safety.rule(tool)
    assert both.limits == only.limits == own.limits
    assert both.behaviour.replies_per_hour == own.behaviour.replies_per_hour


CASES: list[tuple[dict[str, Any], dict[str, Any], dict[str, str | None]]] = [
    ({"always_reject": ["a"]}, {"auto_approve": ["a"]}, {"a": "reject"}),
    ({"always_reject": ["*"]}, {"auto_approve": ["a"]}, {"a": "reject", "b": "reject"}),
    ({"require_confirmation": ["a"]}, {"always_reject": ["b"]}, {"a": "confirm", "b": "reject"}),
    ({"require_confirmation": ["a"]}, {"escalate": ["a"]}, {"a": "escalate"}),
    ({"auto_approve": ["a", "b"]}, {"auto_approve": ["b", "c"]}, {"a": None, "b": "approve", "c": None}),
    ({}, {"auto_approve": ["c"]}, {"c": "approve"}),
    ({"auto_approve": ["a"]}, {}, {"a": "approve"}),
    ({"auto_approve": ["a"]}, {"auto_approve": []}, {"a": None}),
    ({"auto_approve": ["a"]}, {"auto_approve": ["*"]}, {"a": "approve", "b": None}),
    ({"auto_approve": ["*"]}, {"auto_approve": ["a"]}, {"a": "approve", "b": None}),
    ({"always_reject": ["*"], "auto_approve": ["a"]}, {}, {"a": "approve", "b": "reject"}),
    ({"always_reject": ["*"], "auto_approve": ["a"]}, {"auto_approve": ["b"]}, {"a": "reject", "b": "reject"}),
]


@pytest.mark.parametrize(("parent", "child", "rules"), CASES)
def test_tools_by_the_stricter_of_the_two(
    parent: dict[str, Any], child: dict[str, Any], rules: dict[str, str | None]
) -> None:
    """Rejects and confirmations are united, approvals intersected where the parent has any."""
    found = merged({"safety": parent}, {"safety": child})
    assert {tool: found.safety.rule(tool) for tool in rules} == rules


def test_limits_are_the_smaller_ones() -> None:
    """Of those that both name; the one there is otherwise. The replies of a period count as limits."""
    found = merged(
        {"limits": {"cost_per_day": 5, "tool_rounds": 3}, "behaviour": {"replies_per_day": 50}},
        {
            "limits": {"cost_per_day": 9, "tokens_per_day": 7},
            "behaviour": {"replies_per_day": 60, "mention_only": True},
        },
    )
    assert found.limits == Limits(cost_per_day=Decimal(5), tool_rounds=3, tokens_per_day=7)
    assert (found.behaviour.replies_per_day, found.behaviour.mention_only) == (50, True)


def test_other_values_are_the_orchestrators_where_it_gives_them() -> None:
    """Field by field in the parts; an empty one is given, null is not."""
    parent = {
        "mission": "Ours.",
        "expertise": ["us"],
        "personality": {"tone": "kind", "traits": ["ours"]},
        "communication": {"languages": ["English"]},
        "model": {"name": "ours", "effort": "low"},
    }
    child: dict[str, Any] = {
        "name": "Ada",
        "mission": None,
        "expertise": [],
        "personality": {"traits": ["own"]},
        "communication": {"languages": None},
        "model": "own",
    }
    found = merged(parent, child)
    assert (found.mission, found.name, found.expertise) == ("Ours.", "Ada", ())
    assert (found.personality.tone, found.personality.traits) == ("kind", ("own",))
    assert found.communication.languages == ("English",)
    assert (found.model.name, found.model.effort) == ("own", "low")
    assert found.safety == Safety()


@pytest.mark.parametrize("name", IDENTITY)
def test_who_one_is_belongs_to_an_orchestrator(name: str) -> None:
    """An organization's charter cannot say it."""
    with pytest.raises(UnusableCharter, match=f"{name}: belongs to one orchestrator"):
        read_parent({name: 2 if name == "tier" else "x"})
