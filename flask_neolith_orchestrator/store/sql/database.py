"""Transactions of ours, apart from the host's: short, and never open while a model is called.

Three kinds of database, one way to use them: `with database.write() as tx:` and `with database.read() as tx:`
where `tx` is a SQLAlchemy Connection. `sqlite.SqliteDatabase` is the one for SQLite files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Dialect, Double, Engine, bindparam, cast, extract, func
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql import Executable

from ...core.ports import Clock
from .again import Again
from .prepared import NOW, Prepared

T = TypeVar("T")

Then = Callable[[Connection], None]
"""What is read after a commit."""


class Database(ABC):
    """Where our own transactions run. Lifetime: app, in one process; make a new one after a fork."""

    def __init__(self, dialect: Dialect, clock: Clock) -> None:
        self.dialect = dialect
        self.clock = clock

    @property
    def threads(self) -> bool:
        """Whether other threads may use this database too."""
        return True

    @property
    def one_writer(self) -> bool:
        """Whether one write transaction is open at a time, so that others wait for its end anyway."""
        return False

    @abstractmethod
    def write(self, *, urgent: bool = False, then: Then | None = None) -> AbstractContextManager[Connection]:
        """A transaction that may write: committed at the end, rolled back if the block raises.

        `urgent` (lease renewals) goes before others that wait for the database. `then` reads, right after the commit
        and, on SQLite, before anybody else of this process writes; it must not raise.
        """

    def run(self, work: Callable[[Connection], T], *, then: Callable[[Connection, T], None] | None = None) -> T:
        """`work` in a transaction as `write` gives one, run again where the server gave it up: see `again`.

        So `work` may be called several times and does nothing besides. For what nobody would do again; what a job
        repeats anyway, or what is done again for other reasons too, may `write`.
        """
        found: list[T] = []
        with self.write(then=None if then is None else lambda tx: then(tx, found[0])) as tx:
            found.append(work(tx))
        return found[0]

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """A connection for reading."""

    @abstractmethod
    def close(self) -> None:
        """Give connections back. Safe twice."""

    def hold_still(self) -> Callable[[], None]:
        """Before a fork: no write of ours is under way until the parent calls what this returns."""
        return lambda: None

    @abstractmethod
    def forked(self) -> None:
        """In a forked child: leave the parent's connections alone."""

    @abstractmethod
    def writable_for(self) -> float:
        """Seconds (monotonic) since a write last failed because somebody else held the database."""

    def now(self) -> ColumnElement[float]:
        """The database's clock as an expression: the only clock that leases are measured with."""
        if self.clock.database and self.dialect.name == "postgresql":
            return cast(extract("epoch", func.clock_timestamp()), Double)
        return bindparam(NOW, type_=Double)

    def prepare(self, statement: Executable) -> Prepared:
        """A hot statement, compiled once."""
        return Prepared(statement, self.clock)


class PooledDatabase(Database):
    """Postgres and other servers: the host's own engine, with our own isolation level."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        super().__init__(engine.dialect, clock)
        self._engine = engine.execution_options(isolation_level="READ COMMITTED")
        self._engine.hide_parameters = True  # in errors of ours: they may be somebody's message

    @contextmanager
    def write(self, *, urgent: bool = False, then: Then | None = None) -> Iterator[Connection]:
        """A transaction of its own connection; a server lets many write at once."""
        with self._engine.connect() as tx:
            with tx.begin():
                yield tx
            if then is not None:
                with tx.begin():  # committed, as in `read`
                    then(tx)

    def run(self, work: Callable[[Connection], T], *, then: Callable[[Connection, T], None] | None = None) -> T:
        """`work` in a transaction, several times if need be."""
        again = Again()
        while True:
            committing = False
            try:
                with self._engine.connect() as tx:
                    with tx.begin():
                        found = work(tx)
                        committing = True
                    if then is not None:
                        with tx.begin():  # committed, as in `read`
                            then(tx, found)
                    return found
            except DBAPIError as error:
                if not again.after(error, committing=committing):
                    raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading.

        Its transaction is committed: at each ROLLBACK psycopg gives up all statements that the server has prepared.
        """
        with self._engine.begin() as tx:
            yield tx

    def close(self) -> None:
        """The engine is the host's: nothing is ours to close."""

    def forked(self) -> None:
        """Two processes on one connection would read each other's answers."""
        self._left = self._engine.pool  # kept: collecting it would close the parent's connections
        self._engine.dispose(close=False)

    def writable_for(self) -> float:
        """A server does not lock its writers out."""
        return float("inf")


class SessionDatabase(Database):
    """A database that threads cannot share (in memory): our transactions are savepoints of the caller's session.

    Committing stays the caller's.
    """

    def __init__(self, session: Callable[[], Session], dialect: Dialect, clock: Clock) -> None:
        super().__init__(dialect, clock)
        self._session = session

    @property
    def threads(self) -> bool:
        """No: one connection, one thread."""
        return False

    @contextmanager
    def write(self, *, urgent: bool = False, then: Then | None = None) -> Iterator[Connection]:
        """A savepoint."""
        session = self._session()
        with session.begin_nested():
            yield session.connection()
            session.expire_all()
        if then is not None:
            then(session.connection())

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """The caller's own connection."""
        yield self._session().connection()

    def close(self) -> None:
        """The session is the caller's: nothing is ours to close."""

    def forked(self) -> None:
        """The session is the caller's."""

    def writable_for(self) -> float:
        """Nobody else is there."""
        return float("inf")
