"""SQLite files: one writer at a time, and the host must never notice us.

Our own writes share one connection under a process lock, which is faster than a pool of them.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.pool import NullPool

from ...core.errors import OpenTransaction, StoreClosed
from ...core.ports import Clock
from .database import Database, Then
from .gate import Gate, is_busy
from .prepared import translated
from .sqlite_host import set_pragmas, take_locks

log = logging.getLogger("flask_neolith_orchestrator")

BUSY_MS = 100
"""How long our write connection may wait inside SQLite before it gives the process lock back."""

KEPT_READERS = 8
"""Connections for reading that are kept open while nobody reads."""

TIDY_AFTER = 40
"""Writes of ours after which a thread copies the write-ahead log into the file; some 600 pages."""

FORK_PATIENCE = 5.0
"""Seconds that a fork waits for a write of ours to end."""

GIVE_UP = 30.0
"""Seconds after which a write of ours that never found the database free raises."""


class SqliteDatabase(Database):
    """A SQLite file: one write connection under a process lock, a small pool for reading.

    `caller_writes` says whether the calling thread itself holds the database by a session of the host's.
    """

    def __init__(
        self, url: URL, clock: Clock, *, pragmas: bool = True, caller_writes: Callable[[], bool] = lambda: False
    ) -> None:
        self._engine = create_engine(
            url,
            isolation_level="AUTOCOMMIT",
            connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False},
            poolclass=NullPool,  # we keep what we use: a checkout costs more than the statement it is for
            hide_parameters=True,  # in errors: they may be somebody's message
        )
        super().__init__(self._engine.dialect, clock)
        if pragmas:
            set_pragmas(self._engine, busy_ms=BUSY_MS)
        self.gate = Gate()
        self._connection: Connection | None = None
        self._readers: deque[Connection] = deque()
        self._caller_writes = caller_writes
        self._closed = False
        self._writes = 0
        self._tidying = threading.Lock()

    @property
    def one_writer(self) -> bool:
        """Yes: all of this process write on one connection."""
        return True

    @contextmanager
    def write(self, *, urgent: bool = False, then: Then | None = None) -> Iterator[Connection]:
        """BEGIN IMMEDIATE on the one write connection.

        What is read by `then` keeps the other threads of this process waiting, who would only hold it up, but not the
        host, whose writes the file itself lets through.
        Raises OpenTransaction where the caller's own session holds the database: waiting would be for itself.
        """
        tx = self._begin(urgent)
        try:
            yield tx
            _commit(tx)
            if then is not None:
                then(tx)
        except BaseException:
            _roll_back(tx)
            raise
        finally:
            self._writes += 1
            due = self._writes % TIDY_AFTER == 0
            self.gate.lock.release()
            self.gate.freed()
        if due:
            self._tidy_apart()

    def _tidy_apart(self) -> None:
        """Have the log copied by a thread of its own: else some commit would do it, of ours or of the host's."""
        if self._tidying.acquire(blocking=False):
            try:
                threading.Thread(target=self._tidy, name="neolith-tidy", daemon=True).start()
            except RuntimeError:  # no more threads: a later commit does it
                self._tidying.release()

    def _tidy(self) -> None:
        try:
            with self.read() as tx:
                _driver(tx).execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # waits for nobody
        except Exception:
            # the thread's border: the next one tries again, and at last some commit does it
            log.debug("The write-ahead log could not be copied yet", exc_info=True, extra={"action": "tidy-failed"})
        finally:
            self._tidying.release()

    def _begin(self, urgent: bool) -> Connection:
        if not urgent:
            return self._begun(False)
        with self.gate.urgently():
            return self._begun(True)

    def _begun(self, urgent: bool) -> Connection:
        deadline = time.monotonic() + GIVE_UP
        while True:
            self.gate.lock.acquire()
            try:
                tx = self._writer()
                _driver(tx).execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                self._after_failed_begin()
                if not is_busy(error) or time.monotonic() > deadline:
                    raise translated(error, "BEGIN IMMEDIATE") from error
                if self._caller_writes():
                    raise OpenTransaction from error
                self.gate.shut_out()
                self.gate.busy(urgent=urgent)
            except BaseException:
                self._after_failed_begin()
                raise
            else:
                return tx

    def _after_failed_begin(self) -> None:
        if self._connection is not None:
            _roll_back(self._connection)
        self.gate.lock.release()

    def _writer(self) -> Connection:
        if self._closed:
            raise StoreClosed
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in autocommit: each statement sees what is committed."""
        try:
            tx = self._readers.pop()
        except IndexError:
            tx = self._engine.connect()
        try:
            yield tx
        finally:
            if tx.in_transaction():  # SQLAlchemy's own, begun by a statement of its own
                tx.rollback()
            if self._closed or len(self._readers) >= KEPT_READERS:
                tx.close()
            else:
                self._readers.append(tx)

    def close(self) -> None:
        """Close all connections. Safe twice."""
        with self._tidying, self.gate.lock:
            self._closed = True  # a thread that was given up must not open it again
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        while self._readers:
            self._readers.pop().close()
        self._engine.dispose()

    def hold_still(self) -> Callable[[], None]:
        """Keep writes of ours from a fork: the child would take the lock for held, and never write."""
        if not self.gate.lock.acquire(timeout=FORK_PATIENCE):
            return lambda: None  # it is the forking thread's own
        return self.gate.lock.release

    def forked(self) -> None:
        """SQLite forbids to use or close a connection across a fork: the parent's are only kept."""
        if self._engine.url.database:
            take_locks(self._engine.url.database)
        self._left = (self._engine.pool, self._connection, self._readers)
        self._connection, self._readers = None, deque()
        self._engine.dispose(close=False)

    def writable_for(self) -> float:
        """Seconds since the database was last found busy."""
        return self.gate.writable_for()


def _driver(tx: Connection) -> Any:
    """The driver's own connection: a statement without rows costs a tenth of what it costs through SQLAlchemy."""
    return tx.connection.dbapi_connection


def _commit(tx: Connection) -> None:
    try:
        _driver(tx).commit()
    except sqlite3.Error as error:
        raise translated(error, "COMMIT") from error
    if tx.in_transaction():  # only where a statement of SQLAlchemy's own was run
        tx.commit()


def _roll_back(tx: Connection) -> None:
    _driver(tx).rollback()
    if tx.in_transaction():
        tx.rollback()
