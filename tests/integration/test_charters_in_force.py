"""Charters at work: what a turn is told and records, in every process, from the next turn on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import event, update

from flask_neolith_orchestrator.core.errors import BadCharter, Conflict, NotFound, StartFailed, Unconfirmed
from flask_neolith_orchestrator.core.model import ModelRequest
from flask_neolith_orchestrator.core.types import Cause, Wanted
from flask_neolith_orchestrator.runtime.charters.book import KEPT
from flask_neolith_orchestrator.runtime.charters.keeper import Author
from flask_neolith_orchestrator.store.turns.claims import NoSlot

from .charters import give
from .conftest import Databases, MakeWorld
from .stage import Door, Scene
from .world import World, until


def host_writes(world: World, config: Mapping[str, Any] | None) -> None:
    """The host changes ada's configuration by its own code."""
    users = world.neolith.models.user_table
    with world.context():
        world.db.session.execute(update(users).where(users.c.id == int(world.ids["ada"])).values(vp_config=config))
        world.db.session.commit()


def ask(world: World, text: str = "@ada hello") -> ModelRequest:
    """A new thread, answered; what the model was asked."""
    before = len(world.model.scenes)
    world.post("ann", text)
    found = world.model.wait_for(before + 1)[before].request
    world.rest()
    return found


def recorded(world: World) -> list[int]:
    """The charter versions that the turns so far ran."""
    return [row["charter_version"] for row in world.rows("Turn")]


def charter_of_all(world: World, charter: Mapping[str, Any], **how: Any) -> None:
    """Write the organization's charter."""
    with world.stores.database.write() as tx:
        world.house.keeper.save_parent(tx, world.organization, charter, Author(world.ids["ann"], **how))


def test_a_turn_records_the_charter_it_ran(make_world: MakeWorld, databases: Databases) -> None:
    """0 without one, then the version in force; what the host writes by itself becomes a version first."""
    world = make_world(on=databases)
    world.start()
    assert "Count" not in ask(world).system
    give(world, "ada", {"mission": "Count to one."})
    assert "Count to one." in ask(world).system
    give(world, "ada", {"mission": "Count to two."})
    assert "Count to two." in ask(world).system
    host_writes(world, {"charter": {"mission": "Count to three."}})
    assert "Count to three." in ask(world).system
    host_writes(world, {})
    assert "Count" not in ask(world).system
    assert recorded(world) == [0, 1, 2, 3, 4]
    assert [row["reason"] for row in world.rows("CharterVersion")][2:] == ["changed in the user's configuration"] * 2


def test_every_process_goes_by_a_new_charter_with_its_next_turn(make_world: MakeWorld, databases: Databases) -> None:
    """Written in one process, an orchestrator's and its organization's hold in another, without a restart."""
    world = make_world(on=databases)
    other = make_world(like=world)
    world.start()
    ask(world)
    give(other, "ada", {"mission": "Count.", "limits": {"concurrent_conversations": 2}})
    assert "Count." in ask(world).system
    charter_of_all(other, {"communication": {"formality": "stiff"}, "limits": {"concurrent_conversations": 1}})
    assert "Formality: stiff" in ask(world).system
    daemon = world.house.manager.get_daemon(world.ada)
    assert daemon is not None
    assert daemon.limit == 1
    charter_of_all(other, {"communication": {"formality": "loose"}}, confirm=True)
    assert "Formality: loose" in ask(world).system
    assert daemon.limit == 2


def test_a_higher_limit_has_its_slots_at_once(make_world: MakeWorld, databases: Databases) -> None:
    """In the process that wrote it, more conversations go on beside the one that does already."""
    world = make_world(on=databases)
    give(world, "ada", {"limits": {"concurrent_conversations": 1}})
    door = Door()

    def wait(scene: Scene) -> list[str]:
        door.wait(scene.cancel)
        return ["done"]

    world.model.script = wait
    world.start()
    for number in range(3):
        world.post("ann", f"@ada {number}")
    world.model.wait_running(1)
    give(world, "ada", {"limits": {"concurrent_conversations": 3}})
    world.house.charters.refresh(world.ada)
    world.model.wait_running(3)
    door.open()
    world.rest()
    assert world.model.most == 3
    assert len(world.rows("Slot")) == 3


def test_a_lower_limit_holds_for_processes_that_have_not_read_it(make_world: MakeWorld, databases: Databases) -> None:
    """Who still believes in three slots finds one, and three again where the charter allows them again."""
    world = make_world(on=databases, ORCHESTRATOR_MODE=False)
    claims, database = world.stores.claims, world.stores.database
    with database.write() as tx:
        world.stores.daemons.ensure(tx, world.ada)
        world.stores.daemons.want(tx, world.ada, Wanted.RUNNING, Cause.PERSON)
        world.stores.leases.make_slots(tx, world.ada, 3)
    give(world, "ada", {"limits": {"concurrent_conversations": 1}})
    for number in range(4):
        world.post("ann", f"@ada {number}")
    with database.write() as tx:
        assert claims.claim(tx, world.ada, limit=3) is not None
    with pytest.raises(NoSlot), database.write() as tx:
        claims.claim(tx, world.ada, limit=3)
    give(world, "ada", {"limits": {"concurrent_conversations": 2}})
    with database.write() as tx:
        assert claims.claim(tx, world.ada, limit=3) is not None
    with pytest.raises(NoSlot), database.write() as tx:
        claims.claim(tx, world.ada, limit=3)


def test_a_limit_for_all_holds_for_processes_that_have_not_read_it(make_world: MakeWorld, databases: Databases) -> None:
    """An organization's charter lowers and raises what its members may do at once, whoever claims."""
    world = make_world(on=databases)
    world.start()
    other = make_world(like=world, ORCHESTRATOR_MODE=False)
    slots = []
    for limit in (1, 3):
        charter_of_all(other, {"limits": {"concurrent_conversations": limit}}, confirm=True)
        slots.append(world.rows("Daemon")[0]["slots"])
    assert slots == [1, 3]


def test_what_a_charter_says_of_the_model_reaches_it(world: World) -> None:
    """Name, fallbacks, length and effort; without them the app's settings."""
    world.start()
    give(world, "ada", {"model": {"name": "m1", "fallbacks": ["m2"], "max_tokens": 77, "effort": "low"}})
    made = ask(world)
    assert (made.model, made.max_tokens, made.effort) == ("m1", 77, "low")
    give(world, "ada", {"max_tokens": 78})
    assert (ask(world).max_tokens, world.model.scenes[-1].request.effort) == (78, None)


@pytest.mark.parametrize(("daemon", "answers"), [(None, 0), ({"auto_respond": True}, 1)])
def test_who_shall_not_answer_does_not(world: World, daemon: Any, answers: int) -> None:
    """behaviour.auto_reply holds for the next message; orchestrator_config["daemon"] wins over it."""
    world.start()
    host_writes(world, {"daemon": daemon})
    give(world, "ada", {"behaviour": {"auto_reply": False}})
    world.post("ann", "@ada hello")
    world.rest()
    assert len(world.model.scenes) == answers


def test_a_limit_of_the_configuration_wins(world: World) -> None:
    """orchestrator_config["daemon"] is this app's own word; one that cannot be used changes nothing that runs."""
    host_writes(world, {"daemon": {"max_concurrent_conversations": 4}})
    give(world, "ada", {"limits": {"concurrent_conversations": 2}})
    world.start()
    daemon = world.house.manager.get_daemon(world.ada)
    assert daemon is not None
    assert daemon.limit == 4
    host_writes(world, {"daemon": {"max_concurrent_conversations": 0}, "charter": {"mission": "Go on."}})
    assert "Go on." in ask(world).system
    assert daemon.limit == 4


def test_a_charter_that_is_rolled_back_was_never_there(world: World) -> None:
    """Seen within its own transaction, in nobody's answer after it; the next one of that number is another."""
    world.start()
    with world.context():
        keeper, session = world.neolith.directory, world.db.session
        keeper.set_organization_charter(world.organization, {"mission": "Never."})
        one = world.house.people.snapshot(session.connection(), world.ada)
        assert one is not None
        assert world.house.charters.of(session.connection(), one).mission == "Never."
        session.rollback()
    charter_of_all(world, {"mission": "Now."})
    system = ask(world).system
    assert "Now." in system
    assert "Never." not in system


def test_a_charter_is_read_once(world: World) -> None:
    """Turns and messages ask the tables of charters nothing while nothing changes: versions come with the snapshot."""
    world.start()
    charter_of_all(world, {"communication": {"formality": "stiff"}})
    give(world, "ada", {"mission": "Count."})
    ask(world)
    asked: list[str] = []
    database: Any = world.stores.database

    def hear(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        asked.append(statement)

    with world.stores.database.read() as tx:
        one = world.house.people.snapshot(tx, world.ada)
        assert one is not None
        event.listen(tx, "before_cursor_execute", hear)
        assert world.house.charters.of(tx, one).mission == "Count."
        event.remove(tx, "before_cursor_execute", hear)
    assert asked == []
    assert database is world.stores.database


def test_as_many_charters_are_remembered_as_are_used(world: World) -> None:
    """The ones that nobody asked for longest are forgotten: ten thousand orchestrators do not fill the memory."""
    with world.stores.database.read() as tx:
        one = world.house.people.snapshot(tx, world.ada)
        assert one is not None
        book = world.house.charters
        from dataclasses import replace

        for number in range(KEPT + 5):
            book.of(tx, replace(one, id=str(number)))
    assert len(book._kept) == KEPT


def test_a_bad_charter_says_so_in_its_turns_and_wakes_as_usual(world: World) -> None:
    """Written by the host past us: messages are accepted, and each answer says what is the matter."""
    world.start()
    host_writes(world, {"charter": {"safty": {}}})
    world.post("ann", "@ada hello")
    world.rest()
    (answer,) = world.answers()
    assert "charter" in answer["content"]
    (turn,) = world.rows("Turn")
    assert "do you mean safety?" in turn["error"]
    with pytest.raises(StartFailed, match="safty"):
        world.house.manager.restart_daemon(world.ada)


def test_a_hosts_charter_is_a_version_once_its_daemon_runs(world: World) -> None:
    """So that what it listens for is heard before its first turn."""
    host_writes(world, {"charter": {"behaviour": {"keyword_triggers": ["engine"]}}})
    world.start()
    assert [row["version"] for row in world.rows("CharterVersion")] == [1]
    assert [(row["kind"], row["value"]) for row in world.rows("Trigger")] == [("keyword", "engine")]
    world.post("ann", "What an engine!")
    world.rest()
    assert recorded(world) == [1]


def test_the_front_door_for_hosts(world: World) -> None:
    """`neolith.directory.set_charter` checks, writes and tells, in the host's transaction."""
    with world.context():
        directory = world.neolith.directory
        assert directory.set_charter(world.ada, {"tier": 2, "safety": {"always_reject": ["x"]}}, reason="seed") == 1
        with pytest.raises(BadCharter, match="tier: is 2 and cannot be changed"):
            directory.set_charter(world.ada, {"tier": 3})
        with pytest.raises(Unconfirmed, match="x: never runs now"):
            directory.set_charter(world.ada, {}, confirm=False)
        assert directory.set_charter(world.ada, {"mission": "x"}) == 2
        with pytest.raises(NotFound):
            directory.set_charter("99", {})
        with pytest.raises(BadCharter, match="handle: this is a charter of another one"):
            directory.set_charter(world.ada, {"handle": "otto"})
        with pytest.raises(BadCharter, match="name: belongs to one orchestrator"):
            directory.set_organization_charter(world.organization, {"name": "x"})
        world.db.session.commit()
    rows = world.rows("CharterVersion")
    assert [(row["reason"], row["author_id"], row["charter"].get("tier")) for row in rows] == [
        ("seed", None, 2),
        ("", None, 2),
    ]


def test_an_older_version_holds_again_as_a_new_one(world: World) -> None:
    """It says whose it is; a tier that was set meanwhile stays, and what is less safe has to be confirmed."""
    keeper, ann = world.house.keeper, world.ids["ann"]
    give(world, "ada", {"mission": "One."})
    give(world, "ada", {"mission": "Two.", "tier": 3, "limits": {"cost_per_day": 5}})
    with world.stores.database.write() as tx:
        one = world.house.people.snapshot(tx, world.ada)
        assert one is not None
        with pytest.raises(Unconfirmed, match="cost_per_day"):
            keeper.restore(tx, one, 1, Author(ann))
        with pytest.raises(NotFound, match="version 7"):
            keeper.restore(tx, one, 7, Author(ann))
        with pytest.raises(Conflict):
            keeper.restore(tx, one, 1, Author(ann, expected=1, confirm=True))
        made = keeper.restore(tx, one, 1, Author(ann, "too eager", confirm=True))
    assert (made.version, made.charter, made.reason) == (
        3,
        {"mission": "One.", "tier": 3},
        "version 1 again: too eager",
    )
    assert [row["active"] for row in world.rows("CharterVersion")] == [False, False, True]


def test_nobodys_charter_becomes_too_large_by_its_organizations(world: World) -> None:
    """The limit counts what is rendered of both (E5); refused when it is saved."""
    give(world, "ada", {"mission": "x" * 60_000})
    for size, fits in ((1_000, True), (60_000, False)):
        charter = {"personality": {"background": "y" * size}}
        if fits:
            charter_of_all(world, charter)
        else:
            with pytest.raises(BadCharter, match="too large"):
                charter_of_all(world, charter)
    host_writes(world, {"charter": {"safty": "x" * 90_000}})
    charter_of_all(world, {"personality": {"background": "y" * 20_000}})
    until(lambda: world.rows("OrganizationCharter")[-1]["version"] == 2, "it is written")
