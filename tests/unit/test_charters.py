"""Charter versions: the truth about who an orchestrator is, mirrored into the user's configuration."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_neolith_orchestrator.core.errors import Conflict, NotFound
from flask_neolith_orchestrator.store.people.charters import BY_HOST, Charters, OrganizationCharters
from flask_neolith_orchestrator.store.sql.sqlite import SqliteDatabase
from flask_neolith_orchestrator.store.tables.mixins import OrchestratorUserMixin
from flask_neolith_orchestrator.store.tables.models import Models, make_models


class Base(DeclarativeBase):
    """A host's declarative base."""


class User(OrchestratorUserMixin, Base):
    """A host's user."""

    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)


class FakeClock:
    """A clock that stands still."""

    database = False

    def monotonic(self) -> float:
        return 5.0

    def wall(self) -> float:
        return 5.0


class World:
    """A database with one orchestrator (id 1, user 7), and the charters in it."""

    def __init__(self, models: Models, database: SqliteDatabase) -> None:
        self.models = models
        self.database = database
        self.charters = Charters(models, database)
        models.user_table.metadata.create_all(database._engine)
        with database.write() as tx:
            tx.execute(insert(models.user_table).values(id=7, is_vp=True, vp_config={"daemon": {"verbose": True}}))
            tx.execute(insert(models.table("Organization")).values(id=3, name="Org", slug="org"))
            tx.execute(insert(models.table("Orchestrator")).values(id=1, user_id=7, organization_id=3, handle="ada"))

    def config(self) -> Any:
        """What the user's configuration is now."""
        with self.database.read() as tx:
            return tx.execute(select(self.models.user_table.c.vp_config)).scalar_one()

    def host_writes(self, config: object) -> None:
        """The host changes the configuration by itself."""
        with self.database.write() as tx:
            tx.execute(update(self.models.user_table).values(vp_config=config))

    def activate(self, charter: Mapping[str, Any], expected: int | None = None) -> int:
        """Write a charter; returns its version."""
        with self.database.write() as tx:
            return self.charters.activate(tx, "1", charter, author_id="7", expected=expected).version

    def active(self) -> list[int]:
        """Versions that are marked active."""
        v = self.models.table("CharterVersion")
        with self.database.read() as tx:
            return [row[0] for row in tx.execute(select(v.c.version).where(v.c.active))]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = SqliteDatabase(URL.create("sqlite", database=str(tmp_path / "charters.db")), FakeClock())
    yield World(make_models(User), database)
    database.close()


def test_an_orchestrator_without_a_charter_is_at_version_0(world: World) -> None:
    """Reading makes no version of nothing."""
    with world.database.write() as tx:
        found = world.charters.current(tx, "1")
        assert (found.version, found.charter) == (0, {})
        with pytest.raises(NotFound):
            world.charters.current(tx, "2")
    assert world.active() == []


def test_a_new_version_is_active_and_mirrored_beside_the_rest_of_the_configuration(world: World) -> None:
    """Activating changes the charter in vp_config and nothing else there; one version is active."""
    assert world.activate({"system_prompt": "You count."}) == 1
    assert world.activate({"system_prompt": "You add."}, expected=1) == 2
    assert world.config() == {"daemon": {"verbose": True}, "charter": {"system_prompt": "You add."}}
    assert world.active() == [2]
    with world.database.write() as tx:
        found = world.charters.current(tx, "1")
    assert (found.version, found.charter, found.author_id) == (2, {"system_prompt": "You add."}, "7")


def test_a_version_on_top_of_an_old_one_is_a_conflict_and_changes_nothing(world: World) -> None:
    """Two people who read version 1 cannot both write version 2."""
    world.activate({"a": "1"}, expected=0)
    world.activate({"a": "2"}, expected=1)
    with pytest.raises(Conflict, match="version 2"):
        world.activate({"a": "3"}, expected=1)
    assert world.active() == [2]
    assert world.config()["charter"] == {"a": "2"}


def test_the_same_charter_again_is_no_new_version(world: World) -> None:
    """Sending it twice is harmless."""
    assert world.activate({"a": [1, 2]}) == 1
    assert world.activate({"a": (1, 2)}) == 1


def test_what_the_host_writes_becomes_a_version_when_it_is_read(world: World) -> None:
    """The history tells also of changes that did not come through us, and a writer who did not see them is told."""
    world.activate({"a": "1"})
    world.host_writes({"charter": {"a": "host"}})
    with pytest.raises(Conflict, match="version 2"):
        world.activate({"a": "mine"}, expected=1)
    with world.database.write() as tx:
        found = world.charters.current(tx, "1")
        assert world.charters.current(tx, "1") == found
    assert (found.version, found.charter, found.author_id, found.reason) == (2, {"a": "host"}, None, BY_HOST)
    assert world.activate({"a": "mine"}, expected=2) == 3
    assert world.config() == {"charter": {"a": "mine"}}


@pytest.mark.parametrize("config", [None, {}, {"charter": None}])
def test_a_charter_that_the_host_took_away_is_empty_from_then_on(world: World, config: object) -> None:
    """Nothing is a charter too: the version says since when."""
    world.activate({"a": "1"})
    world.host_writes(config)
    with world.database.write() as tx:
        found = world.charters.current(tx, "1")
    assert (found.version, found.charter) == (2, {})


def test_what_is_no_charter_makes_no_version(world: World) -> None:
    """A host's mistake does not end up in the history; the one that held stays."""
    world.activate({"a": "1"})
    world.host_writes({"charter": "be nice"})
    with world.database.write() as tx:
        assert world.charters.current(tx, "1").version == 1
    assert world.active() == [1]


def test_writers_at_one_instant_make_one_version_after_the_other(world: World) -> None:
    """Eight threads that all read version 0: one of them writes version 1, seven are told."""
    barrier = threading.Barrier(8)
    outcomes: list[object] = []

    def write(n: int) -> None:
        barrier.wait()
        try:
            outcomes.append(world.activate({"n": n}, expected=0))
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["1", *["conflict"] * 7]
    assert world.active() == [1]


def test_every_version_stays(world: World) -> None:
    """Numbered, with author, reason and time, the newest first; version 0 is the empty charter."""
    for n in range(4):
        with world.database.write() as tx:
            world.charters.activate(tx, "1", {"n": n}, author_id="7", reason=f"change {n}")
    versions = world.charters.versions
    with world.database.read() as tx:
        found = versions.page(tx, "1", before=4, limit=2)
        assert [(one.version, one.reason, one.active, one.author_id, one.created_at) for one in found] == [
            (3, "change 2", False, "7", 5.0),
            (2, "change 1", False, "7", 5.0),
        ]
        assert [one.version for one in versions.page(tx, "1", before=None, limit=9)] == [4, 3, 2, 1]
        second = versions.get(tx, "1", 2)
        assert second is not None
        assert second.charter == {"n": 1}
        assert versions.get(tx, "1", 9) is None
        empty = versions.get(tx, "1", 0)
        assert empty is not None
        assert (empty.charter, empty.active) == ({}, False)


def test_the_database_itself_keeps_one_version_active(world: World) -> None:
    """Whoever writes past us cannot make two."""
    world.activate({"a": 1})
    world.activate({"a": 2})
    v = world.models.table("CharterVersion")
    with pytest.raises(IntegrityError), world.database.write() as tx:
        tx.execute(update(v).values(active=True))
    assert world.active() == [2]


def test_an_organizations_charter_has_versions_too(world: World) -> None:
    """The same rules, without a mirror; an organization is found by id or slug."""
    parents = OrganizationCharters(world.models, world.database)
    with world.database.write() as tx:
        assert parents.current(tx, "3").version == 0
        assert parents.activate(tx, "3", {"mission": "x"}, author_id="7", expected=0).version == 1
        assert parents.activate(tx, "3", {"mission": "x"}, author_id="7").version == 1
        with pytest.raises(Conflict, match="version 1"):
            parents.activate(tx, "3", {"mission": "y"}, author_id="7", expected=0)
        with pytest.raises(NotFound):
            parents.activate(tx, "4", {}, author_id=None)
        assert [parents.find(tx, name) for name in ("3", "org", "4", "nobody")] == ["3", "3", None, None]
        assert (parents.is_there(tx, "3"), parents.is_there(tx, "4")) == (True, False)
    assert world.config() == {"daemon": {"verbose": True}}
