"""The HTTP side of the fake Claude: one handler, server-sent events, and an eye on clients that go away."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol

from .fake_claude_rules import Refused, check_request
from .fake_claude_steps import ERROR_TYPES, Step

Event = tuple[str, Mapping[str, Any]]

MAX_BODY = 32 * 1024 * 1024  # the real limit of a request


class ClientGone(Exception):
    """The client closed its connection before the answer was complete."""


class Host(Protocol):
    """What a handler needs from the server it belongs to."""

    def connected(self, connection: socket.socket) -> None:
        """A connection was accepted."""
        ...

    def disconnected(self, connection: socket.socket) -> None:
        """A connection is about to be closed."""
        ...

    def received(self, path: str, headers: Mapping[str, str], body: object) -> None:
        """A POST arrived completely."""
        ...

    def next_step(self, body: Mapping[str, Any]) -> Step:
        """What to answer."""
        ...

    def next_id(self, prefix: str) -> str:
        """A new id, such as msg_fake000001."""
        ...

    def opened(self) -> None:
        """An answer begins."""
        ...

    def closed(self, cut: bool) -> None:
        """An answer ended; `cut` if the client went before its end."""
        ...

    def report(self) -> Mapping[str, Any]:
        """What has happened so far, as JSON for another process."""
        ...


class Handler(BaseHTTPRequestHandler):
    """One connection of a client. Subclassed with `host` by each server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for a delayed ACK
    host: Host

    def setup(self) -> None:
        """Tell the server, so that it can end this connection."""
        super().setup()
        self.host.connected(self.connection)

    def finish(self) -> None:
        """Tell the server that it needs not."""
        self.host.disconnected(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the name in the base class
        """Keep quiet: tests read the server's record instead."""

    def do_GET(self) -> None:
        """The list of models, and the record of the server for tests in other processes."""
        path = self.path.split("?")[0]
        if path == "/fake/report":
            return self._send_json(200, self.host.report())
        if path != "/v1/models":
            return self._send_error(404, f"No such path: {path}")
        model = {
            "id": "claude-haiku-5-5",
            "type": "model",
            "display_name": "Fake",
            "created_at": "2026-10-07T00:00:00Z",
            "lifecycle": "active",
        }
        page = {"data": [model], "has_more": False, "first_id": model["id"], "last_id": model["id"]}
        return self._send_json(200, page)

    def do_POST(self) -> None:
        """Messages and the counting of their tokens."""
        try:
            body = self._read()
            if self.path.split("?")[0] == "/v1/messages/count_tokens":
                return self._send_json(200, {"input_tokens": max(1, len(json.dumps(body)) // 4)})
            if self.path.split("?")[0] != "/v1/messages":
                raise Refused(f"No such path: {self.path}", 404)
            request = check_request(body)
        except Refused as refused:
            return self._send_error(refused.status, refused.message)
        return self._answer(request)

    def _read(self) -> object:
        length = int(self.headers.get("content-length") or 0)
        if length > MAX_BODY:
            self.close_connection = True
            raise Refused("Request exceeds the maximum size", 413)
        raw = self.rfile.read(length)
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        self.host.received(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        if not (self.headers.get("authorization") or self.headers.get("x-api-key")):
            raise Refused("Authentication required", 401)
        if not self.headers.get("anthropic-version"):
            raise Refused("anthropic-version: header is required")
        if body is None:
            raise Refused("The request body is not valid JSON")
        return body

    def _answer(self, request: Mapping[str, Any]) -> None:
        step = self.host.next_step(request)
        self.host.opened()
        cut = False
        try:
            self._play(step, request)
        except (ClientGone, BrokenPipeError, ConnectionResetError):
            cut = True
            self.close_connection = True
        finally:
            self.host.closed(cut)

    def _play(self, step: Step, request: Mapping[str, Any]) -> None:
        self._pause(step.delay)
        if step.kind == "http_error":
            return self._send_error(step.status, "scripted", step.details, step.headers)
        if step.kind == "silence" and step.before_headers:
            return self._pause(None)
        if step.kind == "raw":
            return self._send(step.status, step.body.encode(), step.headers)
        return self._write(step, request)

    def _write(self, step: Step, request: Mapping[str, Any]) -> None:
        message = self._message(step, request)
        if not request.get("stream"):
            return self._send_json(200, message)
        self._headers(200, {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"})
        for count, (name, data) in enumerate(events(message, step.piece)):
            if step.kind != "message" and count >= step.after:
                return self._fail(step)
            self._event(name, data)
            self._pause(step.gap)
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _fail(self, step: Step) -> None:
        if step.kind == "silence":
            return self._pause(None)
        if step.kind == "drop":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        if step.kind == "stream_error":
            self._event("error", {"error": self._error(step.status, "in the stream", step.details)})
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _pause(self, seconds: float | None) -> None:
        """Wait without a byte (None: for ever); a client that goes meanwhile, or our own stop, ends it."""
        poller = select.poll()
        poller.register(self.connection, select.POLLIN)
        if poller.poll(None if seconds is None else seconds * 1000) and not self._has_more():
            raise ClientGone

    def _has_more(self) -> bool:
        """Whether the readable connection holds bytes; none means that the other side has closed it."""
        return bool(socket.socket.recv(self.connection, 1, socket.MSG_PEEK))  # below TLS, which cannot peek

    def _message(self, step: Step, request: Mapping[str, Any]) -> dict[str, Any]:
        content = [
            {**block, "id": self.host.next_id("toolu")} if block["type"] == "tool_use" else dict(block)
            for block in step.blocks
        ]
        usage = {
            "input_tokens": 10,
            "output_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        }
        return {
            "id": self.host.next_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": request["model"],
            "content": content,
            "stop_reason": step.stop_reason,
            "stop_sequence": None,
            "usage": {**usage, **step.usage},
        }

    def _event(self, name: str, data: Mapping[str, Any]) -> None:
        payload = f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(payload), payload))

    def _headers(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"request-id": self.host.next_id("req"), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_json(self, status: int, payload: object, headers: Mapping[str, str] | None = None) -> None:
        kind = {"content-type": "application/json"}
        self._send(status, json.dumps(payload).encode(), {**kind, **(headers or {})})

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self._headers(status, {"content-length": str(len(data)), **headers})
        self.wfile.write(data)

    def _send_error(
        self,
        status: int,
        message: str,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._send_json(status, {"type": "error", "error": self._error(status, message, details)}, headers)

    @staticmethod
    def _error(status: int, message: str, details: Mapping[str, Any] | None) -> dict[str, Any]:
        body: dict[str, Any] = {"type": ERROR_TYPES.get(status, "api_error"), "message": message}
        return {**body, "details": dict(details)} if details else body


def events(message: Mapping[str, Any], piece: int) -> Iterator[Event]:
    """The server-sent events of a complete message, texts cut into pieces of `piece` characters."""
    start: dict[str, Any] = {"content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield "message_start", {"message": {**message, **start}}
    yield "ping", {}
    for index, block in enumerate(message["content"]):
        yield "content_block_start", {"index": index, "content_block": _empty(block)}
        for delta in _deltas(block, piece):
            yield "content_block_delta", {"index": index, "delta": delta}
        yield "content_block_stop", {"index": index}
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield "message_delta", {"delta": stop, "usage": {"output_tokens": message["usage"]["output_tokens"]}}
    yield "message_stop", {}


def _empty(block: Mapping[str, Any]) -> Mapping[str, Any]:
    if block["type"] == "thinking":
        return {"type": "thinking", "thinking": "", "signature": ""}
    if block["type"] == "redacted_thinking":
        return block
    return {**block, "input": {}} if block["type"] == "tool_use" else {"type": "text", "text": ""}


def _deltas(block: Mapping[str, Any], piece: int) -> Iterator[Mapping[str, Any]]:
    if block["type"] == "tool_use":
        raw = block["input"] if isinstance(block["input"], str) else json.dumps(block["input"])
        for part in ("", *_pieces(raw, piece)):
            yield {"type": "input_json_delta", "partial_json": part}
    elif block["type"] == "thinking":
        for part in _pieces(block["thinking"], piece):
            yield {"type": "thinking_delta", "thinking": part}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif block["type"] == "text":
        for part in _pieces(block["text"], piece):
            yield {"type": "text_delta", "text": part}


def _pieces(value: str, size: int) -> Iterator[str]:
    for start in range(0, len(value), size):
        yield value[start : start + size]
