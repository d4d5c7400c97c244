"""The end of an attempt, written in one transaction that is void if the fence has moved."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, Table, bindparam, select, update

from ...core.cancel import StopReason
from ...core.ports import ChatStore
from ...core.types import Claim, DeliveryState
from ..sql.database import Database
from ..tables.columns import PARKED, RUNNING, WAITING
from ..tables.models import Models
from .endings import Ended, Endings, Fate, Outcome, Tally, added, ended_rows, failed, tally
from .parking import Parking
from .replies import Replies, Split, whole

_DELIVERIES = {
    Fate.ANSWERED: DeliveryState.ANSWERED,
    Fate.STOPPED: DeliveryState.CANCELLED,
    Fate.DELETED: DeliveryState.CANCELLED,
    Fate.FAILED: DeliveryState.FAILED,
    Fate.REFUSED: DeliveryState.REFUSED,
}

GIVEN_UP = "I could not answer this: it went wrong too often. You can try it again, or ask somebody who looks after me."
_STOPPABLE = (Fate.ANSWERED, Fate.RETRY, Fate.RELEASED, Fate.PARKED)


class Settle:
    """Writes how attempts end. Lifetime: app, in one process; safe for all threads."""

    def __init__(
        self,
        models: Models,
        database: Database,
        chat: ChatStore,
        parking: Parking,
        *,
        max_attempts: int,
        split: Split = whole,
    ) -> None:
        self._chat = chat
        self._parking = parking
        self._clock = database.clock
        self._max_attempts = max_attempts
        self._d: Table = models.table("Delivery")
        self._m: Table = models.table("Message")
        c, d, t = models.table("Conversation"), self._d, models.table("Turn")
        s = models.table("Slot")
        fence = (
            update(c)
            .where(
                c.c.id == bindparam("b_conversation"),
                c.c.epoch == bindparam("b_epoch"),
                c.c.turn_id == bindparam("b_turn"),
            )
            .values(turn_id=None)
        )
        asked = select(t.c.cancel_requested).where(t.c.id == bindparam("b_turn"))
        # where others may write at the same time, only a look that locks sees the last word
        self._one_writer = database.one_writer
        self._fence = database.prepare(fence.returning(asked.scalar_subquery() if self._one_writer else c.c.id))
        self._asked = database.prepare(asked.with_for_update())
        self._free = database.prepare(
            update(s)
            .where(s.c.orchestrator_id == bindparam("b_orchestrator"), s.c.n == bindparam("b_n"))
            .where(s.c.turn_id == bindparam("b_turn"))
            .values(node_id=None, conversation_id=None, turn_id=None, epoch=None, lease_until=None)
            .values(added(s))
        )
        self._endings = Endings(models, database, Replies(models, database, chat, split))
        self._prepare_deliveries(database, d)

    def _prepare_deliveries(self, database: Database, d: Table) -> None:
        self._deliveries = database.prepare(
            update(d)
            .where(d.c.turn_id == bindparam("b_turn"), d.c.state.in_((RUNNING, PARKED)))
            .values(state=bindparam("b_state"), ended_at=bindparam("b_at"), outcome=bindparam("b_outcome"))
        )
        self._back = database.prepare(
            update(d)
            .where(d.c.turn_id == bindparam("b_turn"), d.c.state == RUNNING, d.c.id != bindparam("b_but"))
            .values(state="waiting", ready_at=bindparam("b_ready"), held=bindparam("b_held"))
        )
        self._forgive = database.prepare(
            update(d).where(d.c.id == bindparam("b_head"), d.c.attempts > 0).values(attempts=d.c.attempts - 1)
        )
        self._alone = database.prepare(
            update(d)
            .where(d.c.turn_id == bindparam("b_turn"), d.c.id != bindparam("b_head"), d.c.state == WAITING)
            .values(turn_id=None)
        )

    def settle(
        self, tx: Connection, claim: Claim, outcome: Outcome, *, free: bool = True
    ) -> tuple[Outcome, list[Ended]] | None:
        """Write the outcome and give the slot back; None (and nothing is written) if the fence has moved.

        Without `free` the slot is left to the next claim of this transaction, or to `free`.
        Stop and the questions are looked at once more: what was committed before this counts. The outcome that
        was really written is returned, with the deliveries that have ended by it.
        """
        turn = int(claim.turn_id)
        found = self._fence.run(tx, b_conversation=int(claim.conversation_id), b_epoch=claim.epoch, b_turn=turn)
        fenced = found.fetchone()
        if fenced is None:
            return None
        asked = fenced[0] if self._one_writer else self._asked.run(tx, b_turn=turn).scalar()
        parked = outcome.fate is Fate.PARKED
        claim, outcome = self._as_asked(tx, claim, outcome, asked)
        outcome, ended = self._without_deleted(tx, claim, outcome)
        if outcome.fate in _DELIVERIES:
            ended = self._end(tx, claim, outcome)
            if parked:
                self._parking.withdraw(tx, [turn])  # there is nothing left to be asked about
        elif outcome.fate is Fate.PARKED:
            self._parking.park(tx, claim)
        else:
            self._hand_back(tx, claim, outcome, {one.delivery_id for one in ended})
        outcome = self._endings.write(tx, claim, outcome)
        if free:
            self.free(tx, claim, tally(claim, outcome, ended))
        return outcome, ended

    def free(self, tx: Connection, claim: Claim, done: Tally) -> None:
        """Give a turn's slot back, and count in it what was done."""
        mine = {"b_orchestrator": int(claim.orchestrator_id), "b_n": claim.slot, "b_turn": int(claim.turn_id)}
        self._free.run(tx, **mine, b_answered=done.answered, b_failed=done.failed)

    def _as_asked(self, tx: Connection, claim: Claim, outcome: Outcome, asked: str | None) -> tuple[Claim, Outcome]:
        """Stop wins over everything that was not committed before it, and the last attempt is the head's failure."""
        if asked == StopReason.PERSON and outcome.fate in _STOPPABLE:
            return claim, replace(outcome, fate=Fate.STOPPED, notice=None, stop_reason="stopped")
        if outcome.fate is Fate.RETRY and outcome.punished and claim.failures >= self._max_attempts:
            return self._head_of(tx, claim), failed(outcome, GIVEN_UP)
        return claim, outcome

    def _head_of(self, tx: Connection, claim: Claim) -> Claim:
        """The claim without the head's neighbours, who wait again: its failure is not theirs."""
        if len(claim.deliveries) == 1 or claim.resumed:
            return claim
        head = int(claim.deliveries[0])
        self._back.run(tx, b_turn=int(claim.turn_id), b_ready=self._clock.wall(), b_held=None, b_but=head)
        self._alone.run(tx, b_turn=int(claim.turn_id), b_head=head)
        return replace(claim, deliveries=claim.deliveries[:1], messages=claim.messages[:1])

    def _without_deleted(self, tx: Connection, claim: Claim, outcome: Outcome) -> tuple[Outcome, list[Ended]]:
        """Nobody is answered whose question is gone; if others are left, theirs are answered again."""
        if not claim.messages:
            return outcome, []
        present = self._chat.present(tx, claim.messages)
        if not present:
            return replace(outcome, fate=Fate.DELETED, text=""), []
        gone = [one for one in claim.messages if one not in present]
        if outcome.fate in (Fate.STOPPED, Fate.FAILED, Fate.REFUSED) or (not gone and outcome.fate is not Fate.DELETED):
            return outcome, []
        ended = self._drop(tx, claim, gone)
        if outcome.fate in (Fate.ANSWERED, Fate.DELETED):
            outcome = Outcome(
                fate=Fate.RELEASED,
                usage=outcome.usage,
                model=outcome.model,
                calls=outcome.calls,
                charter_version=outcome.charter_version,
            )
        return outcome, ended

    def _drop(self, tx: Connection, claim: Claim, gone: list[str]) -> list[Ended]:
        d = self._d
        rows = tx.execute(
            update(d)
            .where(d.c.turn_id == int(claim.turn_id), d.c.message_id.in_(gone), d.c.state.in_((RUNNING, PARKED)))
            .values(state="cancelled", ended_at=self._clock.wall(), outcome="deleted")
            .returning(d.c.id, d.c.orchestrator_id, d.c.state, d.c.outcome)
        )
        return ended_rows(rows)

    def _end(self, tx: Connection, claim: Claim, outcome: Outcome) -> list[Ended]:
        state = _DELIVERIES[outcome.fate]
        reason = outcome.error_kind or outcome.fate.value
        self._deliveries.run(
            tx, b_turn=int(claim.turn_id), b_state=str(state), b_at=self._clock.wall(), b_outcome=reason
        )
        return [Ended(one, claim.orchestrator_id, state, reason) for one in claim.deliveries]

    def _hand_back(self, tx: Connection, claim: Claim, outcome: Outcome, gone: set[str]) -> None:
        ready = self._clock.wall() + outcome.delay
        self._back.run(tx, b_turn=int(claim.turn_id), b_ready=ready, b_held=outcome.held, b_but=0)
        if outcome.punished:  # the next attempt takes the head alone: it may be what goes wrong
            head = next(one for one in claim.deliveries if one not in gone)
            self._alone.run(tx, b_turn=int(claim.turn_id), b_head=int(head))
        else:
            self._forgive.run(tx, b_head=int(claim.deliveries[0]))
