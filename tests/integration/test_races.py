"""Two processes at once, at every instant at which they can meet: no luck, no sleep, real transactions of Postgres."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from flask_neolith_orchestrator.core.types import Claim
from flask_neolith_orchestrator.store.inbox.inbox import Arrival
from flask_neolith_orchestrator.store.turns.claims import LostRace, NoSlot
from flask_neolith_orchestrator.store.turns.endings import NOTHING, Fate, Kept, Outcome
from flask_neolith_orchestrator.store.turns.leases import Orphan
from flask_neolith_orchestrator.testing import ManualClock

from .conftest import Databases, MakeWorld
from .inbox_rows import EPOCH, Rows
from .interleave import interleaved

SCENES = ("waiting", "running", "between", "failed")
FEW = 30
"""Pairs that are all tried each time: a minute for all of them is too long for every run of the tests."""

CONFIG: dict[str, Any] = {"DAEMON_LEASE": 5000, "DAEMON_RENEW_INTERVAL": 1000, "DAEMON_MAX_ATTEMPTS": 2}


class Meeting:
    """One conversation with two lines of ann and one of bob, in a state that two processes act on at once."""

    def __init__(self, rows: Rows, scene: str) -> None:
        self.rows = rows
        rows.clear()
        self.here, self.there = (world.stores for world in rows.worlds)
        with self.there.database.write() as tx:
            lines = enumerate(("ann", "ann", "bob"))
            self.questions = [self.arrive(who, number, self.there, tx) for number, who in lines]
        self.deliveries = [str(row.id) for row in rows.all("Delivery")]
        self.claim: Claim | None = None
        self.orphan: Orphan | None = None
        if scene != "waiting":
            self.claim = self.take(self.here)
            assert self.claim is not None
            self.orphan = self.there.leases.find(self.claim.turn_id)
        if self.claim is not None and scene in ("between", "failed"):
            fate = Fate.RETRY if scene == "between" else Fate.FAILED
            with self.here.database.write() as tx:
                self.here.settle.settle(tx, self.claim, Outcome(fate, text="Half"))

    def arrive(self, who: str, number: int, stores: Any, tx: Any) -> str:
        """A line for the orchestrator."""
        question, world = self.rows.said(tx, who, "0"), self.rows.worlds[0]
        arrival = Arrival(self.rows.ada, self.rows.place("0"), f"k{number}", world.ids[who], "mention", question)
        stores.inbox.accept_in(tx, [arrival])
        return question

    def another(self, stores: Any) -> None:
        """One line more, of whom the turn is."""
        with stores.database.write() as tx:
            self.arrive("ann", 3, stores, tx)

    def take(self, stores: Any) -> Claim | None:
        """Claim, as a worker does: again where another was quicker, or held the row just then."""
        while True:
            try:
                with stores.database.write() as tx:
                    found: Claim | None = stores.claims.claim(tx, self.rows.ada, limit=2)
                    return found
            except LostRace:
                continue
            except NoSlot:
                return None

    def settle(self, stores: Any, outcome: Outcome) -> Any:
        """End the attempt."""
        assert self.claim is not None
        with stores.database.write() as tx:
            return stores.settle.settle(tx, self.claim, outcome)

    def take_over(self, stores: Any) -> Any:
        """Hand back what the other process was working on."""
        assert self.orphan is not None
        try:
            return stores.recovery.take_over(self.orphan)
        except LostRace:
            return None

    def settle_and_claim(self, stores: Any) -> Any:
        """End the attempt and claim the next in one transaction, as workers do; a claim's lost race undoes both."""
        assert self.claim is not None
        while True:
            try:
                with stores.database.write() as tx:
                    settled = stores.settle.settle(tx, self.claim, ANSWER, free=False)
                    if settled is not None and not stores.claims.claim(
                        tx, self.rows.ada, limit=2, over=Kept(self.claim)
                    ):
                        stores.settle.free(tx, self.claim, NOTHING)
                    return settled
            except LostRace:
                continue

    def retry(self, stores: Any) -> Any:
        """Try the second line again."""
        with stores.database.write() as tx:
            return stores.turns.retry(tx, self.deliveries[1])

    def answer(self) -> str:
        """The id of the answer's row."""
        assert self.claim is not None
        return self.claim.reply_id

    def state(self) -> tuple[Any, ...]:
        """All that counts, without what differs from one run to the next."""
        all_of, first = self.rows.all, int(self.deliveries[0])
        turns = {row.id: number for number, row in enumerate(all_of("Turn"))}
        replies = {row.reply_id: number for number, row in enumerate(all_of("Turn"))}
        messages = [
            (replies.get(str(row.id), -1), row.state, row.content, row.epoch, row.deleted_at is not None)
            for row in all_of("Message")
        ]
        return (
            [(row.id - first, row.state, row.attempts, turns.get(row.turn_id)) for row in all_of("Delivery")],
            [(row.state, row.epoch, row.attempt, row.cancel_requested) for row in all_of("Turn")],
            [(row.epoch, turns.get(row.turn_id)) for row in all_of("Conversation")],
            [(row.node_id, turns.get(row.turn_id), row.lease_until) for row in all_of("Slot")],
            sorted(messages),
        )


Act = Callable[[Meeting, int], Any]
"""What a process does, given its number."""

ANSWER = Outcome(Fate.ANSWERED, text="Here you are.", seq=3)
CRASH = Outcome(Fate.RETRY, text="Half", punished=True, error_kind="crash")


def stores_of(meeting: Meeting, who: int) -> Any:
    """The store of a process."""
    return meeting.rows.worlds[who].stores


ACTS: dict[str, Act] = {
    "claim": lambda m, who: m.take(stores_of(m, who)),
    "answer": lambda m, who: m.settle(stores_of(m, who), ANSWER),
    "answer and go on": lambda m, who: m.settle_and_claim(stores_of(m, who)),
    "accept": lambda m, who: m.another(stores_of(m, who)),
    "crash": lambda m, who: m.settle(stores_of(m, who), CRASH),
    "checkpoint": lambda m, who: stores_of(m, who).turns.checkpoint(m.claim, "So far", 2),
    "renew": lambda m, who: stores_of(m, 0).leases.renew() if who == 0 else None,
    "take over": lambda m, who: m.take_over(stores_of(m, who)),
    "stop": lambda m, who: m.rows.worlds[who].stop("ann", m.questions[1])["state"],
    "delete a question": lambda m, who: m.rows.worlds[who].delete("ann", m.questions[0]),
    "delete the answer": lambda m, who: m.rows.worlds[who].delete("ann", m.answer()),
    "expire": lambda m, who: stores_of(m, who).recovery.expire(m.deliveries[0]),
    "try again": lambda m, who: m.retry(stores_of(m, who)),
}

POSSIBLE = {
    "waiting": ("claim", "accept", "stop", "delete a question", "expire"),
    "running": (
        *("answer", "answer and go on", "crash", "checkpoint", "renew", "take over", "accept"),
        *("stop", "delete a question", "delete the answer"),
    ),
    "between": ("claim", "accept", "stop", "delete a question", "delete the answer", "expire"),
    "failed": ("claim", "accept", "try again", "delete a question", "delete the answer"),
}


@pytest.fixture
def rows(make_world: MakeWorld, on_postgres: Databases) -> Rows:
    """Two processes on one Postgres."""
    clock = ManualClock(EPOCH)
    first = make_world(on=on_postgres, clock=clock, **CONFIG)
    return Rows((first, make_world(like=first, clock=clock, **CONFIG)), clock, slots=2)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """A thread for each process."""
    with ThreadPoolExecutor(2) as made:
        yield made


def afterwards(meeting: Meeting, done: tuple[Any, Any], acts: tuple[str, str]) -> tuple[Any, ...]:
    """The state, once whoever only passed by has come again, as the sweep does."""
    for who, (gave, name) in enumerate(zip(done, acts, strict=True)):
        if gave is None and name in ("claim", "take over"):
            ACTS[name](meeting, who)
    meeting.rows.keep_the_promises()
    return meeting.state()


@pytest.mark.postgres
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scene", SCENES)
def test_interleaved_they_give_what_they_give_one_after_the_other(
    rows: Rows, pool: ThreadPoolExecutor, scene: str
) -> None:
    """Whatever two processes do at once, met between any two statements: the rows are those of one of both orders.

    And nobody waits for the other in a circle.
    """
    for name, other in pairs(POSSIBLE[scene]):
        one_by_one = [in_order(rows, scene, name, other), in_order(rows, scene, other, name, turned=True)]
        held = 0
        while (state := met(rows, pool, scene, name, other, held + 1)) is not None:
            held += 1
            assert state in one_by_one, f"{scene}: {name}, held at its statement {held}, and {other}"
        assert held, f"{name} was never held"


def pairs(acts: Sequence[str]) -> Sequence[tuple[str, str]]:
    """Every two acts, of many every other pair; where many examples are asked for all, and both ways round."""
    if "NEOLITH_PROPERTY_EXAMPLES" in os.environ:
        return [(name, other) for name in acts for other in acts]
    once = list(itertools.combinations_with_replacement(acts, 2))
    return once if len(once) <= FEW else once[::2]


def met(rows: Rows, pool: ThreadPoolExecutor, scene: str, name: str, other: str, at: int) -> tuple[Any, ...] | None:
    """What is there when the first was held at a statement until the second had ended, or waited for it."""
    meeting = Meeting(rows, scene)
    done = interleaved(pool, rows.worlds[0], at, lambda: ACTS[name](meeting, 0), lambda: ACTS[other](meeting, 1))
    return None if done is None else afterwards(meeting, done, (name, other))


def in_order(rows: Rows, scene: str, first: str, second: str, *, turned: bool = False) -> tuple[Any, ...]:
    """What is there when one has ended before the other begins. `turned`: the second process is first."""
    meeting = Meeting(rows, scene)
    who = (1, 0) if turned else (0, 1)
    done = (ACTS[first](meeting, who[0]), ACTS[second](meeting, who[1]))
    return afterwards(meeting, done[::-1] if turned else done, (second, first) if turned else (first, second))


@pytest.mark.postgres
def test_a_stop_and_a_deletion_that_concern_two_orchestrators(
    make_world: MakeWorld, on_postgres: Databases, pool: ThreadPoolExecutor
) -> None:
    """Both lock both conversations, and in the same order, whichever was there first: nobody waits in a circle."""
    world = make_world(on=on_postgres, orchestrators=("ada", "bee"))
    other = make_world(like=world)
    thread = world.thread()
    for name in ("bee", "ada"):
        world.post("ann", f"@{name} hello", thread=thread)
    for at in itertools.count(1):
        asked = world.post("ann", "@ada @bee hello", thread=thread)["id"]
        if interleaved(pool, world, at, partial(world.stop, "ann", asked), partial(other.delete, "ann", asked)) is None:
            break
        assert [row["state"] for row in world.rows("Delivery", message_id=asked)] == ["cancelled", "cancelled"]
    assert at > 4
