"""When and how an orchestrator answers: working hours, debounce, place, pauses, and whom it tells of what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update

from flask_neolith_orchestrator.core.types import IncomingMessage
from flask_neolith_orchestrator.runtime.chatting import escalation
from flask_neolith_orchestrator.testing import ManualClock

from .charters import give
from .conftest import Databases, MakeWorld
from .world import World, until

SUNDAY = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC).timestamp()
OFFICE = {"hours": {"mon": ["09:00-17:00"]}, "offline_message": "Closed. I will come back to you."}
SAID_BEFORE = "Closed. I will come back to you."


@pytest.fixture
def clock() -> ManualClock:
    """A Sunday at noon."""
    return ManualClock(SUNDAY)


@pytest.fixture
def world(make_world: MakeWorld, databases: Databases, clock: ManualClock) -> World:
    """ann, bob and ada, who answers in the channel and works on Mondays; time stands still."""
    made = make_world(on=databases, clock=clock, DAEMON_REPLY_IN="channel", DAEMON_SWEEP_INTERVAL=3_600_000)
    give(made, "ada", {"availability": OFFICE})
    return made


def texts(world: World, name: str = "ada") -> list[str]:
    """What somebody has said."""
    return [row["content"] for row in world.answers(name)]


def test_outside_of_its_hours_it_says_so_once_and_catches_up(world: World, clock: ManualClock) -> None:
    """Messages are accepted and held; each person gets one turn for all they said, in order, when it opens."""
    world.start()
    first = world.post("ann", "@ada one")
    for who, text in (("bob", "@ada two"), ("ann", "@ada three"), ("bob", "@ada four")):
        world.post(who, text)
    world.rest()
    assert texts(world) == [SAID_BEFORE]
    held = world.rows("Delivery")
    assert [(row["state"], row["held"], row["ready_at"]) for row in held] == [("waiting", "hours", MONDAY)] * 4
    notice = world.answers()[0]
    assert (notice["state"], notice["reply_to_id"]) == ("final", int(first["id"]))
    assert "Back Mon 2 March, 09:00 (UTC)" in notice["notice"]
    clock.advance(MONDAY - SUNDAY)
    world.house.sweeper.ring_ready()
    world.rest()
    asked = [[part for part in ("one", "two", "three", "four") if part in scene.asked] for scene in world.model.scenes]
    assert len(asked) == 2, "one turn for each person"
    assert asked[0][-1] == "three"
    assert asked[1][-1] == "four"
    assert SAID_BEFORE not in str([scene.request for scene in world.model.scenes]), "no model reads a notice"
    assert world.deliveries() == ["answered"] * 4


def test_each_closed_time_and_conversation_is_told_once(world: World, clock: ManualClock) -> None:
    """A DM is a conversation of its own; after the next closing it is said again."""
    world.start()
    with world.context():
        direct = world.neolith.chat.open_dm(world.ids["ann"], [world.ids["ada"]])["id"]
        world.db.session.commit()
    world.post("ann", "@ada one")
    world.post("ann", "two", channel=direct)
    world.post("ann", "three", channel=direct)
    assert texts(world) == [SAID_BEFORE] * 2
    clock.advance(MONDAY - SUNDAY + 60.0)
    world.house.sweeper.ring_ready()
    world.rest()
    clock.advance(9 * 3600.0)
    world.post("ann", "@ada five")
    assert texts(world).count(SAID_BEFORE) == 3


def test_what_is_held_does_not_grow_old(world: World, clock: ManualClock) -> None:
    """A weekend is longer than DAEMON_MAX_AGE, which counts from the opening."""
    world.start()
    clock.advance(-86_400.0 * 2)
    world.post("ann", "@ada one")
    clock.advance(86_400.0 * 2 + MONDAY - SUNDAY + 3600.0)
    world.house.sweeper.expire()
    world.house.sweeper.ring_ready()
    world.rest()
    assert world.deliveries() == ["answered"]


def test_new_hours_hold_at_once(world: World, clock: ManualClock) -> None:
    """What waits for the old ones waits for the new ones, or is answered now."""
    world.start()
    world.post("ann", "@ada one")
    give(world, "ada", {"availability": {"hours": {"sun": ["13:00-14:00"]}}})
    assert [row["ready_at"] for row in world.rows("Delivery")] == [SUNDAY + 3600.0]
    give(world, "ada", {})
    world.house.sweeper.ring_ready()
    world.rest()
    assert world.deliveries() == ["answered"]


def test_status_says_until_when_it_is_away(world: World, clock: ManualClock) -> None:
    """One shape for every reason why somebody does not answer."""
    with world.stores.database.read() as tx:
        (pause,) = world.house.front.pauses.of(tx, [world.ada]).values()
        assert pause.shown() == {"reason": "hours", "until": "2026-03-02T09:00:00.000Z"}
        clock.advance(MONDAY - SUNDAY)
        assert world.house.front.pauses.of(tx, [world.ada]) == {}


def test_browsers_hear_when_hours_begin_and_end(world: World, clock: ManualClock) -> None:
    """Each once in this process; what holds at its start is in the snapshot that a socket gets."""

    def heard() -> list[Any]:
        told = [one.payload for one in world.channel.emitted if one.event == "daemon:status"]
        return [one["paused"] for one in told if one.get("reason") == "hours"]

    look = world.house.sweeper.tell_openings
    look()
    look()
    assert heard() == []
    clock.advance(MONDAY - SUNDAY)
    look()
    look()
    assert heard() == [None]
    clock.advance(8 * 3600.0)
    look()
    assert heard() == [None, {"reason": "hours", "until": "2026-03-09T09:00:00.000Z"}]


def test_each_has_its_own_pace_and_place(make_world: MakeWorld, clock: ManualClock) -> None:
    """debounce, reply_delay and reply_in of the charter count before the app's."""
    world = make_world(clock=clock, orchestrators=("ada", "max"), DAEMON_DEBOUNCE=7_000)
    give(world, "ada", {"behaviour": {"debounce": 2, "reply_delay": 1, "reply_in": "channel"}})
    give(world, "max", {"behaviour": {"debounce": 0, "reply_delay": 3}})
    world.post("ann", "@ada @max hello")
    waits = {str(row["orchestrator_id"]): row["ready_at"] - SUNDAY for row in world.rows("Delivery")}
    assert waits == {world.orchestrators["ada"]: 2.0, world.orchestrators["max"]: 3.0}
    threads = {str(row["orchestrator_id"]): row["thread_id"] for row in world.rows("Conversation")}
    assert threads[world.orchestrators["ada"]] is None
    assert threads[world.orchestrators["max"]] is not None


def test_lines_within_its_debounce_are_one_turn(make_world: MakeWorld) -> None:
    """The timer rings when it is over, without the sweep (C8)."""
    world = make_world(DAEMON_REPLY_IN="channel", DAEMON_SWEEP_INTERVAL=3_600_000)
    give(world, "ada", {"behaviour": {"debounce": 0.3}})
    world.start()
    world.post("ann", "@ada one")
    world.post("ann", "@ada two")
    until(lambda: world.deliveries() == ["answered"] * 2, "both are answered")
    assert len(world.model.scenes) == 1


ESCALATION = [
    {"on": "keyword", "to": ["bob", "nobody"], "keywords": ["lawyer", "press"]},
    {"on": "failure", "to": ["@bob"]},
    {"on": "hours", "to": ["ann"]},
]


@pytest.fixture
def careful(make_world: MakeWorld, databases: Databases, clock: ManualClock) -> World:
    """ada tells bob of certain words and of failures, and ann of messages outside of her hours."""
    made = make_world(
        on=databases, clock=clock, DAEMON_SWEEP_INTERVAL=3_600_000, NEOLITH_PUBLIC_URL="https://acme.test/"
    )
    give(made, "ada", {"availability": {"escalation": ESCALATION}})
    return made


def told(world: World, name: str) -> list[str]:
    """What ada has written to somebody directly."""
    with world.context():
        rooms = [one["id"] for one in world.neolith.chat.channels(world.ids[name]) if one["kind"] == "dm"]
    return [row["content"] for room in rooms for row in world.rows("Message", channel_id=int(room))]


def events(world: World) -> list[dict[str, Any]]:
    """What listeners of `escalation` hear from now on."""
    heard: list[dict[str, Any]] = []
    world.house.manager.on("escalation", lambda **event: heard.append(event))
    return heard


def test_a_word_is_told_to_those_who_want_to_know(careful: World, caplog: pytest.LogCaptureFixture) -> None:
    """A direct message with a link, which wakes nobody, and an event; once; unknown names are logged."""
    heard = events(careful)
    message = careful.post("ann", "@ada I will call my lawyer. My LAWYER!")
    careful.post("ann", "@ada and a friend")
    for _ in range(2):
        careful.house.escalator.sweep()
    (text,) = told(careful, "bob")
    assert "lawyer" in text
    assert f"https://acme.test/channels/{careful.general}#message-{message['id']}" in text
    assert len(careful.rows("Delivery")) == 2, "what ada writes wakes nobody"
    until(lambda: heard, "the event")
    assert [(one["cause"], one["user_ids"]) for one in heard] == [("keyword", [careful.ids["bob"]])]
    assert "nobody" in next(one.getMessage() for one in caplog.records if "not in its organization" in one.getMessage())
    assert any(one.event == "message" and one.payload["message"]["content"] == text for one in careful.channel.emitted)


def fail(world: World) -> None:
    """The model breaks each time, until it is a dead letter."""

    def broken(_scene: object) -> list[str]:
        raise RuntimeError("broken")

    world.model.script = broken
    world.post("ann", "@ada hello")
    for _ in range(6):
        with world.stores.database.write() as tx:
            table = world.neolith.models.table("Delivery")
            tx.execute(update(table).where(table.c.state == "waiting").values(ready_at=SUNDAY))
        world.house.sweeper.ring_ready()
        world.rest()


def test_a_charter_that_tells_nobody_is_warned_of(careful: World) -> None:
    """Before it is saved."""
    with careful.stores.database.write() as tx:
        snapshot = careful.house.people.snapshot(tx, careful.ada)
        assert snapshot is not None
        report = careful.house.keeper.examine(tx, snapshot, {"availability": {"escalation": ESCALATION}})
    assert [one for one in report.warnings if "escalation" in one] == [
        "availability.escalation: nobody in the organization is called 'nobody'"
    ]


def test_a_failure_is_told_once(careful: World, clock: ManualClock) -> None:
    """Found by the sweep of any process, so that none is lost with the one in which it happened."""
    careful.start()
    fail(careful)
    assert careful.deliveries() == ["failed"]
    for _ in range(3):
        careful.house.escalator.sweep()
        clock.advance(escalation.INTERVAL)
    (text,) = told(careful, "bob")
    assert "could not answer" in text


def test_a_refusal_is_told_as_one(careful: World) -> None:
    """The model would not answer: somebody is told that, without a word of how the delivery ended."""
    give(careful, "ada", {"availability": {"escalation": [{"on": "refusal", "to": ["bob"]}]}})
    careful.start()
    careful.post("ann", "@ada hello")
    careful.rest()
    with careful.stores.database.write() as tx:
        tx.execute(update(careful.neolith.models.table("Turn")).values(stop_reason="refusal"))
    for _ in range(2):
        careful.house.escalator.sweep()
    (text,) = told(careful, "bob")
    assert text.startswith("I am to tell you: the model refused to answer somebody.")


def test_messages_out_of_hours_are_told_once_for_each_conversation(careful: World) -> None:
    """Not for each line of it."""
    give(careful, "ada", {"availability": {**OFFICE, "escalation": ESCALATION}})
    root = careful.post("bob", "@ada one")["id"]
    careful.post("bob", "@ada two", thread=root)
    careful.house.escalator.sweep()
    assert len(told(careful, "ann")) == 1


def waiting(world: World, clock: ManualClock, cause: str) -> None:
    """A budget that is used up, or a call that waits for approval."""
    message = world.post("ann", "@ada hello")
    table = world.neolith.models.table
    with world.stores.database.write() as tx:
        if cause == "budget":
            tx.execute(update(table("Delivery")).values(held="budget", ready_at=MONDAY))
            return
        (delivery,) = world.rows("Delivery", message_id=message["id"])
        turn = {"requester_id": world.ids["ann"], "epoch": 1, "started_at": SUNDAY, "attempt": 1, "charter_version": 0}
        turn |= {key: delivery[key] for key in ("orchestrator_id", "conversation_id")} | {"state": "parked"}
        zero = ("calls", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
        made = table("Turn").insert().values(**turn, **dict.fromkeys(zero, 0)).returning(table("Turn").c.id)
        key = tx.execute(made).scalar_one()
        tx.execute(update(table("Delivery")).values(turn_id=key, state="parked"))
        step = {"turn_id": key, "n": 1, "kind": "tool", "key": "k", "state": "waiting", "created_at": SUNDAY}
        tx.execute(table("Step").insert().values(**step, name="pay"))
    clock.advance(301.0)


@pytest.mark.parametrize("cause", ["budget", "approval"])
def test_who_waits_for_money_or_approval_is_told_of(careful: World, clock: ManualClock, cause: str) -> None:
    """Once for each budget's period, and for each call."""
    give(careful, "ada", {"availability": {"escalation": [{"on": cause, "to": [careful.ids["bob"]]}]}})
    waiting(careful, clock, cause)
    for _ in range(2):
        careful.house.escalator.sweep()
        clock.advance(escalation.INTERVAL)
    assert len(told(careful, "bob")) == 1


def test_in_a_chat_of_the_hosts_it_is_an_event_alone(careful: World) -> None:
    """Nobody would look for a message in ours."""
    heard = events(careful)
    with careful.context():
        careful.neolith.accept(IncomingMessage("m1", "@ada the press is here", "desk", careful.ids["ann"], SUNDAY))
        careful.db.session.commit()
    careful.house.escalator.sweep()
    until(lambda: heard, "the event")
    assert told(careful, "bob") == []


def test_nobody_is_told_by_a_rule_that_has_gone(careful: World) -> None:
    """The charter that holds when it is told has the last word."""
    heard = events(careful)
    careful.post("ann", "@ada lawyer")
    give(careful, "ada", {"availability": {"escalation": [{"on": "failure", "to": ["bob"]}]}})
    careful.house.escalator.sweep()
    assert told(careful, "bob") == []
    assert heard == []
    assert [row["told_at"] for row in careful.rows("Escalation")] == [SUNDAY]
