"""Is the database ready for us? A forgotten migration is named with the commands that mend it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Column, Connection, Engine, Table, inspect, select, update
from sqlalchemy.schema import CreateColumn

from ..core.errors import SchemaMissing
from .sql.inserts import insert_into
from .tables.models import SCHEMA_VERSION, Models

MEND = (
    "Run `flask db migrate` and `flask db upgrade` if the app uses Flask-Migrate, else `flask neolith create-tables`."
)
USERS_FIRST = (
    "There is no table {!r} of users: create the app's own tables first (flask db upgrade, or db.create_all())."
)
OLD = (
    "The tables are of version {}, and this release needs version {}. Run `flask db migrate` and `flask db upgrade` "
    "if the app uses Flask-Migrate, and then `flask neolith create-tables`, which adds what is missing and sets the "
    "version."
)
NEW = "The tables are of version {}, which is newer than this release (version {}): install the newer release again."

Bind = Engine | Connection
"""An engine, or the caller's own connection where there can be only one: then nothing is committed here."""


def problems(models: Models, bind: Bind) -> list[str]:
    """What the database lacks, in sentences that say what to do; empty if all is there."""
    inspector = inspect(bind)
    user = models.user_table
    if not inspector.has_table(user.name, user.schema):
        return [USERS_FIRST.format(user.name)]
    missing = sorted(table.name for table in models.tables() if not inspector.has_table(table.name, table.schema))
    found = [f"There is no table {', '.join(missing)}."] if missing else []
    found += [
        f"The table {column.table.name!r} has no column {column.name!r}." for column in _missing_columns(models, bind)
    ]
    version = None if "neolith_schema" in missing else _version(models, bind)
    if version is not None and version > SCHEMA_VERSION:
        return [NEW.format(version, SCHEMA_VERSION)]
    if version is not None and version < SCHEMA_VERSION:
        return [*found, OLD.format(version, SCHEMA_VERSION)]
    if found:
        return [*found, MEND]
    if version is None:
        _stamp(models.table("Schema"), bind)
    return []


def check(models: Models, bind: Bind) -> None:
    """Raise SchemaMissing with everything that is missing and the commands that mend it."""
    found = problems(models, bind)
    if found:
        raise SchemaMissing(" ".join(found))


def create_tables(models: Models, engine: Engine) -> list[str]:
    """Make our tables that are not there yet, and missing columns of them and of the users; returns what was made.

    Raises SchemaMissing where there is no table of users yet, or where the tables are newer than this release.
    """
    inspector = inspect(engine)
    user, schema = models.user_table, models.table("Schema")
    if not inspector.has_table(user.name, user.schema):
        raise SchemaMissing(USERS_FIRST.format(user.name))
    before = {table.name for table in models.tables() if inspector.has_table(table.name, table.schema)}
    version = _version(models, engine) if schema.name in before else None
    if version is not None and version > SCHEMA_VERSION:
        raise SchemaMissing(NEW.format(version, SCHEMA_VERSION))
    user.metadata.create_all(engine, tables=models.tables())
    made = [table.name for table in models.tables() if table.name not in before]
    made += _add_columns(models, engine)
    made += _add_indexes(models, engine)
    _stamp(schema, engine)
    if version is not None and version < SCHEMA_VERSION:
        with engine.begin() as tx:
            tx.execute(update(schema).where(schema.c.id == 1).values(version=SCHEMA_VERSION))
        made.append(f"version {SCHEMA_VERSION}")
    return made


@contextmanager
def _transaction(bind: Bind) -> Iterator[Connection]:
    if isinstance(bind, Engine):
        with bind.begin() as tx:
            yield tx
    else:
        yield bind


def _version(models: Models, bind: Bind) -> int | None:
    schema = models.table("Schema")
    with _transaction(bind) as tx:
        found: int | None = tx.execute(select(schema.c.version).where(schema.c.id == 1)).scalar()
    return found


def _stamp(schema: Table, bind: Bind) -> None:
    """Migrations and create_all make the table; its first use says which version it is of."""
    with _transaction(bind) as tx:
        # threads and processes may look for the first time at the same instant
        row = insert_into(schema, bind.dialect).values(id=1, version=SCHEMA_VERSION)
        tx.execute(row.on_conflict_do_nothing())


def _missing_columns(models: Models, bind: Bind) -> list[Column[object]]:
    """Columns of tables that are there: the two of the users, and ours."""
    inspector = inspect(bind)
    user = models.user_table
    wanted = {user: [user.c["is_vp"], user.c["vp_config"]]} | {table: list(table.c) for table in models.tables()}
    found = []
    for table, columns in wanted.items():
        if inspector.has_table(table.name, table.schema):
            have = {column["name"] for column in inspector.get_columns(table.name, table.schema)}
            found += [column for column in columns if column.name not in have]
    return found


def _add_columns(models: Models, engine: Engine) -> list[str]:
    made = []
    missing = _missing_columns(models, engine)
    with engine.begin() as tx:
        for column in missing:
            specification = CreateColumn(column).compile(dialect=engine.dialect)
            table = engine.dialect.identifier_preparer.format_table(column.table)
            tx.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {specification}")
            made.append(f"{column.table.name}.{column.name}")
    return made


def _add_indexes(models: Models, engine: Engine) -> list[str]:
    """Indexes that tables of an older release lack."""
    inspector = inspect(engine)
    made = []
    for table in models.tables():
        have = {index["name"] for index in inspector.get_indexes(table.name, table.schema)}
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            if index.name not in have:
                index.create(engine)
                made.append(str(index.name))
    return made
