"""The host's own transaction, which we join and never end."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from .database import Database
from .sqlite_host import begin_immediate


def reading(session: Session) -> Connection:
    """The session's connection, for looking only. What the host has added but not flushed is seen."""
    if session.autoflush:
        session.flush()
    return session.connection()


def writing(session: Session, database: Database) -> Connection:
    """The session's connection, ready to write: on SQLite it has the write lock from here to the host's commit.

    Check rights and input before: whoever is refused should not have held that lock.
    """
    connection = session.connection()
    if database.dialect.name == "sqlite":
        begin_immediate(connection, getattr(database, "gate", None))
    if session.autoflush:
        session.flush()
    return connection
