"""What the fake Claude refuses with 400 or 404, as far as the real API is known to do.

Sources: the parameter documentation inside the anthropic package (2.12), the migration notes of its 2.0, and
error messages quoted in public issues ("text content blocks must be non-empty", "text content blocks must
contain non-whitespace text", "cache_control cannot be set for empty text blocks", "does not support assistant
message prefill"). In two places it is stricter than needed, because our own requests never need the freedom:
the first message must be a user's, and max_tokens 0 (which warms a cache) is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .fake_claude_tool_rules import Refused, check_calls, check_tools

__all__ = ["Refused", "check_request"]

Body = Mapping[str, Any]

KNOWN_FIELDS = frozenset(
    {
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)
REMOVED_FIELDS = ("temperature", "top_p", "top_k")
ROLES = ("user", "assistant", "system")
BLOCK_TYPES = frozenset(
    {
        "document",
        "image",
        "redacted_thinking",
        "search_result",
        "server_tool_use",
        "text",
        "thinking",
        "tool_result",
        "tool_use",
    }
)
MAX_CACHE_MARKS = 4


def check_request(body: object) -> Body:
    """The body of a POST to /v1/messages, if the real API would take it; raises `Refused`."""
    if not isinstance(body, Mapping):
        raise Refused("Input should be a valid dictionary")
    _check_unicode(body)
    for rule in _RULES:
        rule(body)
    return body


def _check_unicode(body: Body) -> None:
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused("The request body is not valid JSON: no low surrogate in string") from None


def _check_fields(body: Body) -> None:
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            raise Refused(f"{name}: Field required")
    for name in REMOVED_FIELDS:
        if name in body:
            raise Refused(f"`{name}` is not supported by this model")
    for name in body:
        if name not in KNOWN_FIELDS:
            raise Refused(f"{name}: Extra inputs are not permitted")


def _check_scalars(body: Body) -> None:
    tokens = body["max_tokens"]
    if isinstance(tokens, bool) or not isinstance(tokens, int):
        raise Refused("max_tokens: Input should be a valid integer")
    if tokens < 1:
        raise Refused("max_tokens: Input should be greater than or equal to 1")
    if not isinstance(body.get("stream", False), bool):
        raise Refused("stream: Input should be a valid boolean")
    if not isinstance(body["model"], str):
        raise Refused("model: Input should be a valid string")
    if not body["model"].startswith("claude-"):
        raise Refused(f"model: {body['model']}", status=404)


def _check_metadata(body: Body) -> None:
    metadata = body.get("metadata", {})
    if not isinstance(metadata, Mapping):
        raise Refused("metadata: Input should be a valid dictionary")
    for name in metadata:
        if name != "user_id":
            raise Refused(f"metadata.{name}: Extra inputs are not permitted")
    user_id = metadata.get("user_id")
    if user_id is not None and (not isinstance(user_id, str) or len(user_id) > 256):
        raise Refused("metadata.user_id: String should have at most 256 characters")


def _check_system(body: Body) -> None:
    if "system" in body:
        for block in _blocks(body["system"], "system"):
            if block["type"] != "text":
                raise Refused(f"system: Input tag '{block['type']}' found, expected 'text'")
            _check_text(block, "system")


def _check_messages(body: Body) -> None:
    messages = body["messages"]
    if not isinstance(messages, list):
        raise Refused("messages: Input should be a valid list")
    if not messages:
        raise Refused("messages: at least one message is required")
    for number, message in enumerate(messages):
        _check_message(message, f"messages.{number}")
    if messages[0]["role"] == "assistant":
        raise Refused('messages: first message must use the "user" role')
    if messages[-1]["role"] == "assistant":
        raise Refused(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _check_message(message: object, where: str) -> None:
    if not isinstance(message, Mapping):
        raise Refused(f"{where}: Input should be a valid dictionary")
    if message.get("role") not in ROLES:
        raise Refused(f"{where}.role: Input should be 'user', 'assistant' or 'system'")
    for name in message:
        if name not in ("role", "content"):
            raise Refused(f"{where}.{name}: Extra inputs are not permitted")
    _check_content(message, where)


def _check_content(message: Mapping[str, Any], where: str) -> None:
    if "content" not in message:
        raise Refused(f"{where}.content: Field required")
    blocks = list(_blocks(message["content"], f"{where}.content"))
    if not blocks:
        raise Refused(f"{where}: all messages must have non-empty content")
    for block in blocks:
        if block["type"] == "text":
            _check_text(block, "messages")


def _blocks(content: object, where: str) -> Iterator[Mapping[str, Any]]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
        return
    if not isinstance(content, list):
        raise Refused(f"{where}: Input should be a valid string or list")
    for number, block in enumerate(content):
        if not isinstance(block, Mapping) or block.get("type") not in BLOCK_TYPES:
            raise Refused(f"{where}.{number}: Input tag does not match any of the expected tags")
        yield block


def _check_text(block: Mapping[str, Any], where: str) -> None:
    words = block.get("text")
    if not isinstance(words, str):
        raise Refused(f"{where}: text: Input should be a valid string")
    if not words and "cache_control" in block:
        raise Refused(f"{where}: cache_control cannot be set for empty text blocks")
    if not words:
        raise Refused(f"{where}: text content blocks must be non-empty")
    if not words.strip():
        raise Refused(f"{where}: text content blocks must contain non-whitespace text")


def _check_caching(body: Body) -> None:
    marks = list(_cache_marks(body))
    if len(marks) > MAX_CACHE_MARKS:
        raise Refused(f"A maximum of {MAX_CACHE_MARKS} blocks with cache_control may be provided")
    for mark in marks:
        if not isinstance(mark, Mapping) or mark.get("type") != "ephemeral":
            raise Refused("cache_control: Input should have type 'ephemeral'")
        if mark.get("ttl", "5m") not in ("5m", "1h"):
            raise Refused("cache_control.ttl: Input should be '5m' or '1h'")


def _cache_marks(value: object) -> Iterator[object]:
    if isinstance(value, list):
        for item in value:
            yield from _cache_marks(item)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name == "cache_control" and item is not None:
                yield item
            elif name != "input":
                yield from _cache_marks(item)


_RULES: tuple[Callable[[Body], None], ...] = (
    _check_fields,
    _check_scalars,
    _check_metadata,
    _check_system,
    _check_messages,
    _check_caching,
    check_tools,
    check_calls,
)
