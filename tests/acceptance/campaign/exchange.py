"""A message queue for Flask-SocketIO, as Redis would be one: server processes tell each other what they emit.

It lives in the campaign's process, which is never killed.
"""

from __future__ import annotations

import json
import queue
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from socketio.pubsub_manager import PubSubManager

_LENGTH = struct.Struct("!I")


def _frames(connection: socket.socket) -> Iterator[bytes]:
    """Whole frames until the other side is gone; the torn last one of a killed process is dropped."""
    with suppress(OSError), connection.makefile("rb") as file:
        while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
            (length,) = _LENGTH.unpack(head)
            body = file.read(length)
            if len(body) < length:
                return
            yield body


class Exchange:
    """Gives every frame of one process to all the others, in one order. Lifetime: its `with` block."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        self._ends: dict[socket.socket, queue.SimpleQueue[bytes | None]] = {}
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def _run(self, work: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, name="campaign-exchange", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                end: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
                with self._lock:
                    self._ends[connection] = end
                self._run(self._read, connection)
                self._run(self._write, connection, end)

    def _read(self, connection: socket.socket) -> None:
        for body in _frames(connection):
            with self._lock:  # all ends get all frames in one order
                for other, end in self._ends.items():
                    if other is not connection:
                        end.put(body)
        with self._lock:
            end = self._ends.pop(connection)
        end.put(None)

    @staticmethod
    def _write(connection: socket.socket, end: queue.SimpleQueue[bytes | None]) -> None:
        with suppress(OSError), connection:
            while (body := end.get()) is not None:
                connection.sendall(_LENGTH.pack(len(body)) + body)

    def close(self) -> None:
        """End every connection and thread. Safe twice."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for connection in self._ends:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


class ExchangeManager(PubSubManager):  # type: ignore[misc]  # python-socketio has no types
    """A server process's end of the exchange. Lifetime: the process."""

    name = "exchange"

    def __init__(self, port: int) -> None:
        super().__init__()
        self._connection = socket.create_connection(("127.0.0.1", port))
        self._sending = threading.Lock()

    def _publish(self, data: Any) -> None:
        body = json.dumps(data).encode()
        with self._sending:
            self._connection.sendall(_LENGTH.pack(len(body)) + body)

    def _listen(self) -> Iterator[Any]:
        for body in _frames(self._connection):
            yield json.loads(body)
