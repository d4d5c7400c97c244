"""In-memory twins of the ports: a clock that stands still, a channel that remembers, a bell that waits.

Give them to `init_app(..., parts=Parts(clock=..., channel=..., dispatcher=...))`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class ManualClock:
    """A clock that moves only when told. Rows and leases are measured with it too. Lifetime: a test."""

    database = False

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Seconds, the same as `wall`."""
        with self._lock:
            return self._now

    def wall(self) -> float:
        """Seconds since the epoch."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now += seconds


@dataclass(frozen=True, slots=True)
class Emitted:
    """Something that browsers would have heard."""

    event: str
    payload: Mapping[str, Any]
    room: str


class RecordingChannel:
    """A channel that remembers everything. Lifetime: a test. Safe for all threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._emitted: list[Emitted] = []
        self._cut: list[str] = []

    @property
    def emitted(self) -> list[Emitted]:
        """What has been told so far, in order."""
        with self._changed:
            return list(self._emitted)

    @property
    def cuts(self) -> list[str]:
        """Rooms that were cut."""
        with self._changed:
            return list(self._cut)

    def of(self, event: str) -> list[Mapping[str, Any]]:
        """The payloads of one event, in order."""
        return [one.payload for one in self.emitted if one.event == event]

    def wait_for(self, event: str, count: int = 1, timeout: float = 5.0) -> list[Mapping[str, Any]]:
        """The payloads of `event` once there are `count` of them. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._count(event) >= count, timeout):
                msg = f"{self._count(event)} of {count} {event!r} events came within {timeout} s."
                raise TimeoutError(msg)
        return self.of(event)

    def _count(self, event: str) -> int:
        return sum(one.event == event for one in self._emitted)

    def emit(self, event: str, payload: Mapping[str, Any], room: str) -> None:
        """Remember it."""
        with self._changed:
            self._emitted.append(Emitted(event, payload, room))
            self._changed.notify_all()

    def cut(self, room: str) -> None:
        """Remember it."""
        with self._changed:
            self._cut.append(room)
            self._changed.notify_all()

    def health(self) -> Mapping[str, Any]:
        """Always well."""
        return {"ok": True}


class ManualDispatcher:
    """A dispatcher that works only when told, in the caller's thread. Lifetime: a test."""

    threads = 1

    def __init__(self) -> None:
        self.rung: deque[str] = deque()
        self._handler: Callable[[str], bool] | None = None
        self._closed = False

    def run(
        self,
        handler: Callable[[str], bool],
        limit_of: Callable[[str], int] | None = None,
        look: Callable[[], None] | None = None,
    ) -> None:
        """Remember who works."""
        self._handler = handler

    def ring(self, orchestrator_id: str, count: int = 1) -> None:
        """Remember for whom."""
        if not self._closed:
            self.rung.extend([orchestrator_id] * count)

    def tell(self) -> None:
        """There is nobody else."""

    def check(self) -> str | None:
        """It needs nothing."""
        return None

    def work(self) -> int:
        """Do what was rung for; returns how many calls that were."""
        calls = 0
        while self.rung and self._handler is not None:
            orchestrator_id = self.rung.popleft()
            calls += 1
            if self._handler(orchestrator_id):
                self.rung.append(orchestrator_id)
        return calls

    def serve(self, threads: int) -> None:
        """It has the caller's thread alone."""

    def abandon(self, thread: int) -> None:
        """The caller's own thread has no place that others could have."""

    def close(self, seconds: float) -> bool:
        """Take no more."""
        self._closed = True
        self.rung.clear()
        return True

    def health(self) -> Mapping[str, Any]:
        """Always well."""
        return {"ok": not self._closed, "threads": 0, "queued": len(self.rung)}
