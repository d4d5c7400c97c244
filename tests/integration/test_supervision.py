"""Who watches over daemons: racing wishes, starts that fail, restarts and their budget, and what hangs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flask_neolith_orchestrator import OrchestratorDaemon
from flask_neolith_orchestrator.core.errors import DaemonError, DaemonStuck, Superseded
from flask_neolith_orchestrator.core.types import Cause, Wanted
from flask_neolith_orchestrator.runtime.daemons import duty, restarts
from flask_neolith_orchestrator.runtime.daemons import supervisor as supervisor_module
from flask_neolith_orchestrator.runtime.daemons.life import Life
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import MakeWorld
from .stage import Door, Scene, echo
from .test_life import ada, at_once, hanging, health, impatient, in_context, row
from .world import World, until

__all__ = ["impatient"]  # a fixture

DAY = 86_400.0


class Call:
    """Something that one thread does; what it gave or raised. Lifetime: a test."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.found: Any = None
        self._act = act
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.found = self._act()
        except Exception as error:  # noqa: BLE001 -- the test looks at it
            self.found = error

    @property
    def is_alive(self) -> bool:
        """Whether it still goes on."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Give it so long to end."""
        self._thread.join(seconds)

    def end(self) -> Any:
        """What it gave or raised, once it has ended."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.found


@contextmanager
def at_the_lock(monkeypatch: pytest.MonkeyPatch, hook: Callable[[], None]) -> Iterator[None]:
    """Whoever is about to take a daemon's lock calls `hook` first."""
    acquire = Life.acquire

    def hooked(life: Life, blocking: bool = True, timeout: float = -1.0) -> bool:
        if blocking:
            hook()
        return acquire(life, blocking, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(Life, "acquire", hooked)
        yield


def presence(world: World) -> list[str]:
    """What everybody heard of ada's presence."""
    found = [one for one in world.channel.of("presence") if one["orchestratorId"] == world.ada]
    return [one["status"] for one in found]


def test_sixteen_starts_meet_in_the_middle_of_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """15 threads start a daemon that a first one is just starting: it is made ready once, and runs once."""
    crew = world.house.manager.lives.crew
    prepare, prepared, waiting = crew.prepare, [], set()
    all_there = threading.Event()

    def arrive() -> None:
        waiting.add(threading.get_ident())
        if len(waiting) == 16:
            all_there.set()

    def slow(daemon: OrchestratorDaemon, snapshot: Any) -> None:
        prepared.append(daemon)
        assert all_there.wait(10)
        prepare(daemon, snapshot)

    monkeypatch.setattr(crew, "prepare", slow)
    daemon = ada(world)
    with at_the_lock(monkeypatch, arrive):
        found = at_once(16, lambda _: in_context(world, daemon.start))
    assert found == [None] * 16
    assert prepared == [daemon]
    assert presence(world) == ["ONLINE"]


@pytest.mark.parametrize("last", ["start", "stop"])
def test_the_last_wish_wins_whoever_is_slow(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    """A wish is written, its thread is overtaken by the opposite wish and its whole deed: that one stays true, at
    once, and not only after the next sweep."""
    world = make_world(DAEMON_SWEEP_INTERVAL=60_000)
    daemon = ada(world)
    if last == "start":
        in_context(world, daemon.start)
    slow, quick = (daemon.stop, daemon.start) if last == "start" else (daemon.start, daemon.stop)
    written, go_on, late = threading.Event(), threading.Event(), threading.local()

    def pause() -> None:
        if getattr(late, "mine", False) and not written.is_set():
            written.set()
            assert go_on.wait(10)

    def overtaken() -> None:
        late.mine = True
        in_context(world, slow)

    with at_the_lock(monkeypatch, pause):
        call = Call(overtaken)
        assert written.wait(10)
        in_context(world, quick)
        go_on.set()
        assert call.end() is None
    wanted = "running" if last == "start" else "stopped"
    assert daemon.get_status() == wanted
    assert (row(world)["wanted"], row(world)["state"]) == (wanted, wanted)


def test_a_turn_that_is_claimed_in_the_instant_of_a_restart(make_world: MakeWorld) -> None:
    """A finish decides to go on with the next conversation, and only then a restart begins: all is answered once."""
    world = make_world(DAEMON_STOP_TIMEOUT=100, DAEMON_MAX_CONCURRENT_CONVERSATIONS=1)
    deciding, go_on, cut = threading.Event(), threading.Event(), Door()
    limit_of = world.house.duty.limit_of
    settle = world.house.worker._settle

    def settling(*arguments: Any, chain: bool) -> Any:
        def late(orchestrator_id: str) -> int:
            found = limit_of(orchestrator_id)
            world.house.duty.limit_of = limit_of  # type: ignore[method-assign]
            deciding.set()
            assert go_on.wait(10)
            return found

        if not deciding.is_set():
            world.house.duty.limit_of = late  # type: ignore[method-assign]
        return settle(*arguments, chain=chain)

    world.house.worker._settle = settling  # type: ignore[method-assign,assignment]  # any arguments

    def script(scene: Scene) -> Iterable[str]:
        if scene.number == 2:
            cut.wait(scene.cancel)
        yield from echo(scene)

    world.model.script = script
    for number in range(2):
        world.post("ann", f"@ada {number}")
    world.start()
    assert deciding.wait(10)
    restarting = Call(lambda: in_context(world, ada(world).restart))
    until(lambda: ada(world).get_status() == "stopping", "the restart begins")
    go_on.set()
    assert restarting.end() is None
    world.rest()
    assert world.deliveries() == ["answered"] * 2
    assert [one["content"] for one in world.answers()] == [f"You said: [ann]: @ada {number}" for number in range(2)]
    assert [one["attempt"] for one in world.rows("Turn")] == [1, 2]
    assert world.model.most == 1


def test_a_finish_of_the_old_generation_is_void(make_world: MakeWorld) -> None:
    """An old thread is just about to write when it is given up, and does so while the new generation answers the same
    turn: only the new answer is ever seen."""
    world = make_world(DAEMON_STOP_TIMEOUT=20)
    finishing, go_on, door = threading.Event(), threading.Event(), Door()
    settle = world.house.worker._settle

    def settling(*arguments: Any, chain: bool) -> Any:
        if not finishing.is_set():
            finishing.set()
            assert go_on.wait(10)
        return settle(*arguments, chain=chain)

    def script(scene: Scene) -> Iterable[str]:
        yield "Old." if scene.number == 1 else "New."
        if scene.number == 2:
            door.wait(scene.cancel)

    world.house.worker._settle = settling  # type: ignore[method-assign,assignment]  # any arguments
    world.model.script = script
    world.start()
    world.post("ann", "@ada hello")
    assert finishing.wait(10)
    assert Call(lambda: in_context(world, ada(world).restart)).end() is None
    world.model.wait_for(2)
    go_on.set()
    until(lambda: world.house.worker.late_finishes == 1, "the old finish")
    assert (world.deliveries(), world.answers()[0]["state"]) == (["running"], "streaming")
    door.open()
    world.rest()
    assert ([one["content"] for one in world.answers()], world.deliveries()) == (["New."], ["answered"])


def test_one_turn_that_cannot_be_handed_back_keeps_no_other(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop gives up two turns, and the first cannot be written: the second goes back, the first a little later."""
    world, told = make_world(DAEMON_STOP_TIMEOUT=20), list[Any]()
    world.house.manager.on("daemon:stop-error", lambda orchestrator_id, error: told.append(error))
    door, crew, failures = Door(), world.house.manager.lives.crew, [KeyError("a bug of somebody's")]
    hand_back = crew.hand_back

    def failing_once(turn_id: str, **more: Any) -> None:
        if failures:
            raise failures.pop()
        hand_back(turn_id, **more)

    def deaf(scene: Scene) -> Iterable[str]:
        if scene.number <= 2:
            door.wait()
        yield from echo(scene)

    monkeypatch.setattr(crew, "hand_back", failing_once)
    world.model.script = deaf
    world.start()
    for number in range(2):
        world.post("ann", f"@ada {number}")
    world.model.wait_running(2)
    in_context(world, ada(world).stop)
    assert sorted(world.deliveries()) == ["running", "waiting"]
    until(lambda: told, "it was told of")
    until(lambda: world.deliveries() == ["waiting"] * 2, "the sweep hands the other one back")
    door.open()
    world.start()
    until(lambda: world.deliveries() == ["answered"] * 2, "both are answered")
    assert len(world.answers()) == 2


def test_a_process_that_ends_keeps_the_leases_of_what_still_runs(make_world: MakeWorld) -> None:
    """Its scheduler is gone, and a turn goes on for longer than its lease: another process, which looks for such all
    the time, takes nothing, and the turn is finished by its one call."""
    world = make_world(DAEMON_LEASE=2_000, DAEMON_STOP_TIMEOUT=20_000)
    other, house, door = make_world(like=world, DAEMON_LEASE=2_000), world.house, Door()

    def script(scene: Scene) -> Iterable[str]:
        door.wait(scene.cancel)
        yield from echo(scene)

    def lease() -> float:
        return float(other.rows("Slot", n=0)[0]["lease_until"])

    world.model.script = script
    world.start()
    world.post("ann", "@ada hello")
    world.model.wait_for(1)
    other.start()
    ending = Call(lambda: world.neolith.shutdown(world.app))
    until(lambda: not house.clockwork.health()["running"], "the scheduler is gone")
    before = lease()
    until(lambda: lease() > before + 2.0, "renewed beyond a whole lease")
    door.open()
    assert ending.end() is None
    assert (len(world.model.scenes), other.deliveries()) == (1, ["answered"])
    assert other.rows("Turn")[0]["attempt"] == 1


def failing(world: World, monkeypatch: pytest.MonkeyPatch, *, times: int = 1_000) -> list[str]:
    """Let the next starts fail for a cause that may pass; those that were tried."""
    crew, tries = world.house.manager.lives.crew, list[str]()
    prepare = crew.prepare

    def fail(daemon: OrchestratorDaemon, snapshot: Any) -> None:
        tries.append(daemon.id)
        if len(tries) <= times:
            raise KeyError("a bug of somebody's")
        prepare(daemon, snapshot)

    monkeypatch.setattr(crew, "prepare", fail)
    return tries


def test_a_first_start_that_fails_for_a_passing_cause(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked hears why, everybody can see it, and it is tried again by itself until it runs."""
    world = make_world(DAEMON_RESTART_DELAY=1)
    tries, told = failing(world, monkeypatch, times=2), list[Any]()
    world.house.manager.on("daemon:start-error", lambda orchestrator_id, error: told.append((orchestrator_id, error)))
    with world.context(), pytest.raises(KeyError):
        world.neolith.manager.start_daemon(world.ada)
    until(lambda: ada(world).is_running(), "it runs after all")
    until(lambda: len(told) == 2, "both failures were told of")
    assert {orchestrator_id for orchestrator_id, _ in told} == {world.ada}
    assert len(tries) == 3
    assert {one.kind for one in health(world).errors} == {"KeyError"}
    assert (row(world)["state"], health(world).restarts) == ("running", 2)


def delays(caplog: pytest.LogCaptureFixture) -> list[float]:
    """Seconds before each restart so far."""
    died = [one for one in caplog.records if getattr(one, "action", "") == "daemon-died"]
    return [float(str(one.args[2])) for one in died if isinstance(one.args, tuple)]


def test_restarts_that_always_fail_end(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Three restarts after growing delays, then error for good: no sweep and no new process tries again, a person
    may, and has the whole budget again."""
    world = make_world(DAEMON_RESTART_DELAY=4)
    tries, failed = failing(world, monkeypatch), list[str]()
    world.house.manager.on("daemon:failed", lambda orchestrator_id, **_: failed.append(orchestrator_id))
    with world.context(), pytest.raises(KeyError):
        world.neolith.manager.start_daemon(world.ada)
    until(lambda: failed, "it is given up")
    assert len(tries) == 4
    assert [0.75 <= delay / (0.004 * 2**n) <= 1.25 for n, delay in enumerate(delays(caplog))] == [True] * 3
    assert (row(world)["state"], row(world)["wanted"]) == ("error", "running")
    assert (health(world).status, presence(world)) == ("error", ["ERROR"])
    for _ in range(3):
        world.house.sweeper.reconcile()
    other = make_world(like=world)
    other.house.ensure_started()
    other.house.sweeper.reconcile()
    assert len(tries) == 4
    assert not ada(other).is_running()
    with world.context(), pytest.raises(KeyError):
        world.neolith.manager.start_daemon(world.ada)
    until(lambda: len(failed) == 2, "it is given up again")
    assert len(tries) == 8
    monkeypatch.undo()
    world.start("ada")
    assert (row(world)["state"], presence(world)[-1]) == ("running", "ONLINE")


def die(world: World) -> str:
    """Let ada die; what becomes of her: running again, or error."""
    before = row(world)["restarts"]
    world.house.supervisor.died(ada(world), DaemonError("dead"))
    until(lambda: not world.house.supervisor.will_restart(world.ada), "the end of the death")
    assert row(world)["state"] == "error" or row(world)["restarts"] == before + 1
    return str(row(world)["state"])


def test_the_budget_is_for_a_window(make_world: MakeWorld, caplog: pytest.LogCaptureFixture) -> None:
    """Restarts spread over days never use it up; the window slides; four within it are one too many."""
    clock = ManualClock()
    world = make_world(clock=clock, DAEMON_RESTART_DELAY=1)
    world.start("ada")
    for _ in range(5):
        assert die(world) == "running"
        clock.advance(DAY)
    assert all(delay <= 0.00125 for delay in delays(caplog))  # each was the first of its window
    for _ in range(6):  # every 210 s: never more than two others in the last 600
        assert die(world) == "running"
        clock.advance(210)
    clock.advance(600)
    found = []
    for _ in range(4):
        found.append(die(world))
        clock.advance(1)
    assert found == ["running", "running", "running", "error"]


def test_a_persons_start_is_not_undone_by_the_restart(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by hand while a restart waits for its delay: that restart finds nothing left to do."""
    world, halted = make_world(DAEMON_RESTART_DELAY=100), list[str]()
    failing(world, monkeypatch, times=1)
    monkeypatch.setattr(world.house.manager.lives, "halt", lambda _daemon, reason, **_: halted.append(reason))
    with world.context(), pytest.raises(KeyError):
        world.neolith.manager.start_daemon(world.ada)
    world.start("ada")
    assert world.house.supervisor.will_restart(world.ada)
    until(lambda: not world.house.supervisor.will_restart(world.ada), "the restart has had its turn")
    assert ada(world).is_running()
    assert halted == []
    monkeypatch.undo()


def test_many_deaths_need_few_threads(make_world: MakeWorld) -> None:
    """However many die at one instant, a few threads start all of them again."""
    names = tuple(f"bot{number}" for number in range(40))
    world, by = make_world(orchestrators=names, DAEMON_RESTART_DELAY=1), set[int]()
    world.start()
    manager = world.house.manager
    run = manager.lives.run

    def running(daemon: OrchestratorDaemon) -> None:
        by.add(threading.get_ident())
        run(daemon)

    manager.lives.run = running  # type: ignore[method-assign]
    most = 0
    for daemon in manager.all():
        world.house.supervisor.died(daemon, DaemonError("dead"))
        most = max(most, sum(one.name == "neolith-restart" for one in threading.enumerate()))
    until(lambda: not any(world.house.supervisor.will_restart(one.id) for one in manager.all()), "all had their turn")
    assert len(manager.get_running_daemons()) == len(names)
    assert [one["restarts"] for one in world.rows("Daemon")] == [1] * len(names)
    assert 1 <= most <= restarts.MOST
    assert by


class Hanging:
    """A hook that hangs in its first calls until it is let go. Lifetime: a test."""

    def __init__(self, times: int = 1) -> None:
        self.entered = threading.Semaphore(0)
        self.released = threading.Event()
        self._left = times
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            hangs = self._left >= 0
        if hangs:
            self.entered.release()
            assert self.released.wait(20)


def answers(world: World, *names: str) -> None:
    """Each of them answers now."""
    before = len(world.rows("Delivery", state="answered"))
    for name in names:
        world.post("ann", f"@{name} are you there?")
    until(lambda: len(world.rows("Delivery", state="answered")) == before + len(names), f"answers of {names}")


def hang_in_prepare(world: World, monkeypatch: pytest.MonkeyPatch, who: str, times: int = 1) -> Hanging:
    """Let what a start waits for hang."""
    crew, hang = world.house.manager.lives.crew, Hanging(times)
    prepare = crew.prepare

    def slow(daemon: OrchestratorDaemon, snapshot: Any) -> None:
        if daemon.orchestrator.handle == who:
            hang()
        prepare(daemon, snapshot)

    monkeypatch.setattr(crew, "prepare", slow)
    return hang


def give_up(world: World, daemon: OrchestratorDaemon) -> None:
    """Let the supervisor find out that something hangs."""
    until(lambda: world.house.supervisor.hangs(daemon), "it takes too long")
    world.house.supervisor.check()


@pytest.mark.usefixtures("impatient")
def test_a_start_that_hangs_is_begun_afresh(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The culprit is named, all others go on, a new generation runs, and the old start, once awake, changes nothing."""
    world = make_world(orchestrators=("ada", "bee"), DAEMON_RESTART_DELAY=1, DAEMON_STOP_TIMEOUT=1)
    hang, named, started = hang_in_prepare(world, monkeypatch, "ada"), list[str](), list[str]()
    manager = world.house.manager
    manager.on("daemon:health-error", lambda orchestrator_id, **_: named.append(orchestrator_id))
    manager.on("daemon:started", lambda orchestrator_id, **_: started.append(orchestrator_id))
    world.start("bee")
    call = Call(lambda: in_context(world, ada(world).start))
    assert hang.entered.acquire(timeout=10)
    assert health(world).status == "initializing"
    answers(world, "bee")
    give_up(world, ada(world))
    until(lambda: ada(world).is_running(), "a new generation")
    assert ada(world).life.generation == 2
    assert (named, ada(world).errors[-1].kind) == ([world.ada], DaemonStuck.__name__)
    answers(world, "ada", "bee")
    hang.released.set()
    assert isinstance(call.end(), Superseded)
    assert (ada(world).get_status(), row(world)["state"], row(world)["restarts"]) == ("running", "running", 1)
    until(lambda: len(started) == 2, "each start was told of")
    answers(world, "ada")
    assert presence(world) == ["ONLINE"]


@pytest.mark.usefixtures("impatient")
def test_a_late_failure_of_a_start_that_was_given_up(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """What hung ends with an error after all: the new generation is not given up for it."""
    world = make_world(DAEMON_RESTART_DELAY=1, DAEMON_STOP_TIMEOUT=1)
    hang = Hanging()

    def check() -> str | None:
        hang()
        return "broken" if hang.released.is_set() else None

    monkeypatch.setattr(world.model, "check", check)
    call = Call(lambda: in_context(world, ada(world).start))
    assert hang.entered.acquire(timeout=10)
    give_up(world, ada(world))
    until(lambda: ada(world).is_running(), "a new generation")
    hang.released.set()
    assert isinstance(call.end(), DaemonError)
    assert (ada(world).get_status(), row(world)["state"]) == ("running", "running")


@pytest.mark.usefixtures("impatient")
def test_a_stop_that_hangs_is_ended(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """What hands its turns back hangs: it is stopped all the same, can be started, and the old stop does no harm."""
    world = make_world(DAEMON_RESTART_DELAY=1, DAEMON_STOP_TIMEOUT=1)
    crew, hang = world.house.manager.lives.crew, Hanging()
    wind_down = crew.wind_down

    def slow(*arguments: Any, **more: Any) -> None:
        hang()
        wind_down(*arguments, **more)

    monkeypatch.setattr(crew, "wind_down", slow)
    world.start("ada")
    call = Call(ada(world).stop)
    assert hang.entered.acquire(timeout=10)
    give_up(world, ada(world))
    until(lambda: row(world)["state"] == "stopped", "it is stopped")
    assert presence(world)[-1] == "OFFLINE"
    until(lambda: not world.house.supervisor.will_restart(world.ada), "all is done")
    world.start("ada")
    hang.released.set()
    assert isinstance(call.end(), Superseded)
    assert (ada(world).get_status(), row(world)["state"], row(world)["wanted"]) == ("running", "running", "running")
    answers(world, "ada")


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_is_never_freed_ends_in_error(make_world: MakeWorld) -> None:
    """Without any restart left: row, presence and health say ERROR, no work is taken, and a person begins afresh."""
    world = make_world(orchestrators=("ada", "bee"), DAEMON_MAX_RESTART_ATTEMPTS=0)
    world.start()
    failed = list[Any]()
    world.house.manager.on("daemon:failed", lambda orchestrator_id, error: failed.append((orchestrator_id, error)))
    with hanging(world, ada(world)):
        world.house.supervisor.check()
        until(lambda: failed, "it is given up")
        assert failed[0][0] == world.ada
        assert isinstance(failed[0][1], DaemonStuck)
        assert (row(world)["state"], row(world)["wanted"]) == ("error", "running")
        assert "does not answer" in row(world)["error"]
        assert (health(world).status, presence(world)[-1]) == ("error", "ERROR")
        assert world.rows("Orchestrator")[0]["status"] == "ERROR"
        assert world.house.duty.limit_of(world.ada) == 0
        waiting = world.post("ann", "@ada are you there?")
        answers(world, "bee")
        assert [one["state"] for one in world.rows("Delivery", message_id=int(waiting["id"]))] == ["waiting"]
        world.start("ada")
        until(lambda: world.deliveries() == ["answered"] * 2, "what waited is answered")
    assert (ada(world).get_status(), row(world)["state"]) == ("running", "running")
    answers(world, "ada", "bee")


def test_one_hang_is_one_restart(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that come while the lock is being taken do not count another: one that has recovered stays so."""
    monkeypatch.setattr(supervisor_module, "ANSWER", 0.5)  # less than a restart waits for a lock at a time
    world = make_world(DAEMON_RESTART_DELAY=1, DAEMON_STOP_TIMEOUT=1, DAEMON_MAX_RESTART_ATTEMPTS=1)
    world.start()
    supervisor, daemon = world.house.supervisor, ada(world)

    def is_well() -> bool:
        supervisor.check()
        return daemon.is_running() and not supervisor.hangs(daemon) and not supervisor.will_restart(daemon.id)

    with hanging(world, daemon):
        give_up(world, daemon)
        until(is_well, "it runs again")
        for _ in range(20):
            supervisor.check()
        assert (row(world)["state"], row(world)["restarts"]) == ("running", 1)
    answers(world, "ada")


@pytest.mark.usefixtures("impatient")
def test_a_restart_that_hangs_keeps_nobody_waiting(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where only one restart is tried at a time: the one that hangs is given up, and the next has its turn."""
    monkeypatch.setattr(restarts, "MOST", 1)
    world = make_world(orchestrators=("ada", "bee"), DAEMON_RESTART_DELAY=1, DAEMON_STOP_TIMEOUT=1)
    world.start()
    hang = hang_in_prepare(world, monkeypatch, "ada")
    manager, supervisor = world.house.manager, world.house.supervisor
    with world.context():
        bee = manager.daemon_for(world.orchestrators["bee"])
    supervisor.died(ada(world), DaemonError("dead"))
    assert hang.entered.acquire(timeout=10)
    supervisor.died(bee, DaemonError("dead"))
    assert supervisor.will_restart(bee.id)
    give_up(world, ada(world))
    until(lambda: not supervisor.will_restart(bee.id), "bee's restart")
    until(lambda: ada(world).is_running(), "a new generation of ada")
    hang.released.set()
    answers(world, "ada", "bee")


def test_the_end_of_a_process_waits_for_a_restart(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is under way comes to its end first: the host closes its connections next."""
    world = make_world(DAEMON_RESTART_DELAY=1)
    world.start()
    hang, supervisor = hang_in_prepare(world, monkeypatch, "ada"), world.house.supervisor
    supervisor.died(ada(world), DaemonError("dead"))
    assert hang.entered.acquire(timeout=10)
    monkeypatch.setattr(restarts.Restarts.close, "__defaults__", (10.0,))
    closing = Call(supervisor.close)
    closing.wait(0.1)
    assert closing.is_alive
    hang.released.set()
    assert closing.end() is None
    assert not supervisor.will_restart(world.ada)


@pytest.mark.usefixtures("impatient")
def test_one_that_hangs_at_the_start_of_the_process(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the start of the process nor its sweep waits for it, and those started together with it run as well."""
    monkeypatch.setattr(duty, "RESUME", 0.2)
    world = make_world(orchestrators=("ada", "bee"), DAEMON_RESTART_DELAY=1, DAEMON_STOP_TIMEOUT=1)
    world.start()
    world.close()
    again = make_world(like=world, DAEMON_RESTART_DELAY=1, DAEMON_STOP_TIMEOUT=1)
    with again.stores.database.write() as tx:
        for one in again.orchestrators.values():
            again.stores.daemons.want(tx, one, Wanted.RUNNING, Cause.PERSON)
    hang = hang_in_prepare(again, monkeypatch, "ada")
    assert Call(again.house.ensure_started).end() is None
    assert hang.entered.acquire(timeout=10)
    assert Call(again.house.sweeper.sweep).end() is None
    give_up(again, ada(again))
    until(lambda: len(again.house.manager.get_running_daemons()) == 2, "both run")
    hang.released.set()
    answers(again, "ada", "bee")


def test_a_check_does_not_wait_for_anybody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start or stop that is only slow is neither waited for nor taken for dead."""
    hang, named = hang_in_prepare(world, monkeypatch, "ada"), list[str]()
    world.house.manager.on("daemon:health-error", lambda orchestrator_id, **_: named.append(orchestrator_id))
    call = Call(lambda: in_context(world, ada(world).start))
    assert hang.entered.acquire(timeout=10)
    world.house.supervisor.check()
    world.house.supervisor.heartbeat()
    hang.released.set()
    assert call.end() is None
    assert (ada(world).life.generation, named) == (1, [])


def test_threads_that_cannot_be_started_are_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine without threads in the instant of a death: the next check starts the restart."""
    world.start("ada")

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(threading.Thread, "start", fail)
        world.house.supervisor.died(ada(world), DaemonError("dead"))
    assert world.house.supervisor.will_restart(world.ada)
    world.house.supervisor.check()
    until(lambda: row(world)["restarts"] == 1, "it is counted, so its restart is under way")
