"""Python listeners: in order, on their own threads, and none of them can harm another."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flask_neolith_orchestrator.runtime.broadcast import listeners
from flask_neolith_orchestrator.runtime.broadcast.listeners import Emitter

PATIENCE = 5.0


class Heard:
    """Remembers what it heard, on which thread, and in which context."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.calls: list[dict[str, Any]] = []
        self.inside = threading.local()
        self.in_context: list[bool] = []

    def __call__(self, **arguments: Any) -> None:
        with self.changed:
            self.calls.append(arguments)
            self.in_context.append(getattr(self.inside, "on", False))
            self.changed.notify_all()

    @contextmanager
    def context(self) -> Iterator[None]:
        """As an app context."""
        self.inside.on = True
        yield
        self.inside.on = False

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """What was heard, once that is so much."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.calls) >= count, PATIENCE), self.calls
            return list(self.calls)


@pytest.fixture
def heard() -> Heard:
    """A listener."""
    return Heard()


@pytest.fixture
def emitter(heard: Heard) -> Iterator[Emitter]:
    """Knows the events tick and tock; afterwards no listener's thread is left."""
    made = Emitter(("tick", "tock"), heard.context)
    yield made
    made.close()
    for thread in threading.enumerate():
        if thread.name.startswith("neolith-listener"):
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_events_come_in_order_in_the_context(emitter: Emitter, heard: Heard) -> None:
    """Keyword arguments, in the order of telling, inside the app context, and only of the event asked for."""
    assert emitter.on("tick", heard) is heard
    for number in range(100):
        assert emitter.emit("tick", number=number) == 1
        assert emitter.emit("tock", number=number) == 0
    assert heard.wait_for(100) == [{"number": number} for number in range(100)]
    assert all(heard.in_context)
    assert emitter.heard("tick")
    assert not emitter.heard("tock")


def test_an_unknown_event_is_refused(emitter: Emitter, heard: Heard) -> None:
    """A typing error in an event's name is told at once, with the names there are."""
    with pytest.raises(ValueError, match=r"There is no event 'tik'.*tick, tock"):
        emitter.on("tik", heard)


def test_one_that_raises_hears_the_next_event(emitter: Emitter, heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    """An exception is logged; the listener itself and the others go on."""

    def fail(number: int) -> None:
        heard(failed=number)
        raise ValueError(number)

    emitter.on("tick", fail)
    emitter.on("tick", heard)
    with caplog.at_level(logging.ERROR):
        emitter.emit("tick", number=1)
        emitter.emit("tick", number=2)
        calls = heard.wait_for(4)
        emitter.close()
    assert sorted(calls, key=str) == [{"failed": 1}, {"failed": 2}, {"number": 1}, {"number": 2}]
    assert {record.__dict__["action"] for record in caplog.records} == {"listener-failed"}


def test_one_that_hangs_delays_nobody(emitter: Emitter, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Telling never waits; what is too much for a hanging listener is dropped, with a log line."""
    monkeypatch.setattr(listeners, "BOUND", 3)
    go, hangs = threading.Event(), threading.Event()

    def hang(number: int) -> None:
        hangs.set()
        go.wait(PATIENCE)
        heard(late=number)

    emitter.on("tick", hang)
    emitter.on("tick", heard)
    emitter.emit("tick", number=0)
    assert hangs.wait(PATIENCE)
    for number in range(1, 6):
        emitter.emit("tick", number=number)
        heard.wait_for(number + 1)
    go.set()
    calls = heard.wait_for(6 + 4)
    assert [one["late"] for one in calls if "late" in one] == [0, 1, 2, 3]


def test_a_once_listener_hears_one_of_many_simultaneous_events(emitter: Emitter, heard: Heard) -> None:
    """Eight threads tell at the same instant: it is called once."""
    emitter.once("tick", heard)
    barrier = threading.Barrier(8)
    told: list[int] = []

    def tell() -> None:
        barrier.wait(PATIENCE)
        told.append(emitter.emit("tick", number=1))

    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sum(told) == 1
    assert heard.wait_for(1) == [{"number": 1}]


def test_off_ends_it(emitter: Emitter, heard: Heard) -> None:
    """Whoever is off hears nothing more, not even what waits; off for a stranger is harmless."""
    emitter.on("tick", heard)
    emitter.off("tock", heard)
    emitter.emit("tick", number=1)
    heard.wait_for(1)
    emitter.off("tick", heard)
    assert emitter.emit("tick", number=2) == 0
    assert heard.calls == [{"number": 1}]


def test_the_end_of_a_call_is_told(emitter: Emitter, heard: Heard) -> None:
    """`done` hears whether the listener took it."""
    done: list[bool] = []
    both = threading.Semaphore(0)

    def note(fine: bool) -> None:
        done.append(fine)
        both.release()

    def fail(number: int) -> None:
        raise ValueError(number)

    emitter.on("tick", heard)
    emitter.on("tick", fail)
    emitter.emit("tick", done=note, number=1)
    assert both.acquire(timeout=PATIENCE)
    assert both.acquire(timeout=PATIENCE)
    assert sorted(done) == [False, True]


def test_a_done_that_raises_does_not_silence_the_listener(
    emitter: Emitter, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    """The note of an outbox that cannot be written: the listener still hears the next event."""

    def fail(_fine: bool) -> None:
        raise ValueError("the database is away")

    emitter.on("tick", heard)
    with caplog.at_level(logging.ERROR):
        emitter.emit("tick", done=fail, number=1)
        heard.wait_for(1)
        emitter.emit("tick", number=2)
        heard.wait_for(2)


def test_without_a_thread_the_next_event_tries_again(
    emitter: Emitter, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without threads: telling does not raise, and both events are heard later, in order."""
    emitter.on("tick", heard)

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        emitter.emit("tick", number=1)
    emitter.emit("tick", number=2)
    assert heard.wait_for(2) == [{"number": 1}, {"number": 2}]
