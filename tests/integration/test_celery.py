"""The engine celery: hints and news through a real Redis. With real workers: tests/acceptance/test_fleet.py."""

from __future__ import annotations

import threading
import time

import pytest

from flask_neolith_orchestrator import ConfigurationError, NeedsServer
from flask_neolith_orchestrator.backends import bell
from flask_neolith_orchestrator.backends.celery import QUEUE, CeleryDispatcher
from flask_neolith_orchestrator.core.errors import SetupError
from tests.acceptance.process_site import until

from .conftest import Databases, MakeWorld
from .redis_server import RedisServer


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


@pytest.mark.parametrize("serves", [False, True])
def test_only_a_worker_runs_turns_while_redis_is_away(serves: bool) -> None:
    """Whatever is rung for in a web process waits for a worker, which does what its sweep finds."""
    made = CeleryDispatcher("redis://127.0.0.1:1/0", threads=2, per_orchestrator=2)
    called: list[str] = []
    if serves:
        made.serve(2)
    made.run(lambda one: bool(called.append(one)))  # type: ignore[func-returns-value]  # False: nothing is left over
    made.ring("unsent")
    until(lambda: "cannot be reached" in made.health()["detail"], "Redis is away")
    made.ring("known to be away")
    if serves:
        until(lambda: {"unsent", "known to be away"} <= set(called), "a worker works")
    made._bell.close()  # what it could not send has been given back
    assert serves or (called, made.health()["active"], made._local.health()["queued"]) == ([], 0, 0)
    assert made.close(5.0)


def test_hints_are_taken_as_hints() -> None:
    """Taken once and early, one for each free thread, on threads, and nothing is kept of how they ended."""
    conf = CeleryDispatcher("redis://127.0.0.1:1/0", threads=2, per_orchestrator=2).celery.conf
    assert (conf.task_acks_late, conf.worker_prefetch_multiplier, conf.task_ignore_result) == (False, 1, True)
    assert (conf.worker_pool, conf.result_backend) == ("threads", None)


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
