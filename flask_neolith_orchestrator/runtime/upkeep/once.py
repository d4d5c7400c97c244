"""Something that is started once per process, at the first sign of life."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ...core.errors import NeolithError

log = logging.getLogger("flask_neolith_orchestrator")


class Once:
    """Runs a start once, in the background or waited for; a failed one is tried again after a while.

    Lifetime: app, in one process, until `end`. `failed` is called once a failure has been logged.
    """

    RETRY = 5.0  # seconds

    def __init__(self, start: Callable[[], None], failed: Callable[[], None] = lambda: None) -> None:
        self._start = start
        self._failed = failed
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._failed_at = float("-inf")
        self._ended = False
        self.done = False

    def __call__(self, *, wait: bool) -> None:
        """Start if that has not been done. With `wait`, raises what kept it from starting."""
        if self.done or self._ended:
            return
        with self._lock:
            thread = self._thread
            if thread is None and self._may_start(wait):
                self._error = None
                thread = threading.Thread(target=self._run, name="neolith-start", daemon=True)
                thread.start()
                self._thread = thread
        if wait and thread is not None and thread is not threading.current_thread():
            thread.join()
            if self._error is not None and not self.done:
                raise self._error

    @property
    def is_under_way(self) -> bool:
        """Whether a start goes on now."""
        return self._thread is not None

    @property
    def error(self) -> Exception | None:
        """What kept the last start from being done; None while another goes on."""
        return None if self.done else self._error

    def _may_start(self, wait: bool) -> bool:
        if self.done or self._ended:
            return False
        return wait or time.monotonic() - self._failed_at > self.RETRY

    def _run(self) -> None:
        try:
            self._start()
            self.done = True
        except Exception as error:
            self._error = error
            self._failed_at = time.monotonic()
            # a sentence of ours says what to do; anything else needs its traceback
            told = None if isinstance(error, NeolithError) else error
            log.error("The runtime could not be started: %s", error, exc_info=told, extra={"action": "start-failed"})
            self._failed()
        finally:
            with self._lock:
                self._thread = None

    def end(self, seconds: float) -> None:
        """Start nothing any more, and wait for a start that is under way. Safe twice."""
        with self._lock:
            self._ended = True
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)
