"""The look at the tables before anything runs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_neolith_orchestrator import OrchestratorUserMixin, SchemaMissing
from flask_neolith_orchestrator.store import schema
from flask_neolith_orchestrator.store.models import SCHEMA_VERSION, Models, make_models


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
