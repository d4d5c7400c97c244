"""How much of the time a daemon ran: computed from changes alone, and honest about what nobody knows."""

from __future__ import annotations

import pytest

from flask_neolith_orchestrator.core.availability import NO_NODE, Availability, Change, availability
from flask_neolith_orchestrator.core.deeds import CLI, SYSTEM, Actor, Deed


def at(second: float, event: str, reason: str | None = None) -> Change:
    """A change."""
    return Change("1", second, event, reason)


@pytest.mark.parametrize(
    ("before", "changes", "expected"),
    [
        (None, [], Availability(0, 0)),
        (at(-5, "started"), [], Availability(100, 0)),
        (None, [at(40, "started")], Availability(60, 0)),
        (at(-5, "started"), [at(40, "stopped", "person")], Availability(40, 0)),
        (at(-5, "stopped", "logout"), [at(40, "started"), at(90, "stopped", "logout")], Availability(50, 0)),
        (at(-5, "started"), [at(40, "stopped", NO_NODE), at(60, "started")], Availability(80, 20)),
        (at(-5, "started"), [at(10, "died"), at(15, "restarted")], Availability(95, 5)),
        (at(-5, "started"), [at(10, "died"), at(20, "failed")], Availability(10, 90)),
        (at(-5, "failed"), [at(20, "started"), at(15, "stopped")], Availability(0, 20)),
        (at(-5, "started"), [at(130, "stopped", NO_NODE)], Availability(100, 0)),
    ],
)
def test_time_counts_for_what_it_was(before: Change | None, changes: list[Change], expected: Availability) -> None:
    """Running is up; restarting, given up and without any process is down; stopped on purpose is neither."""
    assert availability(before, changes, 0, 100) == expected


def test_percent_is_of_the_time_in_which_it_should_have_run() -> None:
    """And nothing is said where it never should have."""
    assert Availability().percent is None
    assert Availability(3, 1).percent == 75.0
    assert Availability(0, 1).percent == 0.0


@pytest.mark.parametrize(
    ("event", "state"),
    [("started", "running"), ("restarted", "running"), ("died", "restarting"), ("failed", "error")],
)
def test_a_change_says_what_it_is_from_then_on(event: str, state: str) -> None:
    """The timeline is drawn from that."""
    assert at(0, event).state == state


def test_a_deed_knows_by_whom() -> None:
    """A user, a user's key, the command line, or whoever wrote a version."""
    assert Actor.user("7") == Actor("user", "7")
    assert Actor.user("7", "3") == Actor("key", "7", "3")
    assert Actor.who_wrote(None) is SYSTEM
    assert Actor.who_wrote("7") == Actor.user("7")
    assert Deed(CLI, "orchestrator.started").details == {}
