"""Who waits sees it: the place in the queue, why it does not begin, and BUSY over all processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_neolith_orchestrator.core.errors import NotFound
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .stage import Door, Scene, Script
from .world import World, until


def work(world: World, message_id: str, who: str = "ann") -> list[tuple[str, int | None, str | None]]:
    """What becomes of a message."""
    with world.context():
        found = world.neolith.chat.work(world.ids[who], message_id)
    return [(one["state"], one["position"], one["reason"]) for one in found]


def post(world: World, text: str, who: str = "bob") -> list[tuple[str, int | None, str | None]]:
    """What a post says of itself."""
    with world.context():
        posted = world.neolith.chat.post(world.ids[who], world.general, text)
        world.db.session.commit()
    return [(one["state"], one["position"], one["reason"]) for one in posted.work]


def test_a_post_says_what_is_before_it(make_world: MakeWorld, databases: Databases) -> None:
    """For each whom it wakes: how much waits before it, and why; only for those who see the message."""
    world = make_world(on=databases, orchestrators=("ada", "bert"))
    assert post(world, "@ada one") == [("waiting", 0, "offline")]
    assert post(world, "@ada @bert two") == [("waiting", 1, "offline"), ("waiting", 0, "offline")]
    assert post(world, "nobody") == []
    third = world.post("bob", "@ada three")["id"]
    assert work(world, third) == [("waiting", 2, "offline")]
    outside = world.neolith
    with world.context(), pytest.raises(NotFound):
        outside.chat.work("999", third)
    world.start()
    world.rest()
    assert work(world, third) == [("answered", None, "answered")]


def test_it_is_told_once_it_takes_a_while(make_world: MakeWorld) -> None:
    """After a second the asker, and nobody else, hears of it; again when its place changes and when it begins."""
    clock = ManualClock()
    world = make_world(clock=clock)
    world.post("bob", "@ada one")
    second = world.post("bob", "@ada two")["id"]
    look = world.house.front.waiting.look
    look()
    assert world.channel.of("delivery:waiting") == []
    clock.advance(1.0)
    look()
    look()
    told = world.channel.of("delivery:waiting")
    assert [(one["position"], one["reason"]) for one in told] == [(0, "offline"), (1, "offline")]
    assert {one.room for one in world.channel.emitted if one.event == "delivery:waiting"} == {
        f"user:{world.ids['bob']}"
    }
    assert told[1]["messageId"] == second
    assert told[1]["orchestratorId"] == world.ada
    world.stop("bob", str(told[0]["messageId"]))
    look()
    later = world.channel.of("delivery:waiting")[2:]
    assert [(one["state"], one["position"]) for one in later] == [("cancelled", None), ("waiting", 0)]
    world.stop("bob", second)
    look()
    look()
    assert [one["state"] for one in world.channel.of("delivery:waiting")[4:]] == ["cancelled"]


def test_what_begins_soon_is_not_told(make_world: MakeWorld) -> None:
    """The usual question is answered before anybody would have to be told that it waits."""
    world = make_world()
    world.start()
    world.post("bob", "@ada one")
    world.rest()
    until(lambda: not world.house.front.waiting._waiters, "a sweep that forgets it")
    assert world.channel.of("delivery:waiting") == []


def hold(doors: dict[str, Door]) -> Script:
    """A model whose calls each wait for the door of their question's last word."""

    def play(scene: Scene) -> Iterator[str]:
        doors[scene.asked.split()[-1]].wait(scene.cancel)
        yield "Done."

    return play


def test_busy_is_exact_over_processes(make_world: MakeWorld, databases: Databases) -> None:
    """Two processes share the slots: whoever takes the last one, and whichever is freed, everybody sees the truth."""
    doors = {name: Door() for name in ("one", "two", "three", "four")}
    first = make_world(on=databases, DAEMON_MAX_CONCURRENT_CONVERSATIONS=2)
    first.model.script = hold(doors)
    second = make_world(like=first, DAEMON_MAX_CONCURRENT_CONVERSATIONS=2)

    def status() -> str:
        return str(first.rows("Orchestrator")[0]["status"])

    first.start()
    until(lambda: status() == "ONLINE", "a started daemon")
    first.post("bob", "@ada one")
    first.model.wait_running(1)
    second.start()
    second.post("bob", "@ada two")
    first.model.wait_running(2)
    until(lambda: status() == "BUSY", "all slots taken")
    doors["one"].open()
    until(lambda: status() == "ONLINE", "a free slot")
    first.post("bob", "@ada three")
    until(lambda: status() == "BUSY", "the slot that is taken again, which is not the last")
    assert post(first, "@ada four", "ann") == [("waiting", 0, "busy")]
    with first.context():
        health = first.neolith.manager.get_all_daemon_statuses()[0].health
    assert (health.active_conversations, health.queued) == (2, 1)
    for door in doors.values():
        door.open()
    first.rest()
    until(lambda: status() == "ONLINE", "free slots")
