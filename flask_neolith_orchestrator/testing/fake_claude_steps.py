"""What the fake Claude answers to one request: a `Step`, made by one of the functions below.

All of them take `delay` (seconds before the first byte of the answer) and `gap` (seconds between two events
of the stream). `after` counts the server-sent events that are written before something goes wrong: the first
is `message_start`, then come a ping, the start of the block and its pieces, so that `after=3` stops before
the first text and `after=4` after its first piece. What goes wrong takes the `blocks` of another step in
place of its text: `truncate(after=5, blocks=tool("add", {"a": 1}).blocks)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["message", "http_error", "stream_error", "drop", "truncate", "silence", "raw"]

ERROR_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One scripted answer. Make it with `text`, `tool`, `error` and their neighbours."""

    kind: Kind = "message"
    blocks: tuple[Mapping[str, Any], ...] = ()
    stop_reason: str = "end_turn"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] | None = None
    after: int = 0
    before_headers: bool = False
    delay: float = 0.0
    gap: float = 0.0
    piece: int = 6
    usage: Mapping[str, int] = field(default_factory=dict)
    body: str = ""


def text(*parts: str, **options: Any) -> Step:
    """A complete answer made of `parts`, streamed in pieces of `piece` characters."""
    return Step(blocks=_say("".join(parts)), **options)


def tool(name: str, arguments: Mapping[str, Any], say: str = "", **options: Any) -> Step:
    """A call of the tool `name`, after the text `say` if there is one."""
    call = {"type": "tool_use", "name": name, "input": dict(arguments)}
    return Step(blocks=(*_say(say), call), **{"stop_reason": "tool_use", **options})


def tools(*calls: tuple[str, Mapping[str, Any]], say: str = "", thought: str = "", **options: Any) -> Step:
    """Several calls at once, each a (name, arguments), after the text `say`; behind thinking, visible and hidden."""
    made = [{"type": "tool_use", "name": name, "input": dict(arguments)} for name, arguments in calls]
    return Step(blocks=(*_think(thought), *_say(say), *made), **{"stop_reason": "tool_use", **options})


def thinking(thought: str, answer: str, **options: Any) -> Step:
    """An answer behind a block of visible thinking."""
    return Step(blocks=(*_think(thought)[:1], *_say(answer)), **options)


def error(
    status: int,
    retry_after: float | None = None,
    error_code: str | None = None,
    headers: Mapping[str, str] | None = None,
    **options: Any,
) -> Step:
    """An HTTP error instead of an answer; `retry_after` in seconds, `error_code` as in error.details."""
    wanted = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    details = {"error_code": error_code} if error_code else None
    return Step("http_error", status=status, headers={**wanted, **(headers or {})}, details=details, **options)


def drop(after: int = 4, say: str = "half an answer", **options: Any) -> Step:
    """The connection breaks in the middle of the stream."""
    return Step("drop", after=after, **{"blocks": _say(say), **options})


def truncate(after: int = 4, say: str = "half an answer", **options: Any) -> Step:
    """The stream ends cleanly but early: no stop reason, no message_stop."""
    return Step("truncate", after=after, **{"blocks": _say(say), **options})


def stream_error(after: int = 4, status: int = 529, say: str = "half an answer", **options: Any) -> Step:
    """HTTP 200, then an `error` event inside the stream, of the type that goes with `status`."""
    return Step("stream_error", after=after, status=status, **{"blocks": _say(say), **options})


def silence(after: int = 0, say: str = "half an answer", before_headers: bool = False, **options: Any) -> Step:
    """Holds the stream open without another byte until the client goes or the server stops.

    With `before_headers` not even the headers of the answer are sent.
    """
    return Step("silence", after=after, before_headers=before_headers, **{"blocks": _say(say), **options})


def raw(body: str, content_type: str = "text/html", status: int = 200, **options: Any) -> Step:
    """What a proxy or a captive portal answers in place of the API."""
    return Step("raw", body=body, status=status, headers={"content-type": content_type}, **options)


def _say(words: str) -> tuple[Mapping[str, Any], ...]:
    return ({"type": "text", "text": words},) if words else ()


def _think(thought: str) -> tuple[Mapping[str, Any], ...]:
    if not thought:
        return ()
    visible = {"type": "thinking", "thinking": thought, "signature": "c2ln"}
    return (visible, {"type": "redacted_thinking", "data": "aGlkZGVu"})
