"""Channels and direct messages in the store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, String, insert, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_neolith_orchestrator.store.chat.rooms import LONGEST_KEY, Rooms, dm_key
from flask_neolith_orchestrator.store.people.people import People
from flask_neolith_orchestrator.store.sql.sqlite import SqliteDatabase
from flask_neolith_orchestrator.store.tables.mixins import OrchestratorUserMixin
from flask_neolith_orchestrator.store.tables.models import make_models


class Base(DeclarativeBase):
    """A host's declarative base."""


class User(OrchestratorUserMixin, Base):
    """A host's user with a textual primary key: ids that look like anything."""

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String(300), primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


class RealClock:
    """The machine's clock."""

    database = False

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()


@dataclass
class Ground:
    """A store with one organization (id 1): ann its owner, bob a member, ada its orchestrator; eve in none."""

    rooms: Rooms
    tx: Connection


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """An empty chat on a SQLite file, in one open transaction."""
    models = make_models(User)
    database = SqliteDatabase(make_url(f"sqlite:///{tmp_path}/rooms.db"), RealClock())
    with database.write() as tx:
        Base.metadata.create_all(tx)
        tx.execute(insert(User), [{"id": one, "name": one.title()} for one in ("ann", "bob", "ada", "eve")])
        tx.execute(insert(models.table("Organization")).values(name="Acme", slug="acme"))
        members = models.table("OrganizationMember")
        for user_id, role in (("ann", "owner"), ("bob", "member")):
            tx.execute(insert(members).values(organization_id=1, user_id=user_id, role=role))
        tx.execute(insert(models.table("Orchestrator")).values(organization_id=1, user_id="ada", handle="ada"))
        yield Ground(Rooms(models, database, People(models)), tx)
    database.close()


def test_a_channel_is_found_by_its_members_only(ground: Ground) -> None:
    """Whoever is not in a channel gets the same answer as for a channel that is not there."""
    rooms, tx = ground.rooms, ground.tx
    channel = rooms.create(tx, "1", "general", "talk", 1.0)
    assert channel is not None
    rooms.join(tx, channel, ["ann"])
    found = rooms.room(tx, channel, "ann")
    assert found is not None
    assert (found.id, found.kind, found.organization_id, found.is_dm) == (channel, "channel", "1", False)
    assert rooms.room(tx, channel, "bob") is None
    assert rooms.room(tx, "999", "ann") is None


@pytest.mark.parametrize("user_id", ["", "a\0b", "\ud800", "x" * 256, None, 7, ["ann"]])
def test_an_id_that_no_user_can_have_is_nobody(ground: Ground, user_id: object) -> None:
    """What a database would choke on never reaches it."""
    assert ground.rooms.key(user_id) is None


def test_a_channel_name_is_taken_once_per_organization(ground: Ground) -> None:
    """The second channel of a name is not made, and nothing else is disturbed."""
    assert ground.rooms.create(ground.tx, "1", "general", "", 1.0) is not None
    assert ground.rooms.create(ground.tx, "1", "general", "", 2.0) is None


def test_joining_tells_who_is_new_and_leaving_whether_they_were_in(ground: Ground) -> None:
    """Joining and leaving twice change nothing the second time, and say so."""
    rooms, tx = ground.rooms, ground.tx
    channel = rooms.open_dm(tx, "k", 1.0)
    assert sorted(rooms.join(tx, channel, ["ann", "bob", "ann"])) == ["ann", "bob"]
    assert rooms.join(tx, channel, ["bob", "ada"]) == ["ada"]
    assert rooms.leave(tx, channel, "bob")
    assert not rooms.leave(tx, channel, "bob")
    assert [one["userId"] for one in rooms.members(tx, channel)] == ["ann", "ada"]


def test_a_direct_message_is_one_per_set_of_people(ground: Ground) -> None:
    """Order does not matter, and opening it again finds it."""
    rooms, tx = ground.rooms, ground.tx
    key = dm_key(["ann", "bob"])
    assert key == dm_key(["bob", "ann", "bob"])
    assert rooms.find_dm(tx, key) is None
    made = rooms.open_dm(tx, key, 1.0)
    assert rooms.open_dm(tx, key, 2.0) == made
    assert rooms.find_dm(tx, key) == made


def test_no_two_sets_of_people_share_a_direct_message() -> None:
    """Ids may contain whatever could be a separator, and be long; the key stays unambiguous and fits its column."""
    sets = [["a,b", "c"], ["a", "b,c"], ['a","b', "c"], ["a", "b", "c"], ["x" * 250, "y"], ["x" * 250, "z"]]
    keys = [dm_key(one) for one in sets]
    assert len(set(keys)) == len(sets)
    assert max(map(len, keys)) <= LONGEST_KEY


def test_an_orchestrator_belongs_to_its_organization(ground: Ground) -> None:
    """Members and orchestrators belong; strangers and impossible ids do not."""
    found = ground.rooms.belonging(ground.tx, "1", ["ann", "bob", "ada", "eve", "nobody", "\0"])
    assert found == {"ann", "bob", "ada"}
    assert ground.rooms.belonging(ground.tx, "2", ["ann"]) == frozenset()


def test_channels_are_shown_to_whom_they_belong(ground: Ground) -> None:
    """A list has the channels of that user, with counts, and the members of direct messages only."""
    rooms, tx = ground.rooms, ground.tx
    channel = rooms.create(tx, "1", "general", "talk", 1.0)
    assert channel is not None
    rooms.join(tx, channel, ["ann", "bob", "ada"])
    dm = rooms.open_dm(tx, dm_key(["ann", "ada"]), 2.0)
    rooms.join(tx, dm, ["ann", "ada"])
    general = {
        "id": channel,
        "name": "general",
        "topic": "talk",
        "kind": "channel",
        "organizationId": "1",
        "memberCount": 3,
    }
    assert rooms.of(tx, "bob") == [general]
    assert rooms.of(tx, "eve") == []
    shown = rooms.of(tx, "ann")
    assert shown[0] == general
    assert (shown[1]["id"], shown[1]["kind"], shown[1]["name"], shown[1]["organizationId"]) == (dm, "dm", None, None)
    assert sorted(shown[1]["members"], key=lambda one: one["userId"]) == [
        {
            "userId": "ada",
            "name": "Ada",
            "handle": "ada",
            "isOrchestrator": True,
            "orchestratorId": "1",
            "status": "OFFLINE",
        },
        {
            "userId": "ann",
            "name": "Ann",
            "handle": None,
            "isOrchestrator": False,
            "orchestratorId": None,
            "status": None,
        },
    ]


def test_a_large_channel_can_be_shown(ground: Ground) -> None:
    """More members than one statement may have parameters in a batch are all there, each with a name."""
    rooms, tx = ground.rooms, ground.tx
    people = [f"u{n:04}" for n in range(1_203)]
    tx.execute(insert(User), [{"id": one, "name": one.upper()} for one in people])
    channel = rooms.create(tx, "1", "crowd", "", 1.0)
    assert channel is not None
    assert len(rooms.join(tx, channel, people)) == len(people)
    shown = rooms.members(tx, channel)
    assert {one["userId"]: one["name"] for one in shown} == {one: one.upper() for one in people}
