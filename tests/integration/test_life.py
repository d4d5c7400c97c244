"""The life of daemons and of the process they run in: starts, stops, beats, deaths, and who hears of it."""

from __future__ import annotations

import gc
import random
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, event

from flask_neolith_orchestrator import OrchestratorDaemon, StartFailed
from flask_neolith_orchestrator.core.errors import DaemonError
from flask_neolith_orchestrator.runtime.daemons import supervisor
from flask_neolith_orchestrator.runtime.upkeep.once import Once
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import MakeWorld
from .stage import Door, Scene
from .world import World, until


def at_once(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Let `count` threads act at the same instant; what each gave or raised."""
    together = threading.Barrier(count)
    found: list[Any] = [None] * count

    def run(number: int) -> None:
        together.wait()
        try:
            found[number] = act(number)
        except Exception as error:  # noqa: BLE001 -- the test looks at it
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


def in_context(world: World, act: Callable[[], Any]) -> Any:
    """Act in the app's context."""
    with world.context():
        return act()


def ada(world: World) -> OrchestratorDaemon:
    """ada's daemon in this process."""
    with world.context():
        return world.neolith.manager.daemon_for(world.ada)


def row(world: World) -> Any:
    """ada's row, on which all processes agree."""
    return world.rows("Daemon", orchestrator_id=int(world.ada))[0]


@contextmanager
def writes(table: str) -> Iterator[list[str]]:
    """Statements that change a table."""
    found: list[str] = []

    def heard(_c: object, _u: object, statement: str, *_: object) -> None:
        if statement.startswith(f"UPDATE {table}"):
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", heard)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", heard)


def test_sixteen_starts_at_one_instant_are_one_daemon(make_world: MakeWorld) -> None:
    """16 threads start one orchestrator: one daemon, one started event, one ONLINE."""
    world = make_world()
    started: list[str] = []
    with world.context():
        world.neolith.manager.on("daemon:started", lambda orchestrator_id, **_: started.append(orchestrator_id))
    found = at_once(16, lambda _: in_context(world, lambda: world.neolith.manager.start_daemon(world.ada)))
    assert {id(one) for one in found} == {id(ada(world))}
    assert ada(world).is_running()
    until(lambda: started, "the started event")
    assert [one["status"] for one in world.channel.of("presence")] == ["ONLINE"]
    assert started == [world.ada]


@pytest.mark.parametrize("last", ["start", "stop"])
def test_what_was_asked_last_is_what_it_is(world: World, last: str) -> None:
    """A start while it is stopping waits for the stop, and a stop during that wait is obeyed after it."""
    door = Door()

    def slow(scene: Scene) -> Iterable[str]:
        door.wait(scene.cancel)
        yield "done"

    world.model.script = slow
    world.start("ada")
    world.post("ann", "@ada wait for me")
    world.model.wait_running(1)
    daemon = ada(world)
    stopping = threading.Thread(target=daemon.stop)
    stopping.start()
    until(lambda: daemon.get_status() == "stopping", "the stop begins")
    starting = threading.Thread(target=in_context, args=(world, daemon.start))
    starting.start()
    door.open()
    stopping.join(10)
    starting.join(10)
    assert daemon.is_running()
    if last == "stop":
        daemon.stop()
    assert daemon.get_status() == ("running" if last == "start" else "stopped")
    assert (row(world)["wanted"], row(world)["state"]) == (("running",) * 2 if last == "start" else ("stopped",) * 2)


def test_a_storm_of_starts_and_stops_ends_as_asked(world: World) -> None:
    """Whatever came before, after the last start it runs, here and in the shared row."""
    seed = random.randrange(10**6)
    choose = random.Random(seed)
    moves = [[choose.choice(["start", "stop", "restart"]) for _ in range(5)] for _ in range(6)]
    daemon = ada(world)
    failed = at_once(6, lambda number: in_context(world, lambda: [getattr(daemon, move)() for move in moves[number]]))
    assert not [one for one in failed if isinstance(one, Exception)], f"seed {seed}: {failed}"
    daemon.start()
    assert daemon.is_running(), f"seed {seed}"
    assert (row(world)["wanted"], row(world)["state"]) == ("running", "running"), f"seed {seed}"


def test_a_daemon_that_was_stopped_directly_can_be_started_through_the_manager(world: World) -> None:
    """The manager does not remember a stopped daemon as running."""
    world.start("ada")
    daemon = ada(world)
    daemon.stop()
    assert not daemon.is_running()
    with world.context():
        assert world.neolith.manager.start_daemon(world.ada) is daemon
        assert world.neolith.manager.get_running_daemons() == [daemon]
    world.post("ann", "@ada are you there?")
    world.rest()
    assert world.deliveries() == ["answered"]


def test_a_start_that_cannot_work_says_why_and_a_person_begins_afresh(make_world: MakeWorld) -> None:
    """A bad charter: StartFailed with the cause, ERROR for all to see, no loop; mended, a start works."""
    world = make_world()
    with world.context():
        user: Any = world.db.session.get(world.user, int(world.ids["ada"]))
        user.orchestrator_config = {"daemon": {"max_concurrent_conversations": "many"}}
        world.db.session.commit()
        with pytest.raises(StartFailed, match="max_concurrent_conversations"):
            world.neolith.manager.start_daemon(world.ada)
        state = world.neolith.manager.get_daemon_status(world.ada)
        assert state is not None
        assert (state.status, state.restart_count) == ("error", 0)
        assert "max_concurrent_conversations" in str(state.last_error)
        assert world.rows("Orchestrator")[0]["status"] == "ERROR"
        user.orchestrator_config = None
        world.db.session.commit()
        world.neolith.manager.start_daemon(world.ada)
        assert row(world)["state"] == "running"
        assert row(world)["error"] is None


def test_one_that_cannot_start_keeps_nobody_else_from_it(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a process resumes everybody who is wanted, whatever one of them raises, the others run."""
    world = make_world(orchestrators=("ada", "leo", "mia"), DAEMON_AUTO_RESTART=False)
    with world.stores.database.write() as tx:
        for one in world.orchestrators.values():
            world.stores.daemons.want(tx, one, "running", "person")  # type: ignore[arg-type]  # their values
    crew = world.house.manager.lives.crew
    prepare = crew.prepare

    def failing(daemon: OrchestratorDaemon, snapshot: Any) -> None:
        if daemon.orchestrator.handle == "leo":
            raise KeyError("a bug of somebody's")
        prepare(daemon, snapshot)

    monkeypatch.setattr(crew, "prepare", failing)
    world.house.ensure_started()
    until(lambda: len(world.house.manager.get_running_daemons()) == 2, "ada and mia run")
    until(lambda: world.rows("Daemon")[1]["state"] == "error", "leo has failed")


def test_the_sweep_does_not_hurry_a_restart(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for the delay of a restart is started by that restart, not by every sweep before it."""
    world, tries = make_world(DAEMON_RESTART_DELAY=60_000), []
    with world.stores.database.write() as tx:
        world.stores.daemons.want(tx, world.ada, "running", "person")  # type: ignore[arg-type]  # their values

    def failing(daemon: OrchestratorDaemon, _snapshot: Any) -> None:
        tries.append(daemon.id)
        raise KeyError("a bug of somebody's")

    monkeypatch.setattr(world.house.manager.lives.crew, "prepare", failing)
    world.house.ensure_started()
    for _ in range(5):
        world.house.sweeper.reconcile()
    assert tries == [world.ada]
    assert ada(world).errors[-1].kind == "KeyError"


@pytest.fixture
def clock() -> ManualClock:
    """Time that passes when told."""
    return ManualClock()


def health(world: World) -> Any:
    """How ada is."""
    return in_context(world, ada(world).get_health_status)


def test_a_beat_is_evidence(make_world: MakeWorld, clock: ManualClock) -> None:
    """lastHeartbeat is null before the first beat, stands still while the daemon hangs, and is null again for a new
    life; uptime is null when it is stopped."""
    world = make_world(clock=clock)
    world.start("ada")
    assert health(world).last_heartbeat is None
    clock.advance(60)
    world.house.supervisor.heartbeat()
    assert health(world).last_heartbeat == clock.wall()
    assert health(world).uptime == 60_000
    beaten, daemon, hung, released = clock.wall(), ada(world), threading.Event(), threading.Event()

    def hang() -> None:
        with daemon.life:
            hung.set()
            released.wait(10)

    thread = threading.Thread(target=hang)
    thread.start()
    assert hung.wait(10)
    clock.advance(60)
    world.house.supervisor.heartbeat()
    assert health(world).last_heartbeat == beaten
    released.set()
    thread.join(10)
    daemon.stop()
    assert health(world).uptime is None
    clock.advance(60)
    in_context(world, daemon.start)
    assert health(world).last_heartbeat is None
    assert health(world).uptime == 0


def test_two_starts_are_one_heartbeat(make_world: MakeWorld, clock: ManualClock) -> None:
    """However often it was started, it beats once an interval."""
    world = make_world(clock=clock)
    for _ in range(3):
        world.start("ada")
    heard: list[Any] = []
    ada(world).on("heartbeat", lambda health: heard.append(health.last_heartbeat))
    for _ in range(12):
        clock.advance(5)
        world.house.supervisor.heartbeat()
    until(lambda: len(heard) == 2, "two beats a minute")


def test_many_daemons_beat_by_one_statement_over_the_interval(make_world: MakeWorld, clock: ManualClock) -> None:
    """One UPDATE writes all beats that are due, and they are due at different instants of the interval."""
    names = tuple(f"bot{number}" for number in range(40))
    world = make_world(orchestrators=names, clock=clock)
    world.start()
    beaten, ticks = 0, []
    for _ in range(6):
        clock.advance(5)
        with writes("neolith_daemon") as statements:
            world.house.supervisor.heartbeat()
        assert len(statements) <= 1
        now = sum(one["beat_at"] == clock.wall() for one in world.rows("Daemon"))
        ticks.append(now)
        beaten += now
    assert beaten == len(names)
    assert max(ticks) < len(names) / 2
    assert sum(tick > 0 for tick in ticks) >= 4


def test_ten_thousand_errors_leave_fifty(world: World) -> None:
    """The list of errors is bounded, and the last ones are kept."""
    daemon = ada(world)
    for number in range(10_000):
        daemon.note_error(float(number), DaemonError(f"error {number}"))
    kept = health(world).errors
    assert len(kept) == 50
    assert (kept[0].message, kept[-1].message) == ("error 9950", "error 9999")


@contextmanager
def hanging(world: World, *daemons: OrchestratorDaemon) -> Iterator[None]:
    """Daemons of whom a thread holds the lock for longer than the supervisor's patience, and then gives it back."""
    held, released = threading.Barrier(len(daemons) + 1), threading.Event()

    def hang(daemon: OrchestratorDaemon) -> None:
        with daemon.life:
            held.wait()
            released.wait(20)

    threads = [threading.Thread(target=hang, args=(daemon,)) for daemon in daemons]
    for thread in threads:
        thread.start()
    held.wait()
    until(lambda: all(world.house.supervisor.hangs(daemon) for daemon in daemons), "that is too long")
    try:
        yield
    finally:
        released.set()
        for thread in threads:
            thread.join(10)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is held for a moment is held for too long."""
    monkeypatch.setattr(supervisor, "ANSWER", 0.02)
    monkeypatch.setattr(supervisor, "HANG", 0.05)


@pytest.mark.usefixtures("impatient")
def test_a_daemon_that_hangs_is_named_and_delays_nobody(make_world: MakeWorld) -> None:
    """A check names those who do not answer, waits for none of them, and tells the health of all the others."""
    world = make_world(orchestrators=("ada", "leo", "mia"), DAEMON_AUTO_RESTART=False)
    world.start()
    told: list[tuple[str, str]] = []
    with world.context():
        manager = world.neolith.manager
        manager.on("daemon:health", lambda orchestrator_id, **_: told.append(("fine", orchestrator_id)))
        manager.on("daemon:health-error", lambda orchestrator_id, **_: told.append(("hangs", orchestrator_id)))
        stuck = [manager.daemon_for(world.orchestrators[name]) for name in ("ada", "leo")]
    with hanging(world, *stuck):
        world.house.supervisor.check()
        until(lambda: len(told) == 3, "three were told of")
    assert ("fine", world.orchestrators["mia"]) in told
    assert {one for how, one in told if how == "hangs"} == {daemon.id for daemon in stuck}


def test_whoever_listens_does_not_wait_for_a_stop(world: World) -> None:
    """daemon.on answers at once, also while somebody holds the daemon's lock."""
    daemon, held, released = ada(world), threading.Event(), threading.Event()

    def hold() -> None:
        with daemon.life:
            held.set()
            released.wait(10)

    holding = threading.Thread(target=hold)
    holding.start()
    assert held.wait(10)
    listening = threading.Thread(target=daemon.on, args=("started", lambda: None))
    listening.start()
    listening.join(3)
    waited = listening.is_alive()
    released.set()
    holding.join(10)
    listening.join(10)
    assert not waited


def test_processes_that_begin_and_end_at_once_leave_the_rows_true(make_world: MakeWorld) -> None:
    """Of processes that start together one tells who was gone; of those that end together the last one tells."""
    first = make_world()
    with first.stores.database.write() as tx:  # what a killed process leaves behind
        first.stores.daemons.want(tx, first.ada, "running", "person")  # type: ignore[arg-type]  # their values
        first.stores.daemons.move(tx, first.ada, "running")  # type: ignore[arg-type]  # its value
    worlds = [first, *(make_world(like=first) for _ in range(3))]
    assert at_once(4, lambda number: worlds[number].house.ensure_started()) == [None] * 4
    until(lambda: all(ada(world).is_running() for world in worlds), "ada runs in each")
    assert row(first)["state"] == "running"
    told = [one["status"] for world in worlds for one in world.channel.of("presence")]
    assert sorted(told) == ["OFFLINE", "ONLINE"]
    at_once(4, lambda number: worlds[number].neolith.shutdown(worlds[number].app))
    assert (row(first)["state"], row(first)["wanted"]) == ("stopped", "running")
    assert first.rows("Node") == []
    told = [one["status"] for world in worlds for one in world.channel.of("presence")]
    assert sorted(told) == ["OFFLINE", "OFFLINE", "ONLINE"]


def test_a_start_that_failed_half_way_works_the_second_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node is registered already when something else breaks; trying again does not trip over that."""
    start, failures = world.house.clockwork.start, [RuntimeError("no more threads")]

    def failing(jobs: Any) -> None:
        if failures:
            raise failures.pop()
        start(jobs)

    monkeypatch.setattr(world.house.clockwork, "start", failing)
    with pytest.raises(RuntimeError, match="no more threads"):
        world.house.ensure_started()
    world.house.ensure_started()
    world.start("ada")
    assert len(world.rows("Node")) == 1


def test_a_node_that_others_forgot_comes_back(world: World) -> None:
    """A process that was paused for so long that its row was removed writes it again."""
    world.house.ensure_started()
    world.stores.nodes.forget([world.stores.nodes.id])
    world.stores.nodes.seen()
    assert [one["id"] for one in world.rows("Node")] == [world.stores.nodes.id]


def test_a_logout_just_before_the_end_is_written(world: World) -> None:
    """What was said before the process ends is not lost, so nobody who logged out runs again afterwards."""
    from flask_neolith_orchestrator.runtime.daemons.notes import Note  # beside its one use

    desk = world.house.desk
    desk.put(Note("login", world.ids["ada"], "token", fresh=True))
    assert desk.wait_idle(10)
    desk.put_later(Note("logout", world.ids["ada"], "token"), 60.0)
    world.neolith.shutdown(world.app)
    assert [one["reason"] for one in world.rows("Login")] == ["logout"]
    assert row(world)["wanted"] == "stopped"


def test_nothing_starts_when_the_interpreter_has_ended(make_world: MakeWorld) -> None:
    """Requests of threads that outlive the end neither build nor start anything again."""
    world = make_world()
    world.start("ada")
    state = world.app.extensions["neolith"]
    state.end()
    state.ensure_started(wait=True)
    state.begin()
    assert row(world)["state"] == "stopped"
    assert world.rows("Node") == []
    with world.context(), pytest.raises(DaemonError, match="ending"):
        world.neolith.manager.start_daemon(world.ada)
    world.house.database.close()  # the rows above were read late


def test_a_forgotten_app_is_gone(world: World) -> None:
    """Signals, exit handlers and fork handlers do not keep an app alive that nobody has any more."""
    app = Flask("forgotten")
    app.config.update(SECRET_KEY="x", SQLALCHEMY_DATABASE_URI="sqlite://")
    world.db.init_app(app)
    world.neolith.init_app(app)
    app.test_client().get("/")
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


def test_once_is_once() -> None:
    """Many callers at one instant start once, all wait for it, and after the end nothing starts."""
    starts: list[int] = []
    once = Once(lambda: starts.append(1))
    assert at_once(8, lambda _: once(wait=True)) == [None] * 8
    assert starts == [1]
    ended = Once(lambda: starts.append(2))
    ended.end(1.0)
    ended(wait=True)
    assert starts == [1]


def test_once_raises_what_happened_now() -> None:
    """Whoever waits hears why this start failed, and a later one that works wipes it out."""
    failures = [ValueError("first"), KeyError("second")]

    def start() -> None:
        if failures:
            raise failures.pop(0)

    once = Once(start)
    with pytest.raises(ValueError, match="first"):
        once(wait=True)
    with pytest.raises(KeyError, match="second"):
        once(wait=True)
    once(wait=True)
    assert once.done


def test_the_end_waits_for_a_start_under_way() -> None:
    """Nothing is started behind the back of somebody who is closing."""
    going, go = threading.Event(), threading.Event()

    def start() -> None:
        going.set()
        go.wait(10)

    once = Once(start)
    once(wait=False)
    assert going.wait(10)
    ending = threading.Thread(target=once.end, args=(10.0,))
    ending.start()
    ending.join(0.1)
    assert ending.is_alive()
    go.set()
    ending.join(10)
    assert once.done


def test_a_start_lets_its_model_get_ready(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer does not wait for what a model needs once; one that cannot be used is left alone."""
    world = make_world()
    warmed: list[str] = []
    monkeypatch.setattr(world.model, "warm", lambda: warmed.append("now"), raising=False)
    with monkeypatch.context() as broken:
        broken.setattr(world.model, "check", lambda: "There is no key.")
        with pytest.raises(DaemonError):
            world.start("ada")
    assert warmed == []
    world.start("ada")
    assert warmed == ["now"]
