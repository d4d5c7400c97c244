"""API keys: one format, shown once, hashed, found by prefix, with scopes, expiry, revocation and last use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_neolith_orchestrator.store.people.keys import SCOPES, TOUCH_EVERY, Keys
from flask_neolith_orchestrator.store.sql.sqlite import SqliteDatabase
from flask_neolith_orchestrator.store.tables.mixins import OrchestratorUserMixin
from flask_neolith_orchestrator.store.tables.models import Models, make_models


class Base(DeclarativeBase):
    """A host's declarative base."""


class User(OrchestratorUserMixin, Base):
    """A host's user."""

    __tablename__ = "user"
    id: Mapped[str] = mapped_column(primary_key=True)


class FakeClock:
    """A clock that stands still until it is told otherwise."""

    database = False

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


class World:
    """A database with two users, and the keys in it."""

    def __init__(self, models: Models, database: SqliteDatabase, clock: FakeClock) -> None:
        self.models = models
        self.database = database
        self.clock = clock
        self.keys = Keys(models, database)
        models.user_table.metadata.create_all(database._engine)
        with database.write() as tx:
            tx.execute(insert(models.user_table), [{"id": "ann"}, {"id": "bob"}])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = FakeClock()
    database = SqliteDatabase(URL.create("sqlite", database=str(tmp_path / "keys.db")), clock)
    yield World(make_models(User), database, clock)
    database.close()


def test_a_key_is_found_again_and_its_secret_is_nowhere_in_the_database(world: World) -> None:
    """What is stored is enough to recognise the key and not enough to make it."""
    with world.database.write() as tx:
        text, made = world.keys.create(tx, "ann", label="ci", scopes=["messages:read", "messages:read"])
    assert re.fullmatch(r"nlk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", text)
    with world.database.read() as tx:
        assert world.keys.find(tx, text) == made
        stored = repr(tx.execute(select(world.models.table("ApiKey"))).mappings().one())
    assert made.user_id == "ann"
    assert made.scopes == {"messages:read"}
    assert text.split("_", 2)[2] not in stored
    assert text not in stored


@pytest.mark.parametrize("change", ["secret", "prefix", "scheme", "longer", "surrogate", "empty"])
def test_a_key_that_is_not_exactly_right_opens_nothing(world: World, change: str) -> None:
    """A prefix alone, another secret, another shape, or text that cannot be encoded: no key, and no exception."""
    with world.database.write() as tx:
        text, _ = world.keys.create(tx, "ann", label="", scopes=["messages:read"])
    last = "A" if text[-1] != "A" else "B"
    changed = {
        "secret": text[:-1] + last,
        "prefix": "nlk_" + "0" * 16 + text[20:],
        "scheme": "sk" + text[3:],
        "longer": text + "A",
        "surrogate": text[:-1] + "\ud800",
        "empty": "",
    }[change]
    with world.database.read() as tx:
        assert world.keys.find(tx, text) is not None
        assert world.keys.find(tx, changed) is None


def test_a_key_ends_at_its_time_and_at_once_when_revoked(world: World) -> None:
    """Neither an expired nor a revoked key opens anything, however it was found before."""
    with world.database.write() as tx:
        short, one = world.keys.create(tx, "ann", label="", scopes=["messages:read"], expires_at=world.clock.now + 10)
        long, two = world.keys.create(tx, "ann", label="", scopes=["messages:read"])
        assert world.keys.count_live(tx, "ann") == 2
        world.clock.now += 9.9
        assert world.keys.find(tx, short) is not None
        world.clock.now += 0.1
        assert world.keys.find(tx, short) is None
        assert world.keys.by_id(tx, one.id) is None
        revoked = world.keys.revoke(tx, "ann", two.id)
        assert revoked is not None
        assert (revoked[0].revoked_at, revoked[1]) == (world.clock.now, True)
        world.clock.now += 5
        again = world.keys.revoke(tx, "ann", two.id)
        assert again == (revoked[0], False)
        assert world.keys.find(tx, long) is None
        assert world.keys.by_id(tx, two.id) is None
        assert world.keys.count_live(tx, "ann") == 0
        assert [key.id for key in world.keys.owned_by(tx, "ann")] == [two.id, one.id]


def test_nobody_revokes_or_sees_the_keys_of_others(world: World) -> None:
    """A key belongs to its owner alone."""
    with world.database.write() as tx:
        text, key = world.keys.create(tx, "ann", label="", scopes=["messages:read"])
        assert world.keys.revoke(tx, "bob", key.id) is None
        assert world.keys.owned_by(tx, "bob") == []
        assert world.keys.find(tx, text) is not None


def test_the_last_use_is_written_at_most_once_a_minute(world: World) -> None:
    """A busy key does not make every request a write."""
    with world.database.write() as tx:
        text, key = world.keys.create(tx, "ann", label="", scopes=["messages:read"])
        assert world.keys.touch(tx, key)
        used = world.keys.find(tx, text)
        assert used is not None
        assert used.used_at == world.clock.now
        world.clock.now += TOUCH_EVERY - 1
        assert not world.keys.touch(tx, used)
        assert not world.keys.touch(tx, key), "an old copy of the key must not write either"
        world.clock.now += 1
        assert world.keys.touch(tx, used)


def test_there_are_no_unknown_scopes_and_none_that_makes_keys(world: World) -> None:
    """A scope that means nothing is refused; keys cannot multiply."""
    with world.database.write() as tx, pytest.raises(ValueError, match="messages:everything"):
        world.keys.create(tx, "ann", label="", scopes=["messages:everything"])
    assert not [scope for scope in SCOPES if scope.startswith("keys:")]
