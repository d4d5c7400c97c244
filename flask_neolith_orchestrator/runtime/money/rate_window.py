"""Moving windows for the package `limits`, on the app's own clock: its own storage starts a thread for each message."""

from __future__ import annotations

import threading
from collections import deque

from limits.storage import MovingWindowSupport, Storage

from ...core.ports import Clock

SWEEP = 1_000
"""New keys between two looks for those whose windows have run out."""


class Windows(Storage, MovingWindowSupport):
    """When what happened last, by key. Lifetime: app, in one process; safe for all threads."""

    STORAGE_SCHEME = None

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._hits: dict[str, deque[float]] = {}
        self._over: dict[str, float] = {}
        self._new = 0

    @property
    def base_exceptions(self) -> type[Exception]:
        """What goes wrong in here."""
        return ValueError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count one more within `limit` in the last `expiry` seconds; False where that is too many."""
        now = self._clock.monotonic()
        with self._lock:
            hits = self._within(key, expiry, now)
            if len(hits) + amount > limit:
                return False
            hits.extend([now] * amount)
            self._over[key] = now + expiry
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest one that counts was (monotonic seconds), and how many there are."""
        now = self._clock.monotonic()
        with self._lock:
            hits = self._within(key, expiry, now)
            return (hits[0] if hits else now), len(hits)

    def _within(self, key: str, expiry: int, now: float) -> deque[float]:
        hits = self._hits.get(key)
        if hits is None:
            self._new += 1
            if self._new >= SWEEP:
                self._forget(now)
            hits = self._hits[key] = deque()
        while hits and hits[0] <= now - expiry:
            hits.popleft()
        return hits

    def _forget(self, now: float) -> None:
        self._new = 0
        for key in [one for one in self._hits if self._over.get(one, 0.0) <= now]:
            del self._hits[key]
            self._over.pop(key, None)

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def reset(self) -> int | None:
        """Forget everything."""
        with self._lock:
            count = len(self._hits)
            self._hits.clear()
            self._over.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget one key."""
        with self._lock:
            self._hits.pop(key, None)
            self._over.pop(key, None)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Counters are for windows that stand still."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """Counters are for windows that stand still."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        """Counters are for windows that stand still."""
        raise NotImplementedError
