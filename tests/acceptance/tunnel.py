"""A way to a server that can be cut and mended: what a train in a tunnel does to one browser while the others go on."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

CHUNK: Final = 65_536


class Tunnel:
    """Another address (`url`) of the server at `target`. Lifetime: the with block; open until it is cut."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._lock = threading.Lock()
        self._pairs: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._port = 0
        self.mend()
        self.url = f"http://127.0.0.1:{self._port}"

    def mend(self) -> None:
        """Let connections through again, at the same address."""
        listener = socket.create_server(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        with self._lock:
            self._listener = listener
        self._run(self._accept, listener)

    def cut(self) -> None:
        """End all connections in the middle of whatever they say, and take no more. Safe twice."""
        with self._lock:
            listener, self._listener = self._listener, None
            left, self._pairs = self._pairs, set()
        for one in (*([listener] if listener else ()), *left):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def __enter__(self) -> Tunnel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    near, _ = listener.accept()
                except OSError:
                    return  # cut
                try:
                    far = socket.create_connection(self._target)
                except OSError:
                    near.close()  # the server is not there
                    continue
                with self._lock:
                    is_open = self._listener is listener
                    self._pairs |= {near, far} if is_open else set()
                if not is_open:
                    near.close()
                    far.close()
                    return
                self._run(self._carry, near, far)

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        back = threading.Thread(target=self._pump, args=(far, near), name="tunnel-back")
        back.start()
        self._pump(near, far)
        back.join()
        with self._lock:
            self._pairs -= {near, far}
        near.close()
        far.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                sink.sendall(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _run(self, work: object, *args: socket.socket) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=args, name="tunnel")
        thread.start()
        # those that have ended need no joining
        self._threads[:] = [one for one in self._threads if one.is_alive()] + [thread]
