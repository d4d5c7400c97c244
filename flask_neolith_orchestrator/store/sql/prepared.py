"""Statements compiled once and run as driver text: building and compiling one costs several times what it does.

Measured on SQLite (see docs/performance.md): a Core statement costs about 100 us of Python, its compiled text through
SQLAlchemy's connection 35, and through the driver's own connection 10; SQLite itself needs 3 to 10. With psycopg a
compiled text costs 90 us of processor time through SQLAlchemy's connection and 47 through its own.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable

from ...core.ports import Clock

NOW = "b_now"
"""The parameter that carries the time where the database's clock is our own."""

WIDEST = 32
"""Values of an IN for which a text of its own is kept; longer lists go through SQLAlchemy."""

Convert = Callable[[Any], Any]


class Rows:
    """What a prepared statement gave, read to its end: a cursor that waits would keep SQLite's snapshot open."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Sequence[Sequence[Any]], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Sequence[Any]]:
        return iter(self._rows)

    def fetchall(self) -> Sequence[Sequence[Any]]:
        """All rows, as tuples."""
        return self._rows

    def fetchone(self) -> Sequence[Any] | None:
        """The first row, or None."""
        return self._rows[0] if self._rows else None

    def one(self) -> Sequence[Any]:
        """The first row. Raises LookupError where there is none."""
        if not self._rows:
            raise LookupError("A statement that always finds a row has found none.")
        return self._rows[0]

    def scalar(self) -> Any:
        """The first value, or None."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """The first value. Raises LookupError where there is none."""
        return self.one()[0]


@dataclass(frozen=True, slots=True)
class _Text:
    """A statement for lists of certain lengths. `order` is None where the driver takes parameters by name."""

    sql: str
    order: Sequence[str] | None
    defaults: Mapping[str, Any]
    expansion: Mapping[str, Sequence[str]]
    incoming: Mapping[str, Convert]
    timed: bool
    is_plain: bool

    def parameters(self, values: dict[str, Any]) -> Any:
        """For the driver, in its order and as it keeps them."""
        if self.is_plain:
            return values if self.order is None else [values[name] for name in self.order]
        merged = {**self.defaults, **values}
        for name, parts in self.expansion.items():
            merged.update(zip(parts, merged.pop(name), strict=True))
        for name, convert in self.incoming.items():
            merged[name] = convert(merged[name])
        return merged if self.order is None else [merged[name] for name in self.order]


class Prepared:
    """A hot Core statement. Lifetime: app, in one process; safe for all threads.

    Lists may be given for expanding parameters. Columns and parameters are converted as their types say. Only a
    statement that asks for the time needs a clock.
    """

    def __init__(self, statement: Executable, clock: Clock | None = None) -> None:
        self._statement: Any = statement
        self._clock = clock
        self._texts: dict[tuple[int, ...], _Text] = {}
        self._recipe: _Recipe | None = None

    def run(self, tx: Connection, **values: Any) -> Rows:
        """Execute in `tx` with the statement's bind parameters given by name."""
        recipe = self._recipe
        if recipe is None:
            recipe = self._recipe = _Recipe(self._statement, tx.dialect)
        widths = tuple([len(values[name]) for name in recipe.lists]) if recipe.lists else ()
        text = self._texts.get(widths)
        if text is None:
            if widths and max(widths) > WIDEST:
                found = tx.execute(self._statement, values)
                return Rows([tuple(row) for row in found] if found.returns_rows else (), found.rowcount)
            text = self._texts[widths] = recipe.text({name: values[name] for name in recipe.lists})
        if text.timed and self._clock is not None:
            values.setdefault(NOW, self._clock.wall())
        if recipe.errors is None or (recipe.is_observed and (not _is_begun(tx) or _has_listeners(tx))):
            result: Any = tx.exec_driver_sql(text.sql, text.parameters(values))
            rows = recipe.converted(result.cursor, lambda: [tuple(row) for row in result])
            return Rows(rows, result.rowcount)
        driver: Any = tx.connection.dbapi_connection
        try:
            cursor = driver.execute(text.sql, text.parameters(values), **recipe.options)
            rows = recipe.converted(cursor, cursor.fetchall)
        except recipe.errors as error:
            if recipe.is_observed and driver.closed:
                tx.exec_driver_sql("SELECT 1")  # fails too: SQLAlchemy gives the connection up, and its pool's others
            raise translated(error, text.sql, recipe.errors) from error
        return Rows(rows, cursor.rowcount)

    def sql(self, dialect: Dialect, width: int = 1) -> str:
        """The driver text with lists of `width` values: for those who ask the database how it is run."""
        recipe = _Recipe(self._statement, dialect)
        return recipe.text({name: [None] * width for name in recipe.lists}).sql


class _Recipe:
    """A compiled statement, from which texts for lists of any lengths are made. Lifetime: its `Prepared`."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        self._dialect = dialect
        self._types = [column.type for column in getattr(statement, "exported_columns", ())]
        self._returns = bool(self._types)
        self.is_observed = dialect.name != "sqlite"
        self.errors = _errors(dialect)
        self.options = {"prepare": True} if self.is_observed else {}
        if isinstance(statement, Insert) and not self._types:
            statement = statement.inline()  # or SQLAlchemy would ask for the key that nobody wants
        self._compiled: Any = statement.compile(dialect=dialect)
        binds = {name: bind for bind, name in self._compiled.bind_names.items()}
        kept = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in binds.items()}
        self._incoming = {name: convert for name, convert in kept.items() if convert is not None}
        self.lists = tuple([name for name, bind in binds.items() if bind.expanding and bind.required])
        self._required = {name: None for name, bind in binds.items() if bind.required}
        self._outgoing: list[tuple[int, Convert]] | None = None

    def converted(self, cursor: Any, fetch: Callable[[], Sequence[Any]]) -> Sequence[Any]:
        """Rows as SQLAlchemy would give them; the driver's cursor has its codes for types."""
        if not self._returns:
            return ()
        if self._outgoing is None:
            kinds = zip(self._types, cursor.description, strict=True)
            converts = [kind.dialect_impl(self._dialect).result_processor(self._dialect, one[1]) for kind, one in kinds]
            self._outgoing = [(place, convert) for place, convert in enumerate(converts) if convert is not None]
        rows = fetch()
        if not self._outgoing:
            return rows
        found = []
        for row in rows:
            values = list(row)
            for place, convert in self._outgoing:
                values[place] = convert(values[place])
            found.append(tuple(values))
        return found

    def text(self, lists: dict[str, Sequence[Any]]) -> _Text:
        """The statement for lists as long as these: their values are replaced at each run."""
        state = self._compiled.construct_expanded_state({**self._required, **lists})
        expansion = {name: state.parameter_expansion[name] for name in self.lists}
        spread = {name for parts in expansion.values() for name in parts}
        defaults = {name: value for name, value in state.parameters.items() if name not in spread}
        incoming = {name: one for name, one in self._incoming.items() if name in defaults} | dict(state.processors)
        given = all(name in self._required for name in defaults) and not expansion and not incoming
        return _Text(state.statement, state.positiontup, defaults, expansion, incoming, NOW in defaults, given)


def _errors(dialect: Dialect) -> type[Exception] | None:
    """What a driver raises whose connection can be used past SQLAlchemy; None for others."""
    if dialect.dbapi is None or dialect.driver not in ("pysqlite", "psycopg"):
        return None
    found: type[Exception] = dialect.dbapi.Error
    return found


def _is_begun(tx: Connection) -> bool:
    """Whether SQLAlchemy knows of the transaction, and so will commit it."""
    transaction = tx.get_transaction()
    return transaction is not None and transaction.is_active


def _has_listeners(tx: Connection) -> bool:
    """Whether somebody, say a tool that traces the host's statements or a log of them, is to see ours too."""
    heard: Any = tx.dispatch
    asked: Any = tx.dialect.dispatch
    told = heard.before_cursor_execute or heard.after_cursor_execute or asked.handle_error or asked.do_execute
    return bool(told) or tx.engine.logger.isEnabledFor(logging.INFO)


def translated(error: Exception, sql: str, errors: type[Exception] = sqlite3.Error) -> BaseException:
    """As SQLAlchemy would raise it, and without the values: they may be somebody's message."""
    return DBAPIError.instance(sql, None, error, errors, hide_parameters=True)
