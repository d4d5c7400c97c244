"""The lock under which a daemon changes its state: reentrant, and it can be taken from a holder that hangs."""

from __future__ import annotations

import threading
import time

LOOK = 0.25
"""Seconds after which somebody who waits looks whether the holder has lost the lock."""


class _Generation:
    """The lock of one generation. Its owner and depth are written by whoever holds it, and by nobody else."""

    __slots__ = ("depth", "lock", "number", "owner", "since")

    def __init__(self, number: int) -> None:
        self.number = number
        self.lock = threading.Lock()
        self.owner: int | None = None
        self.depth = 0
        self.since = 0.0

    def take(self) -> None:
        """The calling thread, which has just got the lock, is the owner."""
        self.owner, self.depth, self.since = threading.get_ident(), 1, time.monotonic()


class Life:
    """As threading.RLock, and a holder that hangs can lose it. Lifetime: its daemon.

    A thread cannot be killed: whoever lost the lock finds out when it looks at `held`, and its releases do nothing.
    """

    __slots__ = ("_now",)

    def __init__(self) -> None:
        self._now = _Generation(1)

    @property
    def generation(self) -> int:
        """How often it was begun afresh, and one more. It tells old threads to end and fences nothing else."""
        return self._now.number

    @property
    def held(self) -> bool:
        """Whether the calling thread holds it, and has not lost it."""
        return self._now.owner == threading.get_ident()

    @property
    def holder(self) -> int | None:
        """The thread (`threading.get_ident`) that holds it; None while it is free."""
        return self._now.owner

    @property
    def held_for(self) -> float:
        """Seconds (monotonic) since its holder took it; 0.0 while it is free."""
        now = self._now
        since = now.since
        return time.monotonic() - since if now.owner is not None else 0.0

    def acquire(self, blocking: bool = True, timeout: float = -1.0) -> bool:
        """Take it; False if that cannot be done, or not within `timeout` seconds."""
        if self.held:
            self._now.depth += 1
            return True
        deadline = None if timeout < 0 else time.monotonic() + timeout
        while True:
            now = self._now
            left = LOOK if deadline is None else min(LOOK, max(0.0, deadline - time.monotonic()))
            if now.lock.acquire(timeout=left) if blocking else now.lock.acquire(blocking=False):
                if now is self._now:
                    now.take()
                    return True
                now.lock.release()  # of a generation that is over: others who wait for it shall see so, too
            elif now is self._now and (not blocking or (deadline is not None and time.monotonic() >= deadline)):
                return False

    def release(self) -> None:
        """Give it back, as often as it was taken. Does nothing for a thread that has lost it."""
        now = self._now
        if now.owner != threading.get_ident():
            return
        now.depth -= 1
        if not now.depth:
            now.owner = None
            now.lock.release()

    def seize(self) -> None:
        """Take it from whoever holds it, now: the next generation begins, held by the calling thread.

        For one thread at a time: the caller decides who that is.
        """
        fresh = _Generation(self._now.number + 1)
        fresh.lock.acquire()
        fresh.take()
        self._now = fresh

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
