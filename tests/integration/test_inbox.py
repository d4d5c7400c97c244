"""The contract of the durable inbox, on SQLite and on Postgres, with a clock that the test moves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, text, update

from flask_neolith_orchestrator.core.cancel import StopReason
from flask_neolith_orchestrator.core.types import Cause, Claim, DeliveryState, Place, Usage, Wanted
from flask_neolith_orchestrator.store.inbox.inbox import Accepted, Arrival
from flask_neolith_orchestrator.store.turns.claims import LostRace, NoSlot
from flask_neolith_orchestrator.store.turns.endings import Ended, Fate, Outcome
from flask_neolith_orchestrator.store.turns.leases import Orphan
from flask_neolith_orchestrator.store.turns.turns import Stopped
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .interleave import waits_for_a_lock
from .stage import PATIENCE
from .world import World, until

ANSWER = Outcome(Fate.ANSWERED, text="Here you are.", seq=3, usage=Usage(7, 5), model="stage", calls=1)
DEAD = Outcome(Fate.RETRY, text="Half", seq=1, error_kind="crash", error="Boom", delay=10.0, punished=True)
AWAY = Outcome(Fate.RETRY, notice="Waiting", error_kind="model-unavailable", delay=10.0)
LEASE = 5.0


class Desk:
    """One process's inbox in the hands of a test."""

    def __init__(self, world: World, clock: ManualClock) -> None:
        self.world = world
        self.clock = clock
        self.stores = world.stores
        self.database = world.stores.database

    def want(self, *, slots: int = 2) -> None:
        """ada is wanted and has slots."""
        with self.database.write() as tx:
            self.stores.daemons.want(tx, self.world.ada, Wanted.RUNNING, Cause.PERSON)
            self.stores.leases.make_slots(tx, self.world.ada, slots)

    def say(self, who: str = "ann", thread: str | None = None, content: str = "hello") -> str:
        """Store a message that wakes nobody, as a host that decides itself does."""
        with self.world.context():
            posted = self.world.neolith.chat.post(self.world.ids[who], self.world.general, content, thread_id=thread)
            self.world.db.session.commit()
            return str(posted.message["id"])

    def accept(self, who: str = "ann", thread: str | None = None, *, key: str | None = None, **more: Any) -> Accepted:
        """Accept a message of somebody in a thread (by default one of its own)."""
        message = self.say(who, thread)
        arrival = Arrival(
            orchestrator_id=self.world.ada,
            place=Place(self.world.general, thread or message),
            dedupe_key=key or f"msg:{self.world.general}:{message}",
            author_id=self.world.ids[who],
            reason="mention",
            message_id=message,
            **more,
        )
        with self.database.write() as tx:
            return self.stores.inbox.accept_in(tx, [arrival])[0]

    def claim(self, limit: int = 2) -> Claim | None:
        """Claim a turn."""
        with self.database.write() as tx:
            return self.stores.claims.claim(tx, self.world.ada, limit=limit)

    def take(self, limit: int = 2) -> Claim:
        """Claim a turn that must be there."""
        claim = self.claim(limit)
        assert claim is not None
        return claim

    def settle(self, claim: Claim, outcome: Outcome = ANSWER) -> tuple[Outcome, list[Ended]] | None:
        """End an attempt."""
        with self.database.write() as tx:
            return self.stores.settle.settle(tx, claim, outcome)

    def sweep(self) -> list[str | None]:
        """Take over what others lost; the turns that were."""
        done = [self.stores.recovery.take_over(orphan) for orphan in self.stores.leases.expired()]
        return [one.turn_id for one in done if one is not None]

    def lose(self, claim: Claim) -> None:
        """Let the process of a claim die: another one takes the turn over after its lease."""
        orphan = self.stores.leases.find(claim.turn_id)
        assert orphan is not None
        assert self.stores.recovery.take_over(orphan) is not None

    def row(self, delivery: Accepted | str) -> Any:
        """A delivery's row."""
        key = delivery if isinstance(delivery, str) else delivery.delivery_id
        return self.world.rows("Delivery", id=int(key))[0]

    def reply(self, claim: Claim) -> Any:
        """A reply's row."""
        return self.world.rows("Message", id=int(claim.reply_id))[0]

    def stop(self, message_id: str) -> list[Stopped]:
        """Ask to stop what answers a message."""
        with self.database.write() as tx:
            targets = self.stores.turns.targets(tx, message_id)
            return [self.stores.turns.stop(tx, one, StopReason.PERSON).found for one in targets]


@pytest.fixture
def clock() -> ManualClock:
    """Stands still until told."""
    return ManualClock()


@pytest.fixture
def desk(make_world: MakeWorld, databases: Databases, clock: ManualClock) -> Desk:
    """A wanted orchestrator with two slots, nothing running."""
    made = Desk(make_world(on=databases, clock=clock, DAEMON_LEASE=5000, DAEMON_RENEW_INTERVAL=1000), clock)
    made.want()
    return made


@pytest.fixture
def other(make_world: MakeWorld, desk: Desk) -> Desk:
    """A second process on the same database."""
    like = make_world(like=desk.world, clock=desk.clock, DAEMON_LEASE=5000, DAEMON_RENEW_INTERVAL=1000)
    return Desk(like, desk.clock)


def test_the_same_work_is_accepted_once(desk: Desk) -> None:
    """A second acceptance finds the first delivery, whatever has become of it."""
    first = desk.accept(key="k")
    second = desk.accept(key="k")
    assert (first.fresh, second.fresh) == (True, False)
    assert second.delivery_id == first.delivery_id
    desk.settle(desk.take())
    third = desk.accept(key="k")
    assert (third.delivery_id, third.state, third.fresh) == (first.delivery_id, DeliveryState.ANSWERED, False)


def test_twelve_threads_accept_one_message_once(desk: Desk, other: Desk) -> None:
    """From twelve threads of two processes at the same time: one delivery, of which one is told that it is fresh."""
    thread = desk.say()
    barrier = threading.Barrier(12)

    def accept(number: int) -> Accepted:
        barrier.wait(10)
        return (desk, other)[number % 2].accept(thread=thread, key="once")

    with ThreadPoolExecutor(12) as pool:
        done = list(pool.map(accept, range(12)))
    assert len({one.delivery_id for one in done}) == 1
    assert sum(one.fresh for one in done) == 1
    assert len(desk.world.rows("Conversation")) == 1


def test_a_full_queue_refuses(make_world: MakeWorld, databases: Databases, clock: ManualClock) -> None:
    """What exceeds DAEMON_MAX_QUEUE ends as refused, with its reason; room appears as others end."""
    desk = Desk(make_world(on=databases, clock=clock, DAEMON_MAX_QUEUE=2), clock)
    desk.want()
    assert [desk.accept().state for _ in range(3)] == ["waiting", "waiting", "refused"]
    refused = desk.world.rows("Delivery")[-1]
    assert (refused["outcome"], refused["ended_at"]) == ("queue-full", clock.wall())
    desk.settle(desk.take())
    assert desk.accept().state == "waiting"


def test_a_claim_writes_the_turn_and_its_row(desk: Desk) -> None:
    """A claim raises the epoch, counts the attempt, and has a streaming reply row and a lease."""
    accepted = desk.accept()
    claim = desk.take()
    assert (claim.epoch, claim.attempt, claim.failures, claim.deliveries) == (1, 1, 1, (accepted.delivery_id,))
    assert claim.requester_id == desk.world.ids["ann"]
    row = desk.row(accepted)
    assert (row["state"], row["attempts"], str(row["turn_id"])) == ("running", 1, claim.turn_id)
    reply = desk.reply(claim)
    assert (reply["state"], reply["content"], reply["epoch"]) == ("streaming", "", 1)
    assert str(reply["parent_id"]) == claim.place.thread_id
    slot = desk.world.rows("Slot", turn_id=int(claim.turn_id))[0]
    assert slot["lease_until"] == desk.clock.wall() + LEASE
    assert desk.claim() is None


def test_nobody_works_for_one_who_is_not_wanted(desk: Desk) -> None:
    """A daemon that is not wanted, or has given up, claims nothing; what waits is kept."""
    desk.accept()
    daemon = desk.world.neolith.models.table("Daemon")
    for values in ({"wanted": "stopped"}, {"wanted": "running", "state": "error"}):
        with desk.database.write() as tx:
            tx.execute(update(daemon).values(**values))
        assert desk.claim() is None
        assert desk.stores.leases.ready() == {}
    with desk.database.write() as tx:
        tx.execute(update(daemon).values(state="running"))
    assert desk.stores.leases.ready() == {desk.world.ada: 1}
    assert desk.take().slot == 0


def test_work_is_not_begun_before_it_is_ready(desk: Desk) -> None:
    """A delay holds a delivery and everything behind it in its conversation, and nobody else's."""
    thread = desk.say()
    early = desk.accept("ann", thread, delay=5.0)
    desk.accept("bob", thread)
    elsewhere = desk.accept()
    assert desk.stores.leases.ready() == {desk.world.ada: 1}
    assert desk.take().deliveries == (elsewhere.delivery_id,)
    assert desk.claim() is None
    desk.clock.advance(5.0)
    assert desk.take().deliveries == (early.delivery_id,)


def test_the_limit_holds_over_all_processes(desk: Desk, other: Desk) -> None:
    """With two slots a third turn begins nowhere until one has ended."""
    for _ in range(3):
        desk.accept()
    first, _second = desk.take(), other.take()
    for one in (desk, other):
        with pytest.raises(NoSlot):
            one.claim()
    desk.settle(first)
    assert other.take().slot == first.slot


def test_a_lower_limit_uses_fewer_slots(desk: Desk) -> None:
    """A limit of one leaves the second slot alone."""
    desk.accept()
    desk.accept()
    desk.take(limit=1)
    with pytest.raises(NoSlot):
        desk.claim(limit=1)


def test_one_turn_at_a_time_in_a_conversation(desk: Desk, other: Desk) -> None:
    """While a turn runs its conversation is nobody else's, although a slot is free."""
    thread = desk.say()
    desk.accept("ann", thread)
    desk.accept("bob", thread)
    claim = desk.take()
    assert desk.claim() is None
    assert other.claim() is None
    desk.settle(claim)
    assert other.take().requester_id == desk.world.ids["bob"]


def test_lines_of_one_person_are_one_turn(desk: Desk) -> None:
    """The head and those directly behind it by the same author; the next person's begin the next turn."""
    thread = desk.say()
    authors = ["ann", "ann", "bob", "ann"]
    made = [desk.accept(who, thread).delivery_id for who in authors]
    turns = []
    for _ in range(3):
        claim = desk.take()
        turns.append((claim.requester_id, claim.deliveries))
        desk.settle(claim)
    ids = desk.world.ids
    assert turns == [(ids["ann"], (made[0], made[1])), (ids["bob"], (made[2],)), (ids["ann"], (made[3],))]


def test_membership_is_frozen_at_the_first_claim(desk: Desk) -> None:
    """A line that comes during the turn, or while it waits for its next attempt, is the next turn's."""
    thread = desk.say()
    first = desk.accept("ann", thread)
    claim = desk.take()
    second = desk.accept("ann", thread)
    desk.settle(claim, AWAY)
    desk.clock.advance(10)
    again = desk.take()
    assert (again.turn_id, again.reply_id, again.deliveries) == (claim.turn_id, claim.reply_id, (first.delivery_id,))
    assert (again.attempt, again.epoch) == (2, 2)
    desk.settle(again)
    assert desk.take().deliveries == (second.delivery_id,)


def test_ten_threads_claim_each_turn_once(desk: Desk, other: Desk) -> None:
    """Of ten threads in two processes each gets another turn, or none."""
    desk.want(slots=10)
    for _ in range(6):
        desk.accept()
    barrier = threading.Barrier(10)

    def claim(number: int) -> Claim | None:
        one = (desk, other)[number % 2]
        barrier.wait(10)
        while True:
            try:
                return one.claim(limit=10)
            except LostRace:
                continue

    with ThreadPoolExecutor(10) as pool:
        done = [one for one in pool.map(claim, range(10)) if one is not None]
    assert len({one.turn_id for one in done}) == len({one.slot for one in done}) == len(done) == 6


def test_a_finish_writes_everything_at_once(desk: Desk) -> None:
    """Text, turn, usage, deliveries, count and slot, in one transaction."""
    accepted = desk.accept()
    claim = desk.take()
    settled = desk.settle(claim)
    assert settled is not None
    assert [(one.delivery_id, one.state) for one in settled[1]] == [(accepted.delivery_id, "answered")]
    reply, turn = desk.reply(claim), desk.world.rows("Turn")[0]
    assert (reply["state"], reply["content"], reply["seq"]) == ("final", "Here you are.", 3)
    assert (turn["state"], turn["input_tokens"], turn["output_tokens"], turn["calls"]) == ("done", 7, 5, 1)
    assert desk.row(accepted)["state"] == "answered"
    assert desk.world.rows("Slot")[claim.slot]["answered"] == 1
    assert desk.stores.leases.slots_of(desk.world.ada) == 0


def test_finish_and_the_next_claim_share_a_commit(desk: Desk) -> None:
    """Both in one transaction, which keeps the slot; rolled back together they are both undone."""
    first, second = desk.accept(), desk.accept()
    claim = desk.take(limit=1)

    class Undo(Exception):
        pass

    def chain(tx: Connection) -> Claim | None:
        assert desk.stores.settle.settle(tx, claim, ANSWER) is not None
        return desk.stores.claims.claim(tx, desk.world.ada, limit=1)

    def chain_and_undo() -> None:
        with desk.database.write() as tx:
            assert chain(tx) is not None
            raise Undo

    with pytest.raises(Undo):
        chain_and_undo()
    assert (desk.row(first)["state"], desk.row(second)["state"]) == ("running", "waiting")
    with desk.database.write() as tx:
        following = chain(tx)
    assert following is not None
    assert (following.deliveries, following.slot) == ((second.delivery_id,), claim.slot)
    assert desk.row(first)["state"] == "answered"


def test_an_older_epoch_writes_nothing(desk: Desk, other: Desk) -> None:
    """Once the fence has moved, a late finish and a late checkpoint change no row."""
    desk.accept()
    claim = desk.take()
    desk.clock.advance(LEASE + 1)
    assert other.sweep() == [claim.turn_id]
    again = other.take()
    before = desk.world.rows("Message"), desk.world.rows("Turn"), desk.world.rows("Delivery")
    assert desk.settle(claim) is None
    assert desk.stores.turns.checkpoint(claim, "late", 9) is False
    assert (desk.world.rows("Message"), desk.world.rows("Turn"), desk.world.rows("Delivery")) == before
    assert other.settle(again) is not None
    assert desk.settle(claim) is None
    assert desk.reply(claim)["content"] == "Here you are."


def test_an_expired_lease_that_nobody_took_may_finish(desk: Desk) -> None:
    """Late, but with the same epoch: the answer counts."""
    accepted = desk.accept()
    claim = desk.take()
    desk.clock.advance(LEASE * 3)
    assert desk.settle(claim) is not None
    assert desk.row(accepted)["state"] == "answered"


def test_a_passing_trouble_waits_unpunished(desk: Desk) -> None:
    """Unavailable: the slot is free, the head waits for its time, no attempt is used up, the notice is seen."""
    accepted = desk.accept()
    for attempt in range(1, 9):
        claim = desk.take()
        assert (claim.attempt, claim.failures) == (attempt, 1)
        desk.settle(claim, AWAY)
        assert desk.claim() is None
        assert desk.stores.leases.slots_of(desk.world.ada) == 0
        desk.clock.advance(10.0)
    assert (desk.row(accepted)["state"], desk.row(accepted)["attempts"]) == ("waiting", 0)
    assert (desk.reply(claim)["state"], desk.reply(claim)["notice"]) == ("interrupted", "Waiting")


def test_too_many_failures_make_a_dead_letter(desk: Desk) -> None:
    """The fifth punished attempt fails for good, with a visible text; a retry gives it its attempts back."""
    accepted = desk.accept()
    for _ in range(4):
        desk.settle(desk.take(), DEAD)
        desk.clock.advance(10.0)
    claim = desk.take()
    settled = desk.settle(claim, replace(DEAD, text=""))
    assert settled is not None
    assert settled[0].fate is Fate.FAILED
    assert (desk.row(accepted)["state"], desk.reply(claim)["state"]) == ("failed", "failed")
    assert "went wrong too often" in desk.reply(claim)["content"]
    assert desk.world.rows("Slot")[0]["failed"] == 1
    with desk.database.write() as tx:
        assert desk.stores.turns.retry(tx, accepted.delivery_id)
        assert not desk.stores.turns.retry(tx, accepted.delivery_id)
    again = desk.take()
    assert (again.failures, again.reply_id) == (1, claim.reply_id)
    desk.settle(again)
    assert desk.reply(claim)["state"] == "final"


def test_after_a_crash_the_head_is_alone(desk: Desk) -> None:
    """A punished attempt of a turn with several lines: the next takes the head, its neighbours follow later.

    Each answer points to the last of the lines that it answers.
    """
    thread = desk.say()
    ids = [desk.accept("ann", thread).delivery_id for _ in range(3)]
    together = desk.take()
    assert desk.reply(together)["reply_to_id"] == int(together.messages[-1])
    desk.settle(together, DEAD)
    desk.clock.advance(10.0)
    again = desk.take()
    assert (again.deliveries, again.failures) == ((ids[0],), 2)
    assert desk.reply(again)["reply_to_id"] == int(again.messages[0])
    desk.settle(again)
    following = desk.take()
    assert (following.deliveries, following.failures) == ((ids[1], ids[2]), 1)
    assert desk.reply(following)["reply_to_id"] == int(following.messages[-1])


def test_a_crash_whose_head_was_deleted_leaves_the_next_in_the_turn(desk: Desk) -> None:
    """The deleted head is cancelled; the next line keeps turn and row, so that none says "tried again" for ever."""
    thread = desk.say()
    first, second = desk.accept("ann", thread), desk.accept("ann", thread)
    claim = desk.take()
    desk.world.delete("ann", claim.messages[0])
    desk.settle(claim, DEAD)
    assert desk.row(first)["state"] == "cancelled"
    desk.clock.advance(10.0)
    again = desk.take()
    assert (again.deliveries, again.turn_id, again.reply_id) == ((second.delivery_id,), claim.turn_id, claim.reply_id)


def test_the_last_crash_is_the_heads_alone(make_world: MakeWorld, databases: Databases, clock: ManualClock) -> None:
    """Where one attempt is all there is: the head is the dead letter, its neighbour in the turn is answered."""
    desk = Desk(make_world(on=databases, clock=clock, DAEMON_MAX_ATTEMPTS=1), clock)
    desk.want()
    thread = desk.say()
    poison, neighbour = desk.accept("ann", thread), desk.accept("ann", thread)
    settled = desk.settle(desk.take(), DEAD)
    assert settled is not None
    assert [(one.delivery_id, one.state) for one in settled[1]] == [(poison.delivery_id, "failed")]
    assert desk.world.rows("Slot")[0]["failed"] == 1
    following = desk.take()
    assert (following.deliveries, following.failures) == ((neighbour.delivery_id,), 1)
    desk.settle(following)
    assert desk.world.deliveries() == ["failed", "answered"]


def failed_together(desk: Desk) -> tuple[Claim, list[Accepted]]:
    """Two lines of one turn that failed for good."""
    thread = desk.say()
    made = [desk.accept("ann", thread) for _ in range(2)]
    claim = desk.take()
    desk.settle(claim, Outcome(Fate.FAILED, text="No.", error_kind="model-rejected"))
    assert desk.world.deliveries() == ["failed", "failed"]
    return claim, made


def retry(desk: Desk, delivery: Accepted) -> bool:
    """Try a dead letter again."""
    with desk.database.write() as tx:
        return desk.stores.turns.retry(tx, delivery.delivery_id)


def test_dead_letters_that_are_tried_again_together_stay_together(desk: Desk) -> None:
    """Both wait again before anybody claims: one turn, the same row."""
    claim, made = failed_together(desk)
    for one in made:
        assert retry(desk, one)
    again = desk.take()
    assert (again.deliveries, again.reply_id) == (claim.deliveries, claim.reply_id)


@pytest.mark.parametrize("when", ["while it works", "after it answered"])
def test_a_dead_letter_tried_again_covers_no_answer_to_another(desk: Desk, when: str) -> None:
    """Its turn works for its neighbour, or has answered that one: it gets a turn and a row of its own."""
    claim, made = failed_together(desk)
    retry(desk, made[0])
    again = desk.take()
    if when == "after it answered":
        desk.settle(again)
    assert retry(desk, made[1])
    if when == "while it works":
        desk.settle(again)
    later = desk.take()
    assert (later.deliveries, later.turn_id == claim.turn_id) == ((made[1].delivery_id,), False)
    desk.settle(later, replace(ANSWER, text="And this."))
    assert (desk.reply(claim)["content"], desk.reply(claim)["state"]) == ("Here you are.", "final")
    assert desk.reply(later)["content"] == "And this."
    assert desk.world.deliveries() == ["answered", "answered"]


def test_a_dead_letter_whose_row_was_deleted_is_answered_in_a_new_one(desk: Desk) -> None:
    """Somebody cleared the failure away: what is tried again is answered where it can be seen."""
    accepted = desk.accept()
    claim = desk.take()
    desk.settle(claim, Outcome(Fate.FAILED, text="No."))
    desk.world.delete("ann", claim.reply_id)  # she owns the organization
    assert retry(desk, accepted)
    again = desk.take()
    desk.settle(again)
    assert again.reply_id != claim.reply_id
    assert (desk.reply(again)["content"], desk.reply(again)["deleted_at"]) == ("Here you are.", None)


def test_a_stop_of_what_has_ended_harms_no_other(desk: Desk) -> None:
    """A dead letter's neighbour is tried again: stopping the dead letter does not stop that one."""
    claim, made = failed_together(desk)
    retry(desk, made[0])
    again = desk.take()
    assert desk.stop(claim.messages[1]) == [Stopped.OVER]
    assert [one.cancel for one in desk.stores.leases.renew()] == [None]
    assert desk.stop(claim.reply_id) == [Stopped.RUNNING]
    desk.settle(again)
    assert desk.world.deliveries() == ["cancelled", "failed"]


def test_a_stop_finds_a_line_that_has_left_its_turn(desk: Desk) -> None:
    """Between the look and the stop a crash parted the two lines: the one that was meant is cancelled."""
    thread = desk.say()
    for _ in range(2):
        desk.accept("ann", thread)
    claim = desk.take()
    with desk.database.read() as tx:
        [target] = desk.stores.turns.targets(tx, claim.messages[1])
    desk.settle(claim, DEAD)
    with desk.database.write() as tx:
        assert desk.stores.turns.stop(tx, target, StopReason.PERSON).found is Stopped.WAITING
    assert desk.world.deliveries() == ["waiting", "cancelled"]


def test_work_handed_back_at_a_stop_is_not_punished(desk: Desk) -> None:
    """Released: waiting at once, its attempt given back, the partial text kept as interrupted."""
    accepted = desk.accept()
    claim = desk.take()
    desk.settle(claim, Outcome(Fate.RELEASED, text="Half", seq=1))
    assert (desk.row(accepted)["state"], desk.row(accepted)["attempts"]) == ("waiting", 0)
    assert (desk.reply(claim)["content"], desk.reply(claim)["state"]) == ("Half", "interrupted")
    assert desk.take().attempt == 2


def test_a_question_deleted_during_the_turn_gets_no_reply(desk: Desk) -> None:
    """The finish looks once more: no reply, the delivery cancelled, with its event."""
    accepted = desk.accept()
    claim = desk.take()
    desk.world.delete("ann", claim.messages[0])
    settled = desk.settle(claim)
    assert settled is not None
    assert (settled[0].fate, [one.state for one in settled[1]]) == (Fate.DELETED, ["cancelled"])
    assert desk.reply(claim)["deleted_at"] is not None
    assert desk.row(accepted)["state"] == "cancelled"


@pytest.mark.parametrize("fate", [Fate.ANSWERED, Fate.DELETED])
def test_one_of_two_questions_deleted_answers_the_other(desk: Desk, fate: Fate) -> None:
    """An answer made with a deleted line before it is not kept: the others' is made again, without it."""
    thread = desk.say()
    first, second = desk.accept("ann", thread), desk.accept("ann", thread)
    claim = desk.take()
    desk.world.delete("ann", claim.messages[0])
    settled = desk.settle(claim, replace(ANSWER, fate=fate))
    assert settled is not None
    assert [(one.delivery_id, one.state) for one in settled[1]] == [(first.delivery_id, "cancelled")]
    assert desk.reply(claim)["content"] == ""
    again = desk.take()
    assert (again.deliveries, again.messages, again.turn_id) == (
        (second.delivery_id,),
        claim.messages[1:],
        claim.turn_id,
    )


def test_a_question_deleted_while_it_waits_again_takes_the_answer_along(desk: Desk) -> None:
    """A turn between two attempts: cancelled, and no "waiting for the model" stays on the screen."""
    accepted = desk.accept()
    claim = desk.take()
    desk.settle(claim, AWAY)
    desk.world.delete("ann", claim.messages[0])
    assert desk.row(accepted)["state"] == "cancelled"
    assert desk.reply(claim)["deleted_at"] is not None
    assert {"messageId": claim.reply_id, "channelId": desk.world.general} in desk.world.channel.of("message:deleted")
    assert desk.world.rows("Turn")[0]["state"] == "cancelled"


def test_stop_ends_what_runs_and_cancels_what_waits(desk: Desk) -> None:
    """Running: asked to end, and seen at the next renewal. Waiting: cancelled. Over: harmless."""
    desk.accept()
    claim = desk.take()
    assert desk.stop(claim.messages[0]) == [Stopped.RUNNING]
    assert [one.cancel for one in desk.stores.leases.renew()] == ["person"]
    desk.settle(claim, Outcome(Fate.STOPPED, text="Half"))
    assert desk.stop(claim.reply_id) == [Stopped.OVER]
    waiting = desk.accept()
    assert desk.stop(desk.row(waiting)["message_id"]) == [Stopped.WAITING]
    assert (desk.row(waiting)["state"], desk.row(waiting)["outcome"]) == ("cancelled", "person")


@pytest.mark.parametrize("outcome", [ANSWER, AWAY, Outcome(Fate.RELEASED, text="Half")])
def test_a_stop_that_was_committed_first_wins(desk: Desk, outcome: Outcome) -> None:
    """Whatever the worker found out meanwhile: interrupted, cancelled, not tried again."""
    accepted = desk.accept()
    claim = desk.take()
    desk.stop(claim.messages[0])
    settled = desk.settle(claim, outcome)
    assert settled is not None
    assert (settled[0].fate, [one.state for one in settled[1]]) == (Fate.STOPPED, ["cancelled"])
    assert (desk.row(accepted)["state"], desk.reply(claim)["state"]) == ("cancelled", "interrupted")
    assert desk.reply(claim)["notice"] is None


def test_a_stop_survives_the_death_of_the_process(desk: Desk) -> None:
    """A turn that was stopped and whose process died is over: it is not answered after all."""
    accepted = desk.accept()
    claim = desk.take()
    desk.stop(claim.messages[0])
    desk.lose(claim)
    assert (desk.row(accepted)["state"], desk.row(accepted)["outcome"]) == ("cancelled", "person")
    assert desk.reply(claim)["state"] == "interrupted"
    assert desk.claim() is None


def test_stop_between_two_attempts(desk: Desk) -> None:
    """A turn that waits for its next attempt is cancelled with all its lines."""
    thread = desk.say()
    desk.accept("ann", thread)
    desk.accept("ann", thread)
    claim = desk.take()
    desk.settle(claim, AWAY)
    assert desk.stop(claim.reply_id) == [Stopped.WAITING]
    assert desk.world.deliveries() == ["cancelled", "cancelled"]
    assert (desk.reply(claim)["state"], desk.reply(claim)["notice"]) == ("interrupted", None)


def test_a_renewed_lease_is_kept(desk: Desk, other: Desk) -> None:
    """A turn longer than the lease keeps it as long as its process renews."""
    desk.accept()
    claim = desk.take()
    for _ in range(5):
        desk.clock.advance(LEASE - 1)
        assert [(one.turn_id, one.epoch) for one in desk.stores.leases.renew()] == [(claim.turn_id, claim.epoch)]
        assert other.sweep() == []
    assert desk.settle(claim) is not None


def test_a_lost_lease_is_taken_over_once(desk: Desk, other: Desk) -> None:
    """The turn is interrupted, its deliveries wait again, the slot is free; a second take-over finds nothing."""
    accepted = desk.accept()
    claim = desk.take()
    desk.clock.advance(LEASE + 0.1)
    orphan = other.stores.leases.expired()[0]
    assert desk.stores.leases.expired() == []  # one's own may still be renewed
    recovered = other.stores.recovery.take_over(orphan)
    assert recovered is not None
    assert (recovered.turn_id, recovered.reply_id, recovered.ended) == (claim.turn_id, claim.reply_id, ())
    assert other.stores.recovery.take_over(orphan) is None
    assert (desk.row(accepted)["state"], desk.row(accepted)["attempts"]) == ("waiting", 1)
    assert desk.reply(claim)["state"] == "interrupted"
    assert desk.world.rows("Turn")[0]["error_kind"] == "process-died"
    assert desk.stores.leases.renew() == []
    again = other.take()
    assert (again.failures, again.epoch, again.reply_id) == (2, 3, claim.reply_id)


def test_an_owner_that_comes_back_in_time_wins(desk: Desk, other: Desk) -> None:
    """A renewal between the sweep's look and its write keeps the turn: nothing is half done."""
    desk.accept()
    claim = desk.take()
    desk.clock.advance(LEASE + 0.1)
    orphan = other.stores.leases.expired()[0]
    desk.stores.leases.renew()
    with pytest.raises(LostRace):
        other.stores.recovery.take_over(orphan)
    assert desk.settle(claim) is not None


def test_a_poison_message_ends_alone(desk: Desk) -> None:
    """Its process dies each time: after five attempts it is a dead letter with a notice; its neighbours go on."""
    thread = desk.say()
    poison = desk.accept("ann", thread)
    neighbour = desk.accept("ann", thread)
    for attempt in range(5):
        claim = desk.take()
        assert len(claim.deliveries) == (2 if attempt == 0 else 1)
        desk.lose(claim)
    assert (desk.row(poison)["state"], desk.row(poison)["outcome"]) == ("failed", "dead-letter")
    assert desk.reply(claim)["state"] == "failed"
    assert desk.reply(claim)["content"]
    following = desk.take()
    assert (following.deliveries, following.failures) == ((neighbour.delivery_id,), 1)
    desk.settle(following)
    assert desk.row(neighbour)["state"] == "answered"


def test_a_poison_message_does_not_bury_what_runs_beside_it(desk: Desk) -> None:
    """Its process dies with all that it runs; in their last two attempts, one of them is tried at a time."""
    desk.want(slots=3)
    poison, long, fresh = desk.accept(), desk.accept(), None
    deaths = 0
    while desk.row(poison)["state"] == "waiting":
        claims = []
        while (claim := desk.claim(limit=3)) is not None:
            claims.append(claim)
        beside = [delivery for claim in claims for delivery in claim.deliveries]
        assert poison.delivery_id in beside
        assert (long.delivery_id in beside) is (deaths < 3)
        if fresh is not None:  # what has not died twice goes on beside it
            assert fresh.delivery_id in beside
        fresh = desk.accept() if deaths == 3 else fresh
        for claim in claims:
            desk.lose(claim)
        deaths += 1
    assert (deaths, desk.row(poison)["outcome"]) == (5, "dead-letter")
    assert fresh is not None
    for one, attempts in ((long, 4), (fresh, 2)):
        desk.settle(desk.take())
        assert (desk.row(one)["state"], desk.row(one)["attempts"]) == ("answered", attempts)


def test_suspects_wait_for_each_other_in_one_process_only(desk: Desk, other: Desk) -> None:
    """Each process works on one delivery in its last attempts at a time; the end of one lets the next begin."""
    desk.want(slots=3)
    first, second, third = desk.accept(), desk.accept(), desk.accept()
    for _ in range(3):
        for claim in [desk.take(limit=3), desk.take(limit=3), desk.take(limit=3)]:
            desk.lose(claim)
    mine, theirs = desk.take(limit=3), other.take(limit=3)
    assert (mine.deliveries, theirs.deliveries) == ((first.delivery_id,), (second.delivery_id,))
    assert desk.claim(limit=3) is None
    assert other.claim(limit=3) is None
    desk.settle(mine)
    assert desk.take(limit=3).deliveries == (third.delivery_id,)


def test_slots_of_dead_nodes_are_found(desk: Desk, other: Desk) -> None:
    """Claims of a node that is known to be dead are found before their leases run out."""
    desk.accept()
    claim = desk.take()
    assert other.stores.leases.held_by([]) == []
    held = other.stores.leases.held_by([desk.stores.nodes.id])
    assert [str(one.turn_id) for one in held] == [claim.turn_id]


def test_what_waited_too_long_expires_visibly(desk: Desk) -> None:
    """An old delivery ends with a notice in its place; one that was begun uses its own row; younger ones stay."""
    fresh_place = desk.accept()
    begun = desk.accept()
    claim = desk.take(limit=1)
    desk.settle(claim, AWAY)
    claim2 = desk.take(limit=1)
    desk.settle(claim2, AWAY)
    never = desk.accept()
    desk.clock.advance(100.0)
    young = desk.accept()
    overdue = desk.stores.leases.overdue(50.0)
    assert overdue == [fresh_place.delivery_id, begun.delivery_id, never.delivery_id]
    for delivery in overdue:
        done = desk.stores.recovery.expire(delivery)
        assert done is not None
        assert [one.state for one in done.ended] == ["expired"]
        assert desk.stores.recovery.expire(delivery) is None
    assert desk.world.deliveries() == ["expired", "expired", "expired", "waiting"]
    assert desk.row(young)["state"] == "waiting"
    for row in (desk.reply(claim), desk.reply(claim2), desk.world.answers()[-1]):
        assert (row["state"], row["notice"]) == ("failed", "too-old")
        assert "waited too long" in row["content"]


def test_a_checkpoint_keeps_the_text_so_far(desk: Desk) -> None:
    """Late joiners and crashes find the partial text."""
    desk.accept()
    claim = desk.take()
    assert desk.stores.turns.checkpoint(claim, "So far", 4) is True
    assert (desk.reply(claim)["content"], desk.reply(claim)["seq"], desk.reply(claim)["state"]) == (
        "So far",
        4,
        "streaming",
    )
    desk.lose(claim)
    assert desk.reply(claim)["content"] == "So far"


@pytest.fixture
def pg(make_world: MakeWorld, on_postgres: Databases) -> Desk:
    """A desk on Postgres with the database's own clock."""
    world = make_world(on=on_postgres)
    made = Desk(world, ManualClock())
    made.want()
    return made


@contextmanager
def meanwhile(action: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
    """Run something on another thread; the value given waits for its result."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(action)
        yield lambda: future.result(10)


def blocked(desk: Desk, count: int = 1) -> None:
    """Wait until some sessions of this database wait for a lock."""
    ask = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")

    def waiting() -> bool:
        with desk.database.read() as tx:
            return int(tx.execute(ask).scalar_one()) >= count

    until(waiting, "somebody waits for a lock")


@pytest.mark.postgres
def test_a_late_checkpoint_never_covers_a_finish(pg: Desk) -> None:
    """A checkpoint that began before the finish committed finds the fence moved: the answer stays final."""
    pg.accept()
    claim = pg.take()
    with pg.database.write() as tx:
        assert pg.stores.settle.settle(tx, claim, ANSWER) is not None
        with meanwhile(lambda: pg.stores.turns.checkpoint(claim, "stale", 1)) as kept:
            blocked(pg)
            tx.commit()
            assert kept() is False
    assert (pg.reply(claim)["state"], pg.reply(claim)["content"]) == ("final", "Here you are.")


@pytest.mark.postgres
def test_turns_of_one_orchestrator_end_side_by_side(pg: Desk) -> None:
    """What one turn's end writes, the figures too, is in no row that another one's end needs before its commit."""
    pg.accept()
    pg.accept()
    claim, other_claim = pg.take(), pg.take()
    with pg.database.write() as tx:
        assert pg.stores.settle.settle(tx, claim, ANSWER) is not None
        with meanwhile(lambda: pg.settle(other_claim)) as settled:
            assert settled() is not None
    assert [row["answered"] for row in pg.world.rows("Slot")[:2]] == [1, 1]


@pytest.mark.postgres
def test_a_finish_that_waits_for_the_host_holds_up_no_lease(pg: Desk) -> None:
    """A host's open transaction has locked a row that a finish needs: renewals of all other turns go on."""
    pg.accept()
    pg.accept()
    claim, other_claim = pg.take(), pg.take()
    message = pg.world.neolith.models.table("Message")
    with pg.database.write() as host:
        host.execute(update(message).where(message.c.id == int(claim.reply_id)).values(notice="locked by the host"))
        with meanwhile(lambda: pg.settle(claim)) as settled:
            blocked(pg)
            held = {one.turn_id for one in pg.stores.leases.renew()}
            assert other_claim.turn_id in held
            orphan = pg.stores.leases.find(claim.turn_id)
            assert orphan is not None
            assert pg.stores.recovery.take_over(orphan) is None  # it is just being finished
            host.commit()
            assert settled() is not None


@pytest.mark.postgres
def test_an_open_acceptance_keeps_nobody_from_claiming(pg: Desk) -> None:
    """A host's open transaction that has accepted more for a conversation leaves what is committed to be claimed."""
    thread = pg.say()
    first = pg.accept("ann", thread)
    arrival = Arrival(pg.world.ada, Place(pg.world.general, thread), "open", pg.world.ids["bob"], "mention")
    with pg.database.write() as host:
        assert pg.stores.inbox.accept_in(host, [arrival])[0].fresh
        claim = pg.take()
        assert claim.deliveries == (first.delivery_id,)
        assert [one.turn_id for one in pg.stores.leases.renew()] == [claim.turn_id]
        assert pg.settle(claim) is not None
    assert pg.world.deliveries() == ["answered", "waiting"]


@pytest.mark.postgres
@pytest.mark.parametrize("part", ["claim", "finish"])
@pytest.mark.parametrize("again", [False, True], ids=["more", "the same"])
def test_an_acceptance_waits_for_no_transaction_of_ours(pg: Desk, part: str, again: bool) -> None:
    """A claim or a finish that is just being written keeps no host from accepting for the same conversation."""
    thread = pg.say()
    pg.accept("ann", thread, key="first")
    claim = pg.take() if part == "finish" else None
    with pg.database.write() as tx:
        if claim is None:
            assert pg.stores.claims.claim(tx, pg.world.ada, limit=2) is not None
        else:
            assert pg.stores.settle.settle(tx, claim, ANSWER) is not None
        with meanwhile(lambda: pg.accept("bob", thread, key="first" if again else None)) as accepted:
            assert accepted().fresh is not again


@pytest.mark.postgres
def test_a_stop_between_attempts_and_a_claim_do_not_deadlock(pg: Desk) -> None:
    """Both lock the conversation first: the claim passes by while Stop's transaction is open."""
    pg.accept()
    claim = pg.take()
    pg.settle(claim, replace(AWAY, delay=0.0))
    with pg.database.write() as host:
        target = pg.stores.turns.targets(host, claim.reply_id)[0]
        assert pg.stores.turns.stop(host, target, StopReason.PERSON).found is Stopped.WAITING
        assert pg.claim() is None
    assert pg.world.deliveries() == ["cancelled"]


@pytest.mark.postgres
def test_leases_are_measured_with_the_databases_clock(pg: Desk) -> None:
    """A statement in a long transaction sees the time that is, not the transaction's beginning."""
    pg.accept()
    claim = pg.take()
    with pg.database.write() as tx:
        tx.execute(text("SELECT pg_sleep(0.05)"))
        now = tx.execute(text("SELECT extract(epoch from clock_timestamp())::float8")).scalar_one()
        begin = tx.execute(text("SELECT extract(epoch from now())::float8")).scalar_one()
        assert now - begin >= 0.05
        orphan = pg.stores.leases.find(claim.turn_id)
    assert isinstance(orphan, Orphan)
    pg.stores.leases.renew()
    later = pg.stores.leases.find(claim.turn_id)
    assert later is not None
    assert 0.9 < later.lease_until - float(now) < 1.5
    assert later.lease_until > orphan.lease_until


@pytest.mark.postgres
def test_two_processes_take_a_letter_once(pg: Desk, make_world: MakeWorld) -> None:
    """Two processes that look into the outbox at once do not both tell the same answer."""
    other = Desk(make_world(like=pg.world), pg.clock)
    out = pg.world.neolith.models.table("Outbox")
    with pg.database.write() as tx:
        for number in range(20):
            row = {"orchestrator_id": 1, "reply_id": str(number), "channel_id": "c", "content": "x"}
            tx.execute(out.insert().values(**row, created_at=0.0))
    with pg.database.write() as tx:  # the first is in the middle of its own look
        tx.execute(update(out).values(claimed_until=pg.stores.database.clock.wall() + 30))
        assert other.stores.outbox.take() == []
    assert other.stores.outbox.take() == []


def test_no_words_are_left_for_a_question_that_was_deleted(desk: Desk) -> None:
    """Deleted while its process died, and nobody comes back until it is too old: its answer goes, without a notice."""
    accepted = desk.accept()
    claim = desk.take()
    desk.world.delete("ann", claim.messages[0])
    desk.lose(claim)
    assert desk.row(accepted)["state"] == "waiting"
    desk.clock.advance(100.0)
    assert desk.stores.recovery.expire(accepted.delivery_id) is not None
    (reply,) = desk.world.rows("Message", id=int(claim.reply_id))
    assert (reply["content"], reply["deleted_at"] is None) == ("", False)


def test_who_was_shut_out_gives_the_others_time(make_world: MakeWorld, clock: ManualClock) -> None:
    """A process that could not write for a while takes nobody's turn: the owner could not renew it either."""
    owner = make_world(clock=clock, DAEMON_LEASE=5000, DAEMON_RENEW_INTERVAL=1000)
    desk, other = Desk(owner, clock), make_world(like=owner, clock=clock).stores
    desk.want()
    desk.accept()
    desk.take()
    clock.advance(LEASE + 0.1)
    assert len(other.leases.expired()) == 1
    other.database.gate.shut_out()  # type: ignore[attr-defined]  # a SQLite file
    assert other.leases.expired() == []


@pytest.mark.postgres
def test_the_key_itself_keeps_a_second_delivery_out(make_world: MakeWorld, on_postgres: Databases) -> None:
    """Two transactions that are open at once insert the same work: the second waits for the first, and adds nothing."""
    one = make_world(on=on_postgres)
    first, second = Desk(one, ManualClock()), Desk(make_world(like=one), ManualClock())
    first.want()
    thread = first.say()
    first.accept(thread=thread)
    message = first.say(thread=thread)
    arrival = Arrival(one.ada, Place(one.general, thread), "msg:same", one.ids["ann"], "mention", message)

    def again() -> Any:
        with second.database.write() as tx:
            return second.stores.inbox.accept_in(tx, [arrival])[0]

    with ThreadPoolExecutor(1) as pool:
        with first.database.write() as tx:
            first.stores.inbox.accept_in(tx, [arrival])
            waiting = pool.submit(again)
            until(lambda: waiting.done() or waits_for_a_lock(one), "the second waits for the first")
        assert not waiting.result(PATIENCE).fresh
    assert len([row for row in one.rows("Delivery") if row["dedupe_key"] == "msg:same"]) == 1
