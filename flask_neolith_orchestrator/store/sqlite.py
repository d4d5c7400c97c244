"""SQLite files: one writer at a time, and the host must never notice us.

Measured (see docs/architecture.md): the host's engine keeps its own way to begin; only `accept` begins
IMMEDIATE there, and a savepoint as first statement does too, since pysqlite would really commit it at its
release. Our own writes share one connection under a process lock, which is faster than a pool of them.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import SingletonThreadPool

from ..core.errors import OpenTransaction, StoreClosed
from ..core.ports import Clock
from .database import Database

BUSY_MS = 100
"""How long our write connection may wait inside SQLite before it gives the process lock back."""

_SET = "neolith_pragmas"

GIVE_UP = 30.0
"""Seconds after which a write of ours that never found the database free raises."""


def is_shared_by_threads(engine: Engine) -> bool:
    """Whether several threads can use this SQLite engine: a file, and not a single connection."""
    in_memory = not engine.url.database or ":memory:" in engine.url.database or "mode=memory" in str(engine.url)
    return not in_memory and not isinstance(engine.pool, StaticPool | SingletonThreadPool)


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
    def urgently(self, urgent: bool) -> Iterator[None]:
        """While somebody urgent waits, others wait longer between two tries."""
        with self._count:
            self._urgent += urgent
        try:
            yield
        finally:
            with self._count:
                self._urgent -= urgent


class SqliteDatabase(Database):
    """A SQLite file: one write connection under a process lock, a small pool for reading.

    `caller_writes` says whether the calling thread itself holds the database by a session of the host's.
    """

    def __init__(
        self, url: URL, clock: Clock, *, pragmas: bool = True, caller_writes: Callable[[], bool] = lambda: False
    ) -> None:
        self._engine = create_engine(
            url, isolation_level="AUTOCOMMIT", connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False}
        )
        super().__init__(self._engine.dialect, clock)
        if pragmas:
            set_pragmas(self._engine, busy_ms=BUSY_MS)
        self.gate = Gate()
        self._connection: Connection | None = None
        self._caller_writes = caller_writes
        self._closed = False

    @contextmanager
    def write(self, *, urgent: bool = False) -> Iterator[Connection]:
        """BEGIN IMMEDIATE on the one write connection.

        Raises OpenTransaction where the caller's own session holds the database: waiting would be for itself.
        """
        tx = self._begin(urgent)
        try:
            yield tx
            tx.commit()
        except BaseException:
            tx.rollback()
            raise
        finally:
            self.gate.lock.release()
            self.gate.freed()

    def _begin(self, urgent: bool) -> Connection:
        deadline = time.monotonic() + GIVE_UP
        with self.gate.urgently(urgent):
            while True:
                self.gate.lock.acquire()
                try:
                    tx = self._writer()
                    tx.exec_driver_sql("BEGIN IMMEDIATE")
                except OperationalError as error:
                    self._after_failed_begin()
                    if not is_busy(error.orig or error) or time.monotonic() > deadline:
                        raise
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
            self._connection.rollback()
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
        with self._engine.connect() as tx:
            yield tx

    def close(self) -> None:
        """Close all connections. Safe twice."""
        with self.gate.lock:
            self._closed = True  # a thread that was given up must not open it again
            if self._connection is not None:
                self._connection.close()
                self._connection = None
        self._engine.dispose()

    def forked(self) -> None:
        """SQLite forbids to use or close a connection across a fork: the parent's are only kept."""
        self._left = (self._engine.pool, self._connection)
        self._connection = None
        self._engine.dispose(close=False)

    def writable_for(self) -> float:
        """Seconds since the database was last found busy."""
        return self.gate.writable_for()


def set_pragmas(engine: Engine, *, busy_ms: int | None = None) -> None:
    """WAL, synchronous=NORMAL (safe against a killed process, not against power loss) and a busy timeout.

    Set when a connection is taken from the pool, so that those made before are reached without closing them.
    """

    def on_checkout(connection: Any, record: Any, _proxy: object) -> None:
        if _SET in record.info:
            return
        cursor = connection.cursor()
        try:
            if _use_wal(cursor):
                record.info[_SET] = True
            cursor.execute("PRAGMA synchronous=NORMAL")
            if busy_ms is not None:
                cursor.execute(f"PRAGMA busy_timeout={busy_ms}")
        finally:
            cursor.close()

    event.listen(engine, "checkout", on_checkout)


def _use_wal(cursor: Any) -> bool:
    """Change the file to WAL if nobody uses it just now; False if the next connection should try."""
    # the journal mode is a property of the file: changing it needs the file for oneself, asking does not
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        return True
    timeout = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
    cursor.execute("PRAGMA busy_timeout=0")
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if not is_busy(error):
            raise
        return False
    finally:
        cursor.execute(f"PRAGMA busy_timeout={timeout}")
    return True


def guard_savepoints(engine: Engine) -> None:
    """Begin for real before a first SAVEPOINT, or pysqlite would really commit it at its release."""

    def on_savepoint(connection: Connection, _name: str) -> None:
        dbapi = connection.connection.dbapi_connection
        if dbapi is not None and not dbapi.in_transaction:
            dbapi.execute("BEGIN IMMEDIATE")

    event.listen(engine, "savepoint", on_savepoint)


def begin_immediate(connection: Connection, gate: Gate | None, *, patience: float = 5.0) -> None:
    """Begin to write on the host's connection now, unless it is already in a transaction.

    The process lock is held only for the BEGIN itself and only while SQLite answers at once, so that neither
    the host nor our renewals ever wait for each other inside it.
    """
    dbapi: Any = connection.connection.dbapi_connection
    if dbapi is None or dbapi.in_transaction:
        return
    if gate is None:
        dbapi.execute("BEGIN IMMEDIATE")
        return
    timeout = dbapi.execute("PRAGMA busy_timeout").fetchone()[0]
    deadline = time.monotonic() + max(patience, timeout / 1000)
    dbapi.execute("PRAGMA busy_timeout=0")
    try:
        while not _try_begin(dbapi, gate):
            if time.monotonic() > deadline:
                dbapi.execute("BEGIN IMMEDIATE")  # raises what the host would have seen without us
                return
            gate.busy(urgent=False)
    finally:
        dbapi.execute(f"PRAGMA busy_timeout={timeout}")


def _try_begin(dbapi: Any, gate: Gate) -> bool:
    with gate.lock:
        try:
            dbapi.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            return False
        return True


def has_begun_to_write(session: Session) -> bool:
    """Whether this session holds a SQLite transaction, or is about to begin one."""
    pending = bool(session.new or session.dirty or session.deleted)
    return session.in_transaction() and (pending or holds_database(session))


def holds_database(session: Session) -> bool:
    """Whether this session's connection is in a SQLite transaction: waiting for the database would be for itself."""
    if not session.in_transaction():
        return False
    dbapi: Any = session.connection().connection.dbapi_connection
    return bool(dbapi is not None and getattr(dbapi, "in_transaction", False))
