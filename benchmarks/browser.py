"""Real Socket.IO clients over WebSockets: `python -m benchmarks.browser URL COOKIE CLIENTS CHANNEL EVENTS`.

Prints a line [event, key, time.monotonic()] once all clients have heard an event with the same key: the message or
the moment that it is about. Ends when it is told to.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import socketio

NAMESPACE = "/neolith"


class Tally:
    """Counts who has heard what. Lifetime: the process; used by every client's threads."""

    def __init__(self, clients: int) -> None:
        self._clients = clients
        self._lock = threading.Lock()
        self._heard: Counter[tuple[str, str]] = Counter()

    def listener(self, event: str) -> Callable[[Mapping[str, Any]], None]:
        """One client's handler of one event."""

        def hear(payload: Mapping[str, Any]) -> None:
            now = time.monotonic()
            what = (event, _key(payload))
            with self._lock:
                self._heard[what] += 1
                if self._heard[what] == self._clients:
                    say(*what, now)

        return hear


def _key(payload: Mapping[str, Any]) -> str:
    message = payload.get("message")
    if isinstance(message, Mapping):
        return str(message["id"])
    return str(payload.get("messageId") or payload.get("at"))


def say(event: str, key: str, at: float) -> None:
    """To whoever started this process."""
    sys.stdout.write(json.dumps([event, key, at]) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Connect, then listen until SIGTERM."""
    url, cookie, clients, channel, events = sys.argv[1:6]
    tally = Tally(int(clients))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a goodbye takes python-socketio seconds; the server can bear it
    for _ in range(int(clients)):
        client = socketio.Client(reconnection=False, handle_sigint=False)
        for event in events.split(","):
            client.on(event, tally.listener(event), namespace=NAMESPACE)
        client.connect(url, headers={"Cookie": cookie}, transports=["websocket"], namespaces=[NAMESPACE])
        if channel != "-":
            client.call("channel:join", {"channelId": channel}, namespace=NAMESPACE)
    say("ready", "", time.monotonic())
    threading.Event().wait()


if __name__ == "__main__":
    main()
