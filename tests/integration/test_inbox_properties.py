"""The inbox against its model: any order of accepting, claiming, ending, crashing, pausing and waiting.

In CI a few examples, always the same. Many others, new each time, with NEOLITH_PROPERTY_EXAMPLES=500: a failure prints
its steps and the NEOLITH_PROPERTY_SEED that repeats it.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flask_neolith_orchestrator.core.types import Claim
from flask_neolith_orchestrator.store.inbox.inbox import Arrival
from flask_neolith_orchestrator.store.turns.claims import LostRace, NoSlot
from flask_neolith_orchestrator.store.turns.endings import NOTHING, Fate, Kept, Outcome
from flask_neolith_orchestrator.store.turns.leases import Orphan
from flask_neolith_orchestrator.store.turns.parking import Verdict
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .inbox_model import NOTICE, OPEN, Blocked, Delivery, Found, InboxModel, Question, Right, Slot, Turn
from .inbox_rows import EPOCH, Rows

EXAMPLES = int(os.environ.get("NEOLITH_PROPERTY_EXAMPLES", "0"))
SEED = int(os.environ.get("NEOLITH_PROPERTY_SEED") or (secrets.randbelow(10**9) if EXAMPLES else 0))
FATES = (Fate.ANSWERED, Fate.RETRY, Fate.RETRY, Fate.FAILED, Fate.PARKED, Fate.PARKED, *Fate)
EACH = 4
"""Examples of one seed: more would mostly be variations of these."""
LEASE, MAX_AGE, MAX_QUEUE, MAX_ATTEMPTS = 5.0, 60.0, 8, 2
SLOTS = 3

CONFIG: dict[str, Any] = {
    "DAEMON_LEASE": int(LEASE * 1000),
    "DAEMON_RENEW_INTERVAL": 1000,
    "DAEMON_MAX_AGE": int(MAX_AGE * 1000),
    "DAEMON_MAX_QUEUE": MAX_QUEUE,
    "DAEMON_MAX_ATTEMPTS": MAX_ATTEMPTS,
}

profile = settings(
    stateful_step_count=50,
    max_examples=EACH,
    database=None,
    deadline=None,
    # to make a failure small takes minutes: CI shows it as it is, and it is the same one at home
    phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
    report_multiple_bugs=False,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

nodes = st.integers(0, 1)
people = st.sampled_from(("ann", "bob"))


class InboxMachine(RuleBasedStateMachine):
    """Each rule does one thing to the rows and to the model, and compares what both said; `agree` compares the rest."""

    orphans = Bundle("orphans")

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.rows = rows
        self.stores = [world.stores for world in rows.worlds]
        rows.clear()
        slots = [Slot() for _ in range(SLOTS)]
        self.model = InboxModel(slots, rows.clock.wall(), LEASE, MAX_AGE, MAX_QUEUE, MAX_ATTEMPTS)
        self.held: list[tuple[Claim, Right]] = []
        self.turns: dict[str, Turn] = {}
        self.replies: dict[str, str] = {}

    def arrive(self, node: int, number: int, key: str, question: Question, delay: float) -> Any:
        """Accept by one process."""
        arrival = Arrival(
            self.rows.ada,
            self.rows.place(key),
            f"key-{number}",
            self.rows.worlds[0].ids[question.author],
            "mention",
            question.id,
            delay=delay,
        )
        with self.stores[node].database.write() as tx:
            return self.stores[node].inbox.accept_in(tx, [arrival])[0]

    @initialize(most=st.sampled_from((MAX_ATTEMPTS, MAX_ATTEMPTS, 2 * MAX_ATTEMPTS)))
    def begin(self, most: int) -> None:
        """Two people wait in one thread; so many attempts are all."""
        self.model.max_attempts = most
        for stores in self.stores:
            stores.settle._max_attempts = stores.recovery._max_attempts = most
        for who in ("ann", "ann", "bob"):
            self.accept(0, who, "0", 0.0)

    @rule(node=nodes, who=people, key=st.sampled_from(("0", "0", "1", "main")), delay=st.sampled_from((0.0, 0.0, 3.0)))
    def accept(self, node: int, who: str, key: str, delay: float) -> None:
        """A new message."""
        question = Question(self.rows.say(who, key), who)
        number = len(self.model.deliveries)
        made = self.arrive(node, number, key, question, delay)
        expected = self.model.accept(int(made.delivery_id), key, question, delay)
        assert (made.fresh, made.state) == (True, expected.state)

    @rule(node=nodes, data=st.data())
    def accept_again(self, node: int, data: st.DataObject) -> None:
        """The same message once more, whatever has become of it: its first delivery is found."""
        number = data.draw(st.integers(0, len(self.model.deliveries) - 1))
        known = self.model.deliveries[number]
        if known.resumes:
            return
        made = self.arrive(node, number, known.place.key, known.question, 0.0)
        assert (int(made.delivery_id), made.fresh, made.state) == (known.number, False, known.state)

    @rule(node=nodes, limit=st.integers(1, SLOTS))
    def claim(self, node: int, limit: int) -> None:
        """A process looks for work."""
        right = self.model.claim(node, limit)
        got: Claim | Blocked | None = Blocked.NO_SLOT
        try:
            with self.stores[node].database.write() as tx:
                got = self.stores[node].claims.claim(tx, self.rows.ada, limit=limit)
        except NoSlot:
            pass
        self.compare(right, got)

    def compare(self, right: Right | Blocked | None, got: Claim | Blocked | None) -> None:
        """Both say the same of a claim."""
        if not isinstance(right, Right) or not isinstance(got, Claim):
            assert got == right
            return
        ids = self.rows.worlds[0].ids
        assert got.deliveries == tuple(str(one.number) for one in right.members)
        assert got.messages == tuple(one.question.id for one in right.members if not one.resumes)
        assert got.resumed == right.members[0].resumes
        assert got.requester_id == ids[right.members[0].question.author]
        assert (got.epoch, got.slot, got.attempt, got.failures) == (
            right.epoch,
            right.slot,
            right.attempt,
            right.failures,
        )
        assert self.turns.setdefault(got.turn_id, right.turn) is right.turn
        assert self.replies.setdefault(got.turn_id, got.reply_id) == got.reply_id
        self.held.append((got, right))

    def some_claim(self, data: st.DataObject) -> tuple[Claim, Right]:
        """Some claim that was ever made, rather one that still holds."""
        live = [one for one in self.held if self.model.holds(one[1])]
        number = data.draw(st.sampled_from([self.held.index(one) for one in live * 3 + self.held]), label="claim")
        return self.held[number]

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        fate=st.sampled_from(FATES),
        punished=st.booleans(),
        delay=st.sampled_from((0.0, 2.0, 20.0)),
    )
    def settle(self, data: st.DataObject, fate: Fate, punished: bool, delay: float) -> None:
        """An attempt ends, now or long after somebody else took its turn."""
        claim, right = self.some_claim(data)
        text = f"Text {right.epoch}"
        expected = self.model.settle(right, str(fate), text, delay if fate is Fate.RETRY else 0.0, punished=punished)
        outcome = self.outcome(fate, text, delay, punished=punished)
        if fate is Fate.PARKED and expected is not None:
            self.rows.ask(claim.turn_id)
        with self.stores[right.node].database.write() as tx:
            settled = self.stores[right.node].settle.settle(tx, claim, outcome)
        assert (None if settled is None else str(settled[0].fate)) == expected
        self.ended_are(settled, right)

    @staticmethod
    def outcome(fate: Fate, text: str, delay: float, *, punished: bool) -> Outcome:
        """How an attempt ended: delay and punishment are for a retry only."""
        if fate is Fate.RETRY:
            return Outcome(fate, text=text, delay=delay, punished=punished, error_kind="crash")
        return Outcome(fate, text="" if fate is Fate.DELETED else text)

    def ended_are(self, settled: Any, right: Right) -> None:
        """Whom a settle reports as ended are those that the model ended."""
        if settled is not None:
            ended = {one.delivery_id: str(one.state) for one in settled[1]}
            assert ended == {str(one.number): one.state for one in right.members if not one.open}

    @precondition(lambda self: self.held)
    @rule(data=st.data(), limit=st.integers(1, SLOTS))
    def answer_and_claim(self, data: st.DataObject, limit: int) -> None:
        """The end of an attempt and the next claim in one transaction, which keeps the slot, as workers do."""
        claim, right = self.some_claim(data)
        if not self.model.holds(right) or limit <= right.slot:
            return
        self.model.settle(right, "answered", "Done", 0.0, punished=False)
        stores = self.stores[right.node]
        with stores.database.write() as tx:
            stores.settle.settle(tx, claim, Outcome(Fate.ANSWERED, text="Done"), free=False)
            got = stores.claims.claim(tx, self.rows.ada, limit=limit, over=Kept(claim))
            if got is None:
                stores.settle.free(tx, claim, NOTHING)
        self.compare(self.model.claim(right.node, limit, keep=right.slot), got)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def checkpoint(self, data: st.DataObject) -> None:
        """A process keeps the text so far, perhaps long after it lost the turn."""
        claim, right = self.some_claim(data)
        kept = self.stores[right.node].turns.checkpoint(claim, f"So far {right.epoch}", 1)
        assert kept == self.model.checkpoint(right, f"So far {right.epoch}")

    @rule(node=nodes)
    def renew(self, node: int) -> None:
        """A process extends its leases and hears what was asked to end."""
        held = sorted((one.turn_id, one.epoch, one.cancel) for one in self.stores[node].leases.renew())
        expected = [(self.id_of(turn), epoch, asked) for turn, epoch, asked in self.model.renew(node)]
        assert held == sorted(expected)

    def id_of(self, turn: Turn) -> str:
        """A turn's id."""
        return next(key for key, one in self.turns.items() if one is turn)

    @rule(seconds=st.sampled_from((0.5, 2.0, 6.0, 6.0, 25.0)))
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.rows.clock.advance(seconds)
        self.model.now = self.rows.clock.wall()

    @rule(target=orphans, node=nodes, dead=st.booleans())
    def look(self, node: int, dead: bool) -> Any:
        """A process sees what another one lost: its lease has run out, or it is known to be dead."""
        return multiple(*self.pairs(node, dead=dead))

    def pairs(self, node: int, *, dead: bool) -> list[tuple[int, Orphan, Found]]:
        """What a process finds of the other one's, and what the model says it should."""
        leases, other = self.stores[node].leases, self.stores[1 - node].nodes.id
        seen = sorted(leases.held_by([other]) if dead else leases.expired(), key=lambda one: one.n)
        expected = self.model.found(node=1 - node) if dead else self.model.found(expired_for=node)
        assert [(one.n, str(one.turn_id), one.epoch, one.lease_until) for one in seen] == [
            (one.slot, self.id_of(one.turn), one.epoch, one.lease) for one in expected
        ]
        return [(node, one, found) for one, found in zip(seen, expected, strict=True)]

    @rule(orphan=consumes(orphans))
    def take_over(self, orphan: tuple[int, Orphan, Found]) -> None:
        """It acts on what it saw, at once or when all has changed."""
        self.taken(*orphan)

    @rule(node=nodes)
    def come_back_in_time(self, node: int) -> None:
        """A process renews after another one has looked, and before that one acts."""
        seen = self.pairs(node, dead=True)
        self.advance(0.5)
        self.renew(1 - node)
        for orphan in seen:
            self.taken(*orphan)

    @rule(node=nodes)
    def die(self, node: int) -> None:
        """A process dies with all its turns, and the other one hands them back."""
        for orphan in self.pairs(node, dead=True):
            self.taken(*orphan)

    def taken(self, node: int, seen: Orphan, found: Found) -> None:
        """Rows and model say the same of a take-over."""
        expected = self.model.take_over(found)
        ended: Any
        try:
            recovered = self.stores[node].recovery.take_over(seen)
            ended = None if recovered is None else [int(one.delivery_id) for one in recovered.ended]
        except LostRace:
            ended = Blocked.LOST_RACE
        assert ended == ([one.number for one in expected] if isinstance(expected, list) else expected)

    def draw(self, data: st.DataObject, *states: str) -> Delivery:
        """Some delivery, rather one in these states."""
        liked = [one for one in self.model.deliveries if one.state in states]
        return data.draw(st.sampled_from(liked + self.model.deliveries), label="delivery")

    @rule(data=st.data(), by_reply=st.booleans())
    def stop(self, data: st.DataObject, by_reply: bool) -> None:
        """Stop, by the question or by its answer."""
        delivery = self.draw(data, *OPEN)
        mine = [delivery]
        message = delivery.question.id
        if (by_reply or delivery.resumes) and delivery.turn is not None:
            message = self.replies[self.id_of(delivery.turn)]
            mine = [one for one in self.model.deliveries if one.turn is delivery.turn]
        if delivery.question.gone:
            return
        found = self.rows.worlds[0].stop(delivery.question.author, message)["state"]
        assert found == {"running": "stopping", "waiting": "stopped", "over": "over"}[self.model.stop(mine)]

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Its author deletes a question."""
        delivery = self.draw(data, *OPEN)
        if delivery.resumes:
            return
        self.rows.worlds[0].delete(delivery.question.author, delivery.question.id)
        if not delivery.question.gone:
            self.model.delete(delivery.question)

    @precondition(lambda self: self.model.turns)
    @rule(data=st.data(), node=nodes, verdict=st.sampled_from(("approved", "denied")))
    def decide(self, data: st.DataObject, node: int, verdict: Any) -> None:
        """Somebody decides on all calls of a turn, whether it is parked or not."""
        liked = [turn for turn in self.model.turns if turn.state == "parked"]
        self.decided(node, data.draw(st.sampled_from(liked * 3 + self.model.turns), label="turn"), verdict)

    def decided(self, node: int, turn: Turn, verdict: Any) -> None:
        """Rows and model say the same of a decision."""
        stores, before = self.stores[node], len(self.rows.all("Delivery"))
        with stores.database.write() as tx:
            found = stores.parking.decide(tx, self.id_of(turn), Verdict(verdict, by="1"))
        made = self.rows.all("Delivery")[before:]
        resumed = self.model.decide(turn, made[0].id if made else 0)
        assert len(made) == (resumed is not None)
        assert (found is not None and found.resumed) == (resumed is not None)

    @rule(data=st.data(), node=nodes)
    def retry(self, data: st.DataObject, node: int) -> None:
        """Somebody gives a dead letter its attempts back; anything else stays as it is."""
        delivery = self.draw(data, "failed", "expired")
        with self.stores[node].database.write() as tx:
            assert self.stores[node].turns.retry(tx, str(delivery.number)) == self.model.retry(delivery)

    @rule(node=nodes)
    def expire(self, node: int) -> None:
        """The sweep ends what is too old."""
        overdue = self.stores[node].leases.overdue(MAX_AGE)
        expected = self.model.overdue()
        assert overdue == [str(one.number) for one in expected]
        for one in expected:
            assert (self.stores[node].recovery.expire(str(one.number)) is not None) == self.model.expire(one)
            assert self.stores[1 - node].recovery.expire(str(one.number)) is None

    @rule(wanted=st.sampled_from((*[True] * 7, False)))
    def want(self, wanted: bool) -> None:
        """The orchestrator is started or stopped by somebody."""
        self.rows.want(wanted=wanted)
        self.model.wanted = wanted

    @invariant()
    def agree(self) -> None:
        """All rows say what the model says: nothing has disappeared, nothing has happened twice."""
        self.work_agrees()
        self.slots_agree()
        self.replies_agree()
        self.rows.keep_the_promises()

    def work_agrees(self) -> None:
        """Deliveries, turns and conversations."""
        model = self.model
        seen = {
            row.id: (row.state, row.attempts, row.ready_at, row.accepted_at, row.turn_id and str(row.turn_id))
            for row in self.rows.all("Delivery")
        }
        assert seen == {
            one.number: (one.state, one.attempts, one.ready, one.accepted, one.turn and self.id_of(one.turn))
            for one in model.deliveries
        }
        turns = {str(row.id): row for row in self.rows.all("Turn")}
        assert {key: (row.state, row.epoch, row.attempt, row.cancel_requested) for key, row in turns.items()} == {
            key: (turn.state, turn.epoch, turn.attempt, turn.asked) for key, turn in self.turns.items()
        }
        places = {row.key.split("/")[1]: (row.epoch, row.turn_id) for row in self.rows.all("Conversation")}
        for key, place in model.conversations.items():
            holder = None if place.holder is None else int(self.id_of(place.holder))
            assert places[self.rows.place(key).thread_id or ""] == (place.epoch, holder)

    def slots_agree(self) -> None:
        """Each slot is held by whom the model says, with that lease."""
        ids = [one.nodes.id for one in self.stores]
        held = [(row.node_id, row.turn_id and str(row.turn_id), row.lease_until) for row in self.rows.all("Slot")]
        assert held == [
            (None if one.node is None else ids[one.node], one.turn and self.id_of(one.turn), one.lease)
            for one in self.model.slots
        ]

    def replies_agree(self) -> None:
        """One reply row for each turn, a notice for each delivery that was never begun, and no row more."""
        ada = self.rows.worlds[0].ids["ada"]
        messages = {str(row.id): row for row in self.rows.all("Message") if str(row.author_id) == ada}
        assert len(set(self.replies.values())) == len(self.turns)
        assert len(messages) == len(self.turns) + self.model.notices
        for key, turn in self.turns.items():
            row, reply = messages.pop(self.replies[key]), turn.reply
            assert (row.state, row.epoch, row.deleted_at is not None) == (reply.state, reply.epoch, reply.gone)
            assert row.content == reply.text if reply.text != NOTICE else row.content
        assert all(row.state == "failed" and row.content for row in messages.values())

    # rules are drawn alike, whatever they need to be of use: these three have the more names the more there is in them
    accept_more = accept_most = accept
    claim_more = claim_most = claim
    settle_more = settle_most = settle

    def teardown(self) -> None:
        """Whatever has happened: everything that waits can be brought to an end, and then nothing is held."""
        self.want(wanted=True)
        for node in (0, 1):
            for orphan in self.stores[node].leases.held_by([self.stores[node].nodes.id]):
                assert self.stores[1 - node].recovery.take_over(orphan) is not None
        for turn in [turn for turn in self.model.turns if turn.state == "parked"]:
            self.decided(0, turn, "denied")
        self.rows.clock.advance(30.125)  # no delivery is exactly as old as it may be
        for delivery in self.stores[0].leases.overdue(MAX_AGE):
            assert self.stores[0].recovery.expire(delivery) is not None
        for _ in range(len(self.model.deliveries)):
            with self.stores[0].database.write() as tx:
                claim = self.stores[0].claims.claim(tx, self.rows.ada, limit=1)
                if claim is None:
                    break
                assert self.stores[0].settle.settle(tx, claim, Outcome(Fate.ANSWERED, text="At last")) is not None
        assert [row.id for row in self.rows.all("Delivery") if row.state in OPEN] == []
        assert self.stores[0].leases.slots_of(self.rows.ada) == 0
        self.rows.keep_the_promises()


@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_the_inbox_does_what_its_model_does(make_world: MakeWorld, databases: Databases) -> None:
    """After each of many steps, in any order, by two processes, the rows say what the model says."""
    clock = ManualClock(EPOCH)
    first = make_world(on=databases, clock=clock, **CONFIG)
    rows = Rows((first, make_world(like=first, clock=clock, **CONFIG)), clock, slots=SLOTS)
    machine: Any = lambda: InboxMachine(rows)  # noqa: E731 -- hypothesis takes a factory but its type says a class
    examples = EXAMPLES or (100 if rows.database.dialect.name == "sqlite" else 40)
    for number in range(SEED, SEED + max(1, examples // EACH)):
        print(f"NEOLITH_PROPERTY_SEED={number}")
        run_state_machine_as_test(seed(number)(machine), settings=profile)
