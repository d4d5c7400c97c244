"""Rolling summaries: made after the answer, told instead of the older lines, thrown away when a source changes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from flask_neolith_orchestrator.chat.context import SUMMARY
from flask_neolith_orchestrator.core.errors import ModelRejected
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .stage import Door, Scene
from .world import World, until

CONFIG: Mapping[str, Any] = {"NEOLITH_SUMMARY_MODEL": "mini", "NEOLITH_SUMMARY_AFTER": 4}


def minutes(scene: Scene) -> Iterable[str]:
    """The cheaper model keeps minutes of those numbers that it is told; the other one says a word."""
    if scene.request.model != "mini":
        yield "Noted."
        return
    told = scene.request.messages[0].text
    yield "Told: " + ", ".join(word for word in told.replace(".", " ").split() if word.startswith("fact"))


def talk(world: World, thread: str, *facts: int) -> str:
    """Ann tells facts, and asks; what the model is told then."""
    for fact in facts:
        world.post("ann", f"Here is fact{fact}.", thread=thread)
    world.post("ann", "@ada fine?", thread=thread)
    world.rest()
    return told(answers(world)[-1])


def told(scene: Scene) -> str:
    """All that the model reads besides its charter."""
    return "\n".join(message.text for message in scene.request.messages)


def answers(world: World) -> list[Scene]:
    """The calls that were to answer somebody."""
    return [scene for scene in world.model.scenes if scene.request.model != "mini"]


def summary(world: World) -> str | None:
    """What is kept of the newest session."""
    found: str | None = world.rows("Session")[-1]["summary"]
    return found


@pytest.fixture
def world(make_world: MakeWorld, databases: Databases) -> World:
    """A world in which long sessions are summed up."""
    made = make_world(on=databases, **CONFIG)
    made.model.script = minutes
    made.start()
    return made


def test_older_lines_become_a_summary(world: World) -> None:
    """After the answer; from then on it stands for them, the newest lines stay, and it rolls on."""
    thread = world.thread()
    assert SUMMARY not in talk(world, thread, 1, 2, 3, 4, 5)
    assert str(summary(world)).startswith("Told: fact1, fact2, fact3, fact4")
    then = talk(world, thread, 6)
    assert f"{SUMMARY}: Told: fact1" in then
    assert "Here is fact1." not in then
    assert "Here is fact6." in then
    talk(world, thread, 7, 8, 9)
    assert str(summary(world)).startswith("Told: fact1")
    assert "fact7" in str(summary(world))
    with world.context():
        (shown,) = world.neolith.chat.sessions(world.ids["bob"])[0]
    assert shown["summary"]["text"] == summary(world)
    assert shown["summary"]["model"] == "mini"
    assert thread in shown["summary"]["messageIds"]
    purposes = [row["purpose"] for row in world.rows("Ledger")]
    assert purposes.count("summary") == 2


@pytest.mark.parametrize("change", ["delete", "edit"])
def test_a_changed_source_throws_the_summary_away(world: World, change: str) -> None:
    """At once, in the same transaction: nothing of it is in a later prompt; the next turn has it made anew."""
    thread = world.thread()
    secret = world.post("ann", "Here is fact13.", thread=thread)
    talk(world, thread, 1, 2, 3, 4, 5)
    assert "fact13" in str(summary(world))
    if change == "delete":
        world.delete("ann", secret["id"])
    else:
        with world.context():
            world.neolith.chat.edit(world.ids["ann"], secret["id"], "Never mind.")
            world.db.session.commit()
    assert summary(world) is None
    with world.context():
        (shown,) = world.neolith.chat.sessions(world.ids["ann"])[0]
    assert (shown["summary"], shown["summaryStale"]) == (None, True)
    then = talk(world, thread)
    assert "fact13" not in then
    assert SUMMARY not in then
    assert "Here is fact1." in then
    assert "fact13" not in str(summary(world))
    assert "fact1" in str(summary(world))


def test_a_new_line_that_is_deleted_leaves_the_summary(world: World) -> None:
    """It does not tell of it."""
    thread = world.thread()
    talk(world, thread, 1, 2, 3, 4, 5)
    before = summary(world)
    late = world.post("ann", "Here is fact66.", thread=thread)
    world.delete("ann", late["id"])
    assert summary(world) == before is not None


def test_a_source_that_is_deleted_meanwhile_is_in_no_summary(world: World) -> None:
    """While the cheaper model writes: what it makes of it is dropped."""
    thread, door = world.thread(), Door()
    secret = world.post("ann", "Here is fact13.", thread=thread)

    def slow(scene: Scene) -> Iterable[str]:
        if scene.request.model == "mini":
            door.wait(scene.cancel)
        yield from minutes(scene)

    world.model.script = slow
    for fact in range(5):
        world.post("ann", f"Here is fact{fact}.", thread=thread)
    world.post("ann", "@ada fine?", thread=thread)
    (_, writing) = world.model.wait_for(2)
    assert "fact13" in told(writing)
    world.delete("ann", secret["id"])
    door.open()
    world.rest()
    assert summary(world) is None
    assert "fact13" not in talk(world, thread)
    assert "fact13" not in str(summary(world))


def test_a_failure_leaves_what_there_is(world: World) -> None:
    """A model that refuses, fails or writes too much: the next turn wishes again, and nobody waits for it."""
    thread = world.thread()

    def broken(scene: Scene) -> Iterable[str]:
        if scene.request.model == "mini":
            raise ModelRejected
        yield "Noted."

    world.model.script = broken
    talk(world, thread, 1, 2, 3, 4, 5)
    assert summary(world) is None
    world.model.script = lambda scene: ["long " * 9_000 if scene.request.model == "mini" else "Noted."]
    talk(world, thread, 6)
    assert summary(world) is None
    world.model.script = minutes
    talk(world, thread, 7)
    assert "fact5" in str(summary(world))


def test_a_pause_carries_the_summary_and_a_close_does_not(make_world: MakeWorld, databases: Databases) -> None:
    """After a pause all that was said before is summed up once more; after a close nothing of it is known."""
    clock = ManualClock()
    world = make_world(on=databases, clock=clock, **CONFIG)
    world.model.script = minutes
    world.start()
    thread = world.thread()
    clock.advance(1)
    talk(world, thread, 1)
    clock.advance(8 * 86_400.0)
    assert "Here is fact1." in talk(world, thread)
    assert summary(world) == "Told: fact1"
    clock.advance(1)
    then = talk(world, thread)
    assert f"{SUMMARY}: Told: fact1" in then
    assert "Here is fact1." not in then
    with world.context():
        world.neolith.chat.close_session(world.ids["ann"], "2")
        world.db.session.commit()
    clock.advance(1)
    assert "fact1" not in talk(world, thread)
    assert summary(world) is None


def test_a_summary_is_of_one_conversation(world: World) -> None:
    """Neither another thread of the channel nor another orchestrator's conversation there is told of it."""
    thread, other = world.thread(), world.thread("bob")
    talk(world, thread, 1, 2, 3, 4, 5)
    assert "fact" not in talk(world, other)
    assert [bool(row["summary"]) for row in world.rows("Session")] == [True, False]


def test_two_processes_write_one_summary(make_world: MakeWorld, databases: Databases) -> None:
    """Whoever comes second finds that somebody is at it, and leaves it."""
    world = make_world(on=databases, **CONFIG)
    session_of = world.stores.sessions
    world.model.script = minutes
    thread = world.thread()
    world.start()
    world.post("ann", "@ada hello", thread=thread)
    world.rest()
    second = make_world(like=world)
    with world.stores.database.read() as tx:
        job = session_of.job(tx, "1")
    assert job is not None
    taken = []
    for one in (world, second):
        with one.stores.database.write() as tx:
            taken.append(one.stores.sessions.reserve(tx, job.session))
    assert taken == [True, False]


def test_nothing_is_left_of_a_process_that_ends(world: World) -> None:
    """The call that goes on is cut, and no thread stays."""
    thread, begun = world.thread(), threading.Event()

    def endless(scene: Scene) -> Iterable[str]:
        if scene.request.model == "mini":
            begun.set()
            Door().wait(scene.cancel)
        yield "Noted."

    world.model.script = endless
    for fact in range(6):
        world.post("ann", f"Here is fact{fact}.", thread=thread)
    world.post("ann", "@ada fine?", thread=thread)
    assert begun.wait(10)
    world.close()
    until(lambda: world.house.summaries.wait_idle(0.0), "the end of the summary")
    assert world.model.running == 0
