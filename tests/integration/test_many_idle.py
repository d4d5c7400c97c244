"""Thousands of idle daemons cost next to nothing each second, and nothing that changes goes unseen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from flask_neolith_orchestrator.runtime.daemons.duty import HURRY
from flask_neolith_orchestrator.runtime.upkeep.sweeper import LATE, LOOK
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .live import LiveServer
from .socket_ear import Ear
from .test_many_daemons import CrowdChannel, counted, hire, running, want
from .web_site import make_site
from .world import World, until

ASLEEP: dict[str, Any] = {"DAEMON_SWEEP_INTERVAL": 3_600_000, "DAEMON_HEALTH_CHECK_INTERVAL": 3_600_000}


@pytest.fixture
def clock() -> ManualClock:
    """The clock of all processes of a test."""
    return ManualClock()


@pytest.fixture
def world(make_world: MakeWorld, databases: Databases, clock: ManualClock) -> Iterator[World]:
    """A process whose jobs do not run, on each database."""
    world = make_world(on=databases, orchestrators=(), channel=CrowdChannel(), clock=clock, **ASLEEP)
    world.house.node.join()
    yield world
    world.house.node.leave()


def read_by(world: World, monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> int:
    """How many rows of daemons a sweep reads."""
    daemons, found = world.stores.daemons, []
    wishes = daemons.wishes

    def counting(*given: Any, **more: Any) -> Any:
        rows = wishes(*given, **more)
        found.append(len(rows))
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(daemons, "wishes", counting)
        do()
    return sum(found)


def test_a_sweep_reads_nothing_of_those_that_did_not_change(
    world: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once 200 run, a sweep reads no row of theirs; once in a while it looks at all."""
    ids = hire(world, 200)
    sweep = world.house.sweeper.reconcile
    sweep()
    assert running(world) == set(ids)
    clock.advance(LATE + 1)
    sweep()
    clock.advance(1)
    with counted(world, monkeypatch) as ran:
        assert read_by(world, monkeypatch, sweep) == 0
    assert len(ran) == 1
    clock.advance(LOOK)
    assert read_by(world, monkeypatch, sweep) == 200


def test_what_another_process_decides_is_seen_by_the_next_sweep(
    world: World, make_world: MakeWorld, clock: ManualClock
) -> None:
    """A daemon that is wanted there begins here, and one that is not wanted there ends here."""
    other = make_world(like=world, clock=clock, **ASLEEP)
    ids = hire(world, 30, wanted=False)
    sweep = world.house.sweeper.reconcile
    sweep()
    clock.advance(LATE + 5)
    sweep()
    want(other, ids[:3])
    clock.advance(1)
    sweep()
    assert running(world) == set(ids[:3])
    want(other, ids[1:2], "stopped")
    clock.advance(1)
    sweep()
    until(lambda: running(world) == {ids[0], ids[2]}, "the second has stopped")


def test_a_change_that_took_a_moment_to_commit_is_seen(world: World, clock: ManualClock) -> None:
    """A sweep that ran between a change's time and its commit does not hide it."""
    (one,) = hire(world, 1, wanted=False)
    world.house.sweeper.reconcile()
    clock.advance(10)
    world.house.sweeper.reconcile()
    want(world, [one])
    _write(world, one, changed_at=clock.wall() - 1.0)  # as if it had been written before that sweep
    clock.advance(0.05)
    world.house.sweeper.reconcile()
    assert running(world) == {one}


def _write(world: World, orchestrator_id: str, **values: Any) -> None:
    """Change a daemon's row by hand."""
    table = world.neolith.models.table("Daemon")
    with world.stores.database.write() as tx:
        tx.execute(update(table).where(table.c.orchestrator_id == int(orchestrator_id)).values(**values))


def test_a_row_written_by_hand_is_seen_by_the_look_at_all(world: World, clock: ManualClock) -> None:
    """Whoever changes or deletes rows in the database itself is obeyed too, a little later."""
    ids = hire(world, 3)
    sweep = world.house.sweeper.reconcile
    sweep()
    assert running(world) == set(ids)
    table = world.neolith.models.table("Daemon")
    _write(world, ids[0], wanted="stopped", changed_at=0.0)
    with world.stores.database.write() as tx:
        tx.execute(delete(table).where(table.c.orchestrator_id == int(ids[1])))
    clock.advance(LOOK)
    sweep()
    until(lambda: running(world) == {ids[2]}, "the two have stopped")


def test_who_could_not_be_started_is_tried_again_each_second(world: World, clock: ManualClock) -> None:
    """A start that had to be left out, as somebody held the daemon, does not wait for the look at all."""
    (one,) = hire(world, 1, wanted=False)
    (daemon,) = world.house.manager.daemons_for([one])
    sweep = world.house.sweeper.reconcile
    sweep()
    holds, free = threading.Event(), threading.Event()

    def hold() -> None:
        with daemon.life:
            holds.set()
            free.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    holds.wait(10)
    want(world, [one])
    sweep()
    clock.advance(LATE + 1)
    sweep()
    free.set()
    thread.join(10)
    assert running(world) == set()
    clock.advance(LATE + 1)  # by now its change is an old one
    sweep()
    assert running(world) == {one}


def test_a_sweep_leaves_a_start_that_is_under_way_alone(
    world: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a thread starts many, batch after batch, a sweep starts nobody; one that hangs is not waited for."""
    ids, lives, sweep = hire(world, 5), world.house.manager.lives, world.house.sweeper.reconcile
    run_many, seen = lives.run_many, []

    def hangs(*given: Any) -> None:
        monkeypatch.setattr(lives, "run_many", run_many)
        sweep()
        seen.append(running(world))
        clock.advance(HURRY + 1)
        sweep()
        seen.append(running(world))
        run_many(*given)

    monkeypatch.setattr(lives, "run_many", hangs)
    world.house.duty.resume(ids)
    assert seen == [set(), set(ids)]


def test_a_round_of_heartbeats_is_one_statement(
    world: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that are due beat at once, and every row says so; one whose lock is held does not beat."""
    ids = hire(world, 200)
    world.house.duty.resume(ids)
    clock.advance(60)
    with counted(world, monkeypatch) as ran:
        world.house.supervisor.heartbeat()
    assert len([one for one in ran if "BEGIN" not in one]) == 1
    assert {row["beat_at"] for row in world.rows("Daemon")} == {clock.wall()}
    (daemon,) = world.house.manager.daemons_for(ids[:1])
    clock.advance(60)
    with daemon.life:
        world.house.supervisor.heartbeat()
    late = [row for row in world.rows("Daemon") if row["beat_at"] != clock.wall()]
    assert [str(row["orchestrator_id"]) for row in late] == ids[:1]


def test_health_that_nobody_hears_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A health check of daemons that nobody watches runs no statement; whoever listens hears of each."""
    ids = hire(world, 30)
    world.house.duty.resume(ids)
    channel, heard = world.channel, []
    assert isinstance(channel, CrowdChannel)
    channel.heard = False
    with counted(world, monkeypatch) as ran:
        world.house.supervisor.check()
    assert ran == []
    world.house.manager.on("daemon:health", lambda orchestrator_id, **_: heard.append(orchestrator_id))
    world.house.supervisor.check()
    until(lambda: len(heard) == 30, "all were heard of")
    assert heard == ids


def test_health_that_browsers_hear_is_told_of_each(world: World) -> None:
    """Where somebody may be in the organization's room, `daemon:health` is told of every daemon."""
    ids = hire(world, 30)
    world.house.duty.resume(ids)
    world.house.supervisor.check()
    assert [one["orchestratorId"] for one in world.channel.of("daemon:health")] == ids


def test_daemons_that_rest_are_not_read_for_who_watches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep tells watchers of what has changed: where nothing has, it runs no statement, and tells nothing twice."""
    ids = hire(world, 30)
    world.house.duty.resume(ids)
    with counted(world, monkeypatch) as ran:
        world.house.supervisor.tell_watchers()
    assert ran == []
    assert world.channel.of("daemon:health") == []


def test_after_a_crash_many_are_told_to_be_gone_by_few_statements(
    make_world: MakeWorld, databases: Databases, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process left behind is set right for 200 by as many statements as for 30, in one piece."""
    costs = []
    for count in (30, 200):
        channel = CrowdChannel()
        world = make_world(on=databases, orchestrators=(), channel=channel, clock=clock, **ASLEEP)
        ids = hire(world, count)
        with world.stores.database.write() as tx:
            world.stores.daemons.start(tx, ids)  # and then it was killed
        with counted(world, monkeypatch) as ran:
            world.house.node.join()
        world.house.node.leave()
        costs.append(len(ran))
        assert {row["reason"] for row in world.rows("Daemon")} == {"no-node"}
        assert {row["status"] for row in world.rows("Orchestrator")} == {"OFFLINE"}
        assert [one["orchestratorId"] for _, told in channel.lists for one in told] == ids
        assert {one["status"] for _, told in channel.lists for one in told} == {"OFFLINE"}
    assert costs[1] <= costs[0]


def test_a_browser_hears_of_many_by_one_list(tmp_path: Path) -> None:
    """Over real Socket.IO: a start of many is one list, and a room without anybody is known to be empty."""
    site = make_site(tmp_path, mode=True, **ASLEEP)
    ids = _hire_there(site, 25)
    house = site.state.house
    with LiveServer(site.app) as server:
        browser = site.as_("bob").client
        cookie = browser.get_cookie("session")
        assert cookie is not None
        assert not house.channel.is_heard(f"org:{_acme(site)}")
        ear = Ear(server.url, f"session={cookie.value}")
        ear.next("presence:snapshot")
        assert house.channel.is_heard(f"org:{_acme(site)}")
        house.duty.resume(ids)
        told = ear.next("presence:snapshot")
        assert [(one["orchestratorId"], one["status"]) for one in told] == [(one, "ONLINE") for one in ids]
        house.manager.stop_daemon(ids[0])
        assert ear.next("presence")["orchestratorId"] == ids[0], "nothing was told one by one before"
        ear.close()
    site.close()


def _acme(site: Any) -> str:
    with site.app.app_context():
        table = site.neolith.models.Organization
        return str(site.db.session.scalars(site.db.select(table.id).filter_by(slug="acme")).one())


def _hire_there(site: Any, count: int) -> list[str]:
    ids = []
    with site.app.app_context():
        user = site.neolith.models.user
        for number in range(count):
            one = user(name=f"agent{number}", is_orchestrator=True)
            site.db.session.add(one)
            site.db.session.flush()
            ids.append(site.neolith.directory.create_orchestrator(str(one.id), _acme(site), one.name))
        site.db.session.commit()
    return ids
