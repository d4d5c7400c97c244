"""Connections to the provider that another thread can cut at any moment of a call.

Closing a response from another thread wakes its reader only with the next bytes, and before the headers have
come there is no response to close. So we give the HTTP pool our own network backend: it knows which call uses
which socket, from the connecting on, and shuts that socket down (SHUT_RDWR), which wakes whoever waits on it.
Only public interfaces of httpcore2 (`network_backend`) and httpx2 (`BaseTransport`) are used.

This module imports the HTTP layer of the anthropic package and is therefore imported lazily.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import httpcore2

from ..core.cancel import Cancel

PATIENCE = 0.5  # seconds to wait for the end of a body whose last event has been read
CONNECT_ROUNDS = 3  # a name may have several addresses, and the time limit holds for each

SocketOptions = Iterable[httpcore2.SOCKET_OPTION]


class Call:
    """One call as the wire sees it: a `with` block. Lifetime: the call.

    While it lasts, setting the stop flag cuts the connection that the call uses at that moment.
    """

    def __init__(self, cancel: Cancel) -> None:
        self.cancel = cancel
        self.patience: float | None = None
        self._lock = threading.Lock()
        self._line: Line | None = None

    def __enter__(self) -> Self:
        self._forget = self.cancel.on_set(self._cut)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()
        self.hold(None)

    def hold(self, line: Line | None) -> None:
        """`line` is now the one to cut."""
        with self._lock:
            self._line = line
        if line is not None and self.cancel.is_set():
            line.cut(self)

    def finish(self) -> None:
        """The answer is complete: leave the connection whole, and do not wait long for the rest of it."""
        self.patience = PATIENCE
        self.hold(None)

    def _cut(self) -> None:
        with self._lock:
            line = self._line
        if line is not None:
            line.cut(self)


class Line(httpcore2.NetworkStream):
    """One connection. Lifetime: as long as the pool keeps it; used by one call at a time.

    `_handle` is a second descriptor of the same socket: it stays valid while TLS takes the first one over,
    and the gate keeps anybody from shutting down a number that already belongs to another socket.
    """

    def __init__(self, wire: Wire, inner: httpcore2.NetworkStream) -> None:
        self._wire = wire
        self._inner = inner
        self._gate = threading.Lock()
        self._handle: socket.socket | None = _second(inner)
        self._call: Call | None = None

    def adopt(self, call: Call | None) -> None:
        """From now on the connection works for `call`."""
        if call is not None and call is not self._call:
            with self._gate:
                self._call = call
            call.hold(self)

    def cut(self, call: Call | None) -> None:
        """Wake whoever waits on this connection, if it still works for `call` (None: in any case)."""
        with self._gate:
            if self._handle is not None and call in (None, self._call):
                with contextlib.suppress(OSError):  # the other side was faster
                    self._handle.shutdown(socket.SHUT_RDWR)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See `httpcore2.NetworkStream`."""
        patience = self._call.patience if self._call is not None else None
        if patience is not None:
            timeout = patience if timeout is None else min(timeout, patience)
        return self._inner.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See `httpcore2.NetworkStream`. Every request begins with a write: here a kept line changes hands."""
        self.adopt(self._wire.current)
        self._inner.write(buffer, timeout)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """See `httpcore2.NetworkStream`."""
        self.adopt(self._wire.current)
        try:
            self._inner = self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            self.close()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        """See `httpcore2.NetworkStream`."""
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        """Give both descriptors back. Safe twice."""
        with self._gate:
            handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()
            self._wire.forget(self)
        self._inner.close()

    def abandon(self) -> None:
        """Close without taking any lock: for a forked child, where the parent's locks may be held for ever."""
        if self._handle is not None:
            self._handle.close()
        self._inner.close()


class Wire(httpcore2.NetworkBackend):
    """Makes the connections of one process and knows which call is on which."""

    def __init__(self) -> None:
        self._backend = httpcore2.SyncBackend()
        self._lock = threading.Lock()
        self._lines: set[Line] = set()
        self._closed = False
        self._local = threading.local()

    @property
    def current(self) -> Call | None:
        """The call that this thread is opening."""
        call: Call | None = getattr(self._local, "call", None)
        return call

    @contextlib.contextmanager
    def opening(self, call: Call) -> Iterator[None]:
        """What this thread sends inside the block belongs to `call`."""
        self._local.call = call
        try:
            yield
        finally:
            self._local.call = None

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore2.NetworkStream:
        """See `httpcore2.NetworkBackend`; ends at once when the call is told to end."""
        attempt = _Connecting(lambda: self._backend.connect_tcp(host, port, timeout, local_address, socket_options))
        line = Line(self, attempt.wait(self.current, timeout))
        with self._lock:
            closed = self._closed
            self._lines.add(line)
        if closed:
            line.close()
            raise httpcore2.ConnectError("the client was closed meanwhile")
        return line

    def forget(self, line: Line) -> None:
        """`line` is closed."""
        with self._lock:
            self._lines.discard(line)

    def close(self) -> None:
        """Cut every connection, so that nobody waits on one that is being closed. Safe twice."""
        with self._lock:
            self._closed = True
            lines = list(self._lines)
        for line in lines:
            line.cut(None)

    def abandon(self) -> None:
        """In a forked child: close the inherited descriptors, so that the parent's cuts reach the server."""
        for line in list(self._lines):
            line.abandon()


class _Connecting:
    """Resolving and connecting on a thread of its own, because neither can be interrupted from outside.

    When nobody waits any more, the thread ends by itself within the time limit and closes what it got.
    """

    def __init__(self, connect: Callable[[], httpcore2.NetworkStream]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stream: httpcore2.NetworkStream | None = None
        self._error: Exception | None = None
        self._given_up = False

    def wait(self, call: Call | None, timeout: float | None) -> httpcore2.NetworkStream:
        """The connected stream. Raises what connecting raised, ConnectTimeout, or ConnectError for a stop."""
        forget = call.cancel.on_set(self._woken.set) if call is not None else _nothing
        try:
            if call is None or not call.cancel.is_set():
                threading.Thread(target=self._run, name="neolith-connect", daemon=True).start()
                self._woken.wait(None if timeout is None else timeout * CONNECT_ROUNDS)
        finally:
            forget()
        with self._lock:
            self._given_up = self._stream is None
            if self._stream is not None:
                return self._stream
        if self._error is not None:
            raise self._error
        if call is not None and call.cancel.is_set():
            raise httpcore2.ConnectError("told to stop while connecting")
        raise httpcore2.ConnectTimeout("no connection in time")

    def _run(self) -> None:
        try:
            stream = self._connect()
        except Exception as error:  # noqa: BLE001 -- handed to the thread that waits, which raises it
            self._error = error
        else:
            with self._lock:
                self._stream = stream
                given_up = self._given_up
            if given_up:
                stream.close()
        self._woken.set()


def _second(stream: httpcore2.NetworkStream) -> socket.socket:
    """A second descriptor of the stream's socket."""
    sock: socket.socket = stream.get_extra_info("socket")
    try:
        return sock.dup()
    except OSError as error:  # too many open files
        stream.close()
        raise httpcore2.ConnectError(str(error)) from error


def _nothing() -> None:
    """There is no stop flag to unsubscribe from."""
