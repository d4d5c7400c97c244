"""Rings when a debounce is over: work that is ready only then need not wait for the sweep."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("flask_neolith_orchestrator")


class Alarm:
    """Passes each ring on after its delay. Lifetime: app, in one process. No thread while nothing waits."""

    def __init__(self, ring: Callable[[str], None]) -> None:
        self._ring = ring
        self._changed = threading.Condition()
        self._due: list[tuple[float, str]] = []
        self._running = False
        self._closed = False

    def ring(self, orchestrator_id: str, delay: float = 0.0) -> None:
        """Ring for an orchestrator after `delay` seconds. Never blocks; nothing after `close`."""
        if delay <= 0:
            self._ring(orchestrator_id)
            return
        with self._changed:
            if self._closed:
                return
            heapq.heappush(self._due, (time.monotonic() + delay, orchestrator_id))
            self._changed.notify_all()
            if self._running:
                return
            self._running = True
        threading.Thread(target=self._run, name="neolith-alarm", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._due or self._closed:
                    self._running = False
                    return
                wait = self._due[0][0] - time.monotonic()
                if wait > 0:
                    self._changed.wait(wait)
                    continue
                _at, orchestrator_id = heapq.heappop(self._due)
            try:
                self._ring(orchestrator_id)
            except Exception:
                # the loop's border: the sweep rings for what was missed
                log.exception("An alarm could not ring", extra={"action": "alarm-failed"})

    def close(self) -> None:
        """Forget what waits and end the thread. Safe twice."""
        with self._changed:
            self._closed = True
            self._due.clear()
            self._changed.notify_all()
