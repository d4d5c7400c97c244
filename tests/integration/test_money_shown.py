"""What people see of money: over HTTP, on the command line, in the status, and what Claude itself reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_neolith_orchestrator.backends.claude import ClaudeModel
from flask_neolith_orchestrator.core.money import Ceiling, Period, Purse, Scope, Want
from flask_neolith_orchestrator.core.types import Usage
from flask_neolith_orchestrator.store.records.ledger import Entry, Payer
from flask_neolith_orchestrator.testing import FakeClaude, ManualClock, drop, error, text, use_model

from .conftest import MakeWorld
from .test_budgets import PRICES, ask, limit
from .test_cli import run
from .web_site import Site, make_site
from .world import World, until


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """ann owns Acme, bob is a member, ada an orchestrator of it."""
    made = make_site(tmp_path)
    yield made
    made.close()


def spend(site: Site, name: str, cost: float | None = 0.25) -> None:
    """A settled call of ada for somebody."""
    stores = site.state.house.stores
    payer = Payer("1", 1, site.ids["ada-orchestrator"], site.ids["acme"], site.ids[name])
    with stores.database.write() as tx:
        stores.ledger.add(tx, Entry(payer, stores.database.clock.wall(), "m", Usage(10, 5, 2, 1), cost, "req_1"))


def charter(site: Site, **limits: Any) -> None:
    """Give ada limits."""
    with site.app.app_context():
        user: Any = site.db.session.get(site.neolith.models.user, int(site.ids["ada"]))
        user.orchestrator_config = {"charter": {"limits": limits}}
        site.db.session.commit()


def test_a_budget_shows_limits_and_what_is_gone(site: Site) -> None:
    """By the hour, the day and the month: tokens, dollars as exact text, unpriced calls, and the share of the day."""
    charter(site, cost_per_day=1.0)
    spend(site, "ann")
    spend(site, "bob", None)
    found = site.as_("ann").get(f"orchestrators/{site.ids['ada-orchestrator']}/budget")
    assert [one["period"] for one in found["periods"]] == ["hour", "day", "month"]
    day, month = found["periods"][1:]
    assert day["cost"] == {"limit": "1.000000", "used": "0.250000", "reserved": "0.000000"}
    assert (day["tokens"], day["percent"], day["unpriced"]) == ({"limit": None, "used": 36, "reserved": 0}, 25.0, 1)
    assert (month["cost"]["limit"], month["percent"], month["paused"]) == (None, None, None)
    whole = site.as_("ann").get(f"organizations/{site.ids['acme']}/budget")
    assert whole["periods"][2]["tokens"]["used"] == 36
    own = site.as_("bob").get("budget")
    assert (own["scope"], own["periods"][1]["tokens"]["used"], own["periods"][1]["unpriced"]) == ("person", 18, 1)


def test_members_read_their_own_calls_and_managers_all(site: Site) -> None:
    """Newest first, page by page; what others asked is nobody's business but of those who manage."""
    for name in ("ann", "bob", "ann"):
        spend(site, name)
    path = f"orchestrators/{site.ids['ada-orchestrator']}/ledger"
    first = site.as_("ann").get(f"{path}?limit=2")
    assert [one["requesterId"] for one in first["items"]] == [site.ids["ann"], site.ids["bob"]]
    rest = site.as_("ann").get(f"{path}?limit=2&before={first['next']}")
    assert ([one["requesterId"] for one in rest["items"]], rest["next"]) == ([site.ids["ann"]], None)
    (mine,) = site.as_("bob").get(path)["items"]
    assert (mine["requesterId"], mine["cost"], mine["cacheReadTokens"]) == (site.ids["bob"], "0.250000", 2)


def test_status_says_that_it_is_paused(site: Site) -> None:
    """Who may see the orchestrator sees until when; `flask neolith status` and `budget` say the same."""
    ada, house = site.ids["ada-orchestrator"], site.state.house
    assert site.as_("bob").get(f"orchestrators/{ada}/status")["paused"] is None
    purse = Purse(Scope.ORGANIZATION, site.ids["acme"], Period.DAY, Ceiling(tokens=10))
    with house.database.write() as tx:
        house.stores.budgets.shut(tx, purse, "budget", house.clock.wall())
    paused = site.as_("bob").get(f"orchestrators/{ada}/status")["paused"]
    assert paused["reason"] == "budget"
    assert paused["until"].endswith("T00:00:00.000Z")
    told = site.app.test_cli_runner().invoke(args=["neolith", "status"]).output
    assert f"paused (budget) until {paused['until']}" in told


def test_the_command_shows_budgets(make_world: MakeWorld) -> None:
    """Spent, limits, shares, and that it is paused."""
    world = make_world(clock=ManualClock(), NEOLITH_PRICES=PRICES)
    limit(world, behaviour={"replies_per_day": 4}, cost_per_hour=0.000010)
    stores, at = world.stores, world.stores.database.clock.wall()
    payer = Payer("1", 1, world.ada, world.organization, world.ids["ann"])
    with stores.database.write() as tx:
        stores.ledger.add(tx, Entry(payer, at, "stage", Usage(10, 5), 0.00002))
        stores.ledger.add(tx, Entry(payer, at, "other", Usage(10, 5), None))
        hour = Purse(Scope.ORCHESTRATOR, world.ada, Period.HOUR, Ceiling(cost=0.000010))
        stores.budgets.shut(tx, hour, "budget", at)
    said = run(world, "budget", "@ada").splitlines()
    assert "tokens 30, $0.000020 of 1e-05 (200 %) and 1 calls" in said[0]
    assert said[0].endswith("PAUSED until 2023-11-14T23:00:00.000Z")
    assert "answers 1 of 4 (25 %)" in said[1]
    assert said[2].startswith("orchestrator month:")


def test_the_sweep_opens_what_nobody_waits_for(make_world: MakeWorld) -> None:
    """All were refused, and then the limit is raised: the status tells the truth without another question."""
    clock = ManualClock()
    world = make_world(clock=clock, NEOLITH_PRICES=PRICES, DAEMON_MAX_AGE=1_000)
    world.start()
    limit(world, tokens_per_day=10)
    ask(world)
    assert world.deliveries() == ["refused"]
    paused = {"reason": "budget", "until": "2023-11-15T00:00:00.000Z"}
    for raised, closed in ((None, True), (100_000, False)):
        if raised is not None:
            limit(world, tokens_per_day=raised)
        clock.advance(3.0)
        world.house.sweeper.sweep()
        with world.stores.database.read() as tx:
            assert bool(world.house.front.pauses.of(tx, [world.ada])) is closed
        told = [one["paused"] for one in world.channel.of("daemon:status") if "paused" in one]
        assert told == ([paused] if closed else [paused, None])


@pytest.fixture
def api() -> Iterator[FakeClaude]:
    """A Claude-compatible server."""
    with FakeClaude() as server:
        yield server


@pytest.fixture
def claude(make_world: MakeWorld, api: FakeClaude) -> Iterator[World]:
    """A world whose orchestrators talk to that server with the real SDK."""
    world = make_world()
    model = ClaudeModel(api_key="test-key", base_url=api.url, connect_timeout=2.0, read_timeout=5.0)
    world.start()
    with use_model(world.app, model):
        yield world
        world.close()
    model.close()


KINDS = ("input", "output", "cache_read", "cache_write")
USAGE = {"input_tokens": 100, "output_tokens": 20, "cache_read_input_tokens": 1_000, "cache_creation_input_tokens": 500}


def test_every_kind_of_token_has_its_own_price(claude: World, api: FakeClaude) -> None:
    """What Claude reports is in the ledger kind by kind, and priced so: 2, 10, 0.10 and 2.50 dollars a million."""
    api.script(text("Hello.", usage=USAGE))
    ask(claude)
    (row,) = claude.rows("Ledger")
    counts = [row[f"{kind}_tokens"] for kind in KINDS]
    assert counts == [100, 20, 1_000, 500]
    assert row["cost"] == pytest.approx((100 * 2 + 20 * 10 + 1_000 * 0.1 + 500 * 2.5) / 1e6)
    assert row["request_id"]


def test_a_cut_stream_is_billed_and_so_is_the_next_call(claude: World, api: FakeClaude) -> None:
    """The broken call has a row of its own: the input it reported, and the text that had come; so has the second."""
    limit(claude, tokens_per_day=1_000_000)
    api.script(drop(after=6, say="half an answer that goes on", usage=USAGE), text("The whole answer.", usage=USAGE))
    claude.post("ann", "@ada hello")
    until(lambda: claude.deliveries() == ["answered"], "it is answered")
    cut, whole = claude.rows("Ledger")
    assert (cut["error"], cut["input_tokens"], cut["cache_read_tokens"]) == ("ModelInterrupted", 100, 1_000)
    assert 0 < cut["output_tokens"] < 20
    assert (whole["error"], whole["output_tokens"]) == (None, 20)
    tokens = sum(
        row[f"{kind}_tokens"] for row in (cut, whole) for kind in ("input", "output", "cache_read", "cache_write")
    )
    assert (claude.rows("Budget")[0]["tokens"], claude.rows("Budget")[0]["reserved_tokens"]) == (tokens, 0)


def test_a_refused_call_costs_nothing_and_is_written_down(claude: World, api: FakeClaude) -> None:
    """429 and 529: a row each with why, no tokens, no dollars; what was reserved for them is given back."""
    limit(claude, cost_per_day=5.0)
    api.script(error(529, retry_after=0), text("Here I am.", usage=USAGE))
    ask(claude)
    first, second = claude.rows("Ledger")
    assert (first["error"], first["cost"], first["input_tokens"]) == ("ModelUnavailable", 0.0, 0)
    assert second["error"] is None
    budget = claude.rows("Budget")[0]
    assert (budget["cost"], budget["unpriced"]) == (pytest.approx(second["cost"]), 0)
    assert budget["reserved_cost"] == pytest.approx(0.0, abs=1e-12)


def test_what_is_reserved_is_never_less_than_what_comes(claude: World, api: FakeClaude) -> None:
    """The purse is asked for the whole answer at the price of a cache written anew: the dearest that may come."""
    limit(claude, cost_per_day=5.0)
    stores = claude.stores
    asked: list[Want] = []
    reserve = stores.budgets.reserve

    def heard(tx: Any, purses: Any, want: Want, at: float) -> None:
        asked.append(want)
        reserve(tx, purses, want, at)

    object.__setattr__(stores.budgets, "reserve", heard)
    api.script(text("Hello."))
    ask(claude)
    body = api.requests[-1].body
    (want,) = asked
    assert want.tokens > body["max_tokens"]
    assert want.cost >= (body["max_tokens"] * 10 + (want.tokens - body["max_tokens"]) * 2.5) / 1e6 * 0.999


def test_an_organizations_charter_is_the_budget_of_all(make_world: MakeWorld) -> None:
    """Two orchestrators share it: what one has spent stops the other, and the status of both says so."""
    world = make_world(orchestrators=("ada", "leo"), clock=ManualClock(), NEOLITH_PRICES=PRICES)
    world.start()
    house = world.house
    with world.stores.database.write() as tx:
        document = {"limits": {"costPerDay": 0.01}, "model": {"max_tokens": 100}}
        house.charters.parents.activate(tx, world.organization, document, author_id=None)
    ask(world, "@ada hello")
    (row,) = world.rows("Budget", scope="organization")
    assert (row["scope_id"], row["cost"]) == (world.organization, pytest.approx(20e-6))
    payer = Payer("1", 1, world.ada, world.organization, world.ids["ann"])
    at = house.clock.wall()
    with world.stores.database.write() as tx:
        purses = house.treasury.of_organization(tx, world.organization)
        assert [one.ceiling for one in purses] == [Ceiling(cost=0.01)]
        nothing = Entry(payer, at, "stage")
        world.stores.budgets.settle(tx, purses, nothing, Entry(payer, at, "stage", Usage(10), 0.0099))
    ask(world, "@leo hello")
    assert world.deliveries() == ["answered", "waiting"]
    assert "The budget of our organization for this day is used up" in str(world.answers("leo")[0]["notice"])
    with world.stores.database.read() as tx:
        assert set(house.front.pauses.of(tx, list(world.orchestrators.values()))) == set(world.orchestrators.values())


def test_an_organizations_limit_is_told_as_that(make_world: MakeWorld) -> None:
    """One that spends all of it alone has no budget of its own to speak of."""
    world = make_world(clock=ManualClock(), NEOLITH_PRICES=PRICES)
    world.start()
    with world.stores.database.write() as tx:
        document = {"limits": {"costPerDay": 0.0001}, "model": {"max_tokens": 100}}
        world.house.charters.parents.activate(tx, world.organization, document, author_id=None)
    ask(world, "@ada hello")
    assert "The budget of our organization for this day is used up" in str(world.answers()[0]["notice"])
