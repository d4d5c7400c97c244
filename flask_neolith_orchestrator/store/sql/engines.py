"""How the host's engine is used: which kind of database it is, and what is set on it (as little as possible)."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ...core.ports import Clock
from .database import Database, PooledDatabase, SessionDatabase
from .sqlite import SqliteDatabase
from .sqlite_host import guard_savepoints, holds_database, is_shared_by_threads, set_pragmas

_PREPARED = "_neolith_prepared"


def open_database(engine: Engine, clock: Clock, session: Callable[[], Session], *, pragmas: bool) -> Database:
    """Our own transactions on the host's database. Opens nothing yet."""
    if engine.dialect.name != "sqlite":
        return PooledDatabase(engine, clock)
    if is_shared_by_threads(engine):
        return SqliteDatabase(engine.url, clock, pragmas=pragmas, caller_writes=lambda: _holds(session))
    return SessionDatabase(session, engine.dialect, clock)


def prepare(engine: Engine, *, pragmas: bool) -> None:
    """Set on the host's SQLite engine what we need there, once: pragmas (opt-out) and the savepoint guard.

    How the host begins its transactions is never changed.
    """
    if engine.dialect.name != "sqlite" or getattr(engine, _PREPARED, False):
        return
    setattr(engine, _PREPARED, True)
    guard_savepoints(engine)
    if pragmas and is_shared_by_threads(engine):
        set_pragmas(engine)


def _holds(session: Callable[[], Session]) -> bool:
    try:
        return holds_database(session())
    except RuntimeError:  # a thread without an app context has no session of the host's
        return False
