"""The whole runtime: who runs when, in which order, and what is left of it when something breaks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text, update

from flask_neolith_orchestrator.core.errors import (
    Forbidden,
    ModelInterrupted,
    ModelUnavailable,
    OpenTransaction,
    UnsupportedDatabase,
)
from flask_neolith_orchestrator.core.types import Cause, Claim, DeliveryState, IncomingMessage, OutgoingMessage, Wanted
from flask_neolith_orchestrator.runtime.arrival.intake import Accepted
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .stage import PATIENCE, Door, Scene, Stage, echo
from .world import World, build, settle_down, until

SLOW_SWEEP: dict[str, Any] = {"DAEMON_SWEEP_INTERVAL": 60_000}
"""For tests in which a sweep would hide that nobody was rung."""

PEOPLE = tuple(f"p{number}" for number in range(12))


def contents(world: World) -> list[str]:
    """What ada's answers say, in order."""
    return [row["content"] for row in world.answers()]


def post_at_once(world: World, posts: list[tuple[str, str, str | None]]) -> None:
    """Each (author, text, thread) from a thread of its own, all at the same instant."""
    barrier = threading.Barrier(len(posts))

    def post(one: tuple[str, str, str | None]) -> None:
        barrier.wait(PATIENCE)
        world.post(one[0], one[1], thread=one[2])

    with ThreadPoolExecutor(len(posts)) as pool:
        list(pool.map(post, posts))


def test_twelve_mentions_at_once_in_twelve_threads(make_world: MakeWorld, databases: Databases) -> None:
    """With a limit of ten, twelve are answered, each its own question, without a sweep's help."""
    world = make_world(on=databases, **SLOW_SWEEP)
    world.start()
    post_at_once(world, [("ann", f"@ada number {number}", None) for number in range(12)])
    world.channel.wait_for("message:done", 12)
    assert sorted(contents(world)) == sorted(f"You said: [ann]: @ada number {number}" for number in range(12))
    until(lambda: set(world.deliveries()) == {"answered"}, "all are answered")
    assert world.model.most <= 10


def test_twelve_people_in_one_conversation(make_world: MakeWorld, databases: Databases) -> None:
    """Twelve people ask in one thread at the same instant: twelve turns, one at a time, each its own requester."""
    world = make_world(on=databases, people=PEOPLE, **SLOW_SWEEP)
    thread = world.thread("p0")
    world.start()
    post_at_once(world, [(name, f"@ada I am {name}", thread) for name in PEOPLE])
    world.channel.wait_for("message:done", 12)
    assert world.model.most == 1
    turns = world.rows("Turn")
    assert sorted(row["requester_id"] for row in turns) == sorted(world.ids[name] for name in PEOPLE)
    assert len(world.answers()) == 12


def test_never_more_turns_than_the_limit(make_world: MakeWorld, databases: Databases) -> None:
    """Limit 2 and 50 conversations, two processes: never more than two turns at once, and all 50 are answered."""
    first = make_world(on=databases, DAEMON_MAX_CONCURRENT_CONVERSATIONS=2)
    second = make_world(like=first, DAEMON_MAX_CONCURRENT_CONVERSATIONS=2)
    for number in range(50):
        first.post("ann", f"@ada {number}")
    for world in (first, second):
        world.start()
    until(lambda: first.deliveries() == ["answered"] * 50, "all are answered", timeout=30.0)
    assert first.model.most == 2
    assert len(first.model.scenes) == 50
    assert first.stores.leases.slots_of(first.ada) == 0
    assert {row["state"] for row in first.rows("Turn")} == {"done"}


def test_an_outage_kills_no_delivery(make_world: MakeWorld) -> None:
    """Ten failures over half an hour, then recovery: answered, no attempt used up, no slot leaked, people are told."""
    clock = ManualClock()
    world = make_world(clock=clock)

    def away(scene: Scene) -> Iterable[str]:
        if scene.number <= 10:
            raise ModelUnavailable(retry_after=180.0)
        yield "Back again."

    world.model.script = away
    world.start()
    world.post("ann", "@ada hello")
    for call in range(1, 11):
        world.model.wait_for(call)
        until(lambda: world.deliveries() == ["waiting"], "the delivery waits again")
        assert world.answers()[0]["notice"].startswith("Waiting for the model")
        clock.advance(181.0)
    world.channel.wait_for("message:done", 11)
    assert (contents(world), world.deliveries()) == (["Back again."], ["answered"])
    assert world.rows("Delivery")[0]["attempts"] == 1
    assert world.stores.leases.slots_of(world.ada) == 0
    resets = world.channel.of("message:reset")
    assert {one["messageId"] for one in resets} == {str(world.answers()[0]["id"])}
    assert [one["epoch"] for one in resets] == list(range(2, 12))


def test_crashes_end_as_a_dead_letter_and_others_go_on(make_world: MakeWorld) -> None:
    """Five crashes: a visible failure, an event, and the next message is answered in the same slot."""
    clock = ManualClock()
    world = make_world(clock=clock, DAEMON_MAX_CONCURRENT_CONVERSATIONS=1)
    ended: list[tuple[str, str]] = []

    def crash(scene: Scene) -> Iterable[str]:
        if "poison" in scene.asked:
            raise ValueError("a bug in somebody's model")
        return echo(scene)

    world.model.script = crash
    with world.context():
        world.neolith.manager.on("delivery:ended", lambda state, reason, **_: ended.append((state, reason)))
    world.start()
    world.post("ann", "@ada poison")
    for call in range(1, 6):
        world.model.wait_for(call)
        until(lambda: world.model.running == 0 and world.deliveries() != ["running"], "the attempt has ended")
        clock.advance(100.0)
    until(lambda: ended, "the end is told")
    assert ended == [(DeliveryState.FAILED, "crash")]
    assert world.answers()[0]["state"] == "failed"
    world.post("ann", "@ada hello")
    until(lambda: world.deliveries() == ["failed", "answered"], "the next is answered")
    assert world.stores.leases.slots_of(world.ada) == 0


def test_a_limit_of_its_own_wins_over_the_apps(make_world: MakeWorld) -> None:
    """An orchestrator that may run three turns runs three where the app's setting is one."""
    world = make_world(DAEMON_MAX_CONCURRENT_CONVERSATIONS=1)
    door = Door()
    world.model.script = lambda scene: held(scene, door)
    with world.context():
        user = world.db.session.get(world.user, int(world.ids["ada"]))
        assert user is not None
        user.orchestrator_config = {"daemon": {"max_concurrent_conversations": 3}}
        world.db.session.commit()
    world.start()
    for number in range(5):
        world.post("ann", f"@ada {number}")
    world.model.wait_running(3)
    door.open()
    world.rest()
    assert world.model.most == 3


def held(scene: Scene, door: Door) -> Iterable[str]:
    """Say something, wait at the door, and say the rest."""
    yield "One "
    door.wait(scene.cancel)
    yield "two."


def test_twenty_flooded_at_once_all_progress(make_world: MakeWorld) -> None:
    """Twenty orchestrators with five questions each on ten threads: nobody has a last turn before all had their first,
    and nobody waits much longer than the average."""
    names, door = tuple(f"o{number}" for number in range(20)), Door()
    world = make_world(orchestrators=names, NEOLITH_MAX_THREADS=10, DAEMON_DRAIN_TURNS=2, DAEMON_LEASE=10_000)

    def wait(scene: Scene) -> Iterable[str]:
        door.wait(scene.cancel)
        yield "Done."

    world.model.script = wait
    taken: list[str] = []

    class Noting(deque[str]):
        def popleft(self) -> str:
            taken.append(super().popleft())  # under the dispatcher's lock: in the order that it decides
            return taken[-1]

    world.house.dispatcher._queue = Noting()  # type: ignore[attr-defined]
    thread = world.thread()
    for number in range(5):
        everybody = " ".join(f"@{name}" for name in names)
        world.post("bob" if number % 2 else "ann", f"{everybody} question {number}", thread=thread)
    world.start()
    world.model.wait_running(10)
    door.open()
    world.rest(30.0)
    assert world.deliveries() == ["answered"] * 100
    begun: dict[int, list[float]] = {}
    for row in world.rows("Turn"):
        begun.setdefault(row["orchestrator_id"], []).append(row["started_at"])
    assert [len(times) for times in begun.values()] == [5] * 20
    goes = {one: [at for at, who in enumerate(taken) if who == one] for one in world.orchestrators.values()}
    assert min(len(places) for places in goes.values()) >= 3  # two turns at a time
    assert max(places[0] for places in goes.values()) < min(places[2] for places in goes.values())
    begin = min(times[0] for times in begun.values())
    waits = [sum(times) - 5 * begin for times in begun.values()]
    assert max(waits) <= 3 * sum(waits) / 20


def host_message(world: World, number: int = 1, **more: Any) -> IncomingMessage:
    """A message of a host's own chat."""
    values = {"content": "@ada hello", "channel_id": "room-9", "author_id": world.ids["ann"], **more}
    return IncomingMessage(id=f"host-{number}", timestamp=time.time(), **values)


def test_the_same_message_from_two_processes_is_answered_once(make_world: MakeWorld) -> None:
    """Twice from each of two processes at the same instant, and once more later: one call, one answer."""
    first = make_world()
    second = make_world(like=first)
    first.start()
    barrier = threading.Barrier(4)

    def accept(world: World) -> list[Accepted]:
        barrier.wait(PATIENCE)
        with world.context():
            made = world.neolith.accept(host_message(world))
            world.db.session.commit()
            return made

    with ThreadPoolExecutor(4) as pool:
        done = [one for some in pool.map(accept, [first, second, first, second]) for one in some]
    assert sorted(one.reason for one in done) == ["accepted", "duplicate", "duplicate", "duplicate"]
    first.rest()
    with first.context():
        assert [one.reason for one in first.neolith.accept(host_message(first))] == ["duplicate"]
    assert len(first.model.scenes) == len(first.answers()) == 1


def test_slow_then_fast_in_one_conversation_stays_in_order(make_world: MakeWorld) -> None:
    """The second question waits for the first one's answer, which it then sees."""
    world = make_world(**SLOW_SWEEP)
    door = Door()
    world.model.script = lambda scene: held(scene, door) if "slow" in scene.asked else echo(scene)
    thread = world.thread()
    world.start()
    world.post("ann", "@ada slow", thread=thread)
    world.model.wait_for(1)
    world.post("bob", "@ada fast", thread=thread)
    assert world.deliveries() == ["running", "waiting"]
    door.open()
    world.channel.wait_for("message:done", 2)
    assert contents(world) == ["One two.", "You said: [bob]: @ada fast"]
    prompt = [message.content for message in world.model.scenes[1].request.messages]
    assert prompt[-2] == "One two."


def test_two_threads_of_a_channel_run_in_parallel(make_world: MakeWorld) -> None:
    """A slow conversation keeps no other waiting, and neither sees the other's text."""
    world = make_world(**SLOW_SWEEP)
    door = Door()
    world.model.script = lambda scene: held(scene, door) if "slow" in scene.asked else echo(scene)
    world.start()
    slow = world.post("ann", "@ada slow secret")
    world.model.wait_for(1)
    world.post("bob", "@ada fast")
    done = world.channel.wait_for("message:done", 1)
    assert done[0]["message"]["content"] == "You said: [bob]: @ada fast"
    assert "secret" not in str(world.model.scenes[1].request)
    door.open()
    world.channel.wait_for("message:done", 2)
    answer = next(row for row in world.answers() if row["content"] == "One two.")
    assert str(answer["parent_id"]) == slow["id"]


def test_a_message_in_the_last_moment_of_a_drain_is_answered(make_world: MakeWorld, databases: Databases) -> None:
    """It comes when the worker has found nothing more and has not yet said so: answered, without another one."""
    world = make_world(on=databases, DAEMON_MAX_CONCURRENT_CONVERSATIONS=1, **SLOW_SWEEP)
    drain, at_its_end, go_on = world.house.worker.drain, Door(), Door()

    def drain_and_wait(orchestrator_id: str) -> bool:
        more = drain(orchestrator_id)
        if world.model.scenes:  # not the ring of the start, before there was work
            at_its_end.open()
            go_on.wait()
        return more

    world.house.worker.drain = drain_and_wait  # type: ignore[method-assign]  # the hook of this test
    world.start()
    world.post("ann", "@ada first")
    at_its_end.wait()
    world.post("ann", "@ada second")
    assert len(world.model.scenes) == 1
    go_on.open()
    world.channel.wait_for("message:done", 2)
    assert world.deliveries() == ["answered", "answered"]


def test_telling_that_fails_strands_nobody(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn's end that cannot be told of: the next turn, claimed in the same commit, is run all the same."""
    world = make_world(DAEMON_MAX_CONCURRENT_CONVERSATIONS=1, **SLOW_SWEEP)
    for number in range(3):
        world.post("ann", f"@ada {number}")

    def fail(*_: object) -> None:
        raise ValueError("the database is away")

    monkeypatch.setattr(world.house.duty, "turn_ended", fail)
    world.start()
    world.channel.wait_for("message:done", 3)
    assert world.deliveries() == ["answered"] * 3
    until(lambda: not world.house.worker.running(), "nothing runs any more")


def test_a_turn_longer_than_the_lease_keeps_it(make_world: MakeWorld, databases: Databases) -> None:
    """Renewed while it runs: a second process that sweeps all the time takes nothing."""
    world = make_world(on=databases, DAEMON_LEASE=1000, DAEMON_RENEW_INTERVAL=100)
    other = make_world(like=world, DAEMON_LEASE=1000, DAEMON_RENEW_INTERVAL=100)
    door = Door()
    world.model.script = lambda scene: held(scene, door)
    world.start()
    other.start()
    world.post("ann", "@ada hello")
    world.model.wait_for(1)
    slot = world.rows("Slot", n=0)[0]
    until(lambda: world.rows("Slot", n=0)[0]["lease_until"] > slot["lease_until"] + 1.3, "renewed past its first lease")
    door.open()
    world.rest()
    assert len(world.model.scenes) == 1
    assert (contents(world), world.rows("Turn")[0]["attempt"]) == (["One two."], 1)


@pytest.mark.parametrize("finds_out", [False, True], ids=["asleep", "finds out"])
def test_a_lost_lease_silences_its_process(make_world: MakeWorld, finds_out: bool, databases: Databases) -> None:
    """A process that slept past its lease: another answers, and its own late work reaches neither rows nor screens."""
    world = make_world(on=databases)
    door, renew = Door(), world.house.worker.renew
    world.model.script = lambda scene: held_deaf(door) if scene.number == 1 else echo(scene)
    world.house.worker.renew = lambda: None  # type: ignore[method-assign]  # it sleeps
    world.start()
    world.post("ann", "@ada hello")
    world.channel.wait_for("message:delta")
    world.house.duty.limit_of = lambda orchestrator_id: 0  # type: ignore[method-assign]  # fast asleep
    other = make_world(like=world)
    other.start()
    other.channel.wait_for("message:done")
    told = len(world.channel.emitted)
    if finds_out:
        renew()
        assert world.model.scenes[0].cancel.is_set()
    door.open()
    until(lambda: not world.house.worker.running(), "the late attempt has ended")
    late = [one.event for one in world.channel.emitted[told:]]
    assert set(late) <= {"daemon:health"}, "its own work: only how the daemon is may be told by both"
    assert contents(world) == ["You said: [ann]: @ada hello"]
    assert world.house.worker.late_finishes == (0 if finds_out else 1)
    assert world.deliveries() == ["answered"]


def held_deaf(door: Door) -> Iterable[str]:
    """As `held`, but deaf: no stop flag wakes it."""
    yield "Late "
    door.wait()
    yield "words."


def test_a_turn_that_came_back_is_told_by_its_new_attempt_alone(make_world: MakeWorld) -> None:
    """Lost, taken over by another process, handed back and taken again: the thread of before says nothing more."""
    world = make_world(DAEMON_STOP_TIMEOUT=100)
    doors, house = [Door(), Door(), Door()], world.house
    renew, limit_of = house.worker.renew, house.duty.limit_of
    world.model.script = lambda scene: (
        held_deaf(doors[scene.number - 1]) if scene.number != 2 else held(scene, doors[1])
    )
    house.worker.renew = lambda: None  # type: ignore[method-assign]  # it sleeps
    world.start()
    world.post("ann", "@ada hello")
    world.channel.wait_for("message:delta")
    house.duty.limit_of = lambda orchestrator_id: 0  # type: ignore[method-assign]  # fast asleep
    other = make_world(like=world)
    other.start()
    until(lambda: len(world.model.scenes) == 2, "the other process has it")
    house.duty.limit_of = limit_of  # type: ignore[method-assign]  # awake
    other.neolith.shutdown(other.app)
    until(lambda: len(world.model.scenes) == 3, "it has its turn again")
    renew()  # so that it may speak
    doors[0].open()
    until(lambda: house.dispatcher.health()["active"] == 1, "the late thread has ended")
    assert 1 not in [one["epoch"] for one in world.channel.of("message:delta")[1:]]
    doors[2].open()
    (done,) = world.channel.wait_for("message:done")
    assert done["message"]["content"] == "Late words."


def test_an_answer_is_kept_until_it_can_be_written(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is away when the turn ends: it is written when it is back, without another call."""
    world = make_world(**SLOW_SWEEP)
    settle, tries = world.stores.settle.settle, []

    def away(*arguments: Any, **options: Any) -> Any:
        tries.append(arguments)
        if len(tries) < 3:
            raise ValueError("the disk is full")
        return settle(*arguments, **options)

    monkeypatch.setattr(world.stores.settle, "settle", away)
    world.start()
    world.post("ann", "@ada hello")
    world.channel.wait_for("message:done")
    assert (len(tries), len(world.model.scenes), world.deliveries()) == (3, 1, ["answered"])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_turn_whose_thread_died_is_found(make_world: MakeWorld) -> None:
    """Something ends the thread itself: the slot without a thread is noticed, and the turn is tried again."""
    world = make_world(DAEMON_MAX_CONCURRENT_CONVERSATIONS=1, NEOLITH_MAX_THREADS=1)

    def exit_first(scene: Scene) -> Iterable[str]:
        if scene.number == 1:
            raise SystemExit
        return echo(scene)

    world.model.script = exit_first
    world.start()
    world.post("ann", "@ada hello")
    world.channel.wait_for("message:done")
    assert world.deliveries() == ["answered"]
    assert world.rows("Delivery")[0]["attempts"] == 2
    assert world.house.dispatcher.health()["threads"] == 1


@pytest.mark.parametrize("part", ["take over", "expire"])
def test_one_row_that_cannot_be_swept_harms_no_other(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Whatever is wrong with one, those behind it in the sweep are taken over, or expire, all the same."""
    clock = ManualClock()
    world = make_world(clock=clock, DAEMON_MAX_AGE=60_000, DAEMON_SWEEP_INTERVAL=3_600_000)
    world.house.ensure_started()  # its first sweep is over
    for number in range(3):
        world.post("ann", f"@ada {number}")
    recovery, swept = world.stores.recovery, []

    def fail_first(one: Any, **_options: Any) -> None:
        swept.append(one)
        if len(swept) == 1:
            raise ValueError("a broken row")

    if part == "expire":
        monkeypatch.setattr(recovery, "expire", fail_first)
        clock.advance(61.0)
    else:
        monkeypatch.setattr(recovery, "take_over", fail_first)
        dead = make_world(like=world, clock=clock)
        with dead.stores.database.write() as tx:
            dead.stores.daemons.want(tx, world.ada, Wanted.RUNNING, Cause.PERSON)
            dead.stores.leases.make_slots(tx, world.ada, 3)
        for _ in range(3):
            with dead.stores.database.write() as tx:
                assert dead.stores.claims.claim(tx, world.ada, limit=3) is not None
        clock.advance(10.0)
        world.house.sweeper.recover()  # it might have been stopped all the while: others get time to renew
        assert swept == []
        clock.advance(0.3)
    with pytest.raises(ValueError, match="a broken row"):
        (world.house.sweeper.expire if part == "expire" else world.house.sweeper.recover)()
    assert len(swept) == 3


def test_what_waits_for_a_stopped_daemon_is_answered_at_its_start(world: World) -> None:
    """Messages for one who is not running are kept, whoever started what before."""
    world.start()
    with world.context():
        world.neolith.manager.stop_daemon(world.ada)
    world.post("ann", "@ada are you there?")
    assert (world.deliveries(), world.answers()) == (["waiting"], [])
    world.start()
    world.channel.wait_for("message:done")
    assert world.deliveries() == ["answered"]


def test_what_waited_too_long_expires_with_an_event(make_world: MakeWorld) -> None:
    """Older than DAEMON_MAX_AGE: not answered after all, but said so, to people and to listeners."""
    clock = ManualClock()
    world = make_world(clock=clock, DAEMON_MAX_AGE=60_000)
    ended: list[dict[str, Any]] = []
    with world.context():
        world.neolith.manager.on("delivery:ended", lambda **arguments: ended.append(arguments))
    world.post("ann", "@ada hello")
    clock.advance(61.0)
    world.start()
    until(lambda: ended, "the end is told")
    assert (ended[0]["state"], ended[0]["orchestrator_id"]) == ("expired", world.ada)
    assert world.answers()[0]["state"] == "failed"
    assert (
        "waited too long" in world.channel.wait_for("message:updated", 1)[-1]["message"]["content"] + contents(world)[0]
    )
    assert world.model.scenes == []


def test_a_full_inbox_refuses_visibly(make_world: MakeWorld) -> None:
    """What cannot be taken is refused at once, with an answer that says so and an event."""
    world = make_world(DAEMON_MAX_QUEUE=1)
    ended: list[dict[str, Any]] = []
    with world.context():
        world.neolith.manager.on("delivery:ended", lambda **arguments: ended.append(arguments))
    world.post("ann", "@ada one")
    world.post("ann", "@ada two")
    until(lambda: ended, "the end is told")
    assert (ended[0]["state"], ended[0]["reason"]) == ("refused", "queue-full")
    assert [(row["state"], "too many messages" in row["content"]) for row in world.answers()] == [("failed", True)]
    world.start()
    world.rest()
    assert world.deliveries() == ["answered", "refused"]


def test_lines_that_wait_together_are_one_turn(world: World) -> None:
    """Three lines of one person: one answer that has all of them before it; the next person's is another."""
    thread = world.thread()
    for who, line in (("ann", "first"), ("ann", "second"), ("ann", "third"), ("bob", "mine")):
        world.post(who, f"@ada {line}", thread=thread)
    world.start()
    world.channel.wait_for("message:done", 2)
    first, second = (str(scene.request.messages) for scene in world.model.scenes)
    assert all(line in first for line in ("first", "second", "third"))
    assert "mine" not in first
    assert "mine" in second
    assert [row["requester_id"] for row in world.rows("Turn")] == [world.ids["ann"], world.ids["bob"]]
    assert sum(row["answered"] for row in world.rows("Slot")) == 4
    with world.stores.database.write() as tx:  # what was counted before slots did
        tx.execute(update(world.neolith.models.table("Daemon")).values(processed=3))
    state = world.house.manager.get_daemon_status(world.ada)
    assert state is not None
    assert state.health.total_messages_processed == 7


def test_lines_within_the_debounce_are_one_turn(make_world: MakeWorld) -> None:
    """The debounce waits for further lines, and its own timer ends it, not the sweep."""
    world = make_world(DAEMON_DEBOUNCE=300, **SLOW_SWEEP)
    thread = world.thread()
    world.start()
    world.post("ann", "@ada one", thread=thread)
    world.post("ann", "@ada two", thread=thread)
    world.channel.wait_for("message:done")
    assert len(world.model.scenes) == 1
    assert world.deliveries() == ["answered", "answered"]
    assert world.rows("Turn")[0]["started_at"] >= world.rows("Delivery")[0]["ready_at"]


def test_an_ignored_message_moves_nothing(world: World) -> None:
    """Nobody is meant: no delivery, no counter, no event."""
    told: list[str] = []
    with world.context():
        for event in ("daemon:message-processed", "daemon:message-error", "delivery:ended"):
            world.neolith.manager.on(event, lambda event=event, **_: told.append(event))
    world.start()
    world.post("ann", "I like the name Ada.")
    world.rest()
    with world.context():
        health = world.neolith.manager.get_daemon(world.ada).get_health_status()  # type: ignore[union-attr]  # it runs
    assert (health.total_messages_processed, health.queued, told, world.deliveries()) == (0, 0, [], [])


def stop_daemon(world: World) -> float:
    """Stop ada; how many seconds it took."""
    began = time.monotonic()
    with world.context():
        world.neolith.manager.stop_daemon(world.ada)
    return time.monotonic() - began


def test_a_stop_hands_running_work_back_unpunished(make_world: MakeWorld, databases: Databases) -> None:
    """Running and waiting work at a stop: within its deadline, nothing lost, each answered once after the start."""
    world = make_world(on=databases, DAEMON_STOP_TIMEOUT=100, DAEMON_MAX_CONCURRENT_CONVERSATIONS=2)
    door = Door()
    world.model.script = lambda scene: held(scene, door) if scene.number <= 2 else echo(scene)
    world.start()
    for number in range(4):
        world.post("ann", f"@ada {number}")
    world.model.wait_running(2)
    assert stop_daemon(world) < 1.5
    assert world.deliveries() == ["waiting"] * 4
    assert {row["attempts"] for row in world.rows("Delivery")} == {0}
    assert [row["state"] for row in world.answers()] == ["interrupted", "interrupted"]
    world.start()
    world.rest()
    assert world.deliveries() == ["answered"] * 4
    assert sorted(contents(world)) == [f"You said: [ann]: @ada {number}" for number in range(4)]
    assert [row["attempt"] for row in world.rows("Turn")] == [2, 2, 1, 1]


def test_a_stop_lets_running_work_end_in_its_time(world: World) -> None:
    """A turn that ends within DAEMON_STOP_TIMEOUT is finished; nothing new is begun meanwhile."""
    door = Door()
    world.model.script = lambda scene: held(scene, door)
    world.start()
    world.post("ann", "@ada one")
    world.model.wait_for(1)
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(stop_daemon, world)
        until(lambda: not world.house.manager.is_daemon_running(world.ada), "it is stopping")
        world.post("ann", "@ada two")
        door.open()
        assert stopping.result(PATIENCE) < 1.5
    assert world.deliveries() == ["answered", "waiting"]
    assert contents(world) == ["One two."]


def test_a_reply_of_the_old_generation_never_appears(make_world: MakeWorld) -> None:
    """A turn that will not end at a stop is given up; after the restart its late text changes nothing."""
    world = make_world(DAEMON_STOP_TIMEOUT=100)
    door = Door()
    world.model.script = lambda scene: held_deaf(door) if scene.number == 1 else echo(scene)
    world.start()
    world.post("ann", "@ada hello")
    world.channel.wait_for("message:delta")
    assert stop_daemon(world) < 2.5
    assert world.deliveries() == ["waiting"]
    world.start()
    world.channel.wait_for("message:done")
    told = len(world.channel.emitted)
    door.open()
    world.model.wait_running(0)
    until(lambda: world.house.dispatcher.health()["active"] == 0, "the old thread has ended")
    assert contents(world) == ["You said: [ann]: @ada hello"]
    late = [one.event for one in world.channel.emitted[told:]]
    assert set(late) <= {"daemon:health"}, "its text: how the daemon is may be told at any time"
    assert world.deliveries() == ["answered"]


def test_one_stop_does_not_wait_for_the_others_work(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """ada's turn goes on, and another is just being claimed, while bee stops at once."""
    world = make_world(orchestrators=("ada", "bee"), DAEMON_STOP_TIMEOUT=5_000)
    door, claiming, go_on = Door(), Door(), Door()
    world.model.script = lambda scene: held(scene, door)
    world.start()
    world.post("ann", "@ada hello")
    world.model.wait_for(1)
    limit_of = world.house.duty.limit_of

    def slow_limit(orchestrator_id: str) -> int:
        if orchestrator_id == world.ada and threading.current_thread().name.startswith("neolith-turn"):
            claiming.open()
            go_on.wait()
        return limit_of(orchestrator_id)

    monkeypatch.setattr(world.house.duty, "limit_of", slow_limit)
    world.post("ann", "@ada again")
    claiming.wait()
    began = time.monotonic()
    with world.context():
        world.neolith.manager.stop_daemon(world.orchestrators["bee"])
    assert time.monotonic() - began < 1.0
    go_on.open()
    door.open()
    world.channel.wait_for("message:done", 2)


def test_the_next_process_goes_on_where_one_was_shut_down(make_world: MakeWorld) -> None:
    """An app that ends in the middle of a turn: whoever comes next answers it, once."""
    world = make_world(DAEMON_STOP_TIMEOUT=100)
    world.model.script = lambda scene: held(scene, Door()) if scene.number == 1 else echo(scene)
    world.start()
    world.post("ann", "@ada hello")
    world.model.wait_for(1)
    began = time.monotonic()
    world.neolith.shutdown(world.app, 0.1)
    assert time.monotonic() - began < 3.0
    assert world.deliveries() == ["waiting"]
    other = make_world(like=world)
    other.house.ensure_started()  # nobody logs in: it is still wanted
    other.channel.wait_for("message:done")
    assert contents(other) == ["You said: [ann]: @ada hello"]
    assert other.rows("Delivery")[0]["attempts"] == 1


def test_a_question_deleted_before_its_turn_is_never_asked(world: World) -> None:
    """Deleted while it waits: no call, no reply, and its text is in no later prompt."""
    thread = world.thread()
    asked = world.post("ann", "@ada forget this secret", thread=thread)
    world.delete("ann", asked["id"])
    world.post("ann", "@ada hello", thread=thread)
    world.start()
    world.channel.wait_for("message:done")
    assert world.deliveries() == ["cancelled", "answered"]
    assert len(world.model.scenes) == len(world.answers()) == 1
    assert "secret" not in str(world.model.scenes[0].request)


def test_a_question_that_is_gone_when_its_turn_begins_is_never_asked(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted in the instant of the claim, by somebody who knows no deliveries: the model is not called at all."""
    world = make_world(DAEMON_LEASE=60_000, DAEMON_RENEW_INTERVAL=30_000)
    asked = world.post("ann", "@ada forget this secret")
    claims, messages = world.stores.claims, world.neolith.models.table("Message")
    claim = claims.claim

    def delete_first(tx: Any, *given: Any, **named: Any) -> Claim | None:
        found = claim(tx, *given, **named)
        tx.execute(update(messages).where(messages.c.id == int(asked["id"])).values(deleted_at=1.0, content=""))
        return found

    monkeypatch.setattr(claims, "claim", delete_first)
    world.start()
    until(lambda: world.deliveries() == ["cancelled"], "the delivery is cancelled")
    assert world.model.scenes == []
    assert world.rows("Turn")[0]["calls"] == 0


def test_a_question_deleted_during_its_turn_gets_no_reply(world: World) -> None:
    """Deleted while it is answered: the call is cut, the answer goes, and neither is in a later prompt."""
    thread = world.thread()
    world.model.script = lambda scene: held(scene, Door()) if scene.number == 1 else echo(scene)
    world.start()
    asked = world.post("ann", "@ada forget this secret", thread=thread)
    world.channel.wait_for("message:delta")
    began = time.monotonic()
    world.delete("ann", asked["id"])
    world.model.wait_running(0)
    assert time.monotonic() - began < 1.0
    until(lambda: world.deliveries() == ["cancelled"], "the delivery is cancelled")
    assert world.answers()[0]["deleted_at"] is not None
    until(lambda: len(world.channel.of("message:deleted")) == 2, "question and answer are gone from the screen")
    world.post("ann", "@ada hello", thread=thread)
    world.channel.wait_for("message:done")
    later = str(world.model.scenes[1].request)
    assert "secret" not in later
    assert "One" not in later


def test_stop_by_the_person_who_asked(make_world: MakeWorld) -> None:
    """The call is cut within a second, the text so far stays; again is harmless; others may not; the next works."""
    world = make_world(DAEMON_LEASE=60_000, DAEMON_RENEW_INTERVAL=30_000)  # a renewal would find out too
    world.model.script = lambda scene: held(scene, Door()) if scene.number == 1 else echo(scene)
    world.start()
    thread = world.thread()
    asked = world.post("ann", "@ada hello", thread=thread)
    world.channel.wait_for("message:delta")
    with pytest.raises(Forbidden):
        world.stop("bob", asked["id"])
    began = time.monotonic()
    assert world.stop("ann", asked["id"])["state"] == "stopping"
    done = world.channel.wait_for("message:done")
    assert time.monotonic() - began < 1.0
    assert (done[0]["message"]["state"], done[0]["message"]["content"]) == ("interrupted", "One ")
    assert world.stop("ann", done[0]["message"]["id"])["state"] == "over"
    assert world.deliveries() == ["cancelled"]
    world.post("ann", "@ada again", thread=thread)
    world.channel.wait_for("message:done", 2)
    assert world.deliveries() == ["cancelled", "answered"]


def test_stop_in_another_process_is_seen_at_the_next_renewal(make_world: MakeWorld, databases: Databases) -> None:
    """Whoever takes the request need not be who runs the turn."""
    world = make_world(on=databases)
    world.model.script = lambda scene: held(scene, Door())
    world.start()
    asked = world.post("ann", "@ada hello")
    world.model.wait_for(1)
    other = make_world(like=world)
    assert other.stop("ann", asked["id"])["state"] == "stopping"
    done = world.channel.wait_for("message:done")
    assert done[0]["message"]["state"] == "interrupted"


def test_stop_of_what_waits(world: World) -> None:
    """Not begun yet: cancelled, never asked."""
    asked = world.post("ann", "@ada hello")
    assert world.stop("ann", asked["id"])["state"] == "stopped"
    world.start()
    world.rest()
    assert (world.deliveries(), world.model.scenes) == (["cancelled"], [])


def test_deltas_make_up_the_answer(make_world: MakeWorld) -> None:
    """Announced at once, coalesced deltas with one epoch and seq 1, 2, 3, and the whole at the end."""
    world = make_world(NEOLITH_DELTA_INTERVAL=30)
    words = [f"word{number} " for number in range(200)]
    world.model.script = lambda _scene: words
    world.start()
    world.post("ann", "@ada hello")
    done = world.channel.wait_for("message:done")
    deltas = world.channel.of("message:delta")
    assert "".join(one["text"] for one in deltas) == "".join(words) == done[0]["message"]["content"]
    assert [one["seq"] for one in deltas] == list(range(1, len(deltas) + 1))
    assert {one["epoch"] for one in deltas} == {1}
    assert len(deltas) < 20
    reply = done[0]["message"]["id"]
    mine = [one.event for one in world.channel.emitted if str(one.payload.get("message", one.payload)).find(reply) >= 0]
    assert mine.index("message") < mine.index("message:delta") < mine.index("message:done")
    assert done[0]["message"]["seq"] == len(deltas)


def test_a_silent_provider_holds_back_no_text(world: World) -> None:
    """What was said before the pause is on the screen and in the row during the pause."""
    door = Door()

    def pause(scene: Scene) -> Iterable[str]:
        yield "One "
        yield "two "
        door.wait(scene.cancel)
        yield "three."

    world.model.script = pause
    world.start()
    world.post("ann", "@ada hello")
    until(lambda: "".join(one["text"] for one in world.channel.of("message:delta")) == "One two ", "both are seen")
    until(lambda: contents(world) == ["One two "], "both are kept")
    assert world.answers()[0]["state"] == "streaming"
    door.open()
    world.channel.wait_for("message:done")
    assert contents(world) == ["One two three."]


def test_a_cut_stream_is_tried_again_in_the_same_row(make_world: MakeWorld, databases: Databases) -> None:
    """The partial text stays as interrupted, then the row begins again with a newer epoch."""
    clock = ManualClock()
    world = make_world(on=databases, clock=clock)

    def cut(scene: Scene) -> Iterable[str]:
        yield "Half "
        if scene.number == 1:
            raise ModelInterrupted
        yield "and whole."

    world.model.script = cut
    world.start()
    world.post("ann", "@ada hello")
    first = world.channel.wait_for("message:done")[0]["message"]
    assert (first["state"], first["content"]) == ("interrupted", "Half ")
    clock.advance(5.0)
    second = world.channel.wait_for("message:done", 2)[1]["message"]
    assert (second["id"], second["state"], second["content"]) == (first["id"], "final", "Half and whole.")
    assert world.channel.of("message:reset") == [{"messageId": first["id"], "epoch": 2}]
    assert [(one["epoch"], one["seq"]) for one in world.channel.of("message:delta")][-1][0] == 2
    assert world.rows("Delivery")[0]["attempts"] == 1


def test_an_answer_for_the_hosts_own_chat_is_told_at_least_once(world: World) -> None:
    """message:send with the host's ids and the reply's id as key; a listener that fails hears it again."""
    heard: list[OutgoingMessage] = []

    def listen(response: OutgoingMessage, **_: object) -> None:
        heard.append(response)
        if len(heard) == 1:
            raise ConnectionError("the host's chat is away")

    with world.context():
        world.neolith.manager.on("daemon:message-send", listen)
        made = world.neolith.accept(host_message(world), to=[world.ada])
        world.db.session.commit()
    world.start()
    delivery = made[0].delivery
    assert delivery is not None
    with world.context():
        assert delivery.wait(PATIENCE) == "answered"
    until(lambda: len(heard) == 2 and world.rows("Outbox")[0]["sent_at"], "told again, and noted")
    assert heard[0] == heard[1]
    assert (heard[0].channel_id, heard[0].reply_to_id, heard[0].content) == (
        "room-9",
        "host-1",
        "You said: [ann]: @ada hello",
    )
    assert heard[0].metadata is not None
    assert heard[0].metadata["idempotencyKey"] == str(world.answers()[0]["id"])


def test_an_answer_that_failed_and_came_later_is_told_again(world: World) -> None:
    """A dead letter that is tried again: the host hears the good answer too, under the same key."""
    heard: list[OutgoingMessage] = []
    good = threading.Event()

    def flaky(scene: Scene) -> Iterable[str]:
        if not good.is_set():
            raise ValueError("a bug")
        return echo(scene)

    world.model.script = flaky
    with world.context():
        world.app.extensions["neolith"].house.stores.settle._max_attempts = 1
        world.neolith.manager.on("daemon:message-send", lambda response, **_: heard.append(response))
        world.neolith.accept(host_message(world), to=[world.ada])
        world.db.session.commit()
    world.start()
    until(lambda: len(heard) == 1 and world.rows("Outbox")[0]["sent_at"], "the failure is told")
    good.set()
    with world.stores.database.write() as tx:
        assert world.stores.turns.retry(tx, "1")
    until(lambda: len(heard) == 2, "the answer is told")
    assert heard[1].content == "You said: [ann]: @ada hello"
    assert heard[0].metadata is not None
    assert heard[1].metadata is not None
    assert heard[0].metadata["idempotencyKey"] == heard[1].metadata["idempotencyKey"]


def test_handle_message_accepts_by_itself(world: World) -> None:
    """Durably, in its own transaction, with the reason; the delivery can be waited for."""
    world.start()
    with world.context():
        daemon = world.neolith.get_orchestrator(world.ids["ada"])
        assert daemon is not None
        accepted = daemon.handle_message(host_message(world))
        assert accepted
        assert accepted.delivery is not None
        assert accepted.delivery.wait(PATIENCE) == "answered"
        assert daemon.handle_message(host_message(world)).reason == "duplicate"
        ignored = daemon.handle_message(host_message(world, 2, content="nobody is meant"))
        assert (bool(ignored), ignored.delivery) == (False, None)
        assert ignored.reason


def test_a_session_that_writes_is_not_waited_for(world: World) -> None:
    """Whoever holds the database by his own session is told so at once, with the remedy, instead of waiting."""
    world.start()
    with world.context():
        daemon = world.neolith.get_orchestrator(world.ids["ada"])
        assert daemon is not None
        world.db.session.execute(text('UPDATE "user" SET visits = visits + 1'))
        began = time.monotonic()
        with pytest.raises(OpenTransaction, match=r"neolith\.accept"):
            daemon.handle_message(host_message(world))
        with pytest.raises(OpenTransaction):
            world.neolith.manager.stop_daemon(world.ada)
        assert time.monotonic() - began < 2.0
        assert world.neolith.accept(host_message(world), to=[world.ada])[0]
        world.db.session.commit()
    world.rest()
    assert world.deliveries() == ["answered"]


def test_a_database_in_memory_works_in_the_callers_session(tmp_path: Any) -> None:
    """Starting is refused with the remedy; run_until_idle answers inside the caller's transaction."""
    world = build("sqlite://", tmp_path, model=Stage())
    settle_down(world, ("ann", "bob"), ("ada",))
    app: Flask = world.app
    with app.app_context():
        with pytest.raises(UnsupportedDatabase):
            world.neolith.manager.start_daemon(world.ada)
        for answer in ("kept", "undone"):
            world.neolith.chat.post(world.ids["ann"], world.general, f"@ada {answer}")
            world.neolith.run_until_idle()
            messages = world.neolith.models.table("Message")
            found = world.db.session.execute(messages.select().where(messages.c.state == "final")).all()
            assert f"You said: [ann]: @ada {answer}" in [row.content for row in found]
            if answer == "kept":
                world.db.session.commit()
        world.db.session.rollback()
    assert contents_in(world) == ["You said: [ann]: @ada kept"]
    world.close()


def contents_in(world: World) -> list[str]:
    """What ada said, as a session of the host sees it."""
    with world.context():
        messages = world.neolith.models.table("Message")
        rows = world.db.session.execute(messages.select().order_by(messages.c.id)).all()
        return [row.content for row in rows if str(row.author_id) == world.ids["ada"]]


def test_what_waits_at_a_start_is_worked_on_at_once(make_world: MakeWorld) -> None:
    """As many conversations as there are slots begin with the daemon, and do not wait for a sweep."""
    world, door = make_world(DAEMON_SWEEP_INTERVAL=600_000), Door()

    def wait(scene: Scene) -> Iterable[str]:
        door.wait(scene.cancel)
        yield "Done."

    world.model.script = wait
    for number in range(3):
        world.post("ann", f"@ada {number}")
    world.start()
    world.model.wait_running(3)
    door.open()
    world.rest()
    assert world.deliveries() == ["answered"] * 3


def test_a_slot_above_a_lowered_limit_is_given_back(make_world: MakeWorld) -> None:
    """A drain keeps its slot from turn to turn, but none that the orchestrator has no longer."""
    world = make_world(DAEMON_MAX_CONCURRENT_CONVERSATIONS=2, DAEMON_SWEEP_INTERVAL=600_000)
    first, later = Door(), Door()

    def wait(scene: Scene) -> Iterable[str]:
        (first if scene.number <= 2 else later).wait(scene.cancel)
        yield "Done."

    world.model.script = wait
    for number in range(4):
        world.post("ann", f"@ada {number}")
    world.start()
    world.model.wait_running(2)
    with world.context():
        daemon = world.neolith.manager.get_daemon(world.ada)
    assert daemon is not None
    daemon.limit = 1
    first.open()
    world.model.wait_for(3)
    until(lambda: len([row for row in world.rows("Slot") if row["node_id"] is not None]) == 1, "one slot is held")
    assert len(world.model.scenes) == 3
    later.open()
    world.rest()
    assert world.deliveries() == ["answered"] * 4
