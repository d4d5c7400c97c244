"""Who is said to be there is there: a daemon runs only while a process lives that can run its turns."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from flask_neolith_orchestrator.core.types import Cause, DaemonStatus, Wanted
from flask_neolith_orchestrator.runtime.wiring import SystemClock
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .test_records import changes
from .world import World, until

WEB: dict[str, Any] = {"NEOLITH_MAX_THREADS": 0}
"""A process that runs no turns."""

STILL: dict[str, Any] = {**WEB, "DAEMON_SWEEP_INTERVAL": 3_600_000, "DAEMON_LEASE": 5_000}
"""One whose sweeps the test makes."""


def seen(world: World) -> tuple[str, str | None, str, str]:
    """ada's row, her presence, and whether she is wanted."""
    (row,), (who,) = world.rows("Daemon"), world.rows("Orchestrator")
    return row["state"], row["reason"], who["status"], row["wanted"]


def presences(*worlds: World) -> list[str]:
    """What was told of ada, by any process, in the order of the processes."""
    return [one["status"] for world in worlds for one in world.channel.of("presence")]


NOBODY = ("stopped", "no-node", "OFFLINE", "running")
THERE = ("running", None, "ONLINE", "running")


def test_presence_follows_those_who_run_turns(make_world: MakeWorld, databases: Databases) -> None:
    """A web process starts a daemon whom nobody can run yet; who runs turns brings her, and takes her away again."""
    web = make_world(on=databases, **WEB)
    web.start("ada")
    assert seen(web) == NOBODY
    state = web.house.manager.get_daemon_status(web.ada)
    assert state is not None
    assert (state.status, state.health.last_heartbeat) == (DaemonStatus.STOPPED, None)
    second = make_world(like=web, **WEB)
    second.house.ensure_started()
    worker = make_world(like=web, NEOLITH_MAX_THREADS=4)
    worker.house.ensure_started()
    until(lambda: seen(web) == THERE, "she is there")
    web.post("ann", "@ada hello")
    worker.rest()
    assert len(web.answers()) == 1
    second.close()
    web.house.supervisor.heartbeat()
    assert seen(web) == THERE, "nothing hangs on a process that runs no turns"
    worker.close()
    assert seen(web) == NOBODY
    assert presences(web, second, worker) == ["ONLINE", "OFFLINE"], "told once each, by who brought it about"
    assert changes(web) == [("stopped", "no-node", None), ("started", None, None), ("stopped", "no-node", None)]
    make_world(like=web, NEOLITH_MAX_THREADS=4).house.ensure_started()
    until(lambda: seen(web) == THERE, "she is back")


@pytest.fixture
def clock() -> ManualClock:
    """The clock of all processes of a test."""
    return ManualClock()


@pytest.fixture
def webs(make_world: MakeWorld, databases: Databases, clock: ManualClock) -> list[World]:
    """Two processes that run no turns."""
    first = make_world(on=databases, clock=clock, **STILL)
    return [first, make_world(like=first, clock=clock, **STILL)]


def employ(world: World, *, lock: Path | None = None, name: str = "worker") -> None:
    """A process with four threads, on this machine if it has a lock, which nobody else sees the inside of."""
    nodes, now = world.stores.nodes, world.house.clock.wall()
    host = nodes.host if lock is not None else "elsewhere"
    which = {"id": name, "name": f"{name}:1", "host": host, "lock": None if lock is None else str(lock)}
    with world.stores.database.write() as tx:
        table = world.neolith.models.table("Node")
        tx.execute(insert(table).values(**which, threads=4, started_at=now, seen_at=now))


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[Path]:
    """A lock file that is held until it is gone."""
    path = tmp_path / "worker.lock"
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


def test_the_last_that_ran_turns_is_killed(webs: list[World], clock: ManualClock, lock: Path) -> None:
    """One of the processes that live says it with its next sweep, with the time at which the dead was seen last."""
    first, second = webs
    for web in webs:
        web.house.ensure_started()
    employ(first, lock=lock)
    first.start("ada")
    assert seen(first) == THERE
    first.house.supervisor.heartbeat()
    assert first.rows("Daemon")[0]["beat_at"] is None, "its heart does not beat here"
    at = clock.wall()
    clock.advance(50)  # it is slow, and its lock says that it lives
    for web in webs:
        web.house.node.watch()
    assert seen(first) == THERE
    lock.unlink()
    for web in (*webs, *webs):
        web.house.node.watch()
        web.house.sweeper.recover()
    assert seen(first) == NOBODY
    assert presences(*webs) == ["ONLINE", "OFFLINE"]
    assert [row["at"] for row in first.rows("History", event="stopped")] == [at]
    assert "worker" not in {row["id"] for row in first.rows("Node")}
    with first.stores.database.write() as tx:  # as if somebody had not seen that
        tx.execute(update(first.neolith.models.table("Daemon")).values(state="running", reason=None))
    clock.advance(31)
    second.house.node.watch()
    assert seen(first)[:2] == NOBODY[:2]
    first.house.manager.stop_daemon(first.ada)
    assert seen(second)[3] == "stopped"


def begin(world: World) -> None:
    """Write that ada runs, as a process does that runs turns."""
    models = world.neolith.models
    with world.stores.database.write() as tx:
        tx.execute(update(models.table("Daemon")).values(state="running", reason=None))
        tx.execute(update(models.table("Orchestrator")).values(status="ONLINE"))


def given_up(world: World, node: str, patience: float) -> bool:
    """Whether it was not seen for so long, in seconds."""
    since = world.house.node._unseen.get(node)
    return since is not None and world.house.clock.monotonic() - since > patience


def swept_after(world: World, before: float) -> bool:
    """Whether a sweep has come to its end since."""
    return world.house.sweeper._swept_at > before


def test_its_own_sweeps_see_it_each_time(make_world: MakeWorld, databases: Databases, tmp_path: Path) -> None:
    """Killed, and another one killed soon after; that one of another machine was killed before delays nothing."""
    web = make_world(on=databases, DAEMON_LEASE=2_000, DAEMON_SWEEP_INTERVAL=200, **WEB)
    web.house.ensure_started()
    employ(web, name="elsewhere")
    node = web.neolith.models.table("Node")
    with web.stores.database.write() as tx:
        tx.execute(update(node).where(node.c.id == "elsewhere").values(seen_at=web.house.clock.wall() - 20))
    until(lambda: given_up(web, "elsewhere", 2.0), "it had its time to be seen")
    web.start("ada")
    assert seen(web) == NOBODY
    for number in range(2):
        lock = tmp_path / f"worker{number}.lock"
        with lock.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            employ(web, lock=lock, name=f"worker{number}")
            at = web.rows("Node", id=f"worker{number}")[0]["seen_at"]
            begin(web)
            assert seen(web) == THERE
            for _ in range(2):  # one may have looked already when it came
                until(partial(swept_after, web, web.house.sweeper._swept_at), "a sweep is over")
        until(lambda: seen(web) == NOBODY, "she is not")
        assert web.rows("History", event="stopped")[-1]["at"] == at


def test_who_is_only_slow_keeps_its_daemons(webs: list[World], clock: ManualClock) -> None:
    """On another machine it has two leases and a second to be seen; a look that failed begins anew."""
    web, table = webs[0], webs[0].neolith.models.table("Node")
    web.house.ensure_started()
    employ(web)
    web.start("ada")

    def look(after: float) -> str:
        clock.advance(after)
        web.house.node.watch()
        return str(seen(web)[0])

    assert look(6.1) == look(4.8) == "running"
    with web.stores.database.write() as tx:
        tx.execute(update(table).where(table.c.id == "worker").values(seen_at=clock.wall()))
    assert look(1) == look(5.1) == look(4.8) == "running"
    assert look(0.3) == "stopped"
    assert seen(web) == NOBODY


def test_who_was_wrongly_thought_gone_says_that_its_daemons_run(make_world: MakeWorld, databases: Databases) -> None:
    """Its next sweep writes it and tells it; not of one that nobody wants any more."""
    worker = make_world(on=databases, orchestrators=("ada", "bea"), DAEMON_SWEEP_INTERVAL=3_600_000)
    worker.start()
    stores = worker.stores
    with stores.database.write() as tx:
        assert len(stores.daemons.unbacked(tx)) == 2
        stores.daemons.want(tx, worker.orchestrators["bea"], Wanted.STOPPED, Cause.PERSON)
    told = len(worker.channel.of("presence"))
    worker.house.sweeper.reconcile()
    until(lambda: not worker.house.manager.is_daemon_running(worker.orchestrators["bea"]), "bea has stopped")
    assert [row["state"] for row in worker.rows("Daemon")] == ["running", "stopped"]
    assert [one["status"] for one in worker.channel.of("presence")[told:]] == ["ONLINE"]
    worker.house.sweeper.reconcile()
    assert len(worker.channel.of("presence")) == told + 1


@pytest.mark.postgres
def test_machines_whose_clocks_differ_are_alive(make_world: MakeWorld, on_postgres: Databases) -> None:
    """Who is alive is judged by the database's clock: one that is an hour ahead takes nothing from anybody."""

    class Ahead(SystemClock):
        def wall(self) -> float:
            return super().wall() + 3_600

    worker = make_world(on=on_postgres, NEOLITH_STATE_DIR="/dev/null/nowhere")
    worker.start("ada")
    web = make_world(like=worker, clock=Ahead(), NEOLITH_STATE_DIR="/dev/null/nowhere", **WEB)
    web.house.ensure_started()
    assert web.stores.nodes.dead() == worker.stores.nodes.dead() == []
    assert web.stores.nodes.backing()
    assert (seen(web), presences(worker, web)) == (THERE, ["ONLINE"])
