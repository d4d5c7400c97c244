"""The stop flag of an attempt."""

from __future__ import annotations

import pytest

from flask_neolith_orchestrator.core.cancel import Cancel, Cancelled, StopReason


def test_the_first_reason_stays() -> None:
    """Whoever comes second changes nothing and is told so."""
    cancel = Cancel()
    cancel.check()
    assert cancel.set(StopReason.PERSON)
    assert not cancel.set(StopReason.SHUTDOWN)
    assert cancel.reason is StopReason.PERSON
    assert cancel.is_set()
    assert cancel.wait(0)
    with pytest.raises(Cancelled):
        cancel.check()


def test_listeners_are_called_once_unless_they_left() -> None:
    """On the setter's thread; one that comes late is called at once, and leaving twice is harmless."""
    cancel = Cancel()
    heard: list[str] = []
    cancel.on_set(lambda: heard.append("stays"))
    leave = cancel.on_set(lambda: heard.append("left"))
    leave()
    leave()
    cancel.set(StopReason.DEADLINE)
    cancel.on_set(lambda: heard.append("late"))()
    assert heard == ["stays", "late"]
