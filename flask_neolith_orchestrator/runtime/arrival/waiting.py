"""Who waits is told so: a second after it was accepted, what has not begun is looked at and its asker hears of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...core.events import user_room
from ...core.ports import Channel, Crowd
from ...core.types import DeliveryState
from ...store.inbox.inbox import Accepted
from ...store.inbox.queue import Work
from ...store.stores import Stores

PATIENCE: Final = 1.0
"""Seconds within which nobody need be told that something has not begun."""

MOST: Final = 500
"""Deliveries that one process looks at in one sweep, the oldest first; what is beyond them is told later."""

KEPT: Final = 5_000
"""Deliveries of which a process remembers that somebody waits; further ones are not told of."""


@dataclass(slots=True)
class _Waiter:
    since: float
    told: tuple[str, int | None, str | None] | None = None


class Waiting:
    """Tells askers of what they wait for. Lifetime: app, in one process; safe for all threads.

    The process that accepts a delivery looks after it, so each thing is told once. It is told again whenever the place
    in the queue or the reason has changed, and once more when it begins or ends.
    """

    def __init__(self, stores: Stores, channel: Channel) -> None:
        self._stores = stores
        self._channel = channel
        self._crowd = channel if isinstance(channel, Crowd) else None
        self._clock = stores.database.clock
        self._lock = threading.Lock()
        self._waiters: dict[str, _Waiter] = {}

    def note(self, accepted: Sequence[Accepted]) -> None:
        """Remember what was accepted and waits. After the commit."""
        now = self._clock.monotonic()
        with self._lock:
            for one in accepted:
                if one.fresh and one.state is DeliveryState.WAITING and len(self._waiters) < KEPT:
                    self._waiters[one.delivery_id] = _Waiter(now)

    def look(self) -> None:
        """Tell of what has waited for a second; forget what waits no more. Asks nothing where nobody waits."""
        late = self._clock.monotonic() - PATIENCE
        with self._lock:
            due = [key for key, one in self._waiters.items() if one.since <= late][:MOST]
        if not due:
            return
        with self._stores.database.read() as tx:
            found = {one.delivery_id: one for one in self._stores.turns.queue.of(tx, due)}
        for key in due:
            self._tell(key, found.get(key))

    def _tell(self, key: str, work: Work | None) -> None:
        waits = work is not None and work.state is DeliveryState.WAITING
        with self._lock:
            waiter = self._waiters.get(key)
            if not waits:
                self._waiters.pop(key, None)
        if waiter is None or work is None or (not waits and waiter.told is None):
            return  # it began soon enough
        now = (str(work.state), work.position, work.reason)
        room = user_room(work.author_id)
        if now != waiter.told and (self._crowd is None or self._crowd.is_heard(room)):
            waiter.told = now
            self._channel.emit("delivery:waiting", work.payload(), room)
