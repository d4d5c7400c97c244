"""Threads of this process that want to write to a SQLite file queue here, not in SQLite's busy handler."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


def is_busy(error: BaseException) -> bool:
    """Whether somebody else holds the database."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


class Gate:
    """Who of this process may write now. Lifetime: app, in one process.

    Threads queue here instead of in SQLite's busy handler, which sleeps up to 100 ms and is unfair.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._freed = threading.Event()
        self._count = threading.Lock()
        self._urgent = 0
        self._shut_out_at = float("-inf")

    def freed(self) -> None:
        """Somebody of this process ended a transaction: whoever waits should try again."""
        if not self._freed.is_set():  # nearly always nobody waits
            self._freed.set()

    def busy(self, *, urgent: bool) -> None:
        """The database was busy: wait a moment, or until somebody of this process ends a transaction."""
        self._freed.clear()
        self._freed.wait(0.005 if urgent or not self._urgent else 0.02)

    def shut_out(self) -> None:
        """A write of ours waited for its whole busy timeout: leases cannot have been renewed meanwhile either.

        A host's `accept` that finds the database busy for a moment does not count: under load that is always so.
        """
        self._shut_out_at = time.monotonic()

    def writable_for(self) -> float:
        """Seconds since a write of ours was last shut out."""
        return time.monotonic() - self._shut_out_at

    @contextmanager
    def urgently(self) -> Iterator[None]:
        """While somebody urgent waits, others wait longer between two tries."""
        with self._count:
            self._urgent += 1
        try:
            yield
        finally:
            with self._count:
                self._urgent -= 1
