"""The look at the tables before anything runs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, inspect, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_neolith_orchestrator import OrchestratorUserMixin, SchemaMissing
from flask_neolith_orchestrator.store import schema
from flask_neolith_orchestrator.store.tables.models import SCHEMA_VERSION, Models, make_models


def make(path: Path, *, tables: bool = True) -> tuple[Models, Engine]:
    class Base(DeclarativeBase):
        pass

    class User(OrchestratorUserMixin, Base):
        __tablename__ = "user"
        id: Mapped[int] = mapped_column(primary_key=True)

    engine = create_engine(f"sqlite:///{path / 'app.db'}")
    models = make_models(User)
    if tables:
        User.metadata.create_all(engine)
    return models, engine


@pytest.mark.parametrize("round_", range(5))
def test_many_threads_may_look_for_the_first_time_at_once(tmp_path: Path, round_: int) -> None:
    """The first look writes the schema's version once, however many threads look at the same instant."""
    models, engine = make(tmp_path)
    threads = 8
    together = threading.Barrier(threads)
    looks: list[list[str]] = []
    failures: list[Exception] = []

    def look() -> None:
        together.wait()
        try:
            looks.append(schema.problems(models, engine))
        except Exception as error:  # noqa: BLE001 -- whatever it is, the test shows it
            failures.append(error)

    running = [threading.Thread(target=look) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    with engine.connect() as tx:
        rows = tx.execute(select(models.table("Schema").c.version)).scalars().all()
    engine.dispose()
    assert failures == []
    assert looks == [[]] * threads
    assert rows == [SCHEMA_VERSION]


def test_our_tables_are_made_after_those_of_the_app(tmp_path: Path) -> None:
    """Without a user table nothing is made, and the sentence says what to do first."""
    models, engine = make(tmp_path, tables=False)
    with pytest.raises(SchemaMissing, match=r"no table 'user' of users.* the app's own tables first"):
        schema.create_tables(models, engine)
    names = inspect(engine).get_table_names()
    engine.dispose()
    assert names == []


def lacks(models: Models, bind: Engine | Connection) -> str:
    """What the check says, in one line."""
    with pytest.raises(SchemaMissing) as caught:
        schema.check(models, bind)
    return str(caught.value)


def test_missing_columns_of_the_users_are_named_and_mended(tmp_path: Path) -> None:
    """A forgotten migration of the user table is named with both commands; create-tables mends it, and only that."""
    models, engine = make(tmp_path)
    with engine.begin() as tx:
        for column in ("is_vp", "vp_config"):
            tx.exec_driver_sql(f"ALTER TABLE user DROP COLUMN {column}")
    said = lacks(models, engine)
    assert "'user' has no column 'is_vp'" in said
    assert "'vp_config'" in said
    assert "flask db migrate" in said
    assert "flask db upgrade" in said
    assert "flask neolith create-tables" in said
    assert schema.create_tables(models, engine) == ["user.is_vp", "user.vp_config"]
    schema.check(models, engine)
    assert schema.create_tables(models, engine) == []
    engine.dispose()


def test_missing_tables_are_named_and_mended(tmp_path: Path) -> None:
    """All of them in one sentence; those that are there keep their rows."""
    models, engine = make(tmp_path)
    schema.check(models, engine)
    with engine.begin() as tx:
        tx.execute(models.table("Node").insert().values(id="n", name="n", host="h", started_at=0.0, seen_at=0.0))
    for name in ("Turn", "Schema"):
        models.table(name).drop(engine)
    said = lacks(models, engine)
    assert "neolith_schema, neolith_turn" in said
    assert "flask neolith create-tables" in said
    assert schema.create_tables(models, engine) == ["neolith_turn", "neolith_schema"]
    schema.check(models, engine)
    with engine.connect() as tx:
        assert tx.execute(select(models.table("Node").c.id)).scalars().all() == ["n"]
    engine.dispose()


def test_a_missing_column_of_ours_is_named_and_mended(tmp_path: Path) -> None:
    """A release that adds a column names it, whatever the version says."""
    models, engine = make(tmp_path)
    with engine.begin() as tx:
        tx.exec_driver_sql("ALTER TABLE neolith_daemon DROP COLUMN beat_at")
    assert "'neolith_daemon' has no column 'beat_at'" in lacks(models, engine)
    assert schema.create_tables(models, engine) == ["neolith_daemon.beat_at"]
    schema.check(models, engine)
    engine.dispose()


def test_an_old_version_is_named_and_mended(tmp_path: Path) -> None:
    """Tables of an older release are not used; the sentence has the commands, and create-tables sets the version."""
    models, engine = make(tmp_path)
    schema.check(models, engine)
    with engine.begin() as tx:
        tx.execute(models.table("Schema").update().values(version=SCHEMA_VERSION - 1))
    said = lacks(models, engine)
    assert f"are of version {SCHEMA_VERSION - 1}, and this release needs version {SCHEMA_VERSION}" in said
    assert "flask db upgrade" in said
    assert "flask neolith create-tables" in said
    assert schema.create_tables(models, engine) == [f"version {SCHEMA_VERSION}"]
    schema.check(models, engine)
    engine.dispose()


def test_a_newer_version_is_never_touched(tmp_path: Path) -> None:
    """An older release does not work on the tables of a newer one, and create-tables does not turn the version back."""
    models, engine = make(tmp_path)
    schema.check(models, engine)
    with engine.begin() as tx:
        tx.execute(models.table("Schema").update().values(version=SCHEMA_VERSION + 1))
    assert "newer than this release" in lacks(models, engine)
    with pytest.raises(SchemaMissing, match="newer than this release"):
        schema.create_tables(models, engine)
    engine.dispose()


def test_looking_in_the_callers_own_transaction_ends_nothing(tmp_path: Path) -> None:
    """Where there is one connection only, the look neither commits nor rolls back what the caller has begun."""
    models, engine = make(tmp_path)
    with engine.connect() as tx:
        tx.execute(models.user_table.insert().values(id=1))
        schema.check(models, tx)
        assert tx.execute(select(models.user_table.c.id)).scalars().all() == [1]
        tx.rollback()
        assert tx.execute(select(models.user_table.c.id)).scalars().all() == []
    engine.dispose()
