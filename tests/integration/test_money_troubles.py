"""What goes wrong while calls are counted harms no answer, and no call is lost from the ledger (issue 4, Money)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from flask_neolith_orchestrator.chat.metering import Spent
from flask_neolith_orchestrator.core.cancel import StopReason
from flask_neolith_orchestrator.core.errors import ModelUnavailable
from flask_neolith_orchestrator.core.model import ModelMessage, ModelRequest
from flask_neolith_orchestrator.core.types import Claim, Place, Usage
from flask_neolith_orchestrator.runtime.money.tab import Tab
from flask_neolith_orchestrator.store.records.ledger import DIED, SUMMARY
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import MakeWorld
from .stage import Scene
from .test_budgets import PRICES, ask, limit
from .world import World, until


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands."""
    return ManualClock()


@pytest.fixture
def world(make_world: MakeWorld, clock: ManualClock) -> World:
    """ann, bob and ada, who runs."""
    made = make_world(clock=clock, NEOLITH_PRICES=PRICES)
    made.start()
    return made


def broken(*_: object, **__: object) -> Any:
    """Something that does not work."""
    raise RuntimeError("broken")


def test_an_answer_is_not_lost_where_its_call_cannot_be_settled(
    world: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The person has the answer; the sweep counts the call as it was reserved."""
    limit(world, tokens_per_day=100_000)
    with monkeypatch.context() as patched:
        patched.setattr(world.stores.ledger, "close", broken)
        ask(world)
    assert world.deliveries() == ["answered"]
    assert "could not be settled" in caplog.text
    assert world.rows("Ledger")[0]["state"] == "reserved"
    clock.advance(3.0)
    world.house.sweeper.sweep()
    (row,), (budget,) = world.rows("Ledger"), world.rows("Budget")
    assert (row["state"], row["error"]) == ("settled", DIED)
    assert (budget["tokens"], budget["reserved_tokens"]) == (row["input_tokens"] + 100, 0)


def test_a_call_of_a_turn_that_was_taken_away_is_written_down(make_world: MakeWorld) -> None:
    """Nothing may be written into a turn that is somebody else's; the call was made all the same."""
    world = make_world()

    def scene(scene: Scene) -> Iterable[str]:
        yield "Hello"
        if scene.number == 1:
            scene.cancel.wait(10.0)

    world.model.script = scene
    world.start()
    world.post("ann", "@ada hello")
    world.model.wait_for(1)
    (attempt,) = world.house.worker.running(world.ada)
    world.house.manager.lives.crew.hand_back(attempt.claim.turn_id)
    attempt.cancel.set(StopReason.REVOKED)  # as the next renewal does
    until(lambda: world.deliveries() == ["answered"], "the second attempt")
    rows = until(lambda: found if len(found := world.rows("Ledger")) == 2 else None, "both calls")
    assert sorted(str(row["error"]) for row in rows) == ["Cancelled", "None"]
    assert len({row["epoch"] for row in rows}) == 2
    cut = next(row for row in rows if row["error"])
    assert cut["output_tokens"] > 0


def test_a_ledger_that_cannot_be_written_ends_no_turn_but_this(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, with what was lost, and the daemon goes on."""
    world = make_world()
    world.start()
    tab = Tab(world.house.treasury.till)
    tab.open(claim(world), world.organization, ())
    tab.reserve(REQUEST).settle(Spent("stage", Usage(10, 5)))
    with monkeypatch.context() as patched:
        patched.setattr(world.stores.ledger, "add", broken)
        world.house.treasury.close(tab)
    assert "could not be written into the ledger" in caplog.text
    world.house.treasury.close(tab)
    world.house.treasury.close(tab)
    assert [row["input_tokens"] for row in world.rows("Ledger")] == [10]
    ask(world)
    assert world.deliveries() == ["answered"]


def test_nobody_who_is_deaf_ends_a_call(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A budget that cannot be told of is held to all the same."""
    limit(world, tokens_per_day=1)
    monkeypatch.setattr(world.stores.people, "managers_of", broken)
    monkeypatch.setattr(world.channel, "emit", broken)
    world.house.treasury.till.teller.paused("99", None)
    ask(world)
    assert world.deliveries() == ["waiting"]
    assert "A budget could not be told of" in caplog.text
    assert "A pause could not be told of" in caplog.text


def test_an_answer_counts_once_however_often_it_is_tried(world: World, clock: ManualClock) -> None:
    """The second attempt at a turn is the same answer."""
    limit(world, behaviour={"replies_per_hour": 1})

    def away(scene: Scene) -> Iterable[str]:
        if scene.number == 1:
            raise ModelUnavailable(retry_after=60.0)
        yield "Back again."

    world.model.script = away
    ask(world)
    clock.advance(61.0)
    world.rest()
    assert world.deliveries() == ["answered"]
    assert world.rows("Budget")[0]["replies"] == 1
    ask(world)
    assert world.deliveries() == ["answered", "waiting"]


REQUEST = ModelRequest("stage", "system", (ModelMessage("user", "hello"),))


def claim(world: World) -> Claim:
    """A claim of ada's for ann."""
    ann, place = world.ids["ann"], Place(world.general)
    return Claim("1", world.ada, "1", 0, 1, place, (), (), ann, "1", 1, 1)


def test_a_summary_is_paid_for_and_is_no_answer(world: World) -> None:
    """It has a purpose of its own, is taken from the same purses, and uses up no answer."""
    limit(world, behaviour={"replies_per_day": 5}, tokens_per_day=100_000)
    house = world.house
    with house.database.read() as tx:
        snapshot = house.people.snapshot(tx, world.ada)
        assert snapshot is not None
        purses = house.treasury.purses(tx, snapshot, house.charters.of(tx, snapshot), world.ids["ann"])
    tab = Tab(house.treasury.till)
    tab.open(claim(world), world.organization, purses)
    tab.summaries().reserve(REQUEST).settle(Spent("stage", Usage(10, 5)))
    (row,), (budget,) = world.rows("Ledger"), world.rows("Budget")
    assert (row["purpose"], budget["tokens"], budget["replies"]) == (SUMMARY, 15, 0)
    tab.reserve(REQUEST).settle(Spent("stage", Usage(10, 5)))
    tab.reserve(REQUEST).settle(Spent("stage", Usage(10, 5)))
    assert (world.rows("Budget")[0]["tokens"], world.rows("Budget")[0]["replies"]) == (45, 1)
