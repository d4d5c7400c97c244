"""Something that is started once per process, at the first sign of life."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("flask_neolith_orchestrator")


class Once:
    """Runs a start once, in the background or waited for; a failed one is tried again after a while."""

    RETRY = 5.0  # seconds

    def __init__(self, start: Callable[[], None]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._failed_at = float("-inf")
        self.done = False

    def __call__(self, *, wait: bool) -> None:
        if self.done:
            return
        with self._lock:
            thread = self._thread
            if thread is None and self._is_due() and (wait or time.monotonic() - self._failed_at > self.RETRY):
                thread = threading.Thread(target=self._run, name="neolith-start", daemon=True)
                self._thread = thread
                thread.start()
        if wait and thread is not None and thread is not threading.current_thread():
            thread.join()
            if self._error is not None and not self.done:
                raise self._error

    def _is_due(self) -> bool:
        return not self.done

    def _run(self) -> None:
        try:
            self._start()
            self.done = True
        except Exception as error:
            self._error = error
            self._failed_at = time.monotonic()
            log.exception("The runtime could not be started", extra={"action": "start-failed"})
        finally:
            with self._lock:
                self._thread = None
