"""A host's whole database moves to another server: all its tables and ours, in one transaction, counted at the end.

Values pass through the types of the host's metadata, so that what SQLite keeps as a number or a text becomes the
boolean, instant, JSON or UUID that it is.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    MetaData,
    Table,
    bindparam,
    create_engine,
    func,
    insert,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.schema import sort_tables_and_constraints

from ..core.errors import CopyRefused
from .tables.models import SCHEMA_VERSION, Models

BATCH = 1_000
"""Rows of one statement."""

RECENT = 60.0
"""Seconds for which a process that was seen is taken for alive."""

LEFT = ("neolith_node", "neolith_schema")
"""Tables whose rows belong to the processes and the release that run, not to what people have written."""

Row = dict[str, Any]


def open_source(url: str, folder: str) -> Engine:
    """The database to copy from. As in SQLALCHEMY_DATABASE_URI a relative path of SQLite is one in `folder`, the app's
    instance folder.

    Raises CopyRefused where there is no such file, which SQLite would make, and SQLAlchemy's errors for other URLs.
    """
    found = make_url(url)
    if found.get_backend_name() == "sqlite" and found.database not in (None, "", ":memory:"):
        scheme = "file:" if "uri" in found.query else ""
        path = os.path.join(folder, str(found.database).removeprefix(scheme))
        if not os.path.isfile(path):
            raise CopyRefused(f"There is no file {path}. (A relative path is one in the app's instance folder.)")
        found = found.set(database=scheme + path)
    return create_engine(found, hide_parameters=True)


def copy_all(models: Models, source: Engine, tx: Connection, *, now: float, tell: Callable[[str, int], None]) -> int:
    """Copy every row of every table of the host's metadata into `tx`, which the caller commits; how many there were.

    Raises CopyRefused where the source is the target, is in use or of another release, where the target has rows
    already, where its tables differ, and where a row cannot be kept. `now` is in epoch seconds; `tell` hears each table
    with its rows.
    """
    metadata = models.user_table.metadata
    total = 0
    with source.connect() as origin:  # one transaction, so what is read belongs together
        if source.dialect.name == "sqlite":
            origin.exec_driver_sql("PRAGMA query_only = ON")
            origin.exec_driver_sql("BEGIN")
        _check_apart(origin, tx)
        _check_source(models, origin, now)
        tables = _in_order(metadata, set(inspect(origin).get_table_names()))
        _check_target(tables, tx)
        if tx.dialect.name == "postgresql":
            tx.execute(text("SET LOCAL TIME ZONE 'UTC'"))  # instants without a zone are UTC
        for table in tables:
            count = _copy(table, origin, tx)
            tell(table.name, count)
            total += count
        _check_counts(tables, origin, tx)
        origin.rollback()
    if tx.dialect.name == "postgresql":
        _set_sequences(tables, tx)
    return total


def _in_order(metadata: MetaData, present: set[str]) -> list[Table]:
    """Tables with those that others refer to first; those that the source does not have are left out."""
    found = []
    sort: Any = sort_tables_and_constraints  # which has no types
    for table, constraints in sort(list(metadata.tables.values())):
        if table is None:
            circle = sorted({str(one.table.name) for one in constraints if one.table is not one.referred_table})
            if circle:
                msg = f"The tables {', '.join(circle)} refer to each other in a circle: copy this database by hand."
                raise CopyRefused(msg)
        elif table.name in present and table.name not in LEFT:
            found.append(table)
    return found


def _check_apart(origin: Connection, tx: Connection) -> None:
    if _identity(origin) == _identity(tx):
        name = tx.engine.url.render_as_string()
        msg = f"The app is configured to use this very database, {name}: set SQLALCHEMY_DATABASE_URI to the new one."
        raise CopyRefused(msg)


def _identity(tx: Connection) -> object:
    """What only this database is, by whatever name one came to it; of one in memory: nothing but itself."""
    if tx.dialect.name == "sqlite":
        file = tx.exec_driver_sql("PRAGMA database_list").all()[0][2]  # the first is the main one
        if not file:
            return tx
        found = os.stat(file)
        return found.st_dev, found.st_ino
    if tx.dialect.name == "postgresql":
        look = "SELECT oid, pg_postmaster_start_time() FROM pg_database WHERE datname = current_database()"
        return tuple(tx.execute(text(look)).one())
    return tx


def _check_source(models: Models, origin: Connection, now: float) -> None:
    schema, node = models.table("Schema"), models.table("Node")
    try:
        version = origin.execute(select(schema.c.version)).scalar()
        seen = origin.execute(select(func.max(node.c.seen_at), func.count())).one()
    except DBAPIError as error:
        name = origin.engine.url.render_as_string()
        msg = f"There is no database of this app at {name}: {type(error.orig).__name__}."
        raise CopyRefused(msg) from error
    if version != SCHEMA_VERSION:
        msg = f"Its tables are of version {version}, not {SCHEMA_VERSION}: bring the old database up to date first."
        raise CopyRefused(msg)
    if seen[0] is not None and now - seen[0] < RECENT:
        msg = f"{seen[1]} processes were seen on it within the last minute: stop the app first."
        raise CopyRefused(msg)


def _check_target(tables: Sequence[Table], tx: Connection) -> None:
    there = set(inspect(tx).get_table_names())
    missing = sorted(table.name for table in tables if table.name not in there)
    if missing:
        msg = f"The new database has no table {', '.join(missing)}: make its tables first, as for a new installation."
        raise CopyRefused(msg)
    full = [table.name for table in tables if tx.execute(select(1).select_from(table).limit(1)).first() is not None]
    if full:
        msg = f"The new database is not empty: there are rows in {', '.join(sorted(full))}. Nothing was copied."
        raise CopyRefused(msg)


def _copy(table: Table, origin: Connection, tx: Connection) -> int:
    """Copy one table; rows that refer to rows of the same table come after those."""
    columns = [column for column in table.columns if column.computed is None]
    statement = insert(table).values({column.name: _bound(column) for column in columns})
    own = [key for key in table.foreign_keys if key.column.table is table]
    done: set[Any] = set()
    later: list[Row] = []
    count = 0
    try:
        for rows in _read(table, columns, origin):
            ready = _ready(rows, own, done, later)
            _write(statement, ready, tx)
            count += len(rows)
        while later:
            rows, later = later, []
            ready = _ready(rows, own, done, later)
            if not ready:
                msg = f"{len(later)} rows of {table.name} refer to rows that are not there."
                raise CopyRefused(msg)
            _write(statement, ready, tx)
    except SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or error).splitlines()[0]
        msg = f"A row of {table.name} cannot be copied: {why}"
        raise CopyRefused(msg) from error
    return count


def _bound(column: Column[Any]) -> Any:
    """The column's value, where None stays NULL also for JSON, which would make it a null of its own."""
    kind: Any = column.type
    if isinstance(kind, JSON):
        kind = copy.copy(kind)
        kind.none_as_null = True
    return bindparam(f"b_{column.name}", type_=kind)


def _read(table: Table, columns: Sequence[Column[Any]], origin: Connection) -> Iterator[list[Row]]:
    """Batches of rows by column name. A JSON null, which is read as None too, is told from NULL."""
    json = [column for column in columns if isinstance(column.type, JSON)]
    flags = [column.is_not(None).label(f"has_{column.name}") for column in json]
    order = list(table.primary_key.columns)
    found = origin.execution_options(yield_per=BATCH).execute(select(*columns, *flags).order_by(*order))
    for part in found.partitions():
        rows = [{column.name: row[at] for at, column in enumerate(columns)} for row in part]
        for values, row in zip(rows, part, strict=True):
            for at, column in enumerate(json, start=len(columns)):
                if row[at] and values[column.name] is None:
                    values[column.name] = JSON.NULL
        yield rows


def _ready(rows: Sequence[Row], own: Sequence[Any], done: set[Any], later: list[Row]) -> list[Row]:
    """Rows whose row of the same table is there; the others are put into `later`."""
    if not own:
        return list(rows)
    ready = []
    for row in rows:
        if all(_is_there(row, key, done) for key in own):
            ready.append(row)
            done.update((key.column.name, row[key.column.name]) for key in own)
        else:
            later.append(row)
    return ready


def _is_there(row: Mapping[str, Any], key: Any, done: set[Any]) -> bool:
    wanted = row[key.parent.name]
    return wanted is None or wanted == row[key.column.name] or (key.column.name, wanted) in done


def _write(statement: Any, rows: Sequence[Row], tx: Connection) -> None:
    if rows:
        tx.execute(statement, [{f"b_{name}": value for name, value in row.items()} for row in rows])


def _check_counts(tables: Sequence[Table], origin: Connection, tx: Connection) -> None:
    for table in tables:
        statement = select(func.count()).select_from(table)
        before, after = origin.execute(statement).scalar_one(), tx.execute(statement).scalar_one()
        if before != after:
            msg = f"{table.name} had {before} rows and has {after} now. Nothing was copied."
            raise CopyRefused(msg)


def _set_sequences(tables: Sequence[Table], tx: Connection) -> None:
    """The next key of each table comes after the last one."""
    preparer = tx.dialect.identifier_preparer
    for table in tables:
        name = preparer.format_table(table)
        for column in table.primary_key.columns:
            look = text("SELECT pg_get_serial_sequence(:table, :column)")
            sequence = tx.execute(look, {"table": name, "column": column.name}).scalar()
            if sequence is not None:
                newest = tx.execute(select(func.max(column))).scalar()
                if newest is not None:
                    tx.execute(text("SELECT setval(:sequence, :newest)"), {"sequence": sequence, "newest": newest})
