"""Working hours in their own time zone: over midnight, over weekends, and where the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from flask_neolith_orchestrator.chat.hours import Hours, hours_of, shown

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    """An instant by its local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def made(zone: str = "UTC", /, **hours: list[str]) -> Hours:
    """Hours by day."""
    found = hours_of(zone, hours)  # type: ignore[arg-type]  # names of days
    assert found is not None
    return found


OFFICE: dict[str, list[str]] = {day: ["09:00-12:00", "13:00-17:00"] for day in ("mon", "tue", "wed", "thu", "fri")}


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-03-02T09:00", None),  # a Monday: the first instant belongs to it
        ("2026-03-02T11:59:59", None),
        ("2026-03-02T12:00", "2026-03-02T13:00"),  # the last does not
        ("2026-03-02T16:00", None),
        ("2026-03-02T17:00", "2026-03-03T09:00"),
        ("2026-03-06T17:00", "2026-03-09T09:00"),  # over the weekend
        ("2026-03-07T10:00", "2026-03-09T09:00"),
        ("2026-03-02T08:59", "2026-03-02T09:00"),
    ],
)
def test_an_office_opens_again(now: str, opens: str | None) -> None:
    """At its next span; None while it is open."""
    assert made(**OFFICE).opens_at(at(now)) == (None if opens is None else at(opens))


def test_a_night_shift_belongs_to_the_day_it_begins_on() -> None:
    """It goes on after midnight, on a day that has no hours of its own."""
    night = made(sun=["22:00-06:00"])
    assert night.opens_at(at("2026-03-01T23:00")) is None
    assert night.opens_at(at("2026-03-02T05:59")) is None
    assert night.opens_at(at("2026-03-02T06:00")) == at("2026-03-08T22:00")
    assert night.opens_at(at("2026-03-01T05:00")) == at("2026-03-01T22:00")


def test_a_whole_day_ends_at_midnight() -> None:
    """24:00 is that day's end, and the next day goes on without a gap."""
    days = made(sat=["00:00-24:00"], sun=["00:00-24:00"])
    assert days.opens_at(at("2026-02-28T23:59:59")) is None
    assert days.opens_at(at("2026-03-01T00:00")) is None
    assert days.opens_at(at("2026-03-02T00:00")) == at("2026-03-07T00:00")


def test_hours_are_local() -> None:
    """Nine in Berlin is eight in UTC in winter, and seven in summer."""
    office = made(BERLIN, **OFFICE)
    assert office.opens_at(at("2026-03-02T07:59")) == at("2026-03-02T08:00")
    assert office.opens_at(at("2026-06-01T06:59")) == at("2026-06-01T07:00")
    assert office.opens_at(at("2026-03-27T18:00")) == at("2026-03-30T07:00"), "over the change to summer time"


def test_a_time_that_is_left_out_is_when_it_would_have_been() -> None:
    """On 29 March 2026 Berlin has no 02:30."""
    early = made(BERLIN, sun=["02:30-04:00"])
    assert early.opens_at(at("2026-03-29T00:00", BERLIN)) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC).timestamp()


def test_an_hour_that_comes_twice_is_open_twice() -> None:
    """On 25 October 2026 Berlin's 02:30 comes twice: a span that ends then ends the second time."""
    late = made(BERLIN, sun=["01:00-02:30"])
    assert late.opens_at(at("2026-10-25T02:15", BERLIN, fold=1)) is None
    assert late.opens_at(at("2026-10-25T02:30", BERLIN, fold=1)) == at("2026-11-01T01:00", BERLIN)


def test_without_hours_it_is_always_open() -> None:
    """No hours, and hours without a span, are never over."""
    assert hours_of("UTC", None) is None
    assert made().opens_at(at("2026-03-02T12:00")) is None
    assert made().always


def test_an_instant_is_shown_where_its_hours_are_meant() -> None:
    """In words for people."""
    assert shown(at("2026-03-02T08:00"), BERLIN) == "Mon 2 March, 09:00 (Europe/Berlin)"
