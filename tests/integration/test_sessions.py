"""Sessions: which lines an orchestrator is told, over restarts, pauses and closes; who may see and close one."""

from __future__ import annotations

import pytest

from flask_neolith_orchestrator.core.errors import Conflict, NotFound
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .world import World, until

DAY = 86_400.0


def ask(world: World, text: str, thread: str, who: str = "ann") -> str:
    """What the model is told of a question in a thread."""
    world.post(who, f"@ada {text}", thread=thread)
    world.rest()
    return "\n".join(message.text for message in world.model.scenes[-1].request.messages)


def close(world: World, session_id: str, who: str = "ann") -> str:
    """Close a session, and what state it has then."""
    with world.context():
        found = world.neolith.chat.close_session(world.ids[who], session_id)
        world.db.session.commit()
        return str(found["state"])


def states(world: World) -> list[str]:
    """States of ann's sessions, the newest first."""
    with world.context():
        return [one["state"] for one in world.neolith.chat.sessions(world.ids["ann"])[0]]


def test_a_conversation_keeps_its_session_over_a_restart(make_world: MakeWorld, databases: Databases) -> None:
    """Each thread has its own; a second process goes on with the one that the first began."""
    world = make_world(on=databases)
    thread, other = world.thread(), world.thread()
    world.start()
    ask(world, "one?", thread)
    ask(world, "aside?", other)
    world.close()
    again = make_world(like=world)
    again.start()
    told = ask(again, "two?", thread)
    assert "one?" in told
    assert "aside?" not in told
    rows = again.rows("Session")
    assert [row["thread_id"] for row in rows] == [thread, other]
    assert [turn["session_id"] for turn in again.rows("Turn")] == [rows[0]["id"], rows[1]["id"], rows[0]["id"]]


def test_a_closed_session_is_forgotten(make_world: MakeWorld, databases: Databases) -> None:
    """What was said before a close is in no later prompt; the next turn begins another session."""
    clock = ManualClock()
    world = make_world(on=databases, clock=clock)
    thread = world.thread()
    world.start()
    ask(world, "my number is 4711, remember?", thread)
    clock.advance(1)
    assert close(world, "1") == "closed"
    assert close(world, "1", "bob") == "closed"
    clock.advance(1)
    world.post("bob", "A word in between.", thread=thread)
    told = ask(world, "what is my number?", thread)
    assert "4711" not in told
    assert "A word in between." in told
    assert states(world) == ["open", "closed"]
    first = world.rows("Session")[0]
    assert first["closed_by"] == world.ids["ann"]
    with pytest.raises(Conflict), world.context():
        world.neolith.chat.close_session(world.ids["bob"], str(carried(world)))


def carried(world: World) -> int:
    """A session that went idle, with another behind it."""
    clock = world.house.clock
    assert isinstance(clock, ManualClock)
    thread = world.thread()
    ask(world, "one?", thread)
    clock.advance(8 * DAY)
    ask(world, "two?", thread)
    return int(world.rows("Session")[-2]["id"])


def test_a_pause_begins_another_session_that_still_knows(make_world: MakeWorld, databases: Databases) -> None:
    """After a week of quiet; until somebody has summed it up, the lines before stand for it behind a note."""
    clock = ManualClock()
    world = make_world(on=databases, clock=clock)
    thread = world.thread()
    world.start()
    ask(world, "one?", thread)
    clock.advance(6 * DAY)
    assert "pause" not in ask(world, "two?", thread)
    assert len(world.rows("Session")) == 1
    clock.advance(6 * DAY)
    ask(world, "three?", thread)
    assert states(world) == ["open"]
    clock.advance(8 * DAY)
    assert states(world) == ["idle"]
    told = ask(world, "four?", thread)
    assert "[[A pause of 8 days]]\n\n[ann]: @ada four?" in told
    assert "one?" in told
    assert states(world) == ["open", "idle"]
    new = world.rows("Session")[-1]
    assert (new["carried_from"], new["since"]) == (1, 0.0)


def test_sessions_are_seen_by_members_alone(make_world: MakeWorld) -> None:
    """A session of a private channel does not exist for others: not in a list, not by its id, not to be closed."""
    world = make_world()
    with world.context():
        chat, ids = world.neolith.chat, world.ids
        private = chat.create_channel(
            ids["ann"], organization_id=world.organization, name="private", member_ids=[ids["ada"]]
        )["id"]
        world.db.session.commit()
    world.start()
    question = world.post("ann", "@ada a secret", channel=private)
    world.rest()
    with world.context():
        (mine,) = chat.sessions(ids["ann"], channel_id=private, orchestrator_id=world.ada)[0]
        assert chat.sessions_of(ids["ann"], question["id"]) == [mine]
        (turn,) = chat.session(ids["ann"], mine["id"])["turns"]
        assert (turn["messageIds"], turn["requesterId"]) == ([question["id"]], ids["ann"])
        assert chat.sessions(ids["bob"]) == ([], None)
        for look in (
            lambda: chat.session(ids["bob"], mine["id"]),
            lambda: chat.close_session(ids["bob"], mine["id"]),
            lambda: chat.sessions(ids["bob"], channel_id=private),
            lambda: chat.sessions_of(ids["bob"], question["id"]),
            lambda: chat.session(ids["ann"], "999"),
        ):
            with pytest.raises(NotFound):
                look()
    assert states(world) == ["open"]


def test_any_line_of_a_place_finds_its_session(make_world: MakeWorld) -> None:
    """By its turn, else by where and when it was written; pages go from the newest to the oldest."""
    clock = ManualClock()
    world = make_world(clock=clock)
    thread = world.thread()
    world.start()
    ask(world, "one?", thread)
    aside = world.post("bob", "Nothing for ada.", thread=thread)
    elsewhere = world.post("bob", "Nor this.")
    carried(world)
    with world.context():
        chat, ann = world.neolith.chat, world.ids["ann"]
        assert [one["id"] for one in chat.sessions_of(ann, aside["id"])] == ["1"]
        assert [one["id"] for one in chat.sessions_of(ann, thread)] == ["1"]
        assert chat.sessions_of(ann, elsewhere["id"]) == []
        page, older = chat.sessions(ann, limit=2)
        assert [one["id"] for one in page] == ["3", "2"]
        rest, end = chat.sessions(ann, before=older, limit=2)
        assert ([one["id"] for one in rest], end) == (["1"], None)


def test_another_attempt_stays_in_its_session(make_world: MakeWorld) -> None:
    """A turn that is tried again belongs to the session that it began in."""
    world = make_world()
    world.start()
    thread = world.thread()

    def broken(scene: object) -> list[str]:
        world.model.script = lambda _scene: ["fine"]
        raise ValueError("broken")

    world.model.script = broken
    world.post("ann", "@ada one?", thread=thread)
    until(lambda: world.deliveries() == ["answered"], "the second attempt")
    assert world.rows("Turn")[0]["attempt"] == 2
    assert world.rows("Turn")[0]["session_id"] == 1
    assert len(world.rows("Session")) == 1
