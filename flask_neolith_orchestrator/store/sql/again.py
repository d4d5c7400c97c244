"""Transactions that a server gave up for another's sake, or whose connection had died, are run again.

With `READ COMMITTED`, which all of ours have, only deadlocks are left of the former; a `ChatStore` of the host's that
locks its own rows may bring them about. The latter is what every process finds once after a restart of the server: its
pool is full of connections that are none any more.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

log = logging.getLogger("flask_neolith_orchestrator")

TRIES = 6
"""Runs of one transaction at the most."""

FIRST_PAUSE = 0.01
"""Seconds before the second run on average; twice as long before each further one, so a third of a second in all."""

GIVEN_UP = {"40001": "serialization failure", "40P01": "deadlock"}
"""SQLSTATE of what a server rolls back so that others can go on, and says so: nothing of it was written."""


class Again:
    """Whether one transaction is worth another run. Lifetime: that transaction with all its runs."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._runs = 0

    def after(self, error: DBAPIError, *, committing: bool) -> bool:
        """Wait a little and say yes, or say no.

        `committing` says that the end of the transaction was under way: where the connection died in it, nobody knows
        whether it was written, and it is not run again.
        """
        self._runs += 1
        why = GIVEN_UP.get(_sqlstate(error))
        if why is None and error.connection_invalidated and not committing:
            why = "lost connection"
        if why is None or self._runs >= TRIES:
            return False
        log.info("A transaction is run again: %s", why, extra={"action": "transaction-again"})
        pause = FIRST_PAUSE * 2 ** (self._runs - 1) * (0.5 + self._jitter())
        threading.Event().wait(pause)  # spread, or two that met would meet again
        return True


def _sqlstate(error: DBAPIError) -> str:
    """As psycopg calls it, and as its predecessor does."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""
