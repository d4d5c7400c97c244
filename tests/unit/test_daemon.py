"""The state machine of one daemon: which moves there are, and that each wrong one has its own sentence."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, cast

import pytest

from flask_neolith_orchestrator.core.errors import DaemonError, WrongTransition
from flask_neolith_orchestrator.core.types import DaemonStatus, OrchestratorSnapshot, OrchestratorStatus, UserRef
from flask_neolith_orchestrator.runtime.daemons.daemon import KEPT_ERRORS, Keeper, OrchestratorDaemon

ROAD: dict[str, tuple[str, ...]] = {
    "stopped": (),
    "initializing": ("initializing",),
    "running": ("initializing", "running"),
    "stopping": ("initializing", "running", "stopping"),
    "error": ("error",),
}
ALLOWED = {
    "stopped": {"initializing", "error"},
    "initializing": {"running", "stopped", "error"},
    "running": {"stopping", "error"},
    "stopping": {"stopped", "error"},
    "error": {"initializing", "stopped", "stopping"},
}


class Manager:
    """Remembers what a daemon asks of whoever keeps it. Lifetime: a test."""

    context = staticmethod(nullcontext)

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda _daemon, *arguments: self.asked.append((name, arguments))

    def relay(self, _daemon: object, event: str, _done: object, arguments: Mapping[str, Any]) -> int:
        """The manager tells its own listeners."""
        self.asked.append(("relay", (event, dict(arguments))))
        return 1

    def heard(self, event: str) -> bool:
        """Somebody listens to heartbeats at the manager."""
        return event == "heartbeat"


def make() -> tuple[OrchestratorDaemon, Manager]:
    """A daemon and its keeper."""
    snapshot = OrchestratorSnapshot("7", "ada", "", "", OrchestratorStatus.OFFLINE, UserRef("3", "Ada"))
    manager = Manager()
    daemon = OrchestratorDaemon(snapshot, cast(Keeper, manager), limit=2, heartbeat=30.0)
    daemon.life.acquire()  # only who holds it may move it
    return daemon, manager


@pytest.mark.parametrize("before", ROAD)
@pytest.mark.parametrize("after", ROAD)
def test_only_the_moves_of_the_plan_are_made(before: str, after: str) -> None:
    """stopped -> initializing -> running -> stopping -> stopped, error from any; staying is no move."""
    daemon, _ = make()
    for step in ROAD[before]:
        daemon.move(DaemonStatus(step))
    if after == before or after in ALLOWED[before]:
        daemon.move(DaemonStatus(after))
        assert daemon.get_status() == after
        assert daemon.is_running() is (after == "running")
        return
    with pytest.raises(WrongTransition):
        daemon.move(DaemonStatus(after))
    assert daemon.get_status() == before


def test_each_wrong_move_has_a_sentence_of_its_own() -> None:
    """The sentence says where the daemon is and what to do."""
    sentences = set()
    for before, road in ROAD.items():
        daemon, _ = make()
        for step in road:
            daemon.move(DaemonStatus(step))
        wrong = next(one for one in ROAD if one != before and one not in ALLOWED[before])
        with pytest.raises(WrongTransition) as caught:
            daemon.move(DaemonStatus(wrong))
        sentences.add(str(caught.value))
    assert len(sentences) == len(ROAD)


def test_a_daemon_asks_its_keeper() -> None:
    """Starting, stopping, hearing, speaking and acting are the keeper's; the daemon has no thread and no database."""
    daemon, manager = make()
    daemon.start()
    daemon.stop()
    daemon.restart()
    daemon.handle_message(cast(Any, "message"))
    daemon.send_response(cast(Any, "response"))
    daemon.execute_action(cast(Any, "action"))
    daemon.get_health_status()
    assert [name for name, _ in manager.asked] == [
        "wish_start",
        "wish_stop",
        "bounce",
        "accept",
        "speak",
        "act",
        "health",
    ]


def test_errors_are_kept_in_bounds_and_without_foreign_text() -> None:
    """The last fifty with time and kind; the text of an error that is not ours may hold secrets and is left out."""
    daemon, _ = make()
    assert not daemon.errors
    for number in range(KEPT_ERRORS + 5):
        daemon.note_error(float(number), DaemonError(f"number {number}"))
    daemon.note_error(99.0, ValueError("a password"))
    kept = list(daemon.errors)
    assert len(kept) == KEPT_ERRORS
    assert (kept[-1].at, kept[-1].kind, kept[-1].message) == (99.0, "ValueError", "")
    assert kept[-2].message == "number 54"


def test_whether_telling_is_worth_it() -> None:
    """A daemon listens if somebody does, here or at the manager."""
    daemon, _ = make()
    assert daemon.listens("heartbeat")
    assert not daemon.listens("error")
    daemon.on("error", print)
    assert daemon.listens("error")
    daemon.off("error", print)
    assert not daemon.listens("error")
    daemon.close()


def test_everything_that_happens_is_told_to_the_manager_too() -> None:
    """emit counts the daemon's own listeners and the manager's."""
    daemon, manager = make()
    assert daemon.emit("stopped", reason="person") == 1
    assert manager.asked == [("relay", ("stopped", {"reason": "person"}))]


def test_an_unknown_event_is_refused_with_those_there_are() -> None:
    """A misspelt event would never come."""
    daemon, _ = make()
    with pytest.raises(ValueError, match="message:processed"):
        daemon.on("processed", print)


def test_quiescing_takes_no_new_work_but_changes_no_wish(caplog: pytest.LogCaptureFixture) -> None:
    """A process that ends makes its daemons stop taking work; one that does not run stays as it is."""
    caplog.set_level(logging.INFO)
    daemon, manager = make()
    daemon.quiesce()
    assert daemon.get_status() == "stopped"
    for step in ROAD["running"]:
        daemon.move(DaemonStatus(step))
    daemon.quiesce()
    assert daemon.get_status() == "stopping"
    assert manager.asked == []
    assert "ada" in repr(daemon)
