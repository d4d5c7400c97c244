"""The host's own requests on SQLite and Postgres: they never wait for us, and nothing of theirs is mistaken."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, make_url, select, text, update
from sqlalchemy.exc import OperationalError

from flask_neolith_orchestrator.core.errors import StoreClosed
from flask_neolith_orchestrator.core.types import IncomingMessage
from flask_neolith_orchestrator.runtime.wiring import SystemClock
from flask_neolith_orchestrator.store.sql.sqlite import TIDY_AFTER, SqliteDatabase
from flask_neolith_orchestrator.store.sql.sqlite_host import begin_immediate
from flask_neolith_orchestrator.testing import RecordingChannel

from .conftest import Databases, MakeWorld
from .stage import PATIENCE, Door
from .world import World, until

BUSY_SECONDS = 2.0


def message(world: World, key: str, content: str = "@ada hello") -> IncomingMessage:
    """A message of the host's own chat."""
    return IncomingMessage(key, content, "lobby", world.ids["ann"], time.time())


def load_and_insert(world: World, number: int, until_time: float) -> int:
    """What a request does: user_loader's SELECT, then a write, sometimes an acceptance; how often it did."""
    done = 0
    while time.monotonic() < until_time:
        with world.context():
            session = world.db.session
            user = session.get(world.user, int(world.ids["ann"]))
            assert user is not None
            session.add(world.user(name=f"visitor {number}-{done}"))
            if done % 5 == 0:
                world.neolith.accept(message(world, f"{number}-{done}"), to=[world.ada])
            session.commit()
        done += 1
    return done


def test_host_requests_beside_busy_daemons_never_fail(make_world: MakeWorld, caplog: pytest.LogCaptureFixture) -> None:
    """Four request threads that SELECT and then INSERT, two busy turn threads: no error, no lost row, on the host's
    own untouched engine."""
    world = make_world(DAEMON_MAX_CONCURRENT_CONVERSATIONS=2, NEOLITH_MAX_THREADS=2, DAEMON_MAX_QUEUE=100_000)
    world.start()
    ends = time.monotonic() + BUSY_SECONDS
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda number: load_and_insert(world, number, ends), range(4)))
    with world.context():
        visitors = world.db.session.execute(
            select(func.count()).select_from(world.user).where(world.user.name.like("visitor %"))
        ).scalar_one()
        isolation = world.db.session.connection().connection.dbapi_connection
        assert isolation is not None
        assert isolation.isolation_level == ""  # as Python's own driver has it: how the host begins is the host's
    assert visitors == sum(done)
    assert min(done) > 10
    assert len(world.model.scenes) > 10
    world.rest(30.0)
    accepted = sum(-(-count // 5) for count in done)
    assert world.deliveries() == ["answered"] * accepted
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.postgres
def test_a_long_host_transaction_costs_no_lease(make_world: MakeWorld, on_postgres: Databases) -> None:
    """On Postgres a transaction that stays open for longer than the lease after an acceptance, a Stop and a look at
    people costs nobody a turn, and keeps nobody else from being answered."""
    world = make_world(on=on_postgres, DAEMON_LEASE=600, DAEMON_RENEW_INTERVAL=150)
    other = make_world(like=world, DAEMON_LEASE=600, DAEMON_RENEW_INTERVAL=150)
    door = Door()

    def scene(one: Any) -> Iterator[str]:
        yield "One "
        if "long" in one.asked:
            door.wait(one.cancel)
        yield "two."

    world.model.script = scene
    world.start()
    other.start()
    world.post("ann", "@ada long")
    stopped = world.post("ann", "@ada long stop")
    world.model.wait_running(2)
    with world.context():
        session = world.db.session
        session.execute(text('SELECT id FROM "user" FOR UPDATE'))
        world.neolith.accept(message(world, "open"), to=[world.ada])
        assert world.neolith.chat.stop(world.ids["ann"], stopped["id"])["state"] == "stopping"
        first = {row["n"]: row["lease_until"] for row in world.rows("Slot")}
        until(
            lambda: all(
                row["lease_until"] > first[row["n"]] + 1.2 for row in world.rows("Slot") if row["turn_id"] is not None
            ),
            "two leases long every turn is renewed",
        )
        session.commit()
    door.open()
    until(lambda: world.deliveries() == ["answered", "cancelled", "answered"], "all have come to their end")
    assert len(world.model.scenes) == 3
    assert {row["attempt"] for row in world.rows("Turn")} == {1}


@pytest.mark.parametrize("path", ["kept", "rolled back", "outer rolled back"])
@pytest.mark.parametrize("first", [True, False], ids=["as first statement", "after another"])
def test_accept_in_a_savepoint(make_world: MakeWorld, databases: Databases, path: str, first: bool) -> None:
    """Rings, events and rows exactly for what was really committed; pysqlite's own commit at a release included."""
    channel = RecordingChannel()
    world = make_world(on=databases, channel=channel, DAEMON_SWEEP_INTERVAL=60_000)
    world.start()
    with world.context():
        if not first:
            world.neolith.chat.post(world.ids["bob"], world.general, "before")
        savepoint = world.db.session.begin_nested()
        world.neolith.chat.post(world.ids["ann"], world.general, "@ada inside")
        if path == "rolled back":
            savepoint.rollback()
        else:
            savepoint.commit()
        world.neolith.chat.post(world.ids["bob"], world.general, "after")
        assert channel.of("message") == []
        if path == "outer rolled back":
            world.db.session.rollback()
        else:
            world.db.session.commit()
    before = [] if first else ["before"]
    expected = {"kept": [*before, "@ada inside", "after"], "rolled back": [*before, "after"], "outer rolled back": []}
    if path == "kept":
        channel.wait_for("message:done")
    said = [row["content"] for row in world.rows("Message") if str(row["author_id"]) != world.ids["ada"]]
    told = [one["message"] for one in channel.of("message") if not one["message"]["author"]["isOrchestrator"]]
    assert said == [one["content"] for one in told] == expected[path]
    assert world.deliveries() == (["answered"] if path == "kept" else [])


def test_accept_keeps_the_hosts_busy_timeout(world: World) -> None:
    """However the acceptance ends, the host's connection has the timeout that it had; and what the host would have
    seen without us is what it sees."""
    with world.context():
        world.neolith.accept(message(world, "1"), to=[world.ada])
        world.db.session.commit()
        with world.db.engine.connect() as connection, world.db.engine.connect() as holder:
            before = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
            holder.exec_driver_sql("BEGIN IMMEDIATE")
            connection.exec_driver_sql("PRAGMA busy_timeout=20")
            began = time.monotonic()
            gate = world.stores.database.gate  # type: ignore[attr-defined]  # a SQLite file
            with pytest.raises(Exception, match="database is locked"):
                begin_immediate(connection, gate, patience=0.05)
            assert time.monotonic() - began < 2.0
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 20
            holder.rollback()
            begin_immediate(connection, gate)
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 20
            connection.rollback()
            assert before == 5000


def test_a_hosts_long_write_makes_no_convoy(world: World) -> None:
    """While a host's transaction holds the file our write waits outside the process lock, and reads go on."""
    gate = world.stores.database.gate  # type: ignore[attr-defined]  # a SQLite file
    with _engine(world).connect() as host, ThreadPoolExecutor(1) as pool:
        host.exec_driver_sql("BEGIN IMMEDIATE")
        writing = pool.submit(_touch, world)
        until(lambda: gate.writable_for() < 1.0, "our write was shut out")
        assert world.deliveries() == []  # reading goes on
        until(lambda: gate.lock.acquire(blocking=False), "the process lock is given back")
        gate.lock.release()
        host.rollback()
        writing.result(PATIENCE)


def _engine(world: World) -> Any:
    with world.context():
        return world.db.engine


def _touch(world: World) -> None:
    with world.stores.database.write() as tx:
        tx.execute(text("UPDATE neolith_daemon SET reason = 'touched'"))


def test_a_busy_host_does_not_hide_the_dead(world: World) -> None:
    """Acceptances that find the file busy for a moment are everyday life; only a write of ours that was shut out
    makes a node wait before it sweeps others' leases."""
    database = world.stores.database
    engine = _engine(world)
    with engine.connect() as holder, engine.connect() as other:
        holder.exec_driver_sql("BEGIN IMMEDIATE")
        other.exec_driver_sql("PRAGMA busy_timeout=1")
        with pytest.raises(Exception, match="database is locked"):
            begin_immediate(other, database.gate, patience=0.05)  # type: ignore[attr-defined]  # a SQLite file
        assert database.writable_for() == float("inf")
        holder.rollback()


def test_urgent_writers_are_counted_right(world: World) -> None:
    """Many threads that come and go leave nobody counted as urgent, so that no one waits longer for ever."""
    gate = world.stores.database.gate  # type: ignore[attr-defined]  # a SQLite file

    def hurry() -> None:
        for _ in range(2_000):
            with gate.urgently():
                pass

    threads = [threading.Thread(target=hurry) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert gate._urgent == 0


def test_a_failed_write_leaves_the_database_usable(world: World) -> None:
    """An exception inside our transaction, or a statement that is wrong, rolls back and gives the lock back."""
    database = world.stores.database

    def write(statement: str) -> None:
        with database.write() as tx:
            tx.execute(text("UPDATE neolith_channel SET topic = 'lost'"))
            tx.execute(text(statement))
            raise ValueError("mine")

    for _ in range(2):
        with pytest.raises(ValueError, match="mine"):
            write("SELECT 1")
        with pytest.raises(OperationalError):
            write("UPDATE nowhere SET topic = 'lost'")
    assert world.rows("Channel")[0]["topic"] == ""
    with database.write() as tx:
        tx.execute(text("UPDATE neolith_channel SET topic = 'kept'"))
    assert world.rows("Channel")[0]["topic"] == "kept"


def test_a_closed_database_is_not_opened_again(world: World) -> None:
    """A thread that outlives its process's runtime is told so, and opens no file."""
    database = SqliteDatabase(_engine(world).url, SystemClock())
    with database.write() as tx:
        tx.execute(text("SELECT 1"))
    database.close()
    database.close()
    with pytest.raises(StoreClosed), database.write():
        pass


def test_the_hosts_connections_get_wal_without_being_thrown_away(world: World) -> None:
    """Connections made before us are reached too; one in the middle of a write is left as it is."""
    with world.context():
        world.db.session.execute(text("SELECT 1"))
        _ = world.house
        world.db.session.commit()
        for name, value in (("journal_mode", "wal"), ("synchronous", 1)):
            assert world.db.session.execute(text(f"PRAGMA {name}")).scalar_one() == value


def test_the_first_use_may_come_in_the_middle_of_a_write(make_world: MakeWorld) -> None:
    """A request that has already written when it first calls us neither waits nor fails."""
    world = make_world()
    with world.context():
        world.db.session.execute(text("DELETE FROM neolith_schema"))
        world.db.session.execute(text("UPDATE user SET visits = 1"))
        began = time.monotonic()
        world.neolith.chat.post(world.ids["ann"], world.general, "@ada hello")
        world.db.session.commit()
        assert time.monotonic() - began < 2.0
    world.start()
    world.rest()
    assert world.deliveries() == ["answered"]


def test_the_log_is_copied_beside_the_commits(world: World) -> None:
    """What was written reaches the file itself soon, by a thread of ours: no commit has to wait for the disk."""
    file = Path(str(make_url(world.app.config["SQLALCHEMY_DATABASE_URI"]).database))
    messages = world.neolith.models.table("Message")
    posted = world.post("ann", "Look for this needle.")
    for number in range(TIDY_AFTER):
        with world.stores.database.write() as tx:
            tx.execute(update(messages).where(messages.c.id == int(posted["id"])).values(seq=number))
    until(lambda: b"Look for this needle." in file.read_bytes(), "the text is in the file")
