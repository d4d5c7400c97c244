"""The host's own requests on SQLite while two of our workers are as busy as they can be."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from flask import Flask
from flask.testing import FlaskClient

from flask_neolith_orchestrator.testing import ScriptedModel, use_model

from .app import DATABASE, World, close, copy_of, db, neolith, plain_app, world
from .rows import Faults, Row, median, milliseconds, quantile
from .witness import inspect, listen_for_skipped_jobs, watch

WORKERS = 2
BACKLOG = 900
"""Questions in the one conversation of each orchestrator; DAEMON_MAX_QUEUE is 1,000."""

CLIENTS = 2
PAUSE = 0.005
"""Seconds between two requests of one client."""

WARM_UP = 20


@dataclass(slots=True)
class Load:
    """What the host's clients saw. Lifetime: one round."""

    times: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def locked(self) -> int:
        """How many requests failed because of the database's lock."""
        return sum("locked" in failure for failure in self.failures)


def measure(*, quick: bool = False) -> Sequence[Row]:
    """A request loads its user, stores a row and commits: beside us, alone, and beside two threads of plain Python."""
    backlog, rounds, seconds = (200, 1, 0.5) if quick else (BACKLOG, 12, 0.8)
    faults, beside, alone, burning, turns = Faults(), Load(), Load(), Load(), []
    with _filled(backlog) as made:
        for _ in range(rounds):
            rate, found = _beside_us(made, seconds, beside)
            faults += found
            turns.append(rate)
            _without_us(made, alone, seconds, burners=0)
            _without_us(made, burning, seconds, burners=WORKERS)
    faults += Faults(violations=len(beside.failures), details=tuple(beside.failures[:3]))
    faults += Faults(errors=len(alone.failures) + len(burning.failures), details=tuple(alone.failures[:3]))
    return _rows(beside, alone, burning, median(turns), faults)


def _rows(beside: Load, alone: Load, burning: Load, rate: float, faults: Faults) -> Sequence[Row]:
    p50, reference = median(beside.times), median(alone.times)
    p99, its_p99 = quantile(beside.times, 0.99), quantile(alone.times, 0.99)
    what = "the host's own request (load user, insert, commit) beside two busy workers, SQLite"
    return [
        Row(
            f"{what}, p50",
            milliseconds(p50),
            "<= 2x",
            p50 <= 2 * reference,
            f"{milliseconds(reference)}: without us",
            f"{p50 / reference:.2f}",
            faults,
            (
                f"{len(beside.times):,} requests of {CLIENTS} clients, {rate:,.0f} turns/s meanwhile",
                f"beside {WORKERS} threads of plain Python in our place: {_spread(burning)}",
            ),
        ),
        Row(
            f"{what}, p99",
            milliseconds(p99),
            "<= 60 ms, 0 'database is locked'",
            p99 <= 0.060 and not beside.locked,
            f"{milliseconds(its_p99)}: without us",
            f"{p99 / its_p99:.2f}",
            faults,
            (f"{beside.locked} 'database is locked'",),
        ),
    ]


def _spread(load: Load) -> str:
    return f"p50 {milliseconds(median(load.times))}, p99 {milliseconds(quantile(load.times, 0.99))}"


@contextmanager
def _filled(backlog: int) -> Iterator[World]:
    """Two orchestrators with one long conversation each: two turns at a time, and never fewer until the end."""
    with world(WORKERS) as made:
        with made.app.app_context():
            for agent in range(WORKERS):
                root = neolith.chat.post(made.person, made.channel, f"Thread {agent}").message["id"]
                for number in range(backlog):
                    author = made.person if number % 2 else made.other
                    neolith.chat.post(author, made.channel, f"@agent{agent} and {number}?", thread_id=root)
                    if number % 20 == 0:
                        db.session.commit()
                db.session.commit()
        close(made.app)
        yield made


def _beside_us(made: World, seconds: float, load: Load) -> tuple[float, Faults]:
    """Turns per second of the two workers meanwhile, and what went wrong."""
    asked: list[object] = []  # append is atomic
    with watch() as witness, copy_of(made) as copy, use_model(copy.app, ScriptedModel(replies=_answer(asked))):
        with _clients(copy.app, copy.person, load) as go:
            with copy.app.app_context():
                for one in copy.orchestrators:
                    neolith.manager.start_daemon(one)
            listen_for_skipped_jobs()
            asked.clear()
            began = time.perf_counter()
            go()
            threading.Event().wait(seconds)
            rate = len(asked) / (time.perf_counter() - began)
            with copy.app.app_context():
                left = [one.health.queued for one in neolith.manager.get_all_daemon_statuses()]
        found = inspect(copy) + witness.faults
    if not all(left):
        found += Faults(violations=1, details=(f"the workers were not busy until the end: {left} questions left",))
    return rate, found


def _answer(asked: list[object]) -> Callable[[object], str]:
    def answer(_request: object) -> str:
        asked.append(None)
        return "ok"

    return answer


def _without_us(made: World, load: Load, seconds: float, *, burners: int) -> None:
    """The same host and database without us; `burners` threads do what Python does, and nothing with the database."""
    ended = threading.Event()

    def burn() -> None:
        while not ended.is_set():
            sum(number * number for number in range(1000))

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(made.folder / DATABASE, folder)
        threads = [threading.Thread(target=burn) for _ in range(burners)]
        with plain_app(folder) as app, _clients(app, made.person, load) as go:
            for thread in threads:
                thread.start()
            go()
            ended.wait(seconds)
        ended.set()
        for thread in threads:
            thread.join()


@contextmanager
def _clients(app: Flask, user: str, load: Load) -> Iterator[Callable[[], None]]:
    """Clients on threads, which begin when the given function is called and end with the block."""
    begin, end, warm = threading.Event(), threading.Event(), threading.Semaphore(0)

    def run() -> None:
        client = app.test_client()
        client.post(f"/login/{user}")
        for _ in range(WARM_UP):
            client.post("/note")
        warm.release()
        begin.wait()
        while not end.wait(PAUSE):
            _ask(client, load)

    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            warm.acquire()
        yield begin.set
    finally:
        begin.set()
        end.set()
        for thread in threads:
            thread.join()


def _ask(client: FlaskClient, load: Load) -> None:
    began = time.perf_counter()
    try:
        answer = client.post("/note")
    except Exception as error:  # noqa: BLE001 -- whatever the host's user would have seen
        load.failures.append(repr(error))
        return
    load.times.append(time.perf_counter() - began)
    if answer.status_code != 200:
        load.failures.append(f"{answer.status}: {answer.get_data(as_text=True)[:100]}")
