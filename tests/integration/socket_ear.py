"""A Socket.IO client for tests: speaks protocol 5 over one WebSocket, remembers everything, and goes away at once.

python-socketio's own client needs three seconds for a goodbye and leaves threads behind when it is refused;
`test_sockets` uses it once, to know that a real client is understood.
"""

from __future__ import annotations

import json
import queue
import socket
import threading
from contextlib import suppress
from typing import Any

import websocket

SOON = 5.0
"""Seconds that something may take before the test gives up."""


class Refused(Exception):
    """The server did not let the client into the namespace; the argument is what it said."""


class Ear:
    """One socket in the namespace /neolith. Lifetime: until `close`, which is safe twice."""

    def __init__(self, url: str, cookie: str | None = None, auth: Any = None, *, namespace: str = "/neolith") -> None:
        self._namespace = namespace
        self._events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._entered: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._answers: queue.Queue[Any] = queue.Queue()
        self._asked = 0
        address = url.replace("http://", "ws://") + "/socket.io/?EIO=4&transport=websocket"
        self._socket: Any = websocket.create_connection(address, timeout=SOON, cookie=cookie, suppress_origin=True)
        self._socket.recv()  # the transport's own greeting
        self.send(f"40{namespace}," + ("" if auth is None else json.dumps(auth)))
        self._reader = threading.Thread(target=self._read, name="test-ear", daemon=True)
        self._reader.start()
        name, told = self._entered.get(timeout=SOON)
        if name != "connect":
            self.close()
            raise Refused(told)

    def send(self, text: str) -> None:
        """Send a packet as it is."""
        self._socket.send(text)

    def ask(self, event: str, *payload: Any) -> Any:
        """Emit an event and wait for the answer."""
        self._asked += 1
        self.send(f"42{self._namespace},{self._asked}{json.dumps([event, *payload])}")
        return self._answers.get(timeout=SOON)

    def next(self, event: str) -> Any:
        """Wait for the next event of this name; others before it are dropped."""
        while True:
            name, data = self._events.get(timeout=SOON)
            if name == event:
                return data

    def names(self) -> list[str]:
        """What has been heard until now; an answer from the server makes sure that nothing is on its way."""
        self.ask("channel:leave", {"channelId": "999"})
        found = []
        while not self._events.empty():
            found.append(self._events.get()[0])
        return found

    def close(self) -> None:
        """Go away without a word, like a laptop that is shut."""
        with suppress(OSError, AttributeError):  # the server may have been quicker
            self._socket.sock.shutdown(socket.SHUT_RDWR)
        self._reader.join(SOON)
        self._socket.shutdown()

    def _read(self) -> None:
        try:
            while text := self._socket.recv():
                self._take(str(text))
        except (websocket.WebSocketException, OSError):
            pass
        self._events.put(("disconnect", None))

    def _take(self, text: str) -> None:
        if text == "2":
            self.send("3")
            return
        kind, _, rest = text.partition(f"{self._namespace},")
        if kind == "40":
            self._entered.put(("connect", None))
        elif kind == "44":
            self._entered.put(("refused", json.loads(rest)))
        elif kind == "41":
            self._events.put(("disconnect", None))
        elif kind == "42":
            name, *data = json.loads(rest)
            self._events.put((name, data[0] if data else None))
        elif kind == "43":
            self._answers.put(json.loads(rest[rest.index("[") :])[0])
