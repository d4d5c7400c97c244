"""What the fake Claude refuses of tools, as far as the real API is known to do.

Sources: the parameter documentation inside the anthropic package (2.12), and error messages quoted in public issues
("`tool_use` ids were found without `tool_result` blocks immediately after", "unexpected `tool_use_id` found in
`tool_result` blocks", "Requests which include `tool_use` or `tool_result` blocks must define tools", "tools: Tool names
must be unique").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Body = Mapping[str, Any]

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
PROPERTY_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
CHOICES = ("auto", "any", "none", "tool")
EFFORTS = ("low", "medium", "high", "xhigh", "max")


class Refused(Exception):
    """The request is answered with `status` and `message` instead of a step."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


def check_tools(body: Body) -> None:
    """The tools themselves, and how they may be chosen."""
    tools = body.get("tools", [])
    if not isinstance(tools, list):
        raise Refused("tools: Input should be a valid list")
    for number, tool in enumerate(tools):
        _check_tool(tool, f"tools.{number}")
    names = [tool["name"] for tool in tools]
    if len(set(names)) < len(names):
        raise Refused("tools: Tool names must be unique.")
    choice = body.get("tool_choice")
    if choice is not None and (not isinstance(choice, Mapping) or choice.get("type") not in CHOICES):
        raise Refused("tool_choice: Input tag does not match any of the expected tags")
    if choice is not None and not tools:
        raise Refused("tool_choice: may only be specified while providing tools")
    if body.get("output_config", {}).get("effort", "low") not in EFFORTS:
        raise Refused(f"output_config.effort: Input should be {', '.join(EFFORTS)}")


def _check_tool(tool: object, where: str) -> None:
    if not isinstance(tool, Mapping):
        raise Refused(f"{where}: Input should be a valid dictionary")
    if not isinstance(tool.get("name"), str) or not TOOL_NAME.fullmatch(tool["name"]):
        raise Refused(f"{where}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    schema = tool.get("input_schema")
    if not isinstance(schema, Mapping):
        raise Refused(f"{where}.input_schema: Field required")
    if schema.get("type") != "object":
        raise Refused(f"{where}.input_schema.type: Input should be 'object'")
    for name in schema.get("properties", {}):
        if not PROPERTY_NAME.fullmatch(name):
            raise Refused(f"{where}.input_schema.properties: Property keys should match pattern")


def check_calls(body: Body) -> None:
    """Each call has its result in the next message, and each result its call in the message before."""
    open_calls: list[str] = []
    for number, message in enumerate(body["messages"]):
        blocks = [block for block in message["content"] if isinstance(block, Mapping)]
        results = [block for block in blocks if block["type"] == "tool_result"]
        answered = [block.get("tool_use_id") for block in results]
        where = f"messages.{number}"
        if missing := [call for call in open_calls if call not in answered]:
            raise Refused(f"{where}: `tool_use` ids were found without `tool_result` blocks after: {missing}")
        if extra := [call for call in answered if call not in open_calls]:
            raise Refused(f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {extra}")
        if any(block["type"] == "tool_result" for block in blocks[len(results) :]):
            raise Refused(f"{where}: `tool_result` blocks must come first")
        open_calls = [_call(block, where) for block in blocks if block["type"] == "tool_use"]
        if (open_calls or results) and not body.get("tools"):
            raise Refused("Requests which include `tool_use` or `tool_result` blocks must define tools")
        for block in blocks:
            _check_thinking(block, where)


def _call(block: Mapping[str, Any], where: str) -> str:
    if not isinstance(block.get("input"), Mapping):
        raise Refused(f"{where}: tool_use.input: Input should be a valid dictionary")
    return str(block.get("id"))


def _check_thinking(block: Mapping[str, Any], where: str) -> None:
    if block["type"] == "thinking" and not block.get("signature"):
        raise Refused(f"{where}: thinking.signature: Field required")
    if block["type"] == "redacted_thinking" and not block.get("data"):
        raise Refused(f"{where}: redacted_thinking.data: Field required")
