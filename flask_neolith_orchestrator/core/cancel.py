"""The control signal that ends a turn early. It is not an error: whoever is cancelled did nothing wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum


class StopReason(StrEnum):
    """Why a turn was told to end."""

    PERSON = "person"  # somebody pressed Stop
    DELETED = "deleted"  # the question is gone
    SHUTDOWN = "shutdown"  # this daemon or process stops; the work goes back unpunished
    REVOKED = "revoked"  # somebody else owns the turn now
    DEADLINE = "deadline"  # it took too long


class Cancelled(Exception):
    """Raised inside a turn that was told to end. Never shown to anybody."""


class Cancel:
    """The stop flag of one attempt. Lifetime: that attempt. Safe to use from any thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._reason: StopReason | None = None

    @property
    def reason(self) -> StopReason | None:
        """Why it was set, or None."""
        return self._reason

    def is_set(self) -> bool:
        """Whether the attempt has been told to end."""
        return self._event.is_set()

    def set(self, reason: StopReason) -> bool:
        """Tell the attempt to end; the first reason stays. True if this call was the first."""
        with self._lock:
            if self._reason is not None:
                return False
            self._reason = reason
            callbacks, self._callbacks = self._callbacks, []
            self._event.set()
        for callback in callbacks:
            callback()
        return True

    def wait(self, seconds: float) -> bool:
        """Sleep at most `seconds`; True at once when the attempt is told to end."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raise `Cancelled` if the attempt has been told to end."""
        if self._event.is_set():
            raise Cancelled

    def on_set(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once when the flag is set (at once if it already is). Returns an unsubscriber.

        The callback runs on the thread that sets the flag and must neither block nor raise.
        """
        with self._lock:
            if self._reason is None:
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)
