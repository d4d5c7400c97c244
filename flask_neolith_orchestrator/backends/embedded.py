"""The dispatcher of one process: an in-process bell, and plain daemon threads that end when they are idle.

Not a ThreadPoolExecutor: that one blocks the interpreter's exit until its work is done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger("flask_neolith_orchestrator")

IDLE = 2.0
"""Seconds after which a thread without work ends."""


class EmbeddedDispatcher:
    """Implements `core.ports.Dispatcher`. Lifetime: app, in one process. Owns no thread while there is no work.

    `max_threads` bounds all threads; those that work for one orchestrator at a time are bounded by
    `per_orchestrator`, or by what `limit_of` says where `run` is given it.
    """

    def __init__(self, *, max_threads: int, per_orchestrator: int) -> None:
        self._max_threads = max_threads
        self._per_orchestrator = per_orchestrator
        self._changed = threading.Condition()
        self._handler: Callable[[str], bool] | None = None
        self._limit_of: Callable[[str], int] = lambda _orchestrator_id: 0
        self._queue: deque[str] = deque()
        self._queued: Counter[str] = Counter()
        self._active: Counter[str] = Counter()
        self._again: set[str] = set()
        self._threads = 0
        self._idle = 0
        self._closed = False
        self._names = 0

    def run(self, handler: Callable[[str], bool], limit_of: Callable[[str], int] | None = None) -> None:
        """Begin to call `handler` for hints; those that came before are not lost."""
        with self._changed:
            self._handler = handler
            if limit_of is not None:
                self._limit_of = limit_of
            self._staff()

    def ring(self, orchestrator_id: str, count: int = 1) -> None:
        """Queue up to `count` calls; what would exceed the bound is looked at when a running call ends."""
        most = self._limit_of(orchestrator_id) or self._per_orchestrator
        with self._changed:
            if self._closed:
                return
            room = most - self._active[orchestrator_id] - self._queued[orchestrator_id]
            if room < count:
                self._again.add(orchestrator_id)
            for _ in range(min(room, count)):
                self._queue.append(orchestrator_id)
                self._queued[orchestrator_id] += 1
            self._staff()

    def _staff(self) -> None:
        if self._handler is None:
            return
        for _ in range(min(self._idle, len(self._queue))):
            self._changed.notify()
        missing = len(self._queue) - self._idle
        for _ in range(min(missing, self._max_threads - self._threads)):
            self._names += 1
            try:
                threading.Thread(target=self._work, name=f"neolith-turn-{self._names}", daemon=True).start()
            except RuntimeError:  # the machine has no more: what is queued waits for the threads there are
                log.exception("No thread could be started", extra={"action": "dispatch-failed"})
                return
            self._threads += 1

    def _work(self) -> None:
        while True:
            orchestrator_id = self._next()
            if orchestrator_id is None:
                return
            more = False
            try:
                more = self._handler(orchestrator_id) if self._handler is not None else False
            except Exception:
                # the loop's border: the sweep rings again for what is left
                log.exception("A dispatched call failed", extra={"action": "dispatch-failed"})
            except BaseException:  # somebody's sys.exit ends this thread: another takes its place
                with self._changed:
                    self._threads -= 1
                raise
            finally:
                self._ended(orchestrator_id, more)

    def _next(self) -> str | None:
        deadline = time.monotonic() + IDLE
        with self._changed:
            while not self._queue:
                left = deadline - time.monotonic()
                if self._closed or left <= 0:
                    self._threads -= 1
                    self._changed.notify_all()
                    return None
                self._idle += 1
                self._changed.wait(left)
                self._idle -= 1
            orchestrator_id = self._queue.popleft()
            self._queued[orchestrator_id] -= 1
            self._active[orchestrator_id] += 1
            return orchestrator_id

    def _ended(self, orchestrator_id: str, more: bool) -> None:
        with self._changed:
            self._active[orchestrator_id] -= 1
            for counter in (self._active, self._queued):
                if not counter[orchestrator_id]:
                    del counter[orchestrator_id]
            # a hint that came while this call was at its end is looked at now, behind everybody else's
            if (more or orchestrator_id in self._again) and not self._closed:
                self._again.discard(orchestrator_id)
                self._queue.append(orchestrator_id)
                self._queued[orchestrator_id] += 1
            self._staff()
            self._changed.notify_all()

    def close(self, seconds: float) -> bool:
        """Take no more hints, drop those that wait, and wait for running calls."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._queued.clear()
            self._changed.notify_all()
            while self._threads:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def health(self) -> Mapping[str, Any]:
        """How many threads there are and what waits for one."""
        with self._changed:
            return {
                "ok": not self._closed,
                "threads": self._threads,
                "active": sum(self._active.values()),
                "queued": len(self._queue),
            }
