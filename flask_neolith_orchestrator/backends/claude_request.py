"""A request as Claude's Messages API takes it."""

from __future__ import annotations

from typing import Any

from ..core.model import Block, ModelMessage, ModelRequest, Opaque, ToolCall

PROVIDER = "claude"
"""What `Opaque.provider` says of blocks that came from here."""


def parameters(request: ModelRequest) -> dict[str, Any]:
    """The body of the call."""
    body = {**counted_parameters(request), "max_tokens": request.max_tokens}
    if request.effort is not None:
        body["output_config"] = {"effort": request.effort}
    if "user_id" in request.metadata:  # the only key that the API knows
        body["metadata"] = {"user_id": request.metadata["user_id"]}
    return body


def counted_parameters(request: ModelRequest) -> dict[str, Any]:
    """The part of it that has tokens. The charter is marked for caching: it is the same in every turn."""
    messages = [{"role": message.role, "content": _content(message)} for message in request.messages]
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [message for message in messages if message["content"]],  # the API refuses blank text
    }
    if request.system.strip():
        mark = {"type": "ephemeral"}
        body["system"] = [{"type": "text", "text": sendable(request.system), "cache_control": mark}]
    if request.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
            for tool in request.tools
        ]
        if not request.may_call:  # they must still be there, as the messages may hold calls of them
            body["tool_choice"] = {"type": "none"}
    return body


def _content(message: ModelMessage) -> str | list[dict[str, Any]]:
    if isinstance(message.content, str):
        return sendable(message.content) if message.content.strip() else ""
    return [shown for block in message.content for shown in _block(block)]


def _block(block: Block) -> list[dict[str, Any]]:
    if isinstance(block, str):
        return [{"type": "text", "text": sendable(block)}] if block.strip() else []
    if isinstance(block, Opaque):
        return [dict(block.data)] if block.provider == PROVIDER else []
    if isinstance(block, ToolCall):
        return [{"type": "tool_use", "id": block.id, "name": block.name, "input": dict(block.arguments)}]
    result = {"type": "tool_result", "tool_use_id": block.call_id, "content": sendable(block.content)}
    return [{**result, "is_error": True} if block.is_error else result]


def sendable(text: str) -> str:
    """`text` with lone surrogates, which no JSON body can hold, replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
