"""Turns that lie parked, in the store: laid aside, decided, taken up, stopped; on SQLite and on Postgres."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from flask_neolith_orchestrator.core.model import ToolCall
from flask_neolith_orchestrator.core.steps import Planned, StepState
from flask_neolith_orchestrator.core.types import Claim, DeliveryState
from flask_neolith_orchestrator.store.turns.endings import Fate, Outcome
from flask_neolith_orchestrator.store.turns.parking import GOES_ON, WAITS, Decided, Verdict
from flask_neolith_orchestrator.store.turns.turns import Stopped
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .test_inbox import ANSWER, DEAD, Desk

PARKED = Outcome(Fate.PARKED, text="I would.", seq=2, notice=WAITS, calls=1)
HOUR = 3600.0
CONFIG: dict[str, Any] = {"DAEMON_LEASE": 5000, "DAEMON_RENEW_INTERVAL": 1000, "DAEMON_MAX_QUEUE": 2}


@pytest.fixture
def desk(make_world: MakeWorld, databases: Databases) -> Desk:
    """A wanted orchestrator with two slots, nothing running."""
    clock = ManualClock()
    made = Desk(make_world(on=databases, clock=clock, **CONFIG), clock)
    made.want()
    return made


@pytest.fixture
def other(make_world: MakeWorld, desk: Desk) -> Desk:
    """A second process on the same database."""
    return Desk(make_world(like=desk.world, clock=desk.clock, **CONFIG), desk.clock)


def ask(desk: Desk, claim: Claim, calls: int = 1) -> None:
    """The model has made calls that somebody must be asked about."""
    planned = [Planned(ToolCall(f"c{n}", "post", {"n": n}), StepState.WAITING) for n in range(calls)]
    with desk.database.write() as tx:
        assert isinstance(desk.stores.steps.record(tx, claim, ("I would.",), "I would.", planned), list)


def park(desk: Desk, *, calls: int = 1, thread: str | None = None) -> Claim:
    """A turn of ann's that waits for her word."""
    desk.accept(thread=thread)
    claim = desk.take()
    ask(desk, claim, calls)
    done = desk.settle(claim, PARKED)
    assert done is not None
    assert done[0].fate is Fate.PARKED
    assert done[1] == []
    return claim


def decide(desk: Desk, claim: Claim, state: Any = "approved", *step_ids: str, **more: Any) -> Decided:
    """Somebody decides."""
    with desk.database.write() as tx:
        found = desk.stores.parking.decide(tx, claim.turn_id, Verdict(state, by="1", step_ids=step_ids or None, **more))
    assert found is not None
    return found


def states(desk: Desk, claim: Claim) -> list[str]:
    """What has become of the calls."""
    return [row["state"] for row in desk.world.rows("Step", turn_id=int(claim.turn_id), kind="tool")]


def turn(desk: Desk, claim: Claim) -> str:
    """A turn's state."""
    return str(desk.world.rows("Turn", id=int(claim.turn_id))[0]["state"])


def test_a_parked_turn_holds_neither_slot_nor_conversation(desk: Desk) -> None:
    """Its row shows what there is and why it waits; in the same thread the next one is answered meanwhile."""
    thread = desk.say()
    claim = park(desk, thread=thread)
    assert turn(desk, claim) == "parked"
    assert desk.world.deliveries() == ["parked"]
    assert desk.stores.leases.slots_of(desk.world.ada) == 0
    reply = desk.reply(claim)
    assert (reply["state"], reply["content"], reply["notice"]) == ("interrupted", "I would.", WAITS)
    assert desk.claim() is None
    desk.accept("bob", thread=thread)
    assert desk.settle(desk.take()) is not None
    assert desk.world.deliveries() == ["parked", "answered"]


def test_the_decision_takes_it_up_at_the_tail(desk: Desk) -> None:
    """Behind what waits already: the same turn, row, requester and messages, and then all of it is answered."""
    thread = desk.say()
    claim = park(desk, thread=thread)
    desk.accept("bob", thread=thread)
    found = decide(desk, claim)
    assert (found.resumed, found.turn.state, states(desk, claim)) == (True, "interrupted", ["approved"])
    assert desk.reply(claim)["notice"] == GOES_ON
    assert desk.settle(desk.take()) is not None, "bob's comes first"
    again = desk.take()
    assert (again.turn_id, again.reply_id, again.attempt, again.resumed) == (claim.turn_id, claim.reply_id, 2, True)
    assert (again.messages, again.requester_id, again.kind) == (claim.messages, claim.requester_id, claim.kind)
    assert again.deliveries[1:] == claim.deliveries
    done = desk.settle(again)
    assert done is not None
    assert {one.delivery_id for one in done[1]} == set(again.deliveries)
    assert desk.world.deliveries() == ["answered"] * 3
    assert sum(row["answered"] for row in desk.world.rows("Slot")) == 2
    assert desk.claim() is None


def test_it_can_be_parked_again(desk: Desk) -> None:
    """The next round asks as well: another decision, another resume, still one answer."""
    claim = park(desk)
    decide(desk, claim)
    again = desk.take()
    ask(desk, again)
    desk.settle(again, PARKED)
    assert desk.world.deliveries() == ["parked", "parked"]
    assert decide(desk, claim, "denied", told="No.").resumed
    last = desk.take()
    assert (last.messages, len(last.deliveries)) == (claim.messages, 3)
    desk.settle(last)
    assert desk.world.deliveries() == ["answered"] * 3
    assert [row["result"] for row in desk.world.rows("Step", kind="tool")] == [None, "No."]


def test_each_call_is_decided(desk: Desk) -> None:
    """The turn goes on with the last decision; a call that is decided stays so, and saying so again is harmless."""
    claim = park(desk, calls=2)
    first, second = [str(row["id"]) for row in desk.world.rows("Step", kind="tool")]
    found = decide(desk, claim, "denied", first)
    assert (found.changed, found.resumed, turn(desk, claim)) == ((first,), False, "parked")
    assert (decide(desk, claim, "approved", first).changed, states(desk, claim)[0]) == ((), "denied")
    found = decide(desk, claim, "approved")
    assert (found.changed, found.resumed) == ((second,), True)
    found = decide(desk, claim, "approved")
    assert (found.changed, found.resumed, found.turn.state) == ((), False, "interrupted")
    assert desk.world.deliveries() == ["parked", "waiting"]


def test_one_decision_wins(desk: Desk, other: Desk) -> None:
    """Of eight at once, from two processes, one changes the call and one resume is written."""
    claim = park(desk)
    barrier = threading.Barrier(8)

    def say(number: int) -> Decided:
        barrier.wait(10)
        return decide((desk, other)[number % 2], claim, ("approved", "denied")[number // 2 % 2])

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(say, range(8)))
    assert sum(bool(one.changed) for one in done) == sum(one.resumed for one in done) == 1
    winner = next(one for one in done if one.changed)
    assert states(desk, claim) == [winner.turn.calls[0].state]
    assert desk.world.deliveries() == ["parked", "waiting"]


def test_nobody_decides_too_late(desk: Desk, other: Desk) -> None:
    """After NEOLITH_APPROVAL_TIMEOUT a call has expired, whatever is said; two sweeps take the turn up once."""
    claim = park(desk)
    desk.clock.advance(HOUR - 1)
    assert desk.stores.parking.due() == []
    desk.clock.advance(2)
    assert desk.stores.parking.due() == other.stores.parking.due() == [claim.turn_id]
    found = [one.stores.parking.expire(claim.turn_id) for one in (desk, other)]
    assert [one is not None and one.resumed for one in found] == [True, False]
    assert (states(desk, claim), other.stores.parking.due()) == (["expired"], [])
    desk.settle(desk.take())
    late = park(desk)
    desk.clock.advance(HOUR)
    said = decide(desk, late, "approved")
    assert (said.changed, len(said.expired), said.resumed, states(desk, late)) == ((), 1, True, ["expired"])


def test_a_turn_at_work_is_not_decided(desk: Desk) -> None:
    """What was written by an attempt that has not been parked, or died, is asked when it is."""
    desk.accept()
    claim = desk.take()
    ask(desk, claim)
    with desk.database.write() as tx:
        assert desk.stores.parking.decide(tx, claim.turn_id, Verdict("approved", by="1")) is None
    desk.lose(claim)
    again = desk.take()
    desk.settle(again, PARKED)
    assert decide(desk, again).resumed


def test_a_stop_cancels_what_is_parked(desk: Desk) -> None:
    """By the question or by the answer, also when it is decided and waits to be taken up; nothing is left."""
    claim = park(desk)
    assert desk.stop(claim.messages[0]) == [Stopped.WAITING]
    decided = park(desk)
    decide(desk, decided)
    assert desk.stop(decided.reply_id) == [Stopped.WAITING]
    assert set(desk.world.deliveries()) == {"cancelled"}
    assert [turn(desk, one) for one in (claim, decided)] == ["cancelled", "cancelled"]
    assert (states(desk, claim), desk.reply(claim)["notice"]) == (["cancelled"], None)
    assert not decide(desk, claim).changed
    assert desk.claim() is None
    assert desk.stop(claim.messages[0]) == [Stopped.OVER]


def test_a_stop_before_the_park_wins(desk: Desk) -> None:
    """Who has stopped the turn is not asked."""
    desk.accept()
    claim = desk.take()
    ask(desk, claim)
    assert desk.stop(claim.messages[0]) == [Stopped.RUNNING]
    done = desk.settle(claim, PARKED)
    assert done is not None
    assert done[0].fate is Fate.STOPPED
    assert (states(desk, claim), desk.world.deliveries()) == (["cancelled"], ["cancelled"])


@pytest.mark.parametrize("decided", [False, True])
def test_deleting_the_question_ends_it(desk: Desk, decided: bool) -> None:
    """Its answer goes, and nobody is asked any more, whether or not it was decided."""
    claim = park(desk)
    if decided:
        decide(desk, claim)
    desk.world.delete("ann", claim.messages[0])
    assert set(desk.world.deliveries()) == {"cancelled"}
    assert turn(desk, claim) == "cancelled"
    assert desk.reply(claim)["deleted_at"] is not None
    assert "waiting" not in states(desk, claim)
    assert desk.claim() is None


def test_deleting_the_question_of_a_resumed_turn_ends_it(desk: Desk) -> None:
    """Its attempt is asked to end, and its finish takes the answer away."""
    claim = park(desk)
    decide(desk, claim)
    again = desk.take()
    desk.world.delete("ann", claim.messages[0])
    assert [one.cancel for one in desk.stores.leases.renew()] == ["deleted"]
    assert desk.world.deliveries() == ["parked", "running"]
    done = desk.settle(again)
    assert done is not None
    assert done[0].fate is Fate.DELETED
    assert desk.world.deliveries() == ["cancelled", "cancelled"]


def test_one_of_two_questions_is_deleted(desk: Desk) -> None:
    """The rest lies on, and is what the resumed turn answers."""
    thread = desk.say()
    desk.accept(thread=thread)
    desk.accept(thread=thread)
    claim = desk.take()
    ask(desk, claim)
    desk.settle(claim, PARKED)
    desk.world.delete("ann", claim.messages[0])
    assert (desk.world.deliveries(), turn(desk, claim)) == (["cancelled", "parked"], "parked")
    decide(desk, claim)
    assert desk.take().messages == claim.messages[1:]


def test_a_process_that_dies_after_the_decision(desk: Desk) -> None:
    """Its turn is taken up again with all that lies with it; the last attempt fails all, and can be retried."""
    claim = park(desk)
    decide(desk, claim)
    first = desk.take()
    desk.lose(first)
    second = desk.take()
    assert (second.deliveries, second.messages, second.resumed) == (first.deliveries, first.messages, True)
    desk.settle(second, replace(DEAD, delay=0.0))
    assert desk.world.deliveries() == ["parked", "waiting"]
    for _ in range(3):
        desk.lose(desk.take())
    assert (desk.world.deliveries(), turn(desk, claim)) == (["failed", "failed"], "failed")
    with desk.database.write() as tx:
        assert desk.stores.turns.retry(tx, claim.deliveries[0])
        assert not desk.stores.turns.retry(tx, claim.deliveries[0])
    third = desk.take()
    assert (third.deliveries, third.messages) == (first.deliveries, first.messages)
    desk.settle(third)
    assert desk.world.deliveries() == ["answered", "answered"]


def test_a_stop_of_a_resumed_turn_outlives_its_process(desk: Desk) -> None:
    """A person's stop counts although the process died before it could say so."""
    claim = park(desk)
    decide(desk, claim)
    again = desk.take()
    assert desk.stop(claim.messages[0]) == [Stopped.RUNNING]
    desk.lose(again)
    assert desk.world.deliveries() == ["cancelled", "cancelled"]


def test_a_full_queue_does_not_refuse_what_was_decided(desk: Desk) -> None:
    """The turn was accepted long ago."""
    claim = park(desk)
    assert [desk.accept().state for _ in range(3)] == ["waiting", "waiting", "refused"]
    assert decide(desk, claim).resumed
    assert desk.world.deliveries() == ["parked", "waiting", "waiting", "refused", "waiting"]


def test_what_nobody_takes_up_expires(desk: Desk) -> None:
    """A turn that was decided while its daemon is stopped for DAEMON_MAX_AGE ends, with a notice; a parked one lies."""
    claim, lying = park(desk), park(desk)
    decide(desk, claim)
    desk.clock.advance(86_500.0)
    overdue = desk.stores.leases.overdue(86_400.0)
    assert len(overdue) == 1
    recovered = desk.stores.recovery.expire(overdue[0])
    assert recovered is not None
    assert len(recovered.ended) == 2
    assert desk.world.deliveries() == ["expired", "parked", "expired"]
    assert (turn(desk, claim), turn(desk, lying)) == ("failed", "parked")


def test_nothing_that_lies_is_forgotten(desk: Desk) -> None:
    """Retention leaves a parked turn, its steps and its conversation, however old they are."""
    claim = park(desk)
    desk.settle((desk.accept(), desk.take())[1], ANSWER)
    desk.settle((desk.accept(), desk.take())[1], ANSWER)
    desk.clock.advance(1e7)
    for state in DeliveryState:
        desk.stores.retention.deliveries(state, 10.0)
    desk.stores.retention.conversations(0)
    assert "parked" in desk.world.deliveries()
    assert (turn(desk, claim), states(desk, claim)) == ("parked", ["waiting"])


def test_a_stopped_daemon_keeps_what_lies(desk: Desk) -> None:
    """Deciding works while nobody runs the orchestrator; it goes on when somebody does."""
    claim = park(desk)
    daemon = desk.world.neolith.models.table("Daemon")
    with desk.database.write() as tx:
        tx.execute(update(daemon).values(wanted="stopped"))
    assert decide(desk, claim).resumed
    assert desk.claim() is None
    desk.want()
    assert desk.take().turn_id == claim.turn_id
