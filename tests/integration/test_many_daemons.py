"""Thousands of daemons in one process: their start costs a few statements, and each is still told of once."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, literal, select, update

from flask_neolith_orchestrator.core.types import Cause, Wanted
from flask_neolith_orchestrator.testing import RecordingChannel

from .conftest import Databases, MakeWorld
from .world import World, until


class CrowdChannel(RecordingChannel):
    """A channel that can tell many things at once, as Socket.IO can."""

    def __init__(self, heard: bool = True) -> None:
        super().__init__()
        self.heard = heard
        self.lists: list[tuple[str, list[Mapping[str, Any]]]] = []

    def emit_list(self, event: str, payloads: Sequence[Mapping[str, Any]], room: str) -> None:
        """Remember it."""
        assert event == "presence:snapshot"
        self.lists.append((room, list(payloads)))

    def is_heard(self, room: str) -> bool:
        """As the test says."""
        return self.heard


def hire(world: World, count: int, *, wanted: bool = True, organization: str | None = None) -> list[str]:
    """Many more orchestrators, made by a few statements; returns their ids."""
    models, tag = world.neolith.models, organization or "own"
    with world.context():
        users, orchestrators = models.user, models.table("Orchestrator")
        names = [f"{tag}{number}" for number in range(count)]
        world.db.session.execute(
            insert(users), [{"name": name, "is_orchestrator": True, "visits": 0} for name in names]
        )
        keys = world.db.session.execute(select(users.id, users.name).where(users.name.in_(names))).all()
        place = int(organization or world.organization)
        rows = [
            {"user_id": key, "organization_id": place, "handle": name, "role": "", "discipline": "", "capabilities": []}
            for key, name in keys
        ]
        world.db.session.execute(insert(orchestrators), rows)
        made = select(orchestrators.c.id).where(orchestrators.c.handle.in_(names)).order_by(orchestrators.c.id)
        ids = [str(key) for key in world.db.session.scalars(made)]
        world.db.session.commit()
    if wanted:
        want(world, ids)
    return ids


def want(world: World, ids: Sequence[str], wanted: str = "running") -> None:
    """Write the wish for many, as another process would."""
    with world.stores.database.write() as tx:
        for one in ids:
            world.stores.daemons.want(tx, one, Wanted(wanted), Cause.PERSON)


@contextmanager
def counted(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that are run meanwhile, whichever way."""
    ran: list[str] = []
    prepared: Any = type(world.stores.database.prepare(select(literal(1))))
    run = prepared.run

    def on_execute(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        ran.append(statement)

    def on_run(self: Any, *given: Any, **values: Any) -> Any:
        before = len(ran)
        found = run(self, *given, **values)
        if len(ran) == before:  # it went past SQLAlchemy
            ran.append("prepared")
        return found

    event.listen(Engine, "before_cursor_execute", on_execute)
    with monkeypatch.context() as patch:
        patch.setattr(prepared, "run", on_run)
        yield ran
    event.remove(Engine, "before_cursor_execute", on_execute)


@pytest.fixture
def crowd(make_world: MakeWorld, databases: Databases) -> Iterator[World]:
    """A process without orchestrators, whose jobs do not run, on each database."""
    world = make_world(on=databases, orchestrators=(), channel=CrowdChannel(), DAEMON_SWEEP_INTERVAL=3_600_000)
    world.house.node.join()
    yield world
    world.house.node.leave()


def running(world: World) -> set[str]:
    """Ids of the daemons that run in a process."""
    return {daemon.id for daemon in world.house.manager.get_running_daemons()}


def test_a_bulk_start_costs_the_same_statements_for_more(crowd: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 start by as many statements as 30: nothing is read or written for each."""
    costs = []
    for count, place in ((30, None), (300, _organization(crowd))):
        ids = hire(crowd, count, organization=place)
        with counted(crowd, monkeypatch) as ran:
            crowd.house.duty.resume(ids)
        costs.append(len(ran))
        assert running(crowd) >= set(ids)
        assert {row["state"] for row in crowd.rows("Daemon")} == {"running"}
        assert {row["status"] for row in crowd.rows("Orchestrator")} == {"ONLINE"}
    assert costs[1] <= costs[0] <= 12
    slots = Counter(row["orchestrator_id"] for row in crowd.rows("Slot"))
    assert set(slots.values()) == {10}
    assert len(slots) == 330


def _organization(world: World) -> str:
    with world.context():
        made: str = world.neolith.directory.create_organization("Other", "other")
        world.db.session.commit()
        return made


def test_a_second_start_makes_no_second_slots(crowd: World) -> None:
    """Slots are made once, and more of them where an orchestrator may do more at once."""
    ids = hire(crowd, 3)
    for count in (2, 2, 4, 3):
        with crowd.stores.database.write() as tx:
            crowd.stores.daemons.start(tx, ids)
            crowd.stores.leases.make_slots_of(tx, ids, count)
    assert [row["n"] for row in crowd.rows("Slot")] == [0, 1, 2, 3] * 3


def test_one_bad_charter_keeps_nobody_from_starting(crowd: World) -> None:
    """Of a hundred that start at once, the one that cannot says why, and the others run."""
    ids = hire(crowd, 100)
    with crowd.context():
        users = crowd.neolith.models.user
        crowd.db.session.execute(update(users).where(users.name == "own7").values(orchestrator_config={"charter": 7}))
        crowd.db.session.commit()
    crowd.house.duty.resume(ids)
    failed = [row for row in crowd.rows("Daemon") if row["state"] == "error"]
    assert [str(row["orchestrator_id"]) for row in failed] == [ids[7]]
    assert "charter" in failed[0]["error"]
    assert running(crowd) == set(ids) - {ids[7]}
    assert len(crowd.rows("Orchestrator", status="ONLINE")) == 99


def test_many_that_start_at_once_are_told_in_one_piece(crowd: World, caplog: pytest.LogCaptureFixture) -> None:
    """Each organization hears one list of who came, the log one line; Python listeners hear each."""
    other = _organization(crowd)
    mine, theirs = hire(crowd, 40), hire(crowd, 5, organization=other)
    heard: list[str] = []
    crowd.house.manager.on("daemon:started", lambda orchestrator_id, **_: heard.append(orchestrator_id))
    with caplog.at_level(logging.INFO, "flask_neolith_orchestrator"):
        crowd.house.duty.resume([*mine, *theirs])
    until(lambda: len(heard) == 45, "all were heard of")
    assert heard == [*mine, *theirs]
    channel = crowd.channel
    assert isinstance(channel, CrowdChannel)
    assert [room for room, _ in channel.lists] == [f"org:{crowd.organization}", f"org:{other}"]
    assert [[one["orchestratorId"] for one in told] for _, told in channel.lists] == [mine, theirs]
    assert {one["status"] for _, told in channel.lists for one in told} == {"ONLINE"}
    assert channel.of("presence") == []
    assert [record.getMessage() for record in caplog.records if "started" in record.getMessage()] == [
        "45 daemons started"
    ]


def test_a_few_that_start_at_once_are_told_of_one_by_one(crowd: World) -> None:
    """Up to twenty are news like any other: presence and state of each."""
    ids = hire(crowd, 20)
    crowd.house.duty.resume(ids)
    assert [one["orchestratorId"] for one in crowd.channel.of("presence")] == ids
    assert [one["orchestratorId"] for one in crowd.channel.of("daemon:status")] == ids


def test_nothing_is_made_for_a_room_that_nobody_is_in(make_world: MakeWorld) -> None:
    """Where the channel knows that nobody would hear of it, no list is made."""
    channel = CrowdChannel(heard=False)
    world = make_world(orchestrators=(), channel=channel, DAEMON_SWEEP_INTERVAL=3_600_000)
    world.house.node.join()
    world.house.duty.resume(hire(world, 30))
    assert len(world.rows("Daemon", state="running")) == 30
    assert channel.lists == []
    world.house.node.leave()


def test_two_processes_that_start_the_same_tell_of_each_once(make_world: MakeWorld, databases: Databases) -> None:
    """Both run all of them, neither waits for the other for ever, and whoever changed a row tells of it."""
    first = make_world(on=databases, orchestrators=(), DAEMON_SWEEP_INTERVAL=3_600_000)
    second = make_world(like=first, DAEMON_SWEEP_INTERVAL=3_600_000)
    first.house.node.join()
    second.house.node.join()
    ids = hire(first, 1_000)
    together = threading.Barrier(2)
    failures: list[BaseException] = []

    def start(world: World, order: list[str]) -> None:
        try:
            together.wait(10)
            world.house.duty.resume(order)
        except BaseException as error:  # noqa: BLE001 -- a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=start, args=one) for one in ((first, ids), (second, ids[::-1]))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert running(first) == running(second) == set(ids)
    told = Counter(one["orchestratorId"] for world in (first, second) for one in world.channel.of("presence"))
    assert told == dict.fromkeys(ids, 1)
    for world in (first, second):
        world.house.node.leave()


def test_those_with_work_are_started_first(crowd: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a restart nobody who was asked something waits until all the others run."""
    from flask_neolith_orchestrator.runtime.daemons import duty

    monkeypatch.setattr(duty, "BATCH", 2)
    ids = hire(crowd, 6)
    monkeypatch.setattr(crowd.stores.leases, "ready", _fixed({ids[5]: 1}))
    order: list[str] = []
    crowd.house.manager.on("daemon:started", lambda orchestrator_id, **_: order.append(orchestrator_id))
    crowd.house.duty.resume(ids)
    until(lambda: len(order) == 6, "all were heard of")
    assert ids[5] in order[:2]


def _fixed(found: dict[str, int]) -> Callable[[], dict[str, int]]:
    return lambda: found
