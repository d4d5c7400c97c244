"""Whether a process can work, and whether it must be restarted: what load balancers and supervisors are told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from flask_neolith_orchestrator import OrchestratorDaemon, StartFailed
from flask_neolith_orchestrator.backends import embedded
from flask_neolith_orchestrator.core.types import HealthStatus
from flask_neolith_orchestrator.runtime import state
from flask_neolith_orchestrator.runtime.broadcast import listeners
from flask_neolith_orchestrator.runtime.daemons import supervisor
from flask_neolith_orchestrator.runtime.upkeep import clockwork, health
from flask_neolith_orchestrator.testing import ManualClock
from flask_neolith_orchestrator.web.api import health as api_health

from .conftest import MakeWorld
from .stage import Door, Scene, echo
from .test_life import ada, hanging
from .test_supervision import Call, Hanging, answers
from .world import World, our_threads, until

API = "/neolith/api/v1"


@pytest.fixture
def make_world(make_world: MakeWorld) -> MakeWorld:
    """Worlds with our routes."""
    return partial(make_world, pages=True)


def asked(world: World, what: str) -> tuple[int, Any]:
    """What anybody is told at a health route."""
    answer = world.app.test_client().get(f"{API}/health/{what}")
    return answer.status_code, answer.get_json()


def unwell(world: World) -> dict[str, str]:
    """The parts that are not well, and what is said of them to managers."""
    return {name: str(part["detail"]) for name, part in world.house.readiness().items() if not part["ok"]}


WELL = (200, {"status": "ok"})
UNWELL = (503, {"status": "unavailable"})


@pytest.fixture
def running(world: World) -> World:
    """ada runs."""
    world.start("ada")
    return world


def test_all_is_well(running: World) -> None:
    """A process that works is ready and alive, and says so without details to anybody who asks."""
    assert unwell(running) == {}
    assert (asked(running, "ready"), asked(running, "live")) == (WELL, WELL)
    assert set(running.house.readiness()) >= {"database", "scheduler", "dispatcher", "leases", "channel", "daemons"}


def test_a_database_that_is_away(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not ready, by name and without secrets; alive all the same; ready again when it is back, by itself."""

    def refuse() -> list[str]:
        raise OperationalError("SELECT 1", {}, Exception("host=secret"))

    with monkeypatch.context() as patch:
        patch.setattr(running.stores.nodes, "others", refuse)
        assert unwell(running) == {"database": "OperationalError"}
        assert (asked(running, "ready"), asked(running, "live")) == (UNWELL, WELL)
    assert asked(running, "ready") == WELL


def test_who_asks_need_not_be_known(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose users cannot be loaded just then gets the answer that is for everybody, and no error."""

    def refuse(_state: object) -> None:
        raise OperationalError("SELECT", {}, Exception("no such table"))

    monkeypatch.setattr(api_health, "identify", refuse)
    assert asked(running, "ready") == WELL


def test_a_database_that_can_only_be_read(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or a file that somebody has locked: not ready, and it is the database that is named."""

    def refuse() -> None:
        raise OperationalError("INSERT", {}, Exception("disk full"))

    with monkeypatch.context() as patch:
        patch.setattr(running.stores.nodes, "seen", refuse)
        assert unwell(running)["database"] == "OperationalError"
    assert asked(running, "ready") == WELL


def test_a_renewal_that_failed_is_tried_by_the_next_run(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that could not write that it lives does so as soon as it can, and does not take the failure for done."""
    nodes, tries = running.stores.nodes, list[int]()
    nodes._kept_at = float("-inf")

    def fail_first() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise OperationalError("UPDATE", {}, Exception("disk full"))

    monkeypatch.setattr(nodes, "seen", fail_first)
    with pytest.raises(OperationalError):
        nodes.keep_alive()
    nodes.keep_alive()
    assert len(tries) == 2


def test_a_database_that_hangs(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks is answered in time; a second question waits on the same thread; alive is answered at once."""
    hang = Hanging()
    monkeypatch.setattr(health, "PATIENCE", 0.2)
    monkeypatch.setattr(running.stores.nodes, "others", hang)
    for _ in range(3):
        assert unwell(running) == {"database": "no answer for 0 s"}
    assert asked(running, "live") == WELL
    assert our_threads().count("neolith-probe") == 1
    hang.released.set()
    until(lambda: asked(running, "ready") == WELL, "ready again")


def test_alive_never_waits_for_the_first_look_at_the_tables(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very first request of a process whose database hangs is a question after its life."""
    world = make_world()
    hang = Hanging(times=1_000)
    monkeypatch.setattr(state, "LOOK", 60.0)
    object.__setattr__(world.app.extensions["neolith"].wiring, "check_schema", hang)
    assert Call(lambda: asked(world, "live")).end() == WELL
    assert hang.entered.acquire(timeout=10)
    assert world.house.readiness()["scheduler"]["detail"] == "it is being started"
    hang.released.set()


def test_a_runtime_that_could_not_be_started(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not ready, with the cause, until a later start works."""
    world = make_world()
    start, failures = world.house.clockwork.start, [StartFailed("There is no room.")]

    def failing(jobs: Any) -> None:
        if failures:
            raise failures.pop()
        start(jobs)

    monkeypatch.setattr(world.house.clockwork, "start", failing)
    with pytest.raises(StartFailed):
        world.house.ensure_started()
    assert unwell(world) == {"scheduler": "it could not be started: There is no room."}
    assert asked(world, "live") == WELL
    world.house.ensure_started()
    assert (unwell(world), asked(world, "ready")) == ({}, WELL)


def test_a_sweep_that_always_fails(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler is not well once no run has succeeded for a while; the job and the kind of failure are named."""
    world = make_world(clock=ManualClock())
    world.start("ada")
    clock: Any = world.house.clock

    def broken() -> None:
        raise KeyError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(world.house.sweeper, "recover", broken)
        until(lambda: world.house.readiness()["scheduler"]["problems"], "a failure")
        clock.advance(9)
        until(lambda: "late, failed: KeyError" in unwell(world).get("scheduler", ""), "it is named")
        assert (asked(world, "ready"), asked(world, "live")) == (UNWELL, WELL)
    until(lambda: asked(world, "ready") == WELL, "well again")


def test_a_job_that_hangs_while_the_database_works(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """After long enough only a new process helps, and that is logged once; not so while the database is away."""
    world, hang = make_world(clock=ManualClock()), Hanging()
    world.start("ada")
    clock: Any = world.house.clock
    monkeypatch.setattr(world.house.sweeper, "recover", hang)
    assert hang.entered.acquire(timeout=10)
    clock.advance(clockwork.HUNG + 1)
    with monkeypatch.context() as patch:
        patch.setattr(world.stores.nodes, "others", lambda: 1 / 0)
        assert asked(world, "live") == WELL
    assert asked(world, "live") == UNWELL
    assert "sweep: hangs" in world.house.health.liveness()["detail"]
    hang.released.set()
    until(lambda: asked(world, "live") == WELL, "alive again")


def test_a_dispatcher_that_can_start_no_thread(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is there and no thread for it: not ready; when the machine has threads again, the work is done."""
    start = threading.Thread.start
    monkeypatch.setattr(embedded, "IDLE", 0.01)
    answers(running, "ada")
    until(lambda: running.house.dispatcher.health()["threads"] == 0, "idle threads end")

    def fail(thread: threading.Thread) -> None:
        if thread.name.startswith("neolith-turn"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        running.post("ann", "@ada hello")
        until(lambda: unwell(running) == {"dispatcher": "no thread can be started"}, "not ready")
        assert asked(running, "live") == WELL
    until(lambda: running.deliveries() == ["answered"] * 2, "the sweep rings again")
    assert asked(running, "ready") == WELL


def test_a_daemon_that_hangs_is_no_reason_to_stop_the_process(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bad daemon: ready and alive, and managers see that there is one."""
    monkeypatch.setattr(supervisor, "ANSWER", 0.02)
    with hanging(running, ada(running)):
        assert running.house.readiness()["daemons"] == {"ok": True, "detail": "1 do not answer"}
        assert (asked(running, "ready"), asked(running, "live")) == (WELL, WELL)


def test_a_listener_that_hangs_or_raises_is_named(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the manager's and of a daemon's: managers see which, as long as it is so; the process stays ready."""
    monkeypatch.setattr(listeners, "SLOW", 0.02)
    release, bugs = threading.Event(), [ValueError("a bug")]

    def hangs(**_: object) -> None:
        release.wait(20)

    def raises(**_: object) -> None:
        if bugs:
            raise bugs.pop()

    def told() -> str:
        return str(running.house.readiness()["listeners"]["detail"])

    running.house.manager.on("daemon:message-processed", hangs)
    ada(running).on("message:processed", raises)
    answers(running, "ada")
    until(lambda: "hangs (daemon:message-processed) hangs" in told(), "the one that hangs")
    until(lambda: "raises (message:processed) failed: ValueError" in told(), "the one that raises")
    assert asked(running, "ready") == WELL
    release.set()
    answers(running, "ada")
    until(lambda: told() == "", "both are well again")


def test_one_beat_that_cannot_be_told_keeps_no_other(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with one daemon's health, the others' heartbeats are told."""
    world, heard = make_world(orchestrators=("ada", "bee", "cyd")), list[str]()
    world.start()
    manager = world.house.manager
    manager.on("daemon:heartbeat", lambda orchestrator_id, **_: heard.append(orchestrator_id))
    health_of = manager.health

    def broken(daemon: OrchestratorDaemon) -> HealthStatus:
        if daemon.id == world.ada:
            raise IndexError("it is gone")
        return health_of(daemon)

    monkeypatch.setattr(manager, "health", broken)
    for daemon in manager.all():
        daemon.next_beat = 0.0
    world.house.supervisor.heartbeat()
    until(lambda: len(heard) == 2, "two heartbeats")
    assert world.ada not in heard


def deaf_at_first(door: Door, calls: int) -> Callable[[Scene], Iterable[str]]:
    """The first calls hear no stop and wait at the door; later ones answer at once."""

    def script(scene: Scene) -> Iterable[str]:
        if scene.number <= calls:
            door.wait()
            yield "Too late."
        else:
            yield from echo(scene)

    return script


def test_an_abandoned_turn_leaves_its_place(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one slot and one thread: the turn that will not end is given up, and the orchestrator answers on; the old
    thread, once awake, takes nothing new."""
    monkeypatch.setattr(supervisor, "GRACE", 0.05)
    world = make_world(
        orchestrators=("ada", "bee"),
        DAEMON_TURN_TIMEOUT=50,
        DAEMON_MAX_CONCURRENT_CONVERSATIONS=1,
        NEOLITH_MAX_THREADS=1,
    )
    door = Door()
    world.model.script = deaf_at_first(door, 1)
    world.start()
    world.post("ann", "@ada hello")
    world.model.wait_for(1)
    until(lambda: world.deliveries() == ["answered"], "another thread answers")
    answers(world, "ada", "bee")
    assert world.house.dispatcher.health()["abandoned"] == 1
    assert world.house.readiness()["dispatcher"]["ok"] is True
    drained = list[str]()
    claim = world.stores.claims.claim
    late = next(thread for thread in threading.enumerate() if thread.name == "neolith-turn-1")

    def watched(*arguments: Any, **more: Any) -> Any:
        drained.append(threading.current_thread().name)
        return claim(*arguments, **more)

    monkeypatch.setattr(world.stores.claims, "claim", watched)
    door.open()
    late.join(10)
    assert not late.is_alive()
    assert "neolith-turn-1" not in drained
    assert [one["content"] for one in world.answers()] == [
        "You said: [ann]: @ada hello",
        "You said: [ann]: @ada are you there?",
    ]
    until(lambda: world.house.dispatcher.health()["abandoned"] == 0, "the thread has come back")


def test_too_many_abandoned_threads(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there may be threads: the process still works, but must be restarted; told once in the log."""
    monkeypatch.setattr(supervisor, "GRACE", 0.05)
    world = make_world(DAEMON_TURN_TIMEOUT=50, NEOLITH_MAX_THREADS=2)
    door = Door()
    world.model.script = deaf_at_first(door, 2)
    world.start("ada")
    world.post("ann", "@ada one")
    world.model.wait_for(1)
    until(lambda: world.house.dispatcher.health()["abandoned"] == 1, "one thread is given up")
    assert asked(world, "live") == WELL
    until(lambda: asked(world, "live") == UNWELL, "the second one is one too many")
    until(lambda: world.deliveries() == ["answered"], "it answers all the same")
    door.open()
    until(lambda: asked(world, "live") == WELL, "both have come back")


def test_every_job_does_its_work(running: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the scheduler of a running process calls: beats, checks, stuck turns, sweeps, renewals, logins, pruning."""
    house, called = running.house, list[str]()
    periods = house.clockwork._periods
    house.clockwork.close()
    work: dict[str, list[tuple[object, str]]] = {
        "heartbeat": [(house.supervisor, "heartbeat")],
        "health-check": [(house.supervisor, "check")],
        "sweep": [(house.supervisor, "end_stuck_turns"), (house.sweeper, "sweep")],
        "renew": [(house.worker, "renew"), (house.stores.nodes, "keep_alive")],
        "logins": [(house.node, "look_around"), (house.desk, "sweep")],
        "retention": [(house.caretaker, "run")],
    }
    for parts in work.values():
        for owner, name in parts:
            monkeypatch.setattr(owner, name, lambda *_, name=name: called.append(name))
    table = house._jobs().table()
    assert set(table) == set(work) == set(periods)
    for job, (act, period) in table.items():
        called.clear()
        act()
        assert (job, called) == (job, [name for _, name in work[job]])
        assert period == periods[job]
