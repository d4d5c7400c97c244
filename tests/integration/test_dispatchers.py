"""What the runtime relies on in a dispatcher: the same for threads of this process and for a real Celery worker."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol

import pytest

from flask_neolith_orchestrator.backends import bell
from flask_neolith_orchestrator.backends import celery as celery_backend
from flask_neolith_orchestrator.backends.celery import QUEUE, CeleryDispatcher
from flask_neolith_orchestrator.backends.embedded import EmbeddedDispatcher
from flask_neolith_orchestrator.core.ports import Dispatcher

from .redis_server import RedisServer

PATIENCE = 10.0
Handler = Callable[[str], bool]


class Begin(Protocol):
    """Makes a dispatcher of `threads` threads that calls `handler`; `ring` is rung before it runs."""

    def __call__(self, handler: Handler, *, threads: int = 4, limit: int = 2, ring: str = "") -> Dispatcher: ...


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Celery's worker sets the level of the whole process's log."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(params=["embedded", "celery"])
def begin(request: pytest.FixtureRequest) -> Iterator[Begin]:
    """Both kinds; all that was begun ends with the test."""
    with ExitStack() as ends:
        if request.param == "celery":
            redis: RedisServer = request.getfixturevalue("redis")
            yield lambda handler, **more: _begin_celery(ends, redis, handler, **more)
        else:
            yield lambda handler, **more: _begin_embedded(ends, handler, **more)


def _begin_embedded(
    ends: ExitStack, handler: Handler, *, threads: int = 4, limit: int = 2, ring: str = ""
) -> Dispatcher:
    made = EmbeddedDispatcher(max_threads=threads, per_orchestrator=limit)
    ends.callback(made.close, PATIENCE)
    if ring:
        made.ring(ring)
    made.run(handler, lambda _one: limit)
    return made


def _begin_celery(
    ends: ExitStack, redis: RedisServer, handler: Handler, *, threads: int = 4, limit: int = 2, ring: str = ""
) -> CeleryDispatcher:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that module looks at pytest's plugins
        from celery.contrib.testing.worker import start_worker
    made = CeleryDispatcher(redis.url, threads=threads, per_orchestrator=limit)
    if ring:
        made.ring(ring)
    app = made.attend(lambda: made.run(handler, lambda _one: limit), lambda: None)
    options: Any = {"pool": "threads", "concurrency": threads, "perform_ping_check": False, "loglevel": "error"}
    worker: AbstractContextManager[Any] = start_worker(app, **options, shutdown_timeout=PATIENCE)
    ends.enter_context(worker)
    ends.callback(made.close, PATIENCE)
    return made


class Calls:
    """A handler that notes who is called where, and hangs for those in `hang` until `go`. Lifetime: a test."""

    def __init__(self, *hang: str, more: int = 0) -> None:
        self.changed = threading.Condition()
        self.hang = hang
        self.go = threading.Event()
        self.more = more
        self.inside: dict[int, str] = {}
        self.most = 0
        self.begun: list[str] = []
        self.done: list[str] = []

    def __call__(self, orchestrator_id: str) -> bool:
        with self.changed:
            self.begun.append(orchestrator_id)
            self.inside[threading.get_ident()] = orchestrator_id
            self.most = max(self.most, len(self.inside))
            self.changed.notify_all()
        if orchestrator_id in self.hang:
            assert self.go.wait(PATIENCE)
        with self.changed:
            del self.inside[threading.get_ident()]
            self.done.append(orchestrator_id)
            self.more -= 1
            self.changed.notify_all()
            return self.more >= 0

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for it."""
        with self.changed:
            assert self.changed.wait_for(true, PATIENCE), (self.begun, self.done)


def test_who_is_rung_for_is_called(begin: Begin) -> None:
    """Also for a hint that came before anybody could work; and what it needs is there."""
    calls = Calls()
    made = begin(calls, ring="early")
    calls.until(lambda: calls.done == ["early"])
    made.ring("ada")
    calls.until(lambda: calls.done == ["early", "ada"])
    assert made.check() is None
    assert made.threads == 4


def test_what_is_left_over_is_called_again(begin: Begin) -> None:
    """A call that returns True has another one, until one returns False."""
    calls = Calls(more=3)
    begin(calls).ring("ada")
    calls.until(lambda: calls.done == ["ada"] * 4)


def test_a_call_that_raises_ends_nothing(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next one is made."""
    calls, raised = Calls(), threading.Event()

    def handler(orchestrator_id: str) -> bool:
        if orchestrator_id == "bad":
            raised.set()
            raise ValueError(orchestrator_id)
        return calls(orchestrator_id)

    with caplog.at_level(logging.ERROR):
        made = begin(handler, threads=1)
        made.ring("bad")
        assert raised.wait(PATIENCE)  # of two hints that wait either may go first
        made.ring("ada")  # on the same thread, so after the line in the log
        calls.until(lambda: calls.done == ["ada"])
    assert [one.__dict__.get("action") for one in caplog.records] == ["dispatch-failed"]


def test_no_more_calls_than_threads_and_everybody_comes(begin: Begin) -> None:
    """Ten orchestrators that all want as much as they can have, on three threads."""
    names = [f"o{number}" for number in range(10)]
    calls = Calls(*names)
    made = begin(calls, threads=3)
    for name in names:
        made.ring(name, 50)
    calls.until(lambda: len(calls.inside) == 3)
    assert made.health()["active"] == 3
    calls.go.set()
    calls.until(lambda: set(calls.done) == set(names))
    assert calls.most == 3


def test_one_orchestrator_has_no_more_hints_than_slots(begin: Begin) -> None:
    """A flood of one leaves threads to others: it is called by as many as it has slots for."""
    calls = Calls("ada")
    made = begin(calls, threads=4, limit=2)
    made.ring("ada", 50)
    calls.until(lambda: len(calls.inside) == 2)
    made.ring("bee")
    calls.until(lambda: calls.done == ["bee"])
    assert Counter(calls.begun) == {"ada": 2, "bee": 1}
    calls.go.set()


def test_who_rings_after_the_work_is_there_is_heard(begin: Begin) -> None:
    """Eight threads that put work down and ring: a call that begins afterwards sees each piece."""
    lock, waiting, worked = threading.Lock(), Counter[str](), Counter[str]()
    all_done = threading.Event()

    def handler(orchestrator_id: str) -> bool:
        with lock:
            worked[orchestrator_id] += waiting.pop(orchestrator_id, 0)
            if sum(worked.values()) == 8 * 50:
                all_done.set()
        return False

    made = begin(handler)

    def ring(number: int) -> None:
        for _ in range(50):
            with lock:
                waiting[f"o{number % 3}"] += 1
            made.ring(f"o{number % 3}")

    threads = [threading.Thread(target=ring, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert all_done.wait(PATIENCE), (waiting, worked)


def test_a_call_that_is_given_up_leaves_its_place(begin: Begin) -> None:
    """With one thread: after `abandon` the next is called, and the hung call is counted until it ends."""
    calls = Calls("hangs")
    made = begin(calls, threads=1)
    made.ring("hangs")
    calls.until(lambda: len(calls.inside) == 1)
    (thread,) = calls.inside
    made.ring("ada")
    calls.hang = ()
    made.abandon(thread)
    made.abandon(thread)  # without effect
    calls.until(lambda: "ada" in calls.done)
    assert made.health()["abandoned"] == 1
    calls.go.set()
    calls.until(lambda: "hangs" in calls.done)


def test_a_close_waits_and_then_all_is_silent(begin: Begin) -> None:
    """It says whether all calls have ended; who rings afterwards neither waits nor fails."""
    calls = Calls("ada")
    made = begin(calls)
    made.ring("ada")
    calls.until(lambda: len(calls.inside) == 1)
    assert made.close(0.0) is False
    made.ring("late")
    made.tell()
    calls.go.set()
    assert made.close(PATIENCE) is True
    assert calls.done == ["ada"]
    assert made.health()["ok"] is False


def test_a_worker_that_hears_nothing_does_what_its_sweep_finds(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its consumer is stopped while hints wait: it works all the same, says so, and listens again when it can."""
    monkeypatch.setattr(celery_backend, "DEAF", 0.6)
    monkeypatch.setattr(bell, "CHECK", 0.1)
    pause = threading.Event()
    with ExitStack() as ends:
        calls = Calls()
        made = _begin_celery(ends, redis, calls)
        app = made.celery
        ends.enter_context(caplog.at_level(logging.WARNING))
        made.ring("ada")
        calls.until(lambda: calls.done == ["ada"])
        app.control.cancel_consumer(QUEUE, reply=True)
        for _ in range(100):  # as sweeps do
            made.ring("bee")
            pause.wait(0.1)
            if "bee" in calls.done:
                break
        assert "bee" in calls.done
        assert "none comes from Celery" in made.health()["detail"]
        assert made.health()["ok"]
        assert redis.client.llen(QUEUE) > 0
        app.control.add_consumer(QUEUE, reply=True)
        for _ in range(100):
            made.ring("cyd")
            pause.wait(0.1)
            if "none comes" not in made.health()["detail"]:
                break
        assert "none comes" not in made.health()["detail"]
    assert [one.__dict__.get("action") for one in caplog.records].count("deaf") == 1


def test_a_worker_whose_threads_were_all_busy_is_not_deaf(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints have waited for long, but not for a thread that has only just become free."""
    made = CeleryDispatcher(redis.url, threads=1, per_orchestrator=1)
    monkeypatch.setattr(made._bell, "waits", lambda: 3_600.0)
    made.serve(1)
    at_end: list[bool] = []

    def handler(_orchestrator_id: str) -> bool:
        made._taken_at -= 3_600.0  # such a long call
        return False

    try:
        made.run(handler)
        made.take("ada", time.time())
        at_end.append(made._is_deaf())
        made._ended_at -= 3_600.0
        at_end.append(made._is_deaf())
    finally:
        assert made.close(PATIENCE)
    assert at_end == [False, True]
