"""The extension's state of one app, which outlives processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from .house import House
from .wiring import Wiring


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

    @property
    def house(self) -> House:
        """The parts in this process, built at first use and again after a fork."""
        house = self._house
        if house is not None and house.pid == os.getpid():
            return house
        if house is not None:  # a forked child: the lock may have been held by a thread that does not exist here
            self._lock = threading.RLock()
        with self._lock:
            if self._house is None or self._house.pid != os.getpid():
                self._house = House(self.wiring, self._membership_changed, self._socket_seen)
            return self._house

    def ensure_started(self, *, wait: bool = False) -> None:
        """First sign of life: start the runtime in the background. Cheap when done."""
        self.house.ensure_started(wait=wait)

    def _socket_seen(self) -> None:
        """An open socket counts as its login being seen."""
        if self.hooks is not None:
            self.hooks.socket_seen()

    def _membership_changed(self, channel_id: str, user_id: str, joined: bool) -> None:
        for hook in self.memberships:
            hook(channel_id, user_id, joined)

    def close(self, timeout: float | None = None) -> None:
        """Stop this process's runtime, if it has one. Safe twice; the next use builds a new one."""
        house, self._house = self._house, None
        if house is not None and house.pid == os.getpid():
            house.close(timeout)
