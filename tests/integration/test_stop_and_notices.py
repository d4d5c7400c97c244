"""Stop for hosts with a chat of their own, refusals that browsers see, and listeners that outlive a closed runtime."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_neolith_orchestrator import IncomingMessage
from flask_neolith_orchestrator.core.errors import Forbidden, NotFound

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
