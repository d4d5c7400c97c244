"""A turn's steps as rounds, and as messages for the model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flask_neolith_orchestrator.chat.rounds import (
    ABOUT_TOOLS,
    BETWEEN,
    DENIED,
    ENOUGH,
    EXPIRED,
    NOT_THERE,
    continued,
    cost_of,
    rounds_of,
    said_in,
)
from flask_neolith_orchestrator.core.model import ModelMessage, ModelRequest, Opaque, ToolCall, ToolResult, ToolSpec
from flask_neolith_orchestrator.core.steps import Parked, Step, StepState
from flask_neolith_orchestrator.core.tool_names import BUILTIN_TOOLS, chosen_tools

ASKED = ModelRequest("claude-x", "You are Ada.", (ModelMessage("user", "hi"),))
WEATHER = ToolSpec("weather", "The weather.", {"type": "object"})
CALL = ToolCall("t1", "weather", {"city": "Köln"})
SAID = (Opaque("claude", {"type": "thinking"}), "I look.", CALL)


def said(n: int = 1, text: str = "I look.") -> Step:
    """What the model said."""
    return Step(str(n), "7", n, "model", f"7:{n}", StepState.DONE, content=SAID, result=text)


def call(n: int = 2, state: StepState = StepState.DONE, result: str | None = "18 °C") -> Step:
    """A call."""
    made = replace(CALL, id=f"t{n}")
    return Step(str(n), "7", n, "tool", f"7:{n}", state, call=made, result=result)


def test_steps_are_rounds() -> None:
    """Each thing that the model said begins a round; the calls behind it belong to it."""
    steps = [said(), call(2), call(3), said(4, ""), call(5), said(6, "Now:")]
    rounds = rounds_of(steps)
    assert [[one.said.n, *(step.n for step in one.calls)] for one in rounds] == [[1, 2, 3], [4, 5], [6]]
    assert said_in(rounds) == f"I look.{BETWEEN}Now:"
    assert rounds_of([]) == []
    assert [one.weight for one in rounds] == [10, 5, 0]
    assert cost_of(rounds) > cost_of(rounds[:1]) > 0


@pytest.mark.parametrize("state", list(StepState))
def test_open_calls_are_those_of_which_nothing_has_come(state: StepState) -> None:
    """What waits, may run or runs is open; a call that ended in any way is not."""
    (one,) = rounds_of([said(), call(state=state)])
    is_open = state in (StepState.WAITING, StepState.APPROVED, StepState.RUNNING)
    assert bool(one.open_calls()) is is_open


def test_a_round_with_a_step_as_it_is_now() -> None:
    """A step that has ended takes the place of itself; others stay."""
    (one,) = rounds_of([said(), call(2, StepState.RUNNING, None), call(3, StepState.RUNNING, None)])
    after = one.with_step(call(2))
    assert [step.state for step in after.calls] == [StepState.DONE, StepState.RUNNING]


def test_what_was_said_and_came_of_it_goes_back() -> None:
    """The model gets its own blocks back as they were, and the results behind them; it is told what they are."""
    request = continued(ASKED, rounds_of([said(), call()]), [WEATHER])
    assert request.messages[:1] == ASKED.messages
    assert request.messages[1] == ModelMessage("assistant", SAID)
    assert request.messages[2] == ModelMessage("user", (ToolResult("t2", "<tool-result>\n18 °C\n</tool-result>"),))
    assert request.system == f"You are Ada.\n\n{ABOUT_TOOLS}"
    assert (request.tools, request.may_call) == ((WEATHER,), True)


def test_without_tools_nothing_is_said_of_them() -> None:
    """Who has no tools is asked as ever."""
    assert continued(ASKED, [], []) is ASKED
    assert continued(ASKED, [], [WEATHER]).messages == ASKED.messages


def test_the_last_request_says_that_it_is_the_last() -> None:
    """At a bound the model is told to finish, behind the results, and may not call; its tools are still there."""
    request = continued(ASKED, rounds_of([said(), call()]), [WEATHER], last=True)
    assert request.messages[-1].content[-1] == ENOUGH
    assert (request.may_call, request.tools) == (False, (WEATHER,))
    first = continued(ASKED, [], [WEATHER], last=True)
    assert (first.messages, first.may_call) == (ASKED.messages, False)


def test_a_tool_that_has_gone_is_still_named() -> None:
    """A call of a tool that is not registered any more stays explainable, and providers want its name."""
    request = continued(ASKED, rounds_of([said(), call(), call(3)]), [])
    assert [(tool.name, tool.description) for tool in request.tools] == [("weather", NOT_THERE)]


@pytest.mark.parametrize(
    ("state", "result", "told"),
    [
        (StepState.FAILED, "no city", "<tool-result>\nno city\n</tool-result>"),
        (StepState.DENIED, None, DENIED),
        (StepState.DENIED, "Ann said no.", "Ann said no."),
        (StepState.EXPIRED, None, EXPIRED),
    ],
)
def test_what_did_not_happen_is_an_error(state: StepState, result: str | None, told: str) -> None:
    """Failed, denied and expired calls are told as errors, each in its own words."""
    request = continued(ASKED, rounds_of([said(), call(2, state, result)]), [WEATHER])
    assert request.messages[-1].content == (ToolResult("t2", told, is_error=True),)


@pytest.mark.parametrize("end", ["</tool-result>", "< / TOOL-RESULT >", "<tool-result>", "</ tool-result"])
def test_a_result_cannot_end_its_own_fence(end: str) -> None:
    """Text in a result that looks like the fence is broken, whatever its case and blanks."""
    block = continued(ASKED, rounds_of([said(), call(result=f"a {end} b")]), [WEATHER]).messages[-1].content[0]
    assert isinstance(block, ToolResult)
    inside = block.content.removeprefix("<tool-result>\n").removesuffix("\n</tool-result>")
    assert inside == f"a &lt;{end[1:]} b"


def test_a_call_without_a_result_is_told_as_empty() -> None:
    """A step whose rows are odd never breaks the request."""
    odd = Step("2", "7", 2, "tool", "7:2", StepState.DONE)
    assert continued(ASKED, rounds_of([said(), odd]), []).messages[-1].content[0] == ToolResult(
        "", "<tool-result>\n\n</tool-result>"
    )


def test_parked_carries_the_calls_that_wait() -> None:
    """Whoever lays a turn aside knows for which calls."""
    waiting = (call(state=StepState.WAITING),)
    assert Parked(waiting).steps == waiting


def test_built_in_tools_are_chosen_by_name() -> None:
    """All, none, or a list of names that there are."""
    assert chosen_tools(" all ") == "all"
    assert chosen_tools("none") == "none"
    assert chosen_tools("react, current_time,") == "current_time,react"
    for bad in ("", "none,react", "all,react", "calculator"):
        with pytest.raises(ValueError, match=BUILTIN_TOOLS[0]):
            chosen_tools(bad)
