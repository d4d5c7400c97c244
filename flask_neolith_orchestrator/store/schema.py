"""Is the database ready for us? A forgotten migration is named with the commands that mend it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Column, Connection, Engine, Table, inspect, select, text, update
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
    user = models.user_table
    have = _columns(bind, [user, *models.tables()])
    if user not in have:
        return [USERS_FIRST.format(user.name)]
    missing = sorted(table.name for table in models.tables() if table not in have)
    found = [f"There is no table {', '.join(missing)}."] if missing else []
    found += [
        f"The table {column.table.name!r} has no column {column.name!r}." for column in _missing_columns(models, have)
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
    user, schema = models.user_table, models.table("Schema")
    have = _columns(engine, [user, *models.tables()])
    if user not in have:
        raise SchemaMissing(USERS_FIRST.format(user.name))
    before = {table.name for table in have}
    version = _version(models, engine) if schema.name in before else None
    if version is not None and version > SCHEMA_VERSION:
        raise SchemaMissing(NEW.format(version, SCHEMA_VERSION))
    user.metadata.create_all(engine, tables=models.tables())
    made = [table.name for table in models.tables() if table.name not in before]
    made += _add_columns(models, engine)
    made += _add_indexes(models, engine)
    made += _set_options(models, engine)
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


def _columns(bind: Bind, tables: Sequence[Table]) -> dict[Table, set[str]]:
    """The columns of those tables that are there, by few questions: a server is asked once for all of a schema."""
    inspector, found = inspect(bind), {}
    for schema in {table.schema for table in tables}:
        names = [table.name for table in tables if table.schema == schema]
        for (_, name), columns in inspector.get_multi_columns(schema, names).items():
            found[schema, name] = {column["name"] for column in columns}
    return {table: found[table.schema, table.name] for table in tables if (table.schema, table.name) in found}


def _missing_columns(models: Models, have: Mapping[Table, set[str]]) -> list[Column[object]]:
    """Columns of tables that are there: the two of the users, and ours."""
    user = models.user_table
    wanted = {user: [user.c["is_vp"], user.c["vp_config"]]} | {table: list(table.c) for table in models.tables()}
    return [column for table in wanted if table in have for column in wanted[table] if column.name not in have[table]]


def _add_columns(models: Models, engine: Engine) -> list[str]:
    made = []
    missing = _missing_columns(models, _columns(engine, [models.user_table, *models.tables()]))
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


def _set_options(models: Models, engine: Engine) -> list[str]:
    """Options of tables on Postgres that migrations do not compare. What somebody has set otherwise stays."""
    if engine.dialect.name != "postgresql":
        return []
    made = []
    with engine.begin() as tx:
        for table in models.tables():
            name = engine.dialect.identifier_preparer.format_table(table)
            found = tx.execute(_OPTIONS, {"name": name}).scalar() or []
            have = {one.partition("=")[0] for one in found}
            wanted: Mapping[str, object] = table.dialect_options["postgresql"]["with"] or {}
            missing = ", ".join(f"{key} = {value}" for key, value in wanted.items() if key not in have)
            if missing:
                tx.exec_driver_sql(f"ALTER TABLE {name} SET ({missing})")
                made.append(f"{table.name} ({missing})")
    return made


_OPTIONS = text("SELECT reloptions FROM pg_class WHERE oid = to_regclass(:name)")
