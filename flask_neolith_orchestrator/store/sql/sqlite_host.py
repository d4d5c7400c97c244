"""The host's own engine on a SQLite file: what we set on it, and how we begin to write in its session.

Measured (see docs/architecture.md): the host's engine keeps its own way to begin; only `accept` begins
IMMEDIATE there, and a savepoint as first statement does too, since pysqlite would really commit it at its
release.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Engine, StaticPool, event
from sqlalchemy.orm import Session
from sqlalchemy.pool import SingletonThreadPool

from .gate import Gate, is_busy

_SET = "neolith_pragmas"

MOST_PAGES = 4_000
"""Pages of the write-ahead log at which whoever commits must copy them into the file, and wait for the disk.

SQLite's own 1,000 would make every thirtieth message wait; `SqliteDatabase` copies them earlier, beside the others.
"""


SHARED_BYTES = (0x4000_0002, 510)
"""Where in the file, and on how many bytes, SQLite locks it for reading (its source: os_unix.c, SHARED_FIRST)."""

DEAD_MAN = (128, 1)
"""The same in the file -shm, for as long as a process has it mapped (UNIX_SHM_DMS, the dead man's switch)."""


def is_shared_by_threads(engine: Engine) -> bool:
    """Whether several threads can use this SQLite engine: a file, and not a single connection."""
    in_memory = not engine.url.database or ":memory:" in engine.url.database or "mode=memory" in str(engine.url)
    return not in_memory and not isinstance(engine.pool, StaticPool | SingletonThreadPool)


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
            cursor.execute(f"PRAGMA wal_autocheckpoint={MOST_PAGES}")
            if busy_ms is not None:
                cursor.execute(f"PRAGMA busy_timeout={busy_ms}")
        finally:
            cursor.close()

    event.listen(engine, "checkout", on_checkout)


def take_locks(path: str) -> None:
    """In a forked child: take the locks of which SQLite has copied notes, but which a fork does not copy.

    SQLite has one note of its locks for all connections of a process, also for those that are opened after the fork.
    Without the locks another process would take itself for the only one once the parent is gone, and cut the shared
    memory (a bus error) or delete the write-ahead log (lost writes). They are held until this process ends: to close a
    file would give up all locks on it.
    """
    for name, (start, length) in ((path, SHARED_BYTES), (f"{path}-shm", DEAD_MAN)):
        with suppress(FileNotFoundError):  # no -shm: there is no write-ahead log
            file = os.open(name, os.O_RDWR | os.O_CLOEXEC)
            with suppress(OSError):  # somebody has the whole file just now, alone: SQLite asks for itself then
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, length, start)


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
