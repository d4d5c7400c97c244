"""The whole runtime at the instants at which it could go wrong: held there by hooks, and never by luck."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_neolith_orchestrator.core.types import Cause, Claim, IncomingMessage, Wanted
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .interleave import interleaved
from .stage import PATIENCE, Door, Scene, echo
from .world import World, until

SLOW_SWEEP: dict[str, Any] = {"DAEMON_SWEEP_INTERVAL": 60_000}
"""For tests in which a sweep would hide that nobody was rung."""


def looks(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Claim | None]:
    """What every look for work has found, in order of their ends."""
    claim, found = world.stores.claims.claim, []

    def counted(*given: Any, **named: Any) -> Claim | None:
        got = claim(*given, **named)
        found.append(got)
        return got

    monkeypatch.setattr(world.stores.claims, "claim", counted)
    return found


@pytest.mark.postgres
def test_a_message_during_the_last_look_is_answered(
    make_world: MakeWorld, on_postgres: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is committed after a finish has looked for more and before that finish is: whoever it rings finds it held.

    It is answered all the same, in the same conversation, without another message and without the sweep.
    """
    world = make_world(on=on_postgres, **SLOW_SWEEP)
    thread, found = world.thread(), looks(world, monkeypatch)
    counted, looked = world.stores.claims.claim, threading.Event()

    def post_behind(*given: Any, **named: Any) -> Claim | None:
        got = counted(*given, **named)
        if world.model.scenes and not looked.is_set():
            looked.set()
            before = len(found)
            with ThreadPoolExecutor(1) as pool:
                pool.submit(world.post, "bob", "@ada second", thread=thread).result(PATIENCE)
            until(lambda: len(found) > before, "somebody was rung and has looked")
            assert found[before] is None
        return got

    monkeypatch.setattr(world.stores.claims, "claim", post_behind)
    world.start()
    world.post("ann", "@ada first", thread=thread)
    world.channel.wait_for("message:done", 2)
    assert world.deliveries() == ["answered", "answered"]


def deaf(door: Door) -> Iterable[str]:
    """Say something, and hear no stop flag until the door opens."""
    yield "Late "
    door.wait()
    yield "words."


def test_a_turn_that_will_not_end_at_a_stop_is_not_punished(make_world: MakeWorld, databases: Databases) -> None:
    """Given up at the stop, again and again: it uses up no attempt, and its two lines stay one turn."""
    world = make_world(on=databases, DAEMON_STOP_TIMEOUT=50, DAEMON_MAX_ATTEMPTS=2)
    door, thread = Door(), world.thread()
    world.model.script = lambda scene: deaf(door) if scene.number <= 3 else echo(scene)
    for line in ("one", "two"):
        world.post("ann", f"@ada {line}", thread=thread)
    for number in range(1, 4):
        world.start()
        world.model.wait_for(number)
        with world.context():
            world.neolith.manager.stop_daemon(world.ada)
        assert world.deliveries() == ["waiting", "waiting"]
    assert [row["attempts"] for row in world.rows("Delivery")] == [0, 0]
    door.open()
    world.model.wait_running(0)
    until(lambda: world.house.dispatcher.health()["active"] == 0, "the threads that were given up have ended")
    world.start()
    world.rest()
    assert world.deliveries() == ["answered", "answered"]
    assert (len(world.answers()), world.rows("Turn")[0]["attempt"]) == (1, 4)


def accept(world: World, number: int = 1, then: Callable[[Any], None] = lambda session: session.commit()) -> str:
    """Accept a message of the host's own chat in the host's session, and commit (or do something else); the reason."""
    message = IncomingMessage(
        id=f"host-{number}",
        content="@ada hello",
        channel_id="room-9",
        author_id=world.ids["ann"],
        timestamp=1_700_000_000.0,
    )
    with world.context():
        [made] = world.neolith.accept(message, to=[world.ada])
        then(world.db.session)
    return made.reason


@pytest.mark.postgres
@pytest.mark.parametrize("ends", ["committed", "rolled back"])
def test_two_processes_accept_one_message_at_every_instant(
    make_world: MakeWorld, on_postgres: Databases, ends: str
) -> None:
    """The second one comes between any two statements of the first: one delivery, answered by one call.

    If the first is rolled back, the second one's counts.
    """
    first = make_world(on=on_postgres, **SLOW_SWEEP)
    second = make_world(like=first, **SLOW_SWEEP)
    kept = ends == "committed"
    end: Callable[[Any], None] = lambda session: session.commit() if kept else session.rollback()  # noqa: E731 -- short
    reasons = []
    with ThreadPoolExecutor(2) as pool:
        for at in itertools.count(1):
            met = interleaved(pool, first, at, lambda: accept(first, at, end), lambda: accept(second, at))  # noqa: B023 -- run at once
            if met is None:
                break
            reasons.append(met)
    assert len(reasons) >= 3
    assert set(reasons) <= {("accepted", "accepted" if not kept else "duplicate"), ("duplicate", "accepted")}
    assert len({row["dedupe_key"] for row in first.rows("Delivery")}) == len(first.rows("Delivery"))
    second.start()
    second.rest(30.0)
    assert len(second.model.scenes) == len(second.answers()) == len(first.rows("Delivery"))


def test_a_message_is_known_after_a_restart(make_world: MakeWorld, databases: Databases) -> None:
    """Answered, then all processes ended; a new one is given the same message: no second call."""
    world = make_world(on=databases)
    world.start()
    assert accept(world) == "accepted"
    world.rest()
    world.close()
    later = make_world(like=world)
    assert accept(later) == "duplicate"
    later.start()
    later.rest()
    assert len(later.model.scenes) == len(later.answers()) == 1


def test_a_lost_ring_and_two_processes(make_world: MakeWorld, databases: Databases) -> None:
    """Nobody hears the bell of the process that accepted: the sweep of the one that works finds it within a second."""
    quiet = make_world(on=databases, ORCHESTRATOR_MODE=False)
    working = make_world(like=quiet)
    working.start()
    quiet.post("ann", "@ada hello")
    working.channel.wait_for("message:done")
    assert quiet.deliveries() == ["answered"]


def test_the_sweep_rings_once_for_each_free_slot(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three conversations wait and one runs, of two that may: a second hint would find no slot."""
    world = make_world(DAEMON_MAX_CONCURRENT_CONVERSATIONS=2, **SLOW_SWEEP)
    quiet = make_world(like=world, ORCHESTRATOR_MODE=False)
    door, rung = Door(), []

    def held(scene: Scene) -> Iterable[str]:
        door.wait(scene.cancel)
        yield from echo(scene)

    world.model.script = held
    world.start()
    world.post("ann", "@ada one")
    world.model.wait_for(1)
    for word in ("two", "three", "four"):
        quiet.post("ann", f"@ada {word}")
    with monkeypatch.context() as patched:
        patched.setattr(world.house.sweeper, "_ring", lambda _one, count: rung.append(count))
        world.house.sweeper.ring_ready()
    assert rung == [1]
    door.open()
    world.rest()


def test_slow_then_fast_and_another_thread_beside_them(make_world: MakeWorld, databases: Databases) -> None:
    """In one conversation in order, in two at once; each prompt has its own thread and no other."""
    world = make_world(on=databases, **SLOW_SWEEP)
    door = Door()

    def slow(scene: Scene) -> Iterable[str]:
        if "slow" in scene.asked:
            door.wait(scene.cancel)
        yield from echo(scene)

    world.model.script = slow
    one, other = world.thread(), world.thread()
    world.start()
    world.post("ann", "@ada slow apple", thread=one)
    world.model.wait_for(1)
    world.post("bob", "@ada fast apple", thread=one)
    world.post("bob", "@ada fast pear", thread=other)
    world.channel.wait_for("message:done", 1)
    assert [row["content"].split()[-2:] for row in world.answers() if row["state"] == "final"] == [["fast", "pear"]]
    door.open()
    world.channel.wait_for("message:done", 3)
    done = [one["message"]["content"].split()[-2:] for one in world.channel.of("message:done")]
    assert done[1:] == [["slow", "apple"], ["fast", "apple"]]
    for scene in world.model.scenes:
        said = str(scene.request.messages)
        assert ("apple" in said) != ("pear" in said)
    where = [(row["content"].split()[-1], str(row["parent_id"])) for row in world.answers()]
    assert sorted(where) == sorted([("apple", one), ("apple", one), ("pear", other)])


def claimed_beside(world: World) -> Claim:
    """A turn that nobody works on."""
    with world.stores.database.write() as tx:
        world.stores.daemons.want(tx, world.ada, Wanted.RUNNING, Cause.PERSON)
        world.stores.leases.make_slots(tx, world.ada, 1)
    world.post("ann", "@ada hello")
    with world.stores.database.write() as tx:
        claim = world.stores.claims.claim(tx, world.ada, limit=1)
    assert claim is not None
    return claim


def test_who_was_stopped_gives_the_others_time_to_renew(make_world: MakeWorld) -> None:
    """A process that wakes from a long pause takes no turn over before its neighbour could renew: it may have kept
    the database from it all the while."""
    clock = ManualClock()
    settings: dict[str, Any] = {"DAEMON_SWEEP_INTERVAL": 30_000, "DAEMON_LEASE": 5_000, "DAEMON_RENEW_INTERVAL": 1_000}
    sleeper = make_world(clock=clock, **settings)
    living = make_world(like=sleeper, clock=clock, **settings)
    claim = claimed_beside(living)
    sleeper.house.sweeper.recover()
    clock.advance(60.0)  # SIGSTOP, with the write lock in its hands
    sleeper.house.sweeper.recover()
    assert living.rows("Conversation")[0]["epoch"] == claim.epoch
    clock.advance(1.0)  # awake for one interval of renewals, and nobody has renewed
    sleeper.house.sweeper.recover()
    assert living.rows("Conversation")[0]["epoch"] > claim.epoch  # whoever takes it up again raises it once more


@pytest.mark.parametrize("every", [1_000, 30_000])
def test_who_sweeps_seldom_is_awake_all_the_same(make_world: MakeWorld, every: int) -> None:
    """A lease that is over is seen by the next sweep, however short it is, and however rare the sweeps."""
    clock = ManualClock()
    settings: dict[str, Any] = {"DAEMON_SWEEP_INTERVAL": every, "DAEMON_LEASE": 1_000, "DAEMON_RENEW_INTERVAL": 250}
    sweeping = make_world(clock=clock, **settings)
    claim = claimed_beside(make_world(like=sweeping, clock=clock, **settings))
    renew, _period = sweeping.house._jobs().table()["renew"]
    for _ in range(2):
        sweeping.house.sweeper.recover()
        for _ in range(every // 250):
            clock.advance(0.25)
            renew()
    sweeping.house.sweeper.recover()
    assert sweeping.rows("Conversation")[0]["epoch"] > claim.epoch
