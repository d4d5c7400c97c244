"""Is the database ready for us? A forgotten migration is named with the commands that mend it."""

from __future__ import annotations

from sqlalchemy import Engine, Table, inspect, select
from sqlalchemy.schema import CreateColumn

from ..core.errors import SchemaMissing
from .inbox import insert_into
from .models import SCHEMA_VERSION, Models

MEND = (
    "Run `flask db migrate` and `flask db upgrade` if the app uses Flask-Migrate, else `flask neolith create-tables`."
)


def problems(models: Models, engine: Engine) -> list[str]:
    """What the database lacks, in sentences; empty if all is there."""
    inspector = inspect(engine)
    user = models.user_table
    have = set(inspector.get_table_names())
    found: list[str] = []
    if user.name not in have:
        return [f"There is no table {user.name!r} of users."]
    columns = {column["name"] for column in inspector.get_columns(user.name)}
    found += [
        f"The table {user.name!r} has no column {name!r}." for name in ("is_vp", "vp_config") if name not in columns
    ]
    missing = sorted(table.name for table in models.tables() if table.name not in have)
    if missing:
        found.append(f"There is no table {', '.join(missing)}.")
    else:
        found += _version(models, engine)
    return found


def _version(models: Models, engine: Engine) -> list[str]:
    schema = models.table("Schema")
    with engine.connect() as tx:
        version = tx.execute(select(schema.c.version).where(schema.c.id == 1)).scalar()
    if version is None:
        _stamp(schema, engine)
        return []
    if version != SCHEMA_VERSION:
        return [f"The tables are of version {version}, and this release needs version {SCHEMA_VERSION}."]
    return []


def _stamp(schema: Table, engine: Engine) -> None:
    """Migrations and create_all make the table; its first use says which version it is of."""
    with engine.begin() as tx:
        # threads and processes may look for the first time at the same instant
        row = insert_into(schema, engine.dialect).values(id=1, version=SCHEMA_VERSION)
        tx.execute(row.on_conflict_do_nothing())


def check(models: Models, engine: Engine) -> None:
    """Raise SchemaMissing with everything that is missing and the commands that mend it."""
    found = problems(models, engine)
    if found:
        raise SchemaMissing(" ".join([*found, MEND]))


def create_tables(models: Models, engine: Engine) -> list[str]:
    """Make our tables that are not there yet, and the two columns of the user table; returns what was made.

    Raises SchemaMissing where there is no user table yet: ours refer to it.
    """
    inspector = inspect(engine)
    before = set(inspector.get_table_names())
    if models.user_table.name not in before:
        msg = f"There is no table {models.user_table.name!r} of users. Make the app's own tables first."
        raise SchemaMissing(msg)
    models.user_table.metadata.create_all(engine, tables=models.tables())
    made = [table.name for table in models.tables() if table.name not in before]
    made += _add_user_columns(models, engine)
    _stamp(models.table("Schema"), engine)
    return made


def _add_user_columns(models: Models, engine: Engine) -> list[str]:
    user = models.user_table
    columns = {column["name"] for column in inspect(engine).get_columns(user.name)}
    made = []
    with engine.begin() as tx:
        for name in ("is_vp", "vp_config"):
            if name not in columns:
                specification = CreateColumn(user.c[name]).compile(dialect=engine.dialect)
                table = engine.dialect.identifier_preparer.format_table(user)
                tx.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {specification}")
                made.append(f"{user.name}.{name}")
    return made
