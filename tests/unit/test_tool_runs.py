"""The threads on which tools run: their time, their stop, and those that never end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from flask_neolith_orchestrator.core.cancel import Cancel, Cancelled, StopReason
from flask_neolith_orchestrator.core.errors import ToolError
from flask_neolith_orchestrator.runtime.tools import runs as tool_runs
from flask_neolith_orchestrator.runtime.tools.runs import FAILED, HANGS, Failed, ToolRuns

FIELDS = {"tool": "test", "turn": "7"}
PATIENCE = 10.0


class Place:
    """An app context that counts who is in it, and a door."""

    def __init__(self) -> None:
        self.inside = 0
        self.entered: list[str] = []
        self.door = threading.Event()
        self.begun = threading.Event()

    @contextmanager
    def context(self) -> Iterator[None]:
        """The app context."""
        self.inside += 1
        self.entered.append(threading.current_thread().name)
        yield
        self.inside -= 1

    def wait(self, cancel: Cancel) -> str:
        """A tool that hears nothing."""
        self.begun.set()
        self.door.wait(PATIENCE)
        return "late"


@pytest.fixture
def place() -> Iterator[Place]:
    """Its door is open at the end."""
    found = Place()
    yield found
    found.door.set()
    for thread in threading.enumerate():
        if thread.name.startswith("neolith-tool-"):
            thread.join(PATIENCE)


def test_a_call_has_its_own_thread_and_the_app_context(place: Place) -> None:
    """It runs inside the context, which is left at its end."""
    runs = ToolRuns(place.context, threads=True)
    assert runs.run(lambda _: f"inside {place.inside}", Cancel(), 1.0, FIELDS) == "inside 1"
    assert (place.inside, place.entered, runs.hanging) == (0, ["neolith-tool-test"], 0)


def test_without_threads_it_runs_where_it_is_called(place: Place) -> None:
    """Where there can be no second thread the caller's context is the one there is."""
    runs = ToolRuns(place.context, threads=False)
    assert runs.run(lambda _: threading.current_thread().name, Cancel(), 1.0, FIELDS) == "MainThread"
    assert place.entered == []
    with pytest.raises(Failed, match="no"):
        runs.run(refuse, Cancel(), 1.0, FIELDS)


def refuse(_cancel: Cancel) -> str:
    """Cannot."""
    raise ToolError("no such thing")


def break_down(_cancel: Cancel) -> str:
    """A defect."""
    raise LookupError("hunter2")


def leave(_cancel: Cancel) -> str:
    """Ends its thread."""
    raise SystemExit


def give_up(_cancel: Cancel) -> str:
    """As if it had been stopped, although nobody did."""
    raise Cancelled


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # what `leave` is about
@pytest.mark.parametrize("work", [break_down, leave, give_up])
def test_whatever_a_tool_raises_is_a_failure_in_our_words(place: Place, work: tool_runs.Work) -> None:
    """Only a ToolError's own sentence is told."""
    runs = ToolRuns(place.context, threads=True)
    with pytest.raises(Failed) as failed:
        runs.run(work, Cancel(), PATIENCE, FIELDS)
    assert str(failed.value) == FAILED
    with pytest.raises(Failed, match="no such thing"):
        runs.run(refuse, Cancel(), PATIENCE, FIELDS)


def test_a_stop_is_heard_at_once_and_told_to_the_tool(place: Place) -> None:
    """The turn does not wait for the tool; a tool that looks at its own stop flag ends too."""
    runs, cancel, heard = ToolRuns(place.context, threads=True), Cancel(), threading.Event()

    def work(own: Cancel) -> str:
        cancel.set(StopReason.PERSON)
        if own.wait(PATIENCE) and own.reason is StopReason.PERSON:
            heard.set()
        return place.wait(own)

    with pytest.raises(Cancelled):
        runs.run(work, cancel, PATIENCE, FIELDS)
    assert heard.wait(PATIENCE)
    assert runs.hanging == 1
    place.door.set()


def test_what_has_ended_is_told_although_a_stop_came(place: Place) -> None:
    """A call that has happened must be written down: its result comes before the stop."""
    runs, cancel = ToolRuns(place.context, threads=False), Cancel()

    def work(_own: Cancel) -> str:
        cancel.set(StopReason.PERSON)
        return "done"

    assert runs.run(work, cancel, PATIENCE, FIELDS) == "done"


def test_the_time_of_a_call_ends(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """After its time nobody waits; what it says later is heard by nobody."""
    runs = ToolRuns(place.context, threads=True)
    with pytest.raises(Failed, match=r"longer than 0\.01 s"):
        runs.run(place.wait, Cancel(), 0.01, FIELDS)
    assert [getattr(record, "action", "") for record in caplog.records] == ["tool-abandoned"]


def test_lost_threads_are_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many calls hang no more are begun, until some of them have ended."""
    monkeypatch.setattr(tool_runs, "MOST_HANGING", 2)
    runs = ToolRuns(place.context, threads=True)
    for _ in range(2):
        with pytest.raises(Failed, match="longer"):
            runs.run(place.wait, Cancel(), 0.01, FIELDS)
    with pytest.raises(Failed) as failed:
        runs.run(lambda _: "fine", Cancel(), PATIENCE, FIELDS)
    assert str(failed.value) == HANGS
    place.door.set()
    for thread in threading.enumerate():
        if thread.name == "neolith-tool-test":
            thread.join(PATIENCE)
    assert runs.run(lambda _: "fine", Cancel(), PATIENCE, FIELDS) == "fine"
