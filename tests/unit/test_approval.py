"""Whether a call runs, is asked about, or is refused: by the charter, the tool, the place and who asked."""

from __future__ import annotations

from typing import Any

import pytest

from flask_neolith_orchestrator.chat.approval import NOBODY_TO_ASK, REJECTED, Decision, Verdict, decide
from flask_neolith_orchestrator.chat.charter import Safety
from flask_neolith_orchestrator.chat.tools import Tool, make_tool
from flask_neolith_orchestrator.core.types import Place

RUNS, ASKS, REFUSED = Verdict.RUNS, Verdict.ASKS, Verdict.REFUSED
CHANNEL, THREAD, DM = Place("1"), Place("1", "2"), Place("3", is_dm=True)


def mail() -> None:
    """Sends mail."""


def tool(approval: str | None = None, scope: str = "write") -> Tool:
    """The tool `mail`."""
    return make_tool(mail, approval=approval, scopes=[scope])


@pytest.mark.parametrize(
    ("lists", "approval", "channel", "dm"),
    [
        ({}, "auto", RUNS, RUNS),
        ({}, "dm", ASKS, RUNS),
        ({}, "ask", ASKS, ASKS),
        ({"auto_approve": ["mail"]}, "ask", RUNS, RUNS),
        ({"auto_approve": ["*"]}, "ask", RUNS, RUNS),
        ({"require_confirmation": ["mail"]}, "auto", ASKS, ASKS),
        ({"require_confirmation": ["*"]}, "dm", ASKS, ASKS),
        ({"escalate": ["mail"]}, "auto", ASKS, ASKS),
        ({"always_reject": ["mail"]}, "auto", REFUSED, REFUSED),
        ({"always_reject": ["*"]}, "auto", REFUSED, REFUSED),
        ({"always_reject": ["*"], "auto_approve": ["mail"]}, "ask", RUNS, RUNS),
        ({"auto_approve": ["*"], "require_confirmation": ["mail"]}, "auto", ASKS, ASKS),
        ({"auto_approve": ["other"], "always_reject": ["third"]}, "ask", ASKS, ASKS),
    ],
)
def test_the_charter_decides_before_the_tool_and_the_place(
    lists: dict[str, Any], approval: str, channel: Verdict, dm: Verdict
) -> None:
    """A person's request, in a channel, in a thread of it, and in a direct message."""
    safety = Safety.model_validate(lists)
    found = [decide(tool(approval), safety, place, by_person=True).verdict for place in (CHANNEL, THREAD, DM)]
    assert found == [channel, channel, dm]


@pytest.mark.parametrize(
    ("scope", "approval", "lists", "verdict"),
    [
        ("read", "auto", {}, RUNS),
        ("read", "ask", {"auto_approve": ["mail"]}, RUNS),
        ("read", "ask", {}, REFUSED),
        ("read", "auto", {"require_confirmation": ["mail"]}, REFUSED),
        ("write", "auto", {}, REFUSED),
        ("write", "ask", {"auto_approve": ["mail"]}, REFUSED),
        ("write", "ask", {}, REFUSED),
        ("write", "auto", {"escalate": ["mail"]}, REFUSED),
    ],
)
def test_where_no_person_asks_only_what_reads_may_run(
    scope: str, approval: str, lists: dict[str, Any], verdict: Verdict
) -> None:
    """Another program's request is nobody's approval, whatever the charter lets run by itself."""
    safety = Safety.model_validate(lists)
    found = decide(tool(approval, scope), safety, DM, by_person=False)
    assert found.verdict is verdict
    assert (found.reason == NOBODY_TO_ASK) is (verdict is REFUSED)


def test_a_decision_says_why_and_whom_to_ask() -> None:
    """The reason is what the model or the log is told; those responsible are asked where the charter wants that."""
    charter = Safety.model_validate({"escalate": ["mail"]})
    assert decide(tool(), charter, CHANNEL, by_person=True) == Decision(ASKS, "charter", escalates=True)
    assert decide(tool(), Safety(), CHANNEL, by_person=True) == Decision(ASKS, "tool")
    rejects = Safety.model_validate({"always_reject": ["mail"]})
    assert decide(tool(), rejects, CHANNEL, by_person=False).reason == REJECTED
    approves = Safety.model_validate({"auto_approve": ["mail"]})
    assert decide(tool(), approves, CHANNEL, by_person=True).reason == "charter"
    assert decide(tool("auto"), Safety(), CHANNEL, by_person=True).reason == "auto"
