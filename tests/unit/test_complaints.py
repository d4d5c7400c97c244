"""The same trouble is not said each second."""

from __future__ import annotations

import logging

import pytest

from flask_neolith_orchestrator.runtime.upkeep.complaints import AGAIN, CALM, Complaints
from flask_neolith_orchestrator.testing import ManualClock


def test_the_same_trouble_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Another kind of error, another part, a minute later and after it was well again: each is said, with its cause."""
    clock = ManualClock()
    complaints = Complaints(clock)
    complaints.over("sweep")
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            complaints.say("sweep", "sweep-failed", ValueError("a"))
            clock.advance(1)
        complaints.say("sweep", "sweep-failed", KeyError("b"))
        complaints.say("renew", "job-failed", None)
        clock.advance(AGAIN)
        complaints.say("sweep", "sweep-failed", ValueError("c"))
        complaints.over("other")
        complaints.say("sweep", "sweep-failed", ValueError("d"))
        complaints.over("sweep")  # it had nothing to do, perhaps
        complaints.say("sweep", "sweep-failed", ValueError("not said"))
        clock.advance(CALM)
        complaints.over("sweep")
        complaints.say("sweep", "sweep-failed", ValueError("e"))
    said = [(one.getMessage(), one.exc_info and str(one.exc_info[1])) for one in caplog.records]
    assert said == [("sweep", "a"), ("sweep", "'b'"), ("renew", None), ("sweep", "c"), ("sweep", "e")]
