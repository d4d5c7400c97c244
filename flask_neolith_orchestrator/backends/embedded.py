"""The dispatcher of one process: an in-process bell, and plain daemon threads that end when they are idle.

Not a ThreadPoolExecutor: that one blocks the interpreter's exit until its work is done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.ports import Neighbours

log = logging.getLogger("flask_neolith_orchestrator")

IDLE = 2.0
"""Seconds after which a thread without work ends."""


@dataclass(frozen=True, slots=True)
class _Call:
    orchestrator_id: str
    began: float


class EmbeddedDispatcher:
    """Implements `core.ports.Dispatcher`. Lifetime: app, in one process. Owns no thread while there is no work.

    `max_threads` bounds all threads; those that work for one orchestrator at a time are bounded by
    `per_orchestrator`, or by what `limit_of` says where `run` is given it. A call that takes longer than
    `patience` seconds hangs. As many threads again as `max_threads` may be abandoned; further ones keep their place.
    With no threads at all it runs nothing, and lets the processes beside it know what it is rung for.
    """

    def __init__(
        self,
        *,
        max_threads: int,
        per_orchestrator: int,
        patience: float = 3_600.0,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._neighbours = neighbours
        self._max_threads = max_threads
        self._per_orchestrator = per_orchestrator
        self._patience = patience
        self._changed = threading.Condition()
        self._handler: Callable[[str], bool] | None = None
        self._limit_of: Callable[[str], int] = lambda _orchestrator_id: 0
        self._queue: deque[str] = deque()
        self._queued: Counter[str] = Counter()
        self._active: Counter[str] = Counter()
        self._again: set[str] = set()
        self._calls: dict[int, _Call] = {}
        self._abandoned: dict[int, bool] = {}  # by thread: whether others have its place
        self._refused = False
        self._threads = 0
        self._idle = 0
        self._closed = False
        self._names = 0

    @property
    def threads(self) -> int:
        """Calls at one time at the most."""
        return self._max_threads

    def run(
        self,
        handler: Callable[[str], bool],
        limit_of: Callable[[str], int] | None = None,
        look: Callable[[], None] | None = None,
    ) -> None:
        """Begin to call `handler` for hints; those that came before are not lost."""
        if self._neighbours is not None and look is not None:
            self._neighbours.on("look", look)
            self._neighbours.on("ring", self._rung_beside)
        with self._changed:
            self._handler = handler
            if limit_of is not None:
                self._limit_of = limit_of
            self._staff()

    def ring(self, orchestrator_id: str, count: int = 1) -> None:
        """Queue up to `count` calls; what would exceed the bound is looked at when a running call ends."""
        if not self._max_threads:
            if self._neighbours is not None:
                self._neighbours.tell("ring", orchestrator_id, count)
            return
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

    def _rung_beside(self, orchestrator_id: str, count: int) -> None:
        if self._max_threads and self._limit_of(orchestrator_id):
            self.ring(orchestrator_id, count)

    def serve(self, threads: int) -> None:
        """Run so many calls at one time."""
        self._max_threads = threads

    def tell(self) -> None:
        """Those on this machine look at once, others see it at their next sweep."""
        if self._neighbours is not None:
            self._neighbours.tell("look")

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
                self._refused = True
                return
            self._threads += 1
            self._refused = False

    def _work(self) -> None:
        while (orchestrator_id := self._next()) is not None:
            more, lives = False, False
            try:
                more = self._handler(orchestrator_id) if self._handler is not None else False
                lives = True
            except Exception:
                # the loop's border: the sweep rings again for what is left
                log.exception("A dispatched call failed", extra={"action": "dispatch-failed"})
                lives = True
            finally:  # without `lives` it is somebody's sys.exit, which ends this thread: another takes its place
                stays = self._ended(orchestrator_id, more, lives=lives)
            if not stays:
                return

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
            self._calls[threading.get_ident()] = _Call(orchestrator_id, time.monotonic())
            return orchestrator_id

    def _ended(self, orchestrator_id: str, more: bool, *, lives: bool) -> bool:
        """Give the call's place back; whether this thread may have another call."""
        with self._changed:
            replaced = self._abandoned.pop(threading.get_ident(), None)
            if replaced is None:
                del self._calls[threading.get_ident()]
                self._leave(orchestrator_id, more)
            if not replaced and (replaced is not None or not lives):
                self._threads -= 1
            self._staff()
            self._changed.notify_all()
            return replaced is None

    def _leave(self, orchestrator_id: str, more: bool) -> None:
        self._active[orchestrator_id] -= 1
        for counter in (self._active, self._queued):
            if not counter[orchestrator_id]:
                del counter[orchestrator_id]
        # a hint that came while this call was at its end is looked at now, behind everybody else's
        if (more or orchestrator_id in self._again) and not self._closed:
            self._again.discard(orchestrator_id)
            self._queue.append(orchestrator_id)
            self._queued[orchestrator_id] += 1

    def abandon(self, thread: int) -> None:
        """Let others have the place of a call that hangs; without effect where that thread has no call."""
        with self._changed:
            call = self._calls.pop(thread, None)
            if call is None:
                return
            self._abandoned[thread] = replaced = len(self._abandoned) < self._max_threads
            if replaced:
                self._threads -= 1
            self._leave(call.orchestrator_id, more=True)
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

    def check(self) -> str | None:
        """It needs nothing but this process."""
        return None

    def health(self) -> Mapping[str, Any]:
        """How many threads there are, what waits for one, and whether they can work."""
        with self._changed:
            long_ago = time.monotonic() - self._patience
            stuck = sum(call.began < long_ago for call in self._calls.values())
            problem = self._problem(stuck)
            return {
                "ok": problem is None and not self._closed,
                "alive": not self._max_threads or max(stuck, len(self._abandoned)) < self._max_threads,
                "detail": problem or "",
                "threads": self._threads,
                "active": sum(self._active.values()),
                "queued": len(self._queue),
                "abandoned": len(self._abandoned),
            }

    def _problem(self, stuck: int) -> str | None:
        if self._refused and self._queue and not self._threads:
            return "no thread can be started"
        lost = stuck + sum(not replaced for replaced in self._abandoned.values())
        if lost and lost >= self._max_threads:
            return f"every thread hangs ({self._max_threads})"
        return None
