"""What calls cost is written down and held to what may be spent (issue 4, Money; ACCEPTANCE F7), on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from flask_neolith_orchestrator.core.money import Ceiling, Period, Purse, Scope, Want
from flask_neolith_orchestrator.core.types import Usage
from flask_neolith_orchestrator.store.records.budgets import Short
from flask_neolith_orchestrator.store.records.ledger import DIED, Entry, Payer
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .stage import Door, Scene
from .world import World, until

HOUR_LEFT = 46 * 60 + 40.0
"""Seconds from the manual clock's start to the end of its hour."""

PRICES = {"stage": {"input": 1.0, "output": 2.0}, "claude-sonnet-5-5": {"input": 1.0, "output": 2.0}}
"""Dollars for a million tokens. A call of the stage reports 10 of input and 5 of output: 20 millionths of a dollar."""

CALL = 20e-6


def limit(world: World, *, behaviour: dict[str, Any] | None = None, longest: int = 100, **limits: Any) -> None:
    """Give ada limits, in place of those it has, and answers of so many tokens at the longest."""
    with world.context():
        user: Any = world.db.session.get(world.user, int(world.ids["ada"]))
        user.orchestrator_config = {"charter": {"limits": limits, "behaviour": behaviour or {}, "max_tokens": longest}}
        world.db.session.commit()


def spent(payer: Payer, tokens: int, at: float = 1_700_000_000.0) -> Entry:
    """A call of so many tokens."""
    return Entry(payer, at, "m", Usage(tokens), 0.0)


NOTHING = spent(Payer("1", 1, "1", "1", "1"), 0)


def ask(world: World, text: str = "@ada hello", who: str = "ann", **options: Any) -> None:
    """Post a question and wait until nothing is ready."""
    world.post(who, text, **options)
    world.rest()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at 22:13:20 on a Tuesday."""
    return ManualClock()


@pytest.fixture
def world(make_world: MakeWorld, databases: Databases, clock: ManualClock) -> World:
    """ann, bob and ada, whose calls have a price; ada runs."""
    made = make_world(on=databases, clock=clock, NEOLITH_PRICES=PRICES)
    made.start()
    return made


def test_every_call_is_in_the_ledger_and_nobody_without_a_limit_has_a_budget(world: World) -> None:
    """Tokens by kind, cost, model and who asked; a turn that no limit is set for writes that one row only."""
    ask(world)
    (row,) = world.rows("Ledger")
    assert (row["input_tokens"], row["output_tokens"], row["model"], row["state"]) == (10, 5, "stage", "settled")
    assert row["cost"] == pytest.approx(CALL)
    assert (row["requester_id"], row["purpose"], row["purses"]) == (world.ids["ann"], "answer", None)
    assert (str(row["orchestrator_id"]), str(row["organization_id"])) == (world.ada, world.organization)
    assert str(row["turn_id"]) == str(world.rows("Turn")[0]["id"])
    assert world.rows("Budget") == []


def test_a_call_is_reserved_before_and_settled_after(world: World) -> None:
    """While the model answers, what it may cost at the most is reserved; after it only what it came to is gone."""
    limit(world, cost_per_day=1.0, tokens_per_day=100_000)
    door = Door()

    def held(scene: Scene) -> Iterable[str]:
        door.wait(scene.cancel)
        yield "done"

    world.model.script = held
    world.post("ann", "@ada hello")
    world.model.wait_for(1)
    (budget,), (row,) = world.rows("Budget"), world.rows("Ledger")
    assert (row["state"], row["output_tokens"], budget["tokens"]) == ("reserved", 100, 0)
    assert budget["reserved_tokens"] == row["input_tokens"] + 100
    assert budget["reserved_cost"] == pytest.approx(row["cost"])
    assert budget["reserved_cost"] > row["input_tokens"] * 1e-6 + 100 * 2e-6  # as if all of it went into the cache
    door.open()
    world.rest()
    (budget,), (row,) = world.rows("Budget"), world.rows("Ledger")
    assert (row["state"], row["output_tokens"], row["cost"]) == ("settled", 5, pytest.approx(CALL))
    assert (budget["tokens"], budget["cost"]) == (15, pytest.approx(CALL))
    assert (budget["reserved_tokens"], budget["reserved_cost"]) == (0, pytest.approx(0.0, abs=1e-12))


def test_what_was_spent_before_the_limit_counts(world: World) -> None:
    """A limit set in the middle of a period holds for the whole of it, and again after it was away for a while."""
    ask(world)
    limit(world, tokens_per_day=100_000)
    ask(world)
    assert world.rows("Budget")[0]["tokens"] == 30
    limit(world)
    ask(world)
    assert world.rows("Budget")[0]["tokens"] == 30
    limit(world, tokens_per_day=200_000)
    ask(world)
    assert world.rows("Budget")[0]["tokens"] == 60


def test_at_its_end_a_budget_pauses_and_says_so_once(world: World, clock: ManualClock) -> None:
    """The call is not made, the question waits for the new period, people read why, and then it is answered."""
    limit(world, tokens_per_hour=10)
    ask(world)
    assert world.model.scenes == []
    (delivery,), (answer,) = world.rows("Delivery"), world.answers()
    assert (delivery["state"], delivery["held"], delivery["attempts"]) == ("waiting", "budget", 0)
    assert delivery["ready_at"] == clock.wall() + HOUR_LEFT
    assert answer["notice"] == "My budget for this hour is used up. I will answer after 14 November 2023, 23:00 UTC."
    assert (answer["state"], answer["content"]) == ("interrupted", "")
    assert world.rows("Budget")[0]["paused_until"] == delivery["ready_at"]
    limit(world, tokens_per_hour=10_000)
    clock.advance(HOUR_LEFT)
    world.house.sweeper.sweep()
    world.rest()
    assert world.deliveries() == ["answered"]
    assert [one["content"] for one in world.answers()] == ["You said: [ann]: @ada hello"]
    assert world.rows("Delivery")[0]["held"] is None


def test_a_raised_budget_lets_those_go_who_waited(world: World, clock: ManualClock) -> None:
    """Nobody waits for the end of a period whose limit was raised; without that the next sweeps leave them waiting."""
    limit(world, cost_per_day=0.000001)
    ask(world)
    for _ in range(3):
        clock.advance(3.0)
        world.house.sweeper.sweep()
        world.rest()
    assert world.deliveries() == ["waiting"]
    assert len(world.rows("Turn")) == 1
    assert world.rows("Turn")[0]["attempt"] == 1
    limit(world, cost_per_day=1.0)
    clock.advance(3.0)
    world.house.sweeper.sweep()
    world.rest()
    assert world.deliveries() == ["answered"]
    assert world.rows("Budget")[0]["paused_until"] is None


def test_no_pause_outlives_its_limit(make_world: MakeWorld, world: World, clock: ManualClock) -> None:
    """A limit that went while nobody ran: a new process says so, and does not wait for the month to end."""
    limit(world, tokens_per_month=10)
    ask(world)
    ada = world.orchestrators["ada"]
    with world.stores.database.read() as tx:
        assert list(world.house.treasury.pauses(tx, [ada])) == [ada]
    again = make_world(like=world, clock=clock, NEOLITH_PRICES=PRICES)
    world.close()
    limit(again)
    clock.advance(3.0)
    again.house.sweeper.sweep()
    with again.stores.database.read() as tx:
        assert again.house.treasury.pauses(tx, [ada]) == {}


def test_what_is_spent_is_shown_where_a_limit_was_taken_away(world: World) -> None:
    """Of the call that was made since, and of the whole period."""
    limit(world, tokens_per_hour=10_000)
    ask(world)
    limit(world)
    ask(world, "@ada and now?")
    (found,) = world.rows("Budget")
    purse = Purse(Scope.ORCHESTRATOR, world.orchestrators["ada"], Period.HOUR, Ceiling())
    with world.stores.database.read() as tx:
        gone, _ = world.stores.budgets.look(tx, purse, world.house.clock.wall())
    calls = world.rows("Ledger")
    assert len(calls) == 2
    assert gone.tokens == sum(one["input_tokens"] + one["output_tokens"] for one in calls) > found["tokens"]


def test_who_would_wait_too_long_is_refused_and_told_once(make_world: MakeWorld, databases: Databases) -> None:
    """Where the period ends behind the age limit: one sentence in each conversation, then silence with a reason."""
    world = make_world(on=databases, clock=ManualClock(), NEOLITH_PRICES=PRICES, DAEMON_MAX_AGE=60_000)
    world.start()
    limit(world, tokens_per_month=10)
    threads = [world.thread(), world.thread()]
    for thread in (*threads, *threads):
        ask(world, thread=thread)
    assert world.deliveries() == ["refused"] * 4
    assert {row["outcome"] for row in world.rows("Delivery")} == {"over-budget"}
    shown = [one for one in world.answers() if one["deleted_at"] is None]
    said = "My budget for this month is used up. Please ask me again after 01 December 2023, 00:00 UTC."
    assert [(one["content"], one["state"]) for one in shown] == [(said, "failed")] * 2
    assert world.model.scenes == []


def test_calls_that_go_on_only_make_others_wait_a_moment(world: World, clock: ManualClock) -> None:
    """What is reserved may be given back: nobody is paused for it until the period's end, nor told that it is gone."""
    limit(world, longest=50_000, tokens_per_day=90_000)
    door = Door()

    def held(scene: Scene) -> Iterable[str]:
        if scene.number == 1:
            door.wait(scene.cancel)
        yield "done"

    world.model.script = held
    world.post("ann", "@ada first")
    world.model.wait_for(1)
    world.post("bob", "@ada second")
    until(lambda: [one for one in world.answers() if one["state"] == "interrupted"], "it was tried")
    second = world.rows("Delivery", state="waiting")
    assert second[0]["held"] is None  # nobody is to be called for that
    assert second[0]["ready_at"] == clock.wall() + 2.0
    assert world.rows("Budget")[0]["paused_until"] is None
    door.open()
    world.rest()
    clock.advance(2.0)
    world.house.sweeper.sweep()
    world.rest()
    assert world.deliveries() == ["answered", "answered"]


def test_shares_are_told_once(make_world: MakeWorld, databases: Databases) -> None:
    """At 50, 75 and 90 % listeners and managers hear of it, each once over all processes; at the end of it, too."""
    world = make_world(on=databases, clock=ManualClock(), NEOLITH_PRICES=PRICES)
    heard: list[tuple[str, int]] = []
    with world.context():
        world.neolith.manager.on("budget:threshold", lambda scope, percent, **_: heard.append((scope, percent)))
    world.start()
    limit(world, behaviour={"replies_per_day": 10})
    for _ in range(12):
        ask(world)
    assert world.deliveries() == ["answered"] * 10 + ["waiting"] * 2
    until(lambda: len(heard) == 4, "all are told")
    assert heard == [("orchestrator", share) for share in (50, 75, 90, 100)]
    told = [one for one in world.channel.emitted if one.event == "budget:threshold"]
    assert [one.payload["percent"] for one in told] == [50, 75, 90, 100]
    assert {one.room for one in told} == {f"user:{world.ids['ann']}"}  # who owns the organization; bob is a member
    assert told[0].payload["until"] == "2023-11-15T00:00:00.000Z"
    status = [one for one in world.channel.of("daemon:status") if "paused" in one]
    assert status[-1]["paused"] == {"reason": "replies", "until": "2023-11-15T00:00:00.000Z"}


def test_of_a_raised_limit_people_are_told_anew(make_world: MakeWorld, databases: Databases) -> None:
    """The shares of the higher limit that are not gone yet are told when they are."""
    world = make_world(on=databases, clock=ManualClock(), NEOLITH_PRICES=PRICES)
    heard: list[int] = []
    with world.context():
        world.neolith.manager.on("budget:threshold", lambda percent, **_: heard.append(percent))
    world.start()
    limit(world, behaviour={"replies_per_day": 2})
    for _ in range(3):
        ask(world)
    until(lambda: heard == [50, 90, 100] or len(heard) > 2, "the first limit is used up")
    before = len(heard)
    limit(world, behaviour={"replies_per_day": 4})
    ask(world)
    until(lambda: len(heard) > before, "it is told anew")
    assert heard[before] == 75


def test_nobody_pays_more_than_may_be(world: World) -> None:
    """Answers of a period are a budget, too: the next one waits, although tokens are left."""
    limit(world, behaviour={"replies_per_hour": 2})
    for thread in [world.thread() for _ in range(3)]:
        ask(world, thread=thread)
    assert world.deliveries() == ["answered", "answered", "waiting"]
    assert world.answers()[-1]["notice"].startswith("I have given as many answers as I may in one hour.")
    assert world.rows("Budget")[0]["replies"] == 2
    assert world.rows("Budget")[0]["paused_for"] == "replies"


def test_a_persons_own_budget(make_world: MakeWorld, databases: Databases) -> None:
    """One person's spending stops that person, and nobody else."""
    budget = {"tokens_per_day": 100_000}
    world = make_world(on=databases, clock=ManualClock(), NEOLITH_PERSON_BUDGET=budget, NEOLITH_MAX_TOKENS=100)
    world.start()
    ask(world, who="ann")
    payer = Payer("1", 1, world.ada, world.organization, world.ids["ann"])
    with world.stores.database.write() as tx:
        world.stores.budgets.settle(tx, world.house.treasury.of_person(world.ids["ann"]), NOTHING, spent(payer, 99_900))
    for who in ("ann", "bob"):
        ask(world, who=who)
    assert world.deliveries() == ["answered", "waiting", "answered"]
    assert "Your own budget for questions" in str(world.answers()[1]["notice"])


def test_dollars_cannot_be_limited_where_nobody_knows_the_price(make_world: MakeWorld, databases: Databases) -> None:
    """Without a limit such calls count as unpriced, never as free; with one in dollars they are not made."""
    world = make_world(on=databases, clock=ManualClock(), NEOLITH_MODEL="nobody-knows")
    world.start()
    ask(world)
    assert (world.rows("Ledger")[0]["cost"], world.deliveries()) == (None, ["answered"])
    limit(world, tokens_per_day=100_000)
    ask(world)
    assert (world.rows("Budget")[0]["unpriced"], world.rows("Budget")[0]["cost"]) == (2, 0.0)
    limit(world, cost_per_day=5.0)
    ask(world)
    assert len(world.model.scenes) == 2
    assert world.deliveries()[-1] == "failed"
    assert "NEOLITH_PRICES" in world.rows("Turn")[-1]["error"]


def test_many_processes_never_spend_more_than_there_is(make_world: MakeWorld, databases: Databases) -> None:
    """Threads of two processes ask for one budget at the same time: what fits is reserved, and not a token more."""
    worlds = [make_world(on=databases)]
    worlds.append(make_world(like=worlds[0]))
    worlds[0].start()
    purse = Purse(Scope.ORCHESTRATOR, worlds[0].ada, Period.MONTH, Ceiling(tokens=1_000, cost=1.0))
    payer = Payer("1", 1, worlds[0].ada, worlds[0].organization, worlds[0].ids["ann"])
    at = worlds[0].stores.database.clock.wall()
    begin = threading.Barrier(8)
    results: list[bool | None] = []

    def hammer(world: World) -> None:
        begin.wait()
        entry = Entry(payer, at, "m", Usage(20, 10), 0.001)
        stores = world.stores
        for number in range(8):
            try:
                with stores.database.write() as tx:
                    stores.budgets.reserve(tx, [purse], Want(30, 0.001), at)
                    call = stores.ledger.open(tx, entry, [purse])
            except Short as short:
                results.append(short.passing)
                continue
            stores.budgets.remember([purse], at)
            results.append(None)
            if number % 2:
                with stores.database.write() as tx:
                    assert stores.ledger.close(tx, call, entry)
                    stores.budgets.settle(tx, [purse], entry, entry)

    threads = [threading.Thread(target=hammer, args=[worlds[n % 2]]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (row,) = worlds[0].rows("Budget")
    taken = results.count(None)
    assert len(results) == 64
    assert row["tokens"] + row["reserved_tokens"] == 30 * taken
    assert taken == 33  # 33 times 30 tokens are 990


def test_a_dead_processs_reservation_counts_as_spent(world: World, clock: ManualClock) -> None:
    """Its turn is over, so nobody will settle the call: it was billed, and nobody knows to what: as it was reserved."""
    limit(world, tokens_per_day=10_000)
    ask(world)
    turn = world.rows("Turn")[0]
    purse = Purse(Scope.ORCHESTRATOR, world.ada, Period.DAY, Ceiling(tokens=10_000))
    stores, at = world.stores, clock.wall()
    entry = Entry(Payer(str(turn["id"]), turn["epoch"], world.ada, world.organization, "1"), at, "m", Usage(30, 70))
    with stores.database.write() as tx:
        stores.budgets.reserve(tx, [purse], Want(100, 0.0), at)
        call = stores.ledger.open(tx, entry, [purse])
    before = world.rows("Budget")[0]
    assert (before["tokens"], before["reserved_tokens"]) == (15, 100)
    for _ in range(2):
        clock.advance(3.0)
        world.house.sweeper.sweep()
    after, row = world.rows("Budget")[0], world.rows("Ledger")[-1]
    assert (after["tokens"], after["reserved_tokens"]) == (115, 0)
    assert (row["state"], row["error"], row["output_tokens"]) == ("settled", DIED, 70)
    with stores.database.write() as tx:  # it had only been slow: what it says now comes too late
        assert not stores.ledger.close(tx, call, entry)


def test_a_call_that_goes_on_is_nobodys_orphan(world: World, clock: ManualClock) -> None:
    """The sweep leaves the reservation of a running turn alone."""
    limit(world, tokens_per_day=10_000)
    door = Door()

    def held(scene: Scene) -> Iterable[str]:
        door.wait(scene.cancel)
        yield "done"

    world.model.script = held
    world.post("ann", "@ada hello")
    world.model.wait_for(1)
    with world.stores.database.read() as tx:
        assert world.stores.ledger.orphans(tx, 60.0) == []
    assert world.rows("Ledger")[0]["state"] == "reserved"
    door.open()
    world.rest()
    assert [row["error"] for row in world.rows("Ledger")] == [None]


def test_a_summary_may_outlive_its_turn(world: World, clock: ManualClock) -> None:
    """It is made when the turn is over: only after a long while it is taken for a dead process's call."""
    ask(world)
    turn = world.rows("Turn")[0]
    payer = Payer(str(turn["id"]), turn["epoch"], world.ada, world.organization, world.ids["ann"], "summary")
    with world.stores.database.write() as tx:
        world.stores.ledger.open(tx, Entry(payer, clock.wall(), "m", Usage(30, 70)), [])
    for passed, state in ((60.0, "reserved"), (1_300.0, "settled")):
        clock.advance(passed)
        world.house.sweeper.sweep()
        assert world.rows("Ledger")[-1]["state"] == state


def test_old_calls_and_periods_are_forgotten(world: World, clock: ManualClock) -> None:
    """Calls after NEOLITH_KEEP_LEDGER, budgets after two months; the newest call stays, and so do those that go on."""
    limit(world, tokens_per_day=100_000)
    for _ in range(3):
        ask(world)
    clock.advance(70 * 86_400.0)
    ask(world)
    world.house.caretaker.run()
    assert (len(world.rows("Ledger")), len(world.rows("Budget"))) == (4, 1)
    clock.advance(340 * 86_400.0)
    world.house.caretaker.run()
    assert (len(world.rows("Ledger")), len(world.rows("Budget"))) == (1, 0)
