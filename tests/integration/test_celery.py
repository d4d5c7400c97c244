"""The engine celery: hints through a real Redis, turns in real workers, and both when Redis is away."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from flask_neolith_orchestrator import ConfigurationError, NeedsServer
from flask_neolith_orchestrator.backends import bell
from flask_neolith_orchestrator.backends.celery import QUEUE, CeleryDispatcher
from flask_neolith_orchestrator.core.errors import SetupError
from tests.acceptance.process_site import APP, STOP, Site, until

from .conftest import Databases, MakeWorld
from .postgres_server import PostgresServer
from .redis_server import RedisServer

CELERY = "tests.acceptance.process_celery:celery"
QUIET = {"NEOLITH_RATE_POSTS": "", "DAEMON_LEASE": "2000", "DAEMON_RENEW_INTERVAL": "500"}


class Fleet(Site):
    """Web processes and workers on one Postgres and one Redis. Lifetime: a test."""

    def __init__(self, folder: Path, url: str, broker: str) -> None:
        self._engine = create_engine(make_url(url))
        more = {"NEOLITH_TEST_DATABASE": url, "NEOLITH_ENGINE": "celery", "NEOLITH_BROKER_URL": broker}
        super().__init__(folder, **more, **QUIET)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What is committed."""
        with self._engine.connect() as tx:
            return [tuple(row) for row in tx.execute(text(statement))]

    def worker(self, threads: int = 4, *, plain: bool = False) -> Any:
        """A worker that takes hints; `plain`: by Celery's own command."""
        before = self.nodes()
        ours, celerys = (
            ("flask", "--app", APP, "neolith", "worker"),
            ("celery", "-A", CELERY, "worker", "-P", "threads"),
        )
        made = self.start(*(celerys if plain else ours), "-c", str(threads))
        until(lambda: made.pid in self.nodes() - before, "the worker is a node")
        return made

    def answered(self) -> int:
        """Questions that have an answer."""
        return int(self.rows("SELECT count(*) FROM neolith_delivery WHERE state = 'answered'")[0][0])

    def close(self) -> None:
        """End everything."""
        super().close()
        self._engine.dispose()


@pytest.fixture
def fleet(tmp_path: Path, postgres: PostgresServer, redis: RedisServer) -> Iterator[Fleet]:
    """A seeded database."""
    made = Fleet(tmp_path, postgres.database(), redis.url)
    yield made
    made.close()


@pytest.mark.postgres
@pytest.mark.process
def test_workers_answer_and_web_processes_do_not(fleet: Fleet) -> None:
    """A mention that a web process accepts is answered by a worker; who dies in a turn is replaced within the lease.

    One worker is started by Celery's own command, and heard by its remote control.
    """
    web = fleet.server("-w", "1")
    web.login(2)
    workers = {worker.pid: worker for worker in (fleet.worker(), fleet.worker(plain=True))}
    until(lambda: fleet.states().get("ada", ("", ""))[1] == "running", "ada runs")
    for number in range(4):
        web.ask(f"@ada hello {number}")
    until(lambda: fleet.answered() == 4, "all are answered")
    assert {line["pid"] for line in fleet.lines("calls")} <= set(workers)
    told = fleet.run("celery", "-A", CELERY, "inspect", "ping", "--json")
    heard = json.loads(told.stdout)
    assert [one["ok"] for one in heard.values()] == ["pong", "pong"], told
    assert f"neolith-{next(iter(workers))}@{socket.gethostname()}" in heard  # the first of them
    web.ask("@ada think for 30 s")
    (asked,) = until(lambda: [one for one in fleet.lines("calls") if "30 s" in one["asked"]], "somebody thinks")
    workers[asked["pid"]].send_signal(signal.SIGKILL)
    again = until(lambda: [one for one in fleet.lines("calls") if "30 s" in one["asked"]][1:], "another goes on")
    assert again[0]["pid"] in set(workers) - {asked["pid"]}
    (message,) = fleet.rows("SELECT message_id FROM neolith_delivery WHERE state = 'running'")
    stop = f"{web.url}/neolith/api/v1/messages/{message[0]}/stop"
    assert web.login(1).post(stop, headers={"Sec-Fetch-Site": "same-origin"}, json={}, timeout=10).status_code == 200
    until(lambda: not fleet.rows("SELECT 1 FROM neolith_turn WHERE state = 'running'"), "it ends elsewhere", 2.0)
    last = workers[again[0]["pid"]]
    last.terminate()
    assert last.wait(STOP + 4.0) == 0
    assert "Traceback" not in fleet.log()


@pytest.mark.postgres
@pytest.mark.process
def test_work_goes_on_without_redis_and_soon_with_it_again(fleet: Fleet, redis: RedisServer) -> None:
    """Emptied, stopped and started again: nothing is lost, only slower, and the worker says so."""
    web = fleet.server("-w", "1")
    web.login(2)
    fleet.worker()
    until(lambda: fleet.states().get("ada", ("", ""))[1] == "running", "ada runs")
    web.ask("@ada one")
    until(lambda: fleet.answered() == 1, "the first answer")
    redis.client.flushall()
    web.ask("@ada two")
    until(lambda: fleet.answered() == 2, "an answer after the flush", 5.0)
    redis.stop()
    try:
        web.ask("@ada three")
        until(lambda: fleet.answered() == 3, "an answer without Redis", 8.0)
        assert "bell-broken" in fleet.log() or "out of order" in fleet.log()
    finally:
        redis.start()
    until(lambda: "The bell works again" in fleet.log(), "it is noticed")
    web.ask("@ada four")
    until(lambda: fleet.answered() == 4, "an answer with Redis again", 5.0)


def test_hints_wait_for_nobody_and_do_not_pile_up(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who rings does not wait; more hints than are of use are not sent; the rest of the queue is nobody's loss."""
    monkeypatch.setattr(bell, "ENOUGH", 5)
    made = CeleryDispatcher(redis.url, threads=2, per_orchestrator=3)
    try:
        made.run(lambda _one: False)
        made.ring("1", 50)
        until(lambda: redis.client.llen(QUEUE) == 3, "as many as it has slots")
        for number in range(2, 9):
            made.ring(str(number), 3)
        until(lambda: not made._bell._hints, "all is looked at")
        assert redis.client.llen(QUEUE) == 5
        assert made.health()["ok"]
        assert made.threads == 0
    finally:
        assert made.close(1.0)


def test_where_not_all_hints_are_sent_everybody_has_a_chance() -> None:
    """One for each orchestrator before a second one for any."""
    sent = list(bell._in_turn({"1": 3, "2": 1, "3": 2, "4": 0}))
    assert set(sent[:3]) == {"1", "2", "3"}
    assert set(sent[3:5]) == {"1", "3"}
    assert sent[5:] == ["1"]


def test_news_reaches_every_process(redis: RedisServer) -> None:
    """What one tells, all hear: themselves too, once for many."""
    heard = [threading.Event(), threading.Event()]
    made = [CeleryDispatcher(redis.url, threads=1, per_orchestrator=1) for _ in heard]
    try:
        for one, event in zip(made, heard, strict=True):
            one.run(lambda _one: False, None, event.set)
        for event in heard:
            assert event.wait(5.0)  # the look at the beginning
            event.clear()
        made[0].tell()
        assert all(event.wait(5.0) for event in heard)
    finally:
        for one in made:
            one.close(1.0)


def test_a_call_that_hangs_gives_celerys_thread_back(redis: RedisServer) -> None:
    """A hint is waited for until its call ends, or is given up; what is left over is rung for."""
    made = CeleryDispatcher(redis.url, threads=2, per_orchestrator=2)
    calls: list[str] = []
    door, inside = threading.Event(), threading.Event()

    def handler(orchestrator_id: str) -> bool:
        calls.append(orchestrator_id)
        if orchestrator_id == "hangs":
            inside.set()
            door.wait(20)
        if orchestrator_id == "fails":
            raise ValueError(orchestrator_id)
        return orchestrator_id == "more"

    made.take("early", time.time())  # nobody runs turns yet
    made.serve(2)
    made.run(handler)
    try:
        for one in ("more", "fails"):
            made.take(one, time.time())
        until(lambda: redis.client.llen(QUEUE) == 1, "what is left is rung for")
        waiting = threading.Thread(target=made.take, args=("hangs", time.time()))
        waiting.start()
        assert inside.wait(10)
        (thread,) = [one.ident for one in threading.enumerate() if one.name.startswith("neolith-turn-c")]
        assert thread is not None
        made.abandon(thread)
        made.abandon(thread)  # without effect
        waiting.join(10)
        assert not waiting.is_alive()
        assert made.health()["abandoned"] == 1
        until(lambda: "Redis answers in" in made.health()["detail"], "Redis was asked")
        assert "ms on its way" in made.health()["detail"]
        assert calls == ["more", "fails", "hangs"]
    finally:
        door.set()
        assert made.close(5.0)
    assert made.health()["ok"] is False


def test_sqlite_is_refused(make_world: MakeWorld) -> None:
    """A file is for one machine: the remedy is named."""
    with pytest.raises(NeedsServer, match="Postgres"):
        make_world(NEOLITH_ENGINE="celery").start("ada")
    with pytest.raises(ConfigurationError, match=r"NEOLITH_BROKER_URL=\*\*\*: .* redis://localhost"):
        make_world(NEOLITH_BROKER_URL="amqp://me:secret@there")


@pytest.mark.postgres
def test_without_celery_there_is_no_app_of_it(make_world: MakeWorld, on_postgres: Databases) -> None:
    """`neolith.celery` is there with that engine alone."""
    world = make_world(on=on_postgres)
    with world.context(), pytest.raises(SetupError, match="NEOLITH_ENGINE=celery"):
        _ = world.neolith.celery


@pytest.mark.postgres
def test_the_doctor_looks_at_the_bell(make_world: MakeWorld, on_postgres: Databases, redis: RedisServer) -> None:
    """Redis that is away, and workers that are missing: each with its remedy."""
    world = make_world(on=on_postgres, NEOLITH_ENGINE="celery", NEOLITH_BROKER_URL=redis.url)
    runner = world.app.test_cli_runner()
    assert "no worker runs. Start `flask neolith worker`" in runner.invoke(args=["neolith", "doctor"]).output
    redis.stop()
    try:
        assert "Redis cannot be reached (ConnectionError). Look at" in runner.invoke(args=["neolith", "doctor"]).output
    finally:
        redis.start()
