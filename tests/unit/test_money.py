"""Periods, shares, prices and what people write about them (issue 4, Money)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_neolith_orchestrator.backends.prices import PackagedPrices
from flask_neolith_orchestrator.chat.budgeting import BREATH, ceilings, notice, origin, purses, shown_cost
from flask_neolith_orchestrator.core.errors import ConfigurationError, OverBudget
from flask_neolith_orchestrator.core.money import Ceiling, Holdings, Period, Scope, mark, percent
from flask_neolith_orchestrator.core.money_input import read_limits, read_prices
from flask_neolith_orchestrator.core.types import Usage
from flask_neolith_orchestrator.settings import load_settings


def at(text: str) -> float:
    """Epoch seconds of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("period", "begins", "ends"),
    [
        (Period.HOUR, "2024-02-29 23:00", "2024-03-01 00:00"),
        (Period.DAY, "2024-02-29 00:00", "2024-03-01 00:00"),
        (Period.MONTH, "2024-02-01 00:00", "2024-03-01 00:00"),
    ],
)
def test_periods_are_those_of_the_calendar(period: Period, begins: str, ends: str) -> None:
    """Of UTC, whatever the machine's own zone is; a leap day is a day."""
    moment = at("2024-02-29 23:59")
    assert (period.begins(moment), period.ends(moment)) == (at(begins), at(ends))


@given(st.floats(0.0, 4e9), st.sampled_from(list(Period)))
def test_every_moment_is_in_exactly_one_period(moment: float, period: Period) -> None:
    """It is not before its beginning, before its end, and the next one begins where it ends."""
    begins, ends = period.begins(moment), period.ends(moment)
    assert begins <= moment < ends
    assert period.begins(begins) == begins
    assert period.begins(ends) == ends


def test_the_share_is_of_what_is_nearest_to_its_end() -> None:
    """Reserved tokens are not spent; a limit of nothing is used up; no limit has no share."""
    gone = Holdings(tokens=50, cost=0.9, reserved_tokens=50, replies=1)
    assert percent(Ceiling(tokens=100, cost=1.0, replies=4), gone) == 90.0
    assert percent(Ceiling(tokens=100), gone) == 50.0
    assert percent(Ceiling(tokens=0), Holdings()) == 100.0
    assert percent(Ceiling(), gone) == 0.0
    assert not Ceiling()
    assert Ceiling(replies=0)


@pytest.mark.parametrize(("share", "found"), [(49.9, 0), (50.0, 50), (74.0, 50), (75.0, 75), (90.0, 90), (250.0, 90)])
def test_marks_are_reached(share: float, found: int) -> None:
    """The highest of 50, 75 and 90 counts; that a budget is used up is told where a call is refused."""
    assert mark(share) == found


def test_a_limit_that_was_taken_over_is_the_organizations() -> None:
    """Its own, tighter or of another period, is the orchestrator's, and a person's is never the organization's."""
    theirs = purses(Scope.ORGANIZATION, "1", {Period.DAY: Ceiling(tokens=100)})
    same, tighter = {Period.DAY: Ceiling(tokens=100, replies=5)}, {Period.DAY: Ceiling(tokens=99)}
    other = {Period.HOUR: Ceiling(tokens=100)}
    own = [purses(Scope.ORCHESTRATOR, "2", one)[0] for one in (same, tighter, other)]
    assert [origin(one, theirs) for one in own] == [Scope.ORGANIZATION, Scope.ORCHESTRATOR, Scope.ORCHESTRATOR]
    assert origin(purses(Scope.PERSON, "3", same)[0], theirs) is Scope.PERSON
    assert origin(theirs[0], theirs) is Scope.ORGANIZATION
    assert origin(own[0], ()) is Scope.ORCHESTRATOR


def test_limits_of_a_charter_become_purses() -> None:
    """One for each period in which anything is limited."""
    limits = SimpleNamespace(tokens_per_hour=5, cost_per_month=Decimal("2.50"))
    found = ceilings(limits, SimpleNamespace(replies_per_day=3))
    assert found == {
        Period.HOUR: Ceiling(tokens=5),
        Period.DAY: Ceiling(replies=3),
        Period.MONTH: Ceiling(cost=2.5),
    }
    assert [one.period for one in purses(Scope.PERSON, "7", found)] == list(Period)
    assert ceilings({"cost_per_day": 1}) == {Period.DAY: Ceiling(cost=1.0)}
    assert ceilings(None) == {}


def test_dollars_are_shown_exactly() -> None:
    """Six places, rounded from what was computed; nothing is unknown."""
    assert (shown_cost(0.1 + 0.2), shown_cost(None), shown_cost(1e-7)) == ("0.300000", None, "0.000000")


def test_people_read_whose_budget_and_until_when() -> None:
    """One sentence says what is used up, the other what becomes of the question."""
    until = at("2024-03-01 00:00")
    error = OverBudget(scope="organization", period="day", until=until)
    when = "01 March 2024, 00:00 UTC"
    what = "The budget of our organization for this day is used up"
    assert notice(error, waits=True) == f"{what}. I will answer after {when}."
    assert notice(error, waits=False) == f"{what}. Please ask me again after {when}."
    replies = OverBudget(scope="orchestrator", period="hour", until=until, reason="replies")
    assert notice(replies, waits=True).startswith("I have given as many answers as I may in one hour.")
    assert notice(OverBudget(passing=True), waits=True) == BREATH


def test_the_package_knows_models_and_kinds_of_tokens() -> None:
    """Tokens from the cache are cheaper than plain ones, and tokens into it dearer."""
    prices = PackagedPrices({})

    def price(**usage: int) -> float:
        found = prices.cost("claude-sonnet-5-5", Usage(**usage))
        assert found is not None
        return found * 1e6

    million = 1_000
    plain, cached = price(input_tokens=million), price(cache_read_tokens=million)
    assert 0 < cached < plain < price(cache_write_tokens=million) < price(output_tokens=million)


def test_nobody_knows_what_an_unknown_model_costs(caplog: pytest.LogCaptureFixture) -> None:
    """That is not nothing; it is logged once. No tokens cost nothing, and the offline model asks nobody."""
    prices = PackagedPrices({})
    assert [prices.cost("nobody-knows", Usage(1)) for _ in range(3)] == [None] * 3
    assert caplog.text.count("NEOLITH_PRICES") == 1
    assert prices.cost("nobody-knows", Usage()) == 0.0
    assert prices.cost("scripted", Usage(1_000, 1_000)) == 0.0


def test_own_prices_win() -> None:
    """For a name and its dated versions, kind by kind."""
    prices = PackagedPrices(read_prices({"claude-sonnet-5-5": {"input": 1, "output": 2, "cache_read": 0.5}}))
    for name in ("claude-sonnet-5-5", "claude-sonnet-5-5-20260101"):
        assert prices.cost(name, Usage(1, 1, 2, 4)) == pytest.approx((1 + 2 + 1 + 5) / 1e6)
    assert prices.cost("claude-sonnet-5-5-large", Usage(1)) != pytest.approx(1e-6)


def test_prices_are_read_from_a_file_or_from_json(tmp_path: Path) -> None:
    """Whichever is easier to keep."""
    given_prices = {"mine": {"input": 1, "output": 2}}
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(given_prices), encoding="utf-8")
    expected = {"mine": {"input": 1, "output": 2, "cache_read": 1, "cache_write": 1.25}}
    assert read_prices(given_prices) == read_prices(json.dumps(given_prices)) == read_prices(str(file)) == expected
    assert read_prices("  ") == {}


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("NEOLITH_PRICES", "/nowhere/prices.json", "the file cannot be read"),
        ("NEOLITH_PRICES", "{", "this is not JSON"),
        ("NEOLITH_PRICES", 7, "a mapping"),
        ("NEOLITH_PRICES", {"m": 7}, "give input and output"),
        ("NEOLITH_PRICES", {"m": {"input": 1, "output": 1, "cache": 1}}, "give input and output"),
        ("NEOLITH_PRICES", {"m": {"input": "1", "output": 1}}, "m.input: a number"),
        ("NEOLITH_PERSON_BUDGET", {"tokens_per_week": 1}, "unknown limit tokens_per_week"),
        ("NEOLITH_PERSON_BUDGET", '{"tokens_per_day": -1}', "tokens_per_day: a number of at least 0"),
        ("NEOLITH_PERSON_BUDGET", {"cost_per_day": True}, "cost_per_day: a number"),
        ("NEOLITH_RATE_PERSON", "many", "pattern"),
    ],
)
def test_what_cannot_be_used_is_named(key: str, value: object, problem: str) -> None:
    """A bad price or limit stops the app at its start, with what is wrong."""
    with pytest.raises(ConfigurationError, match=problem):
        load_settings({key: value}, {})


def test_limits_of_a_person_are_read() -> None:
    """A limit that is null is none."""
    assert read_limits('{"tokens_per_day": 5, "cost_per_hour": null}') == {"tokens_per_day": 5}
    assert load_settings({"NEOLITH_RATE_PERSON": " "}, {}).rate_person is None
