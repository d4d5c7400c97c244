"""Stop for hosts with a chat of their own, refusals that browsers see, and listeners that outlive a closed runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from flask_neolith_orchestrator import IncomingMessage
from flask_neolith_orchestrator.core.errors import Forbidden, Invalid, NotFound
from flask_neolith_orchestrator.testing import RecordingChannel

from .conftest import MakeWorld
from .stage import Door, Scene
from .world import World, until


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A world on SQLite."""
    return make_world()


def host_message(world: World, number: str, text: str) -> IncomingMessage:
    """What ann writes in the host's own chat."""
    return IncomingMessage(number, text, "their-channel", world.ids["ann"], 1_700_000_000.0)


def test_a_host_stops_an_answer_by_its_own_ids(world: World) -> None:
    """neolith.stop takes the host's ids, is for the person who asked, and ends the turn."""

    def closed(scene: Scene) -> Iterator[str]:
        yield "A begin"
        Door().wait(scene.cancel)

    world.model.script = closed
    world.start()
    with world.context():
        world.neolith.accept(host_message(world, "q1", "@ada hello"), to=[world.ada])
        world.db.session.commit()
        until(lambda: world.deliveries() == ["running"], "a running turn")
        with pytest.raises(NotFound):
            world.neolith.stop("nothing", world.ids["ann"], channel_id="their-channel")
        with pytest.raises(Forbidden):
            world.neolith.stop("q1", world.ids["bob"], channel_id="their-channel")
        assert world.neolith.stop("q1", world.ids["ann"], channel_id="their-channel") == "running"
        until(lambda: world.deliveries() == ["cancelled"], "a cancelled delivery")
        assert world.neolith.stop("q1", world.ids["ann"], channel_id="their-channel") == "over"


def test_a_refusal_is_told_to_browsers_at_once(make_world: MakeWorld) -> None:
    """A full inbox answers with a notice that is a message like any other, by the orchestrator's user."""
    world = make_world(DAEMON_MAX_QUEUE=1)
    world.post("ann", "@ada one")
    asked = world.post("ann", "@ada two")
    told = [one["message"] for one in world.channel.of("message")]
    notices = [one for one in told if one["notice"] == "queue-full"]
    assert [(one["author"]["id"], one["replyToId"], one["state"]) for one in notices] == [
        (world.ids["ada"], asked["id"], "failed")
    ]


def test_what_listens_to_the_manager_outlives_the_runtime(world: World) -> None:
    """Listeners that create_app registered are there again when a process builds its parts anew."""
    heard: list[str] = []
    with world.context():
        world.neolith.manager.on("daemon:started", lambda orchestrator_id, **_: heard.append(orchestrator_id))
    world.neolith.shutdown(world.app)
    world.start()
    until(lambda: heard == [world.ada], "a started event")


def test_a_hosts_bad_message_is_refused_before_anything_is_written(world: World) -> None:
    """neolith.accept and handle_message say what is wrong, and the host's transaction is as it was."""
    bad = replace(host_message(world, "q1", "@ada hello"), timestamp=float("inf"))
    with world.context():
        with pytest.raises(Invalid, match="timestamp"):
            world.neolith.accept(bad)
        with pytest.raises(Invalid, match="timestamp"):
            world.neolith.manager.daemon_for(world.ada).handle_message(bad)
        world.db.session.commit()
    assert world.rows("Message") == []


class Apart(RecordingChannel):
    """A channel that nothing carries to other processes."""

    def health(self) -> Mapping[str, Any]:
        """Without a queue."""
        return {"ok": True, "queue": False}


def test_several_processes_without_a_queue_are_warned_of_once(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """The second process says at its start that browsers of the first hear nothing of it."""
    first = make_world(channel=Apart())
    first.start()
    second = make_world(like=first, channel=Apart())
    second.start()
    for _ in range(2):
        second.house.node.look_around()
    said = [record for record in caplog.records if getattr(record, "action", "") == "no-message-queue"]
    assert len(said) == 1
    assert "message_queue" in said[0].getMessage()


def test_a_turn_that_will_not_end_is_counted(make_world: MakeWorld) -> None:
    """A model that hears no stop loses its turn: the stop returns, the work waits again, and health says how often."""
    world = make_world(DAEMON_STOP_TIMEOUT=50)
    door = Door()

    def deaf(_scene: Scene) -> Iterator[str]:
        door.wait()
        yield "Too late."

    world.model.script = deaf
    world.start()
    world.post("ann", "@ada hello")
    world.model.wait_for(1)
    with world.context():
        world.neolith.manager.stop_daemon(world.ada)
    assert world.deliveries() == ["waiting"]
    assert world.house.readiness()["leases"]["abandoned"] == 1
    door.open()
    world.model.wait_running(0)
