"""Rules of prepared statements: what they give is what SQLAlchemy would, on both databases."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    TypeDecorator,
    Uuid,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.pool import NullPool

from flask_neolith_orchestrator.store.sql.prepared import WIDEST, Prepared

from .postgres_server import PostgresServer


class Backwards(TypeDecorator[str]):
    """A host's own type: kept the other way round."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        """Into the database."""
        return None if value is None else value[::-1]

    def process_result_value(self, value: str | None, dialect: object) -> str | None:
        """Out of it."""
        return None if value is None else value[::-1]


things = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("key", Uuid, unique=True),
    Column("name", Backwards),
    Column("data", JSON),
    Column("flag", Boolean),
    Column("price", Numeric(10, 2)),
    Column("at", DateTime),
)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def tx(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection to an empty table."""
    url = "sqlite://"
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.database()
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        things.create(connection)
        yield connection
    engine.dispose()


add = insert(things).values(
    key=bindparam("b_key"), name=bindparam("b_name"), data={"a": [1, None]}, flag=True, price=bindparam("b_price")
)


def some(count: int) -> list[uuid.UUID]:
    """Keys."""
    return [uuid.uuid4() for _ in range(count)]


def test_values_are_converted_as_their_types_say(tx: Connection) -> None:
    """What goes in and comes out is what SQLAlchemy would write and read, a host's own types as well."""
    key = uuid.uuid4()
    made = Prepared(add.returning(things.c.id, things.c.key, things.c.name)).run(
        tx, b_key=key, b_name="Ada", b_price="1.50"
    )
    assert made.one() == (1, key, "Ada")
    by_us = Prepared(select(things).where(things.c.name == bindparam("b_name"))).run(tx, b_name="Ada").fetchall()
    assert list(by_us) == [tuple(row) for row in tx.execute(select(things))]
    assert by_us[0][3:5] == ({"a": [1, None]}, True)


def test_lists_of_any_length(tx: Connection) -> None:
    """A list may be empty, short or longer than texts are kept for; constants in lists are no parameters."""
    keys = some(WIDEST + 5)
    for number, key in enumerate(keys):
        Prepared(add).run(tx, b_key=key, b_name="even" if number % 2 else "odd", b_price=None)
    find = Prepared(
        select(things.c.key)
        .where(things.c.key.in_(bindparam("keys", expanding=True)), things.c.name.in_(["odd", "even"]))
        .where(things.c.id > bindparam("b_after"))
        .order_by(things.c.id)
    )
    for count in (0, 1, 2, WIDEST, WIDEST + 5, 2):
        assert [row[0] for row in find.run(tx, keys=keys[:count], b_after=0)] == keys[:count]
    assert [row[0] for row in find.run(tx, keys=[*keys[:3], *some(2)], b_after=1)] == keys[1:3]


def test_counts_and_single_values(tx: Connection) -> None:
    """A statement without rows tells how many it changed; one() says when there is none."""
    for key in some(3):
        Prepared(add).run(tx, b_key=key, b_name="Ada", b_price=None)
    changed = Prepared(update(things).where(things.c.id > bindparam("b_id")).values(flag=False))
    assert changed.run(tx, b_id=1).rowcount == 2
    find = Prepared(select(things.c.id).where(things.c.id == bindparam("b_id")))
    assert find.run(tx, b_id=2).scalar_one() == 2
    assert find.run(tx, b_id=9).scalar() is None
    assert find.run(tx, b_id=9).fetchone() is None
    with pytest.raises(LookupError):
        find.run(tx, b_id=9).scalar_one()


def test_an_error_is_sqlalchemys_own(tx: Connection) -> None:
    """A failing statement raises what SQLAlchemy would, and tells no values: they may be somebody's message."""
    key = uuid.uuid4()
    Prepared(add).run(tx, b_key=key, b_name="a secret", b_price=None)
    with pytest.raises(IntegrityError) as caught:
        Prepared(add).run(tx, b_key=key, b_name="a secret", b_price=None)
    assert "unique" in str(caught.value).lower()
    assert "secret" not in str(caught.value)
    assert "terces" not in str(caught.value)


@pytest.mark.postgres
def test_what_began_without_a_transaction_is_committed_all_the_same(postgres: PostgresServer) -> None:
    """On a connection on which nothing has begun yet a statement begins it, as SQLAlchemy's own do."""
    engine = create_engine(postgres.database(), poolclass=NullPool)
    with engine.begin() as tx:
        things.create(tx)
    with engine.connect() as tx:
        Prepared(add).run(tx, b_key=uuid.uuid4(), b_name="Ada", b_price=None)
        tx.commit()
    with engine.begin() as tx:
        assert Prepared(select(func.count()).select_from(things)).run(tx).scalar() == 1


@pytest.mark.postgres
def test_a_dead_connection_is_given_up(postgres: PostgresServer) -> None:
    """What a server has ended is not used again, and who runs a transaction again is told that it may."""
    engine = create_engine(postgres.database())
    look = Prepared(select(func.pg_backend_pid()))
    with engine.connect() as tx:
        tx.begin()
        before = look.run(tx).scalar()
        with engine.begin() as other:
            other.execute(select(func.pg_terminate_backend(before)))
        with pytest.raises(OperationalError) as caught:
            look.run(tx)
        assert caught.value.connection_invalidated
        tx.rollback()
        tx.begin()
        assert look.run(tx).scalar() != before
    engine.dispose()


def test_who_listens_to_a_servers_statements_hears_ours(tx: Connection) -> None:
    """A tool that traces the host's statements is told of those that go past SQLAlchemy where nobody listens."""
    heard: list[str] = []

    def hear(*given: object) -> None:
        heard.append(str(next(one for one in given if "SELECT" in str(one))))

    count = Prepared(select(func.count()).select_from(things))
    assert count.run(tx).scalar() == 0
    event.listen(tx.engine, "before_cursor_execute", hear)
    assert count.run(tx).scalar() == 0
    event.remove(tx.engine, "before_cursor_execute", hear)
    event.listen(tx.engine, "do_execute", hear)
    assert count.run(tx).scalar() == 0
    event.remove(tx.engine, "do_execute", hear)
    assert count.run(tx).scalar() == 0
    ours = [["SELECT", "count(*)", "AS", "count_1", "FROM", "things"]]
    assert [one.split() for one in heard] == (2 * ours if tx.dialect.name == "postgresql" else [])
