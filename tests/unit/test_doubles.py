"""The twins that the test kit ships: they keep the contracts of the ports they stand for."""

from __future__ import annotations

import pytest

from flask_neolith_orchestrator.testing import Emitted, ManualClock, ManualDispatcher, RecordingChannel


def test_the_clock_moves_only_when_told() -> None:
    """Both of its times are one time."""
    clock = ManualClock(100.0)
    assert (clock.wall(), clock.monotonic(), clock.database) == (100.0, 100.0, False)
    clock.advance(2.5)
    assert (clock.wall(), clock.monotonic()) == (102.5, 102.5)


def test_the_channel_remembers_what_was_told() -> None:
    """In order, by event, and waits for what has not come."""
    channel = RecordingChannel()
    channel.emit("message", {"id": "1"}, "channel:1")
    channel.emit("presence", {"status": "ONLINE"}, "org:1")
    channel.cut("login:x")
    assert channel.emitted[0] == Emitted("message", {"id": "1"}, "channel:1")
    assert channel.wait_for("presence") == [{"status": "ONLINE"}]
    assert channel.cuts == ["login:x"]
    assert channel.health()["ok"]
    with pytest.raises(TimeoutError, match="1 of 2 'message'"):
        channel.wait_for("message", 2, timeout=0.01)


def test_the_dispatcher_works_when_told() -> None:
    """Hints before and after `run` are worked off in order, work that is left over comes again, and close ends it."""
    dispatcher = ManualDispatcher()
    dispatcher.ring("1")
    assert dispatcher.work() == 0
    calls: list[str] = []

    def handle(orchestrator_id: str) -> bool:
        calls.append(orchestrator_id)
        return calls == ["1"]

    dispatcher.run(handle)
    dispatcher.ring("2", 2)
    assert dispatcher.work() == 4
    assert calls == ["1", "2", "2", "1"]
    assert dispatcher.health() == {"ok": True, "threads": 0, "queued": 0}
    assert dispatcher.close(0.0)
    dispatcher.ring("3")
    assert dispatcher.work() == 0
    assert dispatcher.health()["ok"] is False
