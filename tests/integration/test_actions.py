"""What a daemon does besides answering: the five actions of the specification, on the bundled chat."""

from __future__ import annotations

from typing import Any

import pytest

from flask_neolith_orchestrator import ActionError, OrchestratorAction, OrchestratorDaemon, OutgoingMessage
from flask_neolith_orchestrator.core.errors import OpenTransaction

from .conftest import MakeWorld
from .world import World, until


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A world on SQLite with a running daemon."""
    world = make_world()
    world.start()
    return world


def daemon_of(world: World) -> OrchestratorDaemon:
    """ada's daemon."""
    with world.context():
        found = world.neolith.get_orchestrator(world.ids["ada"])
    assert found is not None
    return found


def act(world: World, kind: str, **payload: Any) -> Any:
    """Let ada do something."""
    with world.context():
        return daemon_of(world).execute_action(OrchestratorAction(kind, payload))


def test_a_response_is_a_message_of_the_orchestrators_user(world: World) -> None:
    """send_response posts, tells browsers, and wakes nobody."""
    told: list[str] = []
    daemon = daemon_of(world)
    daemon.on("action:execute", lambda action: told.append(action.type))
    with world.context():
        shown = daemon.send_response(OutgoingMessage("Good morning, @ada says so.", world.general))
    assert shown["author"]["id"] == world.ids["ada"]
    assert [one["message"]["id"] for one in world.channel.of("message")] == [shown["id"]]
    until(lambda: told == ["send_message"], "an event")
    assert world.deliveries() == []


def test_reacting_and_going_and_coming(world: World) -> None:
    """react, leave_channel and join_channel change what everybody sees."""
    asked = world.post("ann", "Well done!")
    shown = act(world, "react", message_id=asked["id"], emoji="👍")
    assert shown["reactions"] == [{"emoji": "👍", "userIds": [world.ids["ada"]]}]
    act(world, "leave_channel", channel_id=world.general)
    with pytest.raises(ActionError, match="cannot be done"):
        act(world, "send_message", channel_id=world.general, content="Still here?")
    assert act(world, "join_channel", channel_id=world.general) == {"channelId": world.general}
    assert act(world, "send_message", channel_id=world.general, content="Back.")["content"] == "Back."
    with pytest.raises(ActionError, match="no such channel"):
        act(world, "join_channel", channel_id="999")


def test_a_status_is_told_to_everybody_once(world: World) -> None:
    """update_status changes presence; the same again is no news."""
    before = len(world.channel.of("presence"))
    for _ in range(2):
        assert act(world, "update_status", status="busy") == {"status": "BUSY"}
    assert [one["status"] for one in world.channel.of("presence")[before:]] == ["BUSY"]


@pytest.mark.parametrize(
    ("kind", "payload", "problem"),
    [
        ("dance", {}, "no handler for the action 'dance'"),
        ("react", {"emoji": "👍"}, "needs 'message_id'"),
        ("update_status", {"status": "sleepy"}, "no status 'sleepy'"),
    ],
)
def test_what_cannot_be_done_says_why(world: World, kind: str, payload: dict[str, Any], problem: str) -> None:
    """An unknown type and a bad payload are ActionErrors that name what is wrong."""
    with pytest.raises(ActionError, match=problem):
        act(world, kind, **payload)


def test_an_action_does_not_wait_for_its_own_caller(world: World) -> None:
    """Where the caller's session has begun to write on SQLite, it is told so at once."""
    with world.context():
        world.db.session.add(world.user(name="zoe"))
        world.db.session.flush()
        with pytest.raises(OpenTransaction):
            daemon_of(world).execute_action(OrchestratorAction("update_status", {"status": "busy"}))
        world.db.session.rollback()
