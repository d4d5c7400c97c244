"""`FakeClaude`: a small scripted Claude API on 127.0.0.1 that the real SDK talks to over real HTTP."""

from __future__ import annotations

import itertools
import logging
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import Any, Self

from .fake_claude_steps import Step, error, text
from .fake_claude_wire import Handler

log = logging.getLogger(__name__)

Responder = Callable[[Mapping[str, Any]], Step | None]


@dataclass(frozen=True, slots=True)
class Request:
    """One POST as it arrived; `at` is on the monotonic clock, header names are lower case."""

    path: str
    headers: Mapping[str, str]
    body: Any
    at: float


class FakeClaude:
    """A scripted Claude API. Lifetime: its `with` block; safe to use from any thread.

        with FakeClaude() as api:
            api.script(text("hi"), error(529), drop(after=4))

    Each POST /v1/messages that the real API would accept takes the next scripted step, else asks the
    responder set with `answer_with`, else answers "ok". Other requests get the real API's 400, 401 or 404
    and use up no step. With `tls`, a server side context, it speaks HTTPS. At its end all connections are
    closed and all threads joined.
    """

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._script: deque[Step] = deque()
        self._responder: Responder | None = None
        self._open = self._cut = self._accepted = 0
        self._stopping = False
        self._ids = itertools.count(1)
        self._connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", port), type("_Handler", (Handler,), {"host": self}))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="fake-claude", daemon=True
        )
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def script(self, *steps: Step) -> None:
        """Append the answers to the next requests, in order."""
        with self._changed:
            self._script.extend(steps)

    def answer_with(self, responder: Responder) -> None:
        """Ask `responder(body)` for the answer to each request that finds no scripted step.

        It is called on many threads at once; None means "ok".
        """
        self._responder = responder

    @property
    def requests(self) -> Sequence[Request]:
        """Every POST so far, refused ones included."""
        with self._changed:
            return tuple(self._requests)

    @property
    def open_streams(self) -> int:
        """How many answers are being given at this moment (a wait before the first byte counts)."""
        with self._changed:
            return self._open

    @property
    def cut_streams(self) -> int:
        """How many answers were cut short by their client."""
        with self._changed:
            return self._cut

    @property
    def accepted_connections(self) -> int:
        """How many connections clients have made so far; one that is kept and used again counts once."""
        with self._changed:
            return self._accepted

    def wait_for_request(self, n: int = 1, timeout: float = 5.0) -> Request:
        """The `n`-th POST, counted from 1. Raises TimeoutError after `timeout` seconds."""
        self._wait(lambda: len(self._requests) >= n, timeout, f"request {n}")
        return self.requests[n - 1]

    def wait_for_cut(self, n: int = 1, timeout: float = 5.0) -> None:
        """Wait until `n` answers have been cut by their clients. Raises TimeoutError."""
        self._wait(lambda: self._cut >= n, timeout, f"cut {n}")

    def wait_until_idle(self, timeout: float = 5.0) -> None:
        """Wait until no answer is being given. Raises TimeoutError."""
        self._wait(lambda: self._open == 0, timeout, "the end of all answers")

    def _wait(self, reached: Callable[[], bool], timeout: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(reached, timeout):
                seen = f"{len(self._requests)} requests, {self._open} open, {self._cut} cut"
                raise TimeoutError(f"no {what} within {timeout:g} s ({seen})")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection and join every thread. Safe twice."""
        with self._changed:
            if self._stopping:
                return
            self._stopping = True
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        with self._changed:
            for connection in self._connections:
                _shut(connection)
        self._server.server_close()

    def connected(self, connection: socket.socket) -> None:
        """See `fake_claude_wire.Host`."""
        with self._changed:
            self._connections.add(connection)
            self._accepted += 1
            if self._stopping:
                _shut(connection)

    def disconnected(self, connection: socket.socket) -> None:
        """See `fake_claude_wire.Host`."""
        with self._changed:
            self._connections.discard(connection)

    def received(self, path: str, headers: Mapping[str, str], body: object) -> None:
        """See `fake_claude_wire.Host`."""
        with self._changed:
            self._requests.append(Request(path, headers, body, time.monotonic()))
            self._changed.notify_all()

    def next_step(self, body: Mapping[str, Any]) -> Step:
        """See `fake_claude_wire.Host`."""
        with self._changed:
            if self._script:
                return self._script.popleft()
        try:
            step = self._responder(body) if self._responder else None
        except Exception:
            log.exception("the responder of a fake Claude raised", extra={"action": "fake-claude.responder"})
            return error(500)
        return step or text("ok")

    def next_id(self, prefix: str) -> str:
        """See `fake_claude_wire.Host`."""
        return f"{prefix}_fake{next(self._ids):06d}"

    def opened(self) -> None:
        """See `fake_claude_wire.Host`."""
        with self._changed:
            self._open += 1
            self._changed.notify_all()

    def closed(self, cut: bool) -> None:
        """See `fake_claude_wire.Host`."""
        with self._changed:
            self._open -= 1
            self._cut += cut and not self._stopping
            self._changed.notify_all()

    def report(self) -> Mapping[str, Any]:
        """See `fake_claude_wire.Host`."""
        with self._changed:
            requests = [{"at": request.at, "body": request.body} for request in self._requests]
            return {"requests": requests, "openStreams": self._open, "cutStreams": self._cut}


class _Server(ThreadingHTTPServer):
    """Joins its threads at the end although they are daemon threads, so that a forgotten one cannot hang."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[Handler]) -> None:
        self._workers: list[threading.Thread] = []
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle one connection on a thread of its own."""
        worker = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name="fake-claude", daemon=True
        )
        self._workers = [each for each in self._workers if each.is_alive()]
        self._workers.append(worker)
        worker.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle of a request is a normal event here."""
        log.debug("a connection of a fake Claude broke", exc_info=True, extra={"action": "fake-claude.broke"})

    def server_close(self) -> None:
        """Stop listening and wait for the connections' threads."""
        super().server_close()
        for worker in self._workers:
            worker.join(5)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        log.debug("already closed", extra={"action": "fake-claude.closed"})
