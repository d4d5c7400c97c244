"""The steps of turns with tools: written by who has the turn, kept over attempts, on SQLite and on Postgres."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flask_neolith_orchestrator.core.cancel import StopReason
from flask_neolith_orchestrator.core.model import Block, Opaque, ToolCall
from flask_neolith_orchestrator.core.steps import Planned, Step, StepState
from flask_neolith_orchestrator.core.types import Claim, DeliveryState
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .test_inbox import Desk

CALL = ToolCall("toolu_1", "weather", {"city": "Köln", "days": [1, 2]})
OTHER = ToolCall("toolu_2", "mail", {})
SAID: tuple[Block, ...] = (Opaque("claude", {"type": "thinking", "signature": "c2ln"}), "I look.", CALL, OTHER)


@pytest.fixture
def desk(make_world: MakeWorld, databases: Databases) -> Desk:
    """ada is wanted; ann has asked her something."""
    clock = ManualClock()
    found = Desk(make_world(on=databases, clock=clock), clock)
    found.want()
    found.accept()
    return found


def record(desk: Desk, claim: Claim, *planned: Planned) -> Any:
    """Write a round."""
    with desk.database.write() as tx:
        return desk.stores.steps.record(tx, claim, SAID, "I look.", planned)


def begin(desk: Desk, claim: Claim, step: Step) -> StopReason | None:
    """Begin a call."""
    with desk.database.write() as tx:
        return desk.stores.steps.begin(tx, claim, step)


def finish(desk: Desk, claim: Claim, step: Step, result: str, *, is_error: bool = False) -> StopReason | None:
    """End a call."""
    with desk.database.write() as tx:
        return desk.stores.steps.finish(tx, claim, step, result, is_error=is_error)


def steps(desk: Desk, claim: Claim) -> list[Step]:
    """What is written."""
    with desk.database.read() as tx:
        return desk.stores.steps.of(tx, claim.turn_id)


def test_a_round_comes_back_as_it_was_written(desk: Desk) -> None:
    """What the model said and its calls are read again in order, to the letter, with keys of their own."""
    claim = desk.take()
    planned = (Planned(CALL, StepState.APPROVED), Planned(OTHER, StepState.WAITING, expires_at=desk.clock.wall() + 60))
    written = record(desk, claim, *planned)
    assert written == steps(desk, claim)
    said, call, other = written
    assert (said.kind, said.content, said.result, said.n) == ("model", SAID, "I look.", 1)
    assert (call.call, call.state, call.n, call.ended_at) == (CALL, StepState.APPROVED, 2, None)
    assert (other.call, other.state, other.expires_at) == (OTHER, StepState.WAITING, desk.clock.wall() + 60)
    assert len({said.key, call.key, other.key}) == 3
    again = record(desk, claim, Planned(CALL, StepState.FAILED, "no such tool"))
    assert [step.n for step in again] == [4, 5]
    assert (again[1].result, again[1].ended_at) == ("no such tool", desk.clock.wall())


def test_a_call_runs_and_ends_once(desk: Desk) -> None:
    """A call is approved, running, done; what has ended cannot begin or end again."""
    claim = desk.take()
    _, call = record(desk, claim, Planned(CALL, StepState.APPROVED))
    assert begin(desk, claim, call) is None
    assert steps(desk, claim)[1].state is StepState.RUNNING
    assert begin(desk, claim, call) is None, "a second attempt may begin what was running"
    assert finish(desk, claim, call, "18 °C") is None
    ended = steps(desk, claim)[1]
    assert (ended.state, ended.result, ended.key) == (StepState.DONE, "18 °C", call.key)
    assert begin(desk, claim, call) is StopReason.REVOKED
    assert finish(desk, claim, call, "19 °C") is StopReason.REVOKED
    assert steps(desk, claim)[1] == ended


def test_a_failed_call_is_told_apart(desk: Desk) -> None:
    """What went wrong is kept as failed, with what the model is told."""
    claim = desk.take()
    _, call = record(desk, claim, Planned(CALL, StepState.APPROVED))
    assert finish(desk, claim, call, "no such city", is_error=True) is None
    assert (steps(desk, claim)[1].state, steps(desk, claim)[1].result) == (StepState.FAILED, "no such city")


def test_who_has_lost_the_turn_writes_nothing(desk: Desk) -> None:
    """After another process took the turn over, the old attempt neither records, begins nor finishes."""
    old = desk.take()
    _, call = record(desk, old, Planned(CALL, StepState.APPROVED))
    assert begin(desk, old, call) is None
    desk.lose(old)
    new = desk.take()
    assert (new.turn_id, new.epoch > old.epoch) == (old.turn_id, True)
    before = steps(desk, old)
    assert record(desk, old, Planned(OTHER, StepState.APPROVED)) is StopReason.REVOKED
    assert begin(desk, old, call) is StopReason.REVOKED
    assert finish(desk, old, call, "late") is StopReason.REVOKED
    assert steps(desk, new) == before
    assert finish(desk, new, call, "18 °C") is None


def test_no_call_begins_after_a_stop(desk: Desk) -> None:
    """Once a person's stop is written, a call that was approved before is not begun; one that ran still ends."""
    message = desk.say()
    claim = desk.take()
    assert message
    _, first, second = record(desk, claim, Planned(CALL, StepState.APPROVED), Planned(OTHER, StepState.APPROVED))
    assert begin(desk, claim, first) is None
    desk.stop(claim.messages[0])
    assert begin(desk, claim, second) is StopReason.PERSON
    assert finish(desk, claim, first, "18 °C") is None
    assert [step.state for step in steps(desk, claim)[1:]] == [StepState.DONE, StepState.APPROVED]


def test_a_turn_that_is_forgotten_takes_its_steps_along(desk: Desk) -> None:
    """Retention leaves no step without its turn."""
    claim = desk.take()
    record(desk, claim, Planned(CALL, StepState.APPROVED))
    desk.settle(claim)
    desk.accept()
    newest = desk.take()  # the newest of all stays
    record(desk, newest, Planned(replace(CALL, id="toolu_9"), StepState.APPROVED))
    desk.settle(newest)
    desk.clock.advance(1_000)
    assert desk.stores.retention.deliveries(DeliveryState.ANSWERED, 10.0) == 1
    assert {row["turn_id"] for row in desk.world.rows("Step")} == {int(newest.turn_id)}
