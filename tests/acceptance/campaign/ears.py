"""What a browser hears: a Socket.IO client per server process, and everything it was told, in order and with times.

python-socketio's own client gives each event to a thread of its own, so that their order is lost; this one is the
test kit's, which reads one WebSocket on one thread.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import requests
import websocket

from tests.integration.socket_ear import Ear, Refused

from .fleet import Life

HEARD = ("message", "message:delta", "message:reset", "message:done")


@dataclass(frozen=True, slots=True)
class Event:
    """One event about one message. `state` and `text` are of the message, or of the delta."""

    at: float
    who: str
    name: str
    message_id: str
    epoch: int
    state: str = ""
    text: str = ""
    seq: int = 0


@dataclass(slots=True)
class Listening:
    """From when to when one ear heard everything of one process."""

    who: str
    joined: float
    lost: float | None = None


class LedgerEar(Ear):
    """An ear that keeps what matters with its time. Lifetime: as the process that it listens to."""

    def __init__(self, url: str, cookie: str, who: str, events: list[Event]) -> None:
        self._who = who
        self._heard = events
        self.gone = threading.Event()
        self.gone_at = float("inf")
        super().__init__(url, cookie)
        self._socket.settimeout(None)

    def _take(self, text: str) -> None:
        if not text.startswith("42/neolith,"):
            super()._take(text)
            return
        name, *data = json.loads(text.partition(",")[2])
        if name in HEARD:
            self._heard.append(_event(time.monotonic(), self._who, name, data[0]))

    def _read(self) -> None:
        try:
            super()._read()
        finally:
            self.gone_at = time.monotonic()
            self.gone.set()


def _event(at: float, who: str, name: str, data: dict[str, Any]) -> Event:
    if name in ("message", "message:done"):
        message = data["message"]
        return Event(at, who, name, message["id"], message["epoch"], message["state"], message["content"])
    return Event(at, who, name, data["messageId"], data["epoch"], text=data.get("text", ""), seq=data.get("seq", 0))


class Ears:
    """All ears of a campaign. Lifetime: its `with` block; `connect` and `lost` are called by one thread."""

    def __init__(self, channels: Sequence[str]) -> None:
        self.events: list[Event] = []
        self.listening: list[Listening] = []
        self._channels = channels
        self._open: dict[str, tuple[LedgerEar, Listening]] = {}

    def connect(self, life: Life, url: str, browser: requests.Session) -> None:
        """Listen to a process as the person of this browser, in every channel; a death meanwhile is no failure."""
        cookie = "; ".join(f"{key}={value}" for key, value in browser.cookies.items())
        try:
            ear = LedgerEar(url, cookie, life.who, self.events)
            answers = [ear.ask("channel:join", {"channelId": channel}) for channel in self._channels]
        except (OSError, queue.Empty, Refused, websocket.WebSocketException):
            if not life.process.is_gone():
                raise
            return
        assert all(answer["ok"] for answer in answers), answers
        listening = Listening(life.who, time.monotonic())
        self.listening.append(listening)
        self._open[life.who] = ear, listening

    def lost(self, life: Life) -> None:
        """The process is dead: hear its last words and note that there are no more."""
        if life.who in self._open:
            ear, listening = self._open.pop(life.who)
            ear.gone.wait(5)
            listening.lost = min(ear.gone_at, life.died or ear.gone_at)
            ear.close()

    def is_cut(self, life: Life) -> bool:
        """Whether the process has closed the socket."""
        return life.who not in self._open or self._open[life.who][0].gone.is_set()

    def mend(self, life: Life, url: str, browser: requests.Session) -> None:
        """Connect again where the process has closed the socket, as any browser does."""
        if life.who in self._open and self.is_cut(life):
            ear, listening = self._open.pop(life.who)
            listening.lost = ear.gone_at
            ear.close()
            self.connect(life, url, browser)

    def note_cuts(self) -> None:
        """Write down since when those hear nothing whose sockets a process has closed and nobody has mended yet."""
        for ear, listening in self._open.values():
            if ear.gone.is_set():
                listening.lost = ear.gone_at

    def is_quiet(self, seconds: float) -> bool:
        """Whether nothing has been heard for a while."""
        return not self.events or time.monotonic() - self.events[-1].at > seconds

    def close(self) -> None:
        """Go away. Safe twice."""
        for ear, _ in self._open.values():
            with suppress(OSError):
                ear.close()
        self._open.clear()
