"""The extension's state of one app, which outlives processes."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from .broadcast.listeners import Handler
from .house import House
from .wiring import Wiring

LOOK = 2.0
"""Seconds for which the first request of a process waits for the look at the tables."""


class State:
    """The extension's state of one app: `app.extensions["neolith"]`. Lifetime: app; survives forks."""

    def __init__(self, wiring: Wiring, extension: Any) -> None:
        self.wiring = wiring
        self.extension = extension
        self.settings = wiring.settings
        self.models = wiring.models
        self.display_name = wiring.display_name
        self.can_manage = wiring.can_manage
        self.memberships: list[Callable[[str, str, bool], None]] = []
        self.hooks: Any = None  # web.login.Hooks
        self._lock = threading.RLock()
        self._house: House | None = None
        self._handlers: tuple[tuple[str, Handler, bool], ...] = ()
        self._inherited: list[House] = []
        self._go_on = _nothing
        self._final = False
        self._quiet = False
        _outlive(weakref.ref(self))

    @property
    def house(self) -> House:
        """The parts in this process, built at first use and again after a fork."""
        house = self._house
        if house is not None:
            return house
        with self._lock:
            if self._house is None:
                self._house = House(self.wiring, self._membership_changed, self._socket_seen)
                self._house.quiet = self._quiet
                for event, handler, once in self._handlers:  # what create_app registered outlives a fork
                    listen = self._house.manager.once if once else self._house.manager.on
                    listen(event, handler)
            return self._house

    def begin(self) -> None:
        """The first sign of life, from a request: a forgotten migration is named before the request runs into it."""
        house = self.house
        house.ensure_started(wait=False)
        house.wait_looked(LOOK)

    def ensure_started(self, *, wait: bool = False) -> None:
        """First sign of life: start the runtime in the background. Cheap when done."""
        self.house.ensure_started(wait=wait)

    def keep_quiet(self) -> None:
        """This process only looks and writes (a command): it starts no runtime, whatever is asked of it."""
        self._quiet = True
        if self._house is not None:
            self._house.quiet = True

    def _socket_seen(self) -> None:
        """An open socket counts as its login being seen."""
        if self.hooks is not None:
            self.hooks.socket_seen()

    def _membership_changed(self, channel_id: str, user_id: str, joined: bool) -> None:
        for hook in self.memberships:
            hook(channel_id, user_id, joined)

    def close(self, timeout: float | None = None) -> None:
        """Stop this process's runtime, if it has one. Safe twice; the next use builds a new one."""
        house = self._house
        if house is not None:
            self._handlers = house.manager.handlers
            house.close(timeout)
            if not self._final:
                self._house = None

    def end(self) -> None:
        """The interpreter ends: stop, and start nothing again for threads that still come."""
        self._final = self._quiet = True
        self.close()

    def hold_still(self) -> None:
        """Before a fork: the database is in nobody's hands."""
        if self._house is not None:
            self._go_on = self._house.database.hold_still()

    def go_on(self) -> None:
        """After a fork, in the parent."""
        go_on, self._go_on = self._go_on, _nothing
        go_on()

    def forked(self) -> None:
        """In a forked child: nothing of the parent's runtime is ours, and its locks may be held by nobody."""
        self._lock, self._go_on = threading.RLock(), _nothing
        house, self._house = self._house, None
        if house is not None:
            self._handlers = house.manager.handlers
            house.forked()
            self._inherited.append(house)  # never collected: that would close what the parent still uses


def _nothing() -> None:
    """There is nothing to give back."""


def _outlive(state: weakref.ref[State]) -> None:
    """Hear of forks and of the interpreter's end, without keeping a forgotten app alive."""

    def told(what: Callable[[State], None]) -> Callable[[], None]:
        def tell() -> None:
            if (found := state()) is not None:
                what(found)

        return tell

    os.register_at_fork(
        before=told(State.hold_still), after_in_parent=told(State.go_on), after_in_child=told(State.forked)
    )
    atexit.register(told(State.end))
