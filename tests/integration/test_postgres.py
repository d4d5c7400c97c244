"""What only a server does: it gives one transaction up for another, ends connections, counts them, plans by figures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import Connection, NullPool, create_engine, event, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from flask_neolith_orchestrator.store.chat.bundled import LAST, BundledChat
from flask_neolith_orchestrator.store.sql import again
from flask_neolith_orchestrator.store.sql.prepared import Prepared
from tests.acceptance.process_site import APP, Site

from .conftest import Copies, Databases, MakeWorld
from .postgres_server import PostgresServer
from .stage import PATIENCE, Door, Scene, echo
from .world import World, until

pytestmark = pytest.mark.postgres

HURRIED = "SET LOCAL deadlock_timeout = '20ms'"


@pytest.fixture
def world(make_world: MakeWorld, on_postgres: Databases) -> World:
    """ada and bob and ann, on the server that other tests use too."""
    return make_world(on=on_postgres)


def visits(world: World) -> dict[str, int]:
    """A number of the host's in each user's row."""
    with world.stores.database.read() as tx:
        users = world.neolith.models.user_table
        return {str(row.name): row.visits for row in tx.execute(select(users.c.name, users.c.visits))}


def raise_visits(world: World, tx: Connection, name: str) -> None:
    """Lock a user's row, and count."""
    users = world.neolith.models.user_table
    tx.execute(update(users).where(users.c.name == name).values(visits=users.c.visits + 1))


def cross(world: World, run: Callable[[Callable[[Connection], None]], None]) -> int:
    """Two transactions that lock two rows in opposite order, both holding one first; how many runs that took."""
    met, runs = threading.Barrier(2), []

    def work(tx: Connection, first: str, second: str) -> None:
        runs.append(first)
        tx.execute(text(HURRIED))
        raise_visits(world, tx, first)
        if runs.count(first) == 1:
            met.wait(PATIENCE)
        raise_visits(world, tx, second)

    with ThreadPoolExecutor(2) as pool:
        ways = [("ann", "bob"), ("bob", "ann")]
        done = [pool.submit(run, lambda tx, way=way: work(tx, *way)) for way in ways]  # type: ignore[misc]  # a lambda's default
        for one in done:
            one.result(PATIENCE)
    return len(runs)


def test_a_deadlock_is_run_again(world: World) -> None:
    """The server ends one of two transactions that wait for each other: that one is run again, and both are done."""
    assert cross(world, world.stores.database.run) == 3
    assert visits(world) == {"ann": 2, "bob": 2, "ada": 0}


def test_without_that_a_deadlock_ends_in_an_error(world: World) -> None:
    """The test before proves something: a plain transaction of the same kind fails."""

    def once(work: Callable[[Connection], None]) -> None:
        with world.stores.database.write() as tx:
            work(tx)

    with pytest.raises(OperationalError, match="deadlock detected"):
        cross(world, once)
    assert visits(world) == {"ann": 1, "bob": 1, "ada": 0}


def test_a_serialization_failure_is_run_again(world: World) -> None:
    """A transaction that must not see what was committed meanwhile is run again and sees it."""
    runs = []

    def work(tx: Connection) -> int:
        tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        before = visits_in(world, tx)
        runs.append(before)
        if len(runs) == 1:
            with world.stores.database.write() as other:
                raise_visits(world, other, "ann")
        raise_visits(world, tx, "ann")
        return before

    assert (world.stores.database.run(work), runs) == (1, [0, 1])
    assert visits(world)["ann"] == 2


def visits_in(world: World, tx: Connection) -> int:
    """ann's number, as a transaction sees it."""
    users = world.neolith.models.user_table
    return int(tx.execute(select(users.c.visits).where(users.c.name == "ann")).scalar_one())


def test_what_always_fails_is_not_run_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some runs its error is the caller's; an error that is nobody's passing trouble is raised at once."""
    monkeypatch.setattr(again, "FIRST_PAUSE", 0.0)
    runs = []

    def fail(tx: Connection, code: str) -> None:
        runs.append(code)
        tx.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$"))

    for code, times in (("40P01", again.TRIES), ("23505", 1)):
        runs.clear()
        with pytest.raises(DBAPIError):
            world.stores.database.run(lambda tx, code=code: fail(tx, code))  # type: ignore[misc]  # a lambda's default
        assert len(runs) == times


def test_what_may_have_been_written_is_not_run_again(world: World) -> None:
    """The connection dies in the commit, when nobody can know: the caller hears of it; before the commit it is run
    again."""
    runs = []

    def die(connection: Connection) -> None:
        with world.stores.database.read() as other:
            other.execute(text(f"SELECT pg_terminate_backend({pid(connection)}, 5000)"))

    def work(tx: Connection, at_once: bool) -> None:
        runs.append(tx)
        if at_once and len(runs) == 1:
            die(tx)
        raise_visits(world, tx, "ann")

    with world.context():
        engine = world.db.engine
    world.stores.database.run(lambda tx: work(tx, at_once=True))
    assert (len(runs), visits(world)["ann"]) == (2, 1)
    runs.clear()
    event.listen(engine, "commit", die, once=True)
    with pytest.raises(OperationalError):
        world.stores.database.run(lambda tx: work(tx, at_once=False))
    assert (len(runs), visits(world)["ann"]) == (1, 1)


def pid(connection: Connection) -> int:
    """The server's process that serves a connection."""
    driver: Any = connection.connection.dbapi_connection
    return int(driver.info.backend_pid)


def test_a_host_keeps_its_isolation_and_we_keep_ours(make_world: MakeWorld, on_postgres: Databases) -> None:
    """With an engine that serializes, the host's transactions do and ours do not; where the host's fails for it, the
    host's second try is accepted once."""
    world = make_world(on=on_postgres, SQLALCHEMY_ENGINE_OPTIONS={"isolation_level": "SERIALIZABLE"})
    shown = text("SHOW transaction_isolation")
    with world.stores.database.read() as tx:
        assert tx.execute(shown).scalar() == "read committed"
    thread = world.thread()
    with world.context():
        session = world.db.session
        assert session.execute(shown).scalar() == "serializable"
        session.execute(select(world.user.visits))  # its snapshot is taken: another comes first
        with ThreadPoolExecutor(1) as pool:
            pool.submit(world.post, "bob", "@ada hello", thread=thread).result(PATIENCE)
        with pytest.raises(OperationalError, match="could not serialize access"):
            world.neolith.chat.post(world.ids["ann"], world.general, "@ada and me", thread_id=thread)
        session.rollback()
    world.post("ann", "@ada and me", thread=thread)
    world.start()
    world.rest()
    assert world.deliveries() == ["answered", "answered"]


def test_no_connection_is_held_while_a_model_is_called(make_world: MakeWorld, on_postgres: Databases) -> None:
    """Eight answers at once do with three connections, and hold none of them while they are written."""
    options = {"pool_size": 3, "max_overflow": 0, "pool_timeout": 5}
    world = make_world(on=on_postgres, SQLALCHEMY_ENGINE_OPTIONS=options)
    door = Door()

    def write(scene: Scene) -> Iterable[str]:
        yield "One "
        door.wait(scene.cancel, 60.0)
        yield "two."

    world.model.script = write
    world.start()
    for number in range(8):
        world.post("ann", f"@ada question {number}")
    world.model.wait_running(8)
    with world.context():
        pool: Any = world.db.engine.pool
    busy = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'")
    # what renewals and sweeps use is given back within milliseconds
    until(lambda: pool.checkedout() == 0, "no connection is held")
    with world.stores.database.read() as tx:
        until(lambda: tx.execute(busy).scalar_one() == 0, "no transaction is open without doing anything")
    assert world.model.running == 8
    door.open()
    world.rest()
    assert world.deliveries() == ["answered"] * 8
    assert pool.size() == 3


def load(tx: Connection, world: World, waiting: int, orchestrators: int) -> None:
    """Twice so many deliveries of so many orchestrators, in threads of four: the older half has been answered."""
    now = world.stores.database.clock.wall()
    given = {"all": 2 * waiting, "waiting": waiting, "channel": world.general, "now": now, "many": orchestrators}
    for statement in LOAD:
        tx.execute(text(statement), given)


LOAD = (
    "TRUNCATE neolith_conversation CASCADE",
    """
    INSERT INTO neolith_daemon (orchestrator_id, wanted, cause, state, restarts, "window", processed, failed, slots)
    SELECT g, 'running', 'person', 'running', 0, '[]', 0, 0, 0 FROM generate_series(1, :many) g ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO neolith_conversation (orchestrator_id, key, channel_id, is_dm, epoch)
    SELECT 1, :channel || '/' || g, :channel, false, 0 FROM generate_series(0, :all / 4) g
    """,
    """
    INSERT INTO neolith_delivery (orchestrator_id, conversation_id, kind, dedupe_key, author_id, reason, state,
        attempts, ready_at, accepted_at, ended_at, by_machine)
    SELECT 1 + n % :many, (SELECT min(id) FROM neolith_conversation) + n % (:all / 4), 'message', n::text, '1',
        '',
        CASE WHEN n > :waiting THEN 'waiting' ELSE 'answered' END, 0, 1, :now,
        CASE WHEN n > :waiting THEN NULL ELSE 1 END, 0
    FROM generate_series(1, :all) n
    """,
)


def plan_of(world: World, statement: Prepared, **values: Any) -> dict[str, Any]:
    """How the server runs a statement, and what it counts meanwhile."""
    with world.stores.database.write() as tx:
        filled = statement._statement.params(**values)
        made = filled.compile(dialect=tx.dialect).construct_expanded_state()
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {made.statement}"
        found = tx.exec_driver_sql(explain, made.parameters).scalar_one()
    plan: dict[str, Any] = found[0]["Plan"]
    return plan


def looked_at(world: World, statement: Prepared, **values: Any) -> int:
    """How many pages a statement looks at."""
    plan = plan_of(world, statement, **values)
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def passed_over(plan: dict[str, Any]) -> int:
    """How many rows were read that were not meant."""
    return int(plan.get("Rows Removed by Filter", 0)) + sum(map(passed_over, plan.get("Plans", ())))


@pytest.fixture(params=[2, 50])
def many(request: pytest.FixtureRequest, world: World) -> int:
    """10,000 deliveries wait for so many orchestrators, and as many before them were answered; the server knows it."""
    found: int = request.param
    with world.stores.database.write() as tx:
        load(tx, world, 10_000, found)
    with world.context(), world.db.engine.connect() as tx:
        tx = tx.execution_options(isolation_level="AUTOCOMMIT")
        for table in ("neolith_delivery", "neolith_conversation"):
            tx.execute(text(f"VACUUM ANALYZE {table}"))
    return found


def test_what_waits_and_what_has_ended_costs_nothing(world: World, many: int) -> None:
    """A claim and the sweep's looks read some pages for each orchestrator, out of hundreds: also where the planner
    would expect to meet something soon elsewhere."""
    stores = world.stores
    with stores.database.read() as tx:
        conversation = tx.execute(text("SELECT max(conversation_id) FROM neolith_delivery")).scalar_one()
    assert looked_at(world, stores.claims._pick, b_orchestrator=1, b_node="x") < 25
    assert looked_at(world, stores.claims._members, b_conversation=conversation) < 10
    assert looked_at(world, stores.leases._ready, b_most=1) < 25 * many
    assert looked_at(world, stores.leases._overdue, b_before=0.5) < 6


@pytest.mark.parametrize("many", [50], indirect=True)
@pytest.mark.usefixtures("many")
def test_a_claim_is_planned_once(world: World) -> None:
    """To plan it costs the server ten times what to run it does: after its first runs it keeps the plan."""
    with world.stores.database.write() as tx:
        for orchestrator in range(12):
            world.stores.claims._pick.run(tx, b_orchestrator=1 + orchestrator % 2, b_node="x")
        kept = "SELECT generic_plans FROM pg_prepared_statements WHERE statement LIKE '%SKIP LOCKED%'"
        assert tx.execute(text(kept)).scalar_one() > 0


def test_a_history_is_found_where_nothing_was_counted_yet(world: World) -> None:
    """A young database has no statistics, and to the planner any index is as good: a thread's newest lines are found
    by its root and a channel's by its main line, not among all that was ever said there."""
    with world.stores.database.write() as tx:
        tx.execute(text(SAID), {"channel": world.general, "author": int(world.ids["ann"])})
        root = tx.execute(text("SELECT max(parent_id) FROM neolith_message")).scalar_one()
    chat = world.stores.chat
    assert isinstance(chat, BundledChat)
    values = {"b_channel": int(world.general), "b_until": LAST, "b_own": 0, "b_limit": 50}
    assert passed_over(plan_of(world, chat._thread, b_root=root, **values)) == 0
    assert passed_over(plan_of(world, chat._main_line, **values)) == 0


SAID = """
    WITH roots AS (
        INSERT INTO neolith_message (channel_id, author_id, content, state, epoch, seq, created_at, versions)
        SELECT CAST(:channel AS bigint), :author, 'Thread', 'final', 0, 0, 0, 0 FROM generate_series(1, 100)
        RETURNING id
    )
    INSERT INTO neolith_message (channel_id, parent_id, author_id, content, state, epoch, seq, created_at, versions)
    SELECT CAST(:channel AS bigint), roots.id, :author, 'said', 'final', 0, 0, 0, 0
    FROM roots, generate_series(1, 10)
    """


def test_updates_stay_on_their_page(world: World) -> None:
    """create-tables has made the tables with room in their pages, as the metadata says, and mends those without."""
    options = text("SELECT relname, reloptions FROM pg_class WHERE relname = ANY(:names) ORDER BY relname")
    names = ["neolith_conversation", "neolith_delivery", "neolith_message", "neolith_slot", "neolith_turn"]
    with world.stores.database.write() as tx:
        found = {row[0]: row[1] for row in tx.execute(options, {"names": names})}
        tx.execute(text("ALTER TABLE neolith_turn RESET (fillfactor, autovacuum_vacuum_scale_factor)"))
        tx.execute(text("ALTER TABLE neolith_slot SET (fillfactor = 70)"))  # somebody knows better
    assert all(any(option.startswith("fillfactor=") for option in found[name]) for name in names)
    with world.context():
        assert world.neolith.create_tables() == [
            "neolith_turn (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)"
        ]
        assert world.neolith.create_tables() == []
    with world.stores.database.read() as tx:
        again_found = {row[0]: set(row[1]) for row in tx.execute(options, {"names": names})}
    assert again_found["neolith_turn"] == set(found["neolith_turn"])
    assert "fillfactor=70" in again_found["neolith_slot"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of our own, to be stopped and started."""
    made = PostgresServer()
    yield made
    made.close()


@pytest.fixture
def own(server: PostgresServer, tmp_path: Path) -> Databases:
    """Databases on it."""
    return Copies(tmp_path, server.database, server.database)


def ask(world: World, text_: str, thread: str | None = None) -> None:
    """Post, and again until the server is there: as people do whose message was not taken."""

    def post() -> bool:
        try:
            world.post("ann", text_, thread=thread)
        except DBAPIError:
            with world.context():
                world.db.session.rollback()
            return False
        return True

    until(post, "the message is taken")


def test_a_server_that_crashes_under_load_costs_no_answer(
    make_world: MakeWorld, own: Databases, server: PostgresServer
) -> None:
    """While answers are written all connections die: health says so; afterwards nothing is lost, nothing is answered
    twice, and the daemons go on by themselves, in this process and in another."""
    world = make_world(on=own, orchestrators=("ada", "bee"), pages=True)
    other = make_world(like=world, pages=True)
    door = Door()

    def write(scene: Scene) -> Iterable[str]:
        yield "One "
        if scene.number <= 6:
            door.wait(scene.cancel, 60.0)
        yield "two."

    world.model.script = write
    world.start()
    for number in range(6):
        ask(world, f"@{'ada' if number % 2 else 'bee'} question {number}")
    world.model.wait_running(6)
    server.stop()
    until(lambda: not world.house.readiness()["database"]["ok"], "health says what is away")
    live = world.app.test_client().get("/neolith/api/v1/health/live")
    assert live.status_code == 200  # a new process would not help
    door.open()  # the answers are there and cannot be written
    world.model.wait_running(0)
    server.start()
    for number in range(6, 12):
        ask(other if number % 2 else world, f"@ada @bee question {number}")
    until(lambda: settled(world), "all is answered")
    assert world.deliveries() == ["answered"] * 18
    finals = [row for name in ("ada", "bee") for row in world.answers(name)]
    assert [row["state"] for row in finals] == ["final"] * 18
    assert {row["content"] for row in finals} == {"One two."}
    assert len({row["reply_to_id"] for row in finals if row["author_id"]}) == 12
    for one in (world, other):
        until(lambda one=one: all(part["ok"] for part in one.house.readiness().values()), "all is well again")  # type: ignore[misc]  # a lambda's default
        with one.context():
            assert {str(daemon.get_status()) for daemon in one.neolith.manager.get_running_daemons()} == {"running"}


def settled(world: World) -> bool:
    """Whether nothing waits or runs, as far as the server says anything."""
    try:
        return set(world.deliveries()) == {"answered"}
    except DBAPIError:
        return False


def test_an_idle_process_finds_the_server_again(make_world: MakeWorld, own: Databases, server: PostgresServer) -> None:
    """Nothing was under way: what we do in transactions of ours works at once, and with pool_pre_ping the host's own
    sessions do too."""
    world = make_world(on=own, SQLALCHEMY_ENGINE_OPTIONS={"pool_pre_ping": True})
    world.model.script = echo
    world.start()
    world.post("ann", "@ada one")
    world.rest()
    server.stop()
    server.start()
    with world.context():
        world.neolith.manager.restart_daemon(world.ada)
    world.post("ann", "@ada two")
    world.rest()
    assert world.deliveries() == ["answered", "answered"]


def test_a_stale_connection_is_no_error_of_ours(make_world: MakeWorld, own: Databases, server: PostgresServer) -> None:
    """Without pool_pre_ping a transaction of ours meets the dead connection and is run again on a new one."""
    world = make_world(on=own)
    visits(world)
    server.stop()
    server.start()
    runs = []

    def work(tx: Connection) -> None:
        runs.append(tx)
        raise_visits(world, tx, "ann")

    world.stores.database.run(work)
    assert (len(runs), visits(world)["ann"]) == (2, 1)


@pytest.fixture
def site(tmp_path: Path, server: PostgresServer) -> Iterator[Site]:
    """Real processes on it, with nothing set on the host's engine."""
    made = Site(tmp_path, NEOLITH_TEST_DATABASE=server.database())
    yield made
    made.close()


@pytest.mark.process
def test_real_processes_reconnect(site: Site, server: PostgresServer) -> None:
    """A web process and a daemon process, both in the middle of answers, outlive the server's crash: each question that
    was taken has one answer, and nobody was restarted."""
    web = site.server("-w", "1")
    daemons = site.start("flask", "--app", APP, "neolith", "run")
    web.login(2)
    for number in range(4):
        web.ask(f"@ada think {number} for 1 s")
    until(lambda: len(site.lines("calls")) >= 2, "answers are being written")
    server.stop()
    server.start()

    def again() -> bool:
        try:
            web.ask("@ada are you there")
        except (requests.RequestException, AssertionError, ValueError):
            return False
        return True

    until(again, "the web process takes questions again")
    engine = create_engine(site.environment["NEOLITH_TEST_DATABASE"], poolclass=NullPool)
    states = text("SELECT state, count(*) FROM neolith_delivery GROUP BY state")
    answers = text(
        "SELECT count(*) FROM neolith_message m JOIN neolith_orchestrator o ON o.user_id = m.author_id "
        "WHERE m.state = 'final'"
    )

    def seen() -> tuple[dict[str, int], int]:
        with engine.connect() as tx:
            return {row[0]: row[1] for row in tx.execute(states)}, tx.execute(answers).scalar_one()

    until(lambda: set(seen()[0]) == {"answered"}, "all is answered")
    found, said = seen()
    assert found["answered"] == said
    assert (web.process.poll(), daemons.poll()) == (None, None)
