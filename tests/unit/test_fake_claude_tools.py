"""What the fake Claude refuses of tools: the mistakes for which the real API answers 400."""

from __future__ import annotations

from typing import Any

import pytest

from flask_neolith_orchestrator.testing.fake_claude_rules import Refused, check_request

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"name": "weather", "description": "It.", "input_schema": SCHEMA}
USE = {"type": "tool_use", "id": "t1", "name": "weather", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "18"}
HI = {"role": "user", "content": "hi"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}


def body(*messages: Any, **more: Any) -> dict[str, Any]:
    """A request with a tool."""
    return {"model": "claude-x", "max_tokens": 9, "messages": list(messages) or [HI], "tools": [TOOL], **more}


def called(*blocks: Any) -> dict[str, Any]:
    """What the model said."""
    return {"role": "assistant", "content": list(blocks)}


def answered(*blocks: Any) -> dict[str, Any]:
    """What came of it."""
    return {"role": "user", "content": list(blocks)}


@pytest.mark.parametrize(
    ("request_body", "words"),
    [
        (body(tools={}), "tools: Input should be a valid list"),
        (body(tools=["weather"]), "valid dictionary"),
        (body(tools=[{**TOOL, "name": "Was?"}]), "should match pattern"),
        (body(tools=[{**TOOL, "name": None}]), "should match pattern"),
        (body(tools=[{"name": "weather"}]), "input_schema: Field required"),
        (body(tools=[{**TOOL, "input_schema": {"type": "string"}}]), "should be 'object'"),
        (body(tools=[{**TOOL, "input_schema": {**SCHEMA, "properties": {"größe": {}}}}]), "Property keys"),
        (body(tools=[TOOL, TOOL]), "must be unique"),
        (body(tool_choice="none"), "tool_choice"),
        (body(tool_choice={"type": "maybe"}), "tool_choice"),
        (body(tools=[], tool_choice={"type": "none"}), "only be specified while providing tools"),
        (body(output_config={"effort": "gigantic"}), "effort"),
        (body(HI, called(USE), HI), "without `tool_result` blocks after: ['t1']"),
        (body(HI, answered(RESULT)), "unexpected `tool_use_id`"),
        (body(HI, called(USE), answered({**RESULT, "tool_use_id": "t2"})), "without `tool_result`"),
        (body(HI, called(USE), answered({"type": "text", "text": "so"}, RESULT)), "must come first"),
        (body(HI, called(USE), answered(RESULT), tools=[]), "must define tools"),
        (body(HI, called({**USE, "input": "{}"}), answered(RESULT)), "tool_use.input"),
        (body(HI, called({**THOUGHT, "signature": ""}, USE), answered(RESULT)), "thinking.signature"),
        (body(HI, called({"type": "redacted_thinking"}, USE), answered(RESULT)), "redacted_thinking.data"),
    ],
)
def test_what_the_real_api_refuses_of_tools_is_refused(request_body: dict[str, Any], words: str) -> None:
    """Each mistake has its own sentence."""
    with pytest.raises(Refused) as refused:
        check_request(request_body)
    assert words in refused.value.message


def test_what_the_real_api_takes_of_tools_is_taken() -> None:
    """Several rounds, thinking, a choice and an effort are fine."""
    check_request(
        body(
            HI,
            called(THOUGHT, {"type": "redacted_thinking", "data": "x"}, USE, {**USE, "id": "t2"}),
            answered(RESULT, {**RESULT, "tool_use_id": "t2", "is_error": True}, {"type": "text", "text": "finish"}),
            tool_choice={"type": "none"},
            output_config={"effort": "low"},
        )
    )
