"""Trouble that comes again each second, said once a minute: a database that is away must not fill a disk."""

from __future__ import annotations

import logging
import threading

from ...core.ports import Clock

log = logging.getLogger("flask_neolith_orchestrator")

AGAIN = 60.0
"""Seconds for which the same trouble is not said again."""


CALM = 10.0
"""Seconds without it after which a trouble is over: a part that has nothing to do every time meets it now and then."""


class Complaints:
    """What has been said of which part. Lifetime: app, in one process; for all threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[tuple[str, type[BaseException] | None], float] = {}
        self._met: dict[str, float] = {}

    def say(self, what: str, action: str, error: BaseException | None) -> None:
        """Log an error with its traceback, unless the same has been said within the last minute."""
        key, now = (what, None if error is None else type(error)), self._clock.monotonic()
        with self._lock:
            self._met[what] = now
            if now - self._told.get(key, float("-inf")) < AGAIN:
                return
            self._told[key] = now
        log.error(what, exc_info=error, extra={"action": action})

    def over(self, what: str) -> None:
        """It works: where it has for a while, the next trouble is said at once."""
        if not self._told:
            return
        with self._lock:
            if self._clock.monotonic() - self._met.get(what, float("-inf")) < CALM:
                return
            for key in [one for one in self._told if one[0] == what]:
                del self._told[key]
