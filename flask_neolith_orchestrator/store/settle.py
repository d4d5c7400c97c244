"""The end of an attempt, written in one transaction that is void if the fence has moved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Table, Update, bindparam, select, update

from ..core.cancel import StopReason
from ..core.ports import ChatStore, ReplyWrite
from ..core.types import Claim, DeliveryState, MessageState, TurnState, Usage
from .columns import RUNNING, WAITING
from .database import Database
from .models import Models


class Fate(StrEnum):
    """What becomes of an attempt."""

    ANSWERED = "answered"
    STOPPED = "stopped"  # by a person: the partial text stays
    DELETED = "deleted"  # the question is gone
    RETRY = "retry"  # the model's trouble or a crash: tried again after `delay`
    RELEASED = "released"  # this process or daemon stops: handed back unpunished
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `delay` (seconds) and `punished` (uses up an attempt) are for RETRY."""

    fate: Fate
    text: str = ""
    seq: int = 0
    notice: str | None = None
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    stop_reason: str | None = None
    error_kind: str | None = None
    error: str | None = None
    delay: float = 0.0
    punished: bool = False
    first_text_at: float | None = None
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """A delivery that has come to its end."""

    delivery_id: str
    orchestrator_id: str
    state: DeliveryState
    reason: str


_TURNS = {
    Fate.ANSWERED: TurnState.DONE,
    Fate.STOPPED: TurnState.INTERRUPTED,
    Fate.DELETED: TurnState.CANCELLED,
    Fate.RETRY: TurnState.INTERRUPTED,
    Fate.RELEASED: TurnState.INTERRUPTED,
    Fate.FAILED: TurnState.FAILED,
}
_MESSAGES = {
    Fate.ANSWERED: MessageState.FINAL,
    Fate.STOPPED: MessageState.INTERRUPTED,
    Fate.RETRY: MessageState.INTERRUPTED,
    Fate.RELEASED: MessageState.INTERRUPTED,
    Fate.FAILED: MessageState.FAILED,
}
_DELIVERIES = {
    Fate.ANSWERED: DeliveryState.ANSWERED,
    Fate.STOPPED: DeliveryState.CANCELLED,
    Fate.DELETED: DeliveryState.CANCELLED,
    Fate.FAILED: DeliveryState.FAILED,
}


class Settle:
    """Writes how attempts end. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database, chat: ChatStore, *, max_attempts: int) -> None:
        self._chat = chat
        self._clock = database.clock
        self._max_attempts = max_attempts
        self._d: Table = models.table("Delivery")
        self._m: Table = models.table("Message")
        c, d, t = models.table("Conversation"), self._d, models.table("Turn")
        s, w = models.table("Slot"), models.table("Daemon")
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
        )
        self._turn = database.prepare(self._turn_statement(t))
        self._tally = database.prepare(
            update(w)
            .where(w.c.orchestrator_id == bindparam("b_orchestrator"))
            .values(processed=w.c.processed + bindparam("b_good"), failed=w.c.failed + bindparam("b_bad"))
        )
        self._prepare_deliveries(database, d)

    def _prepare_deliveries(self, database: Database, d: Table) -> None:
        self._deliveries = database.prepare(
            update(d)
            .where(d.c.turn_id == bindparam("b_turn"), d.c.state == RUNNING)
            .values(state=bindparam("b_state"), ended_at=bindparam("b_at"), outcome=bindparam("b_outcome"))
        )
        self._back = database.prepare(
            update(d)
            .where(d.c.turn_id == bindparam("b_turn"), d.c.state == RUNNING, d.c.id != bindparam("b_but"))
            .values(state="waiting", ready_at=bindparam("b_ready"))
        )
        self._forgive = database.prepare(
            update(d).where(d.c.id == bindparam("b_head"), d.c.attempts > 0).values(attempts=d.c.attempts - 1)
        )
        self._alone = database.prepare(
            update(d)
            .where(d.c.turn_id == bindparam("b_turn"), d.c.id != bindparam("b_head"), d.c.state == WAITING)
            .values(turn_id=None)
        )

    @staticmethod
    def _turn_statement(t: Table) -> Update:
        return (
            update(t)
            .where(t.c.id == bindparam("b_turn"))
            .values(
                state=bindparam("b_state"),
                ended_at=bindparam("b_at"),
                first_text_at=bindparam("b_first"),
                error_kind=bindparam("b_kind"),
                error=bindparam("b_error"),
                model=bindparam("b_model"),
                stop_reason=bindparam("b_stop"),
                calls=t.c.calls + bindparam("b_calls"),
                input_tokens=t.c.input_tokens + bindparam("b_in"),
                output_tokens=t.c.output_tokens + bindparam("b_out"),
                cache_read_tokens=t.c.cache_read_tokens + bindparam("b_read"),
                cache_write_tokens=t.c.cache_write_tokens + bindparam("b_write"),
            )
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
        if free:
            self.free(tx, claim)
        claim, outcome = self._as_asked(tx, claim, outcome, asked)
        outcome, ended = self._without_deleted(tx, claim, outcome)
        if outcome.fate in _DELIVERIES:
            ended = self._end(tx, claim, outcome)
        else:
            self._hand_back(tx, claim, outcome, {one.delivery_id for one in ended})
        self._write_turn(tx, claim, outcome)
        self._write_reply(tx, claim, outcome)
        self._count(tx, claim, outcome)  # last: all turns of this orchestrator share that row
        return outcome, ended

    def free(self, tx: Connection, claim: Claim) -> None:
        """Give a turn's slot back."""
        self._free.run(tx, b_orchestrator=int(claim.orchestrator_id), b_n=claim.slot, b_turn=int(claim.turn_id))

    def _as_asked(self, tx: Connection, claim: Claim, outcome: Outcome, asked: str | None) -> tuple[Claim, Outcome]:
        """Stop wins over everything that was not committed before it, and the last attempt is the head's failure."""
        if asked == StopReason.PERSON and outcome.fate in (Fate.ANSWERED, Fate.RETRY, Fate.RELEASED):
            return claim, replace(outcome, fate=Fate.STOPPED, notice=None, stop_reason="stopped")
        if outcome.fate is Fate.RETRY and outcome.punished and claim.failures >= self._max_attempts:
            text = outcome.text or "I could not answer this: it went wrong too often."
            return self._head_of(tx, claim), replace(outcome, fate=Fate.FAILED, text=text)
        return claim, outcome

    def _head_of(self, tx: Connection, claim: Claim) -> Claim:
        """The claim without the head's neighbours, who wait again: its failure is not theirs."""
        if len(claim.deliveries) == 1:
            return claim
        head = int(claim.deliveries[0])
        self._back.run(tx, b_turn=int(claim.turn_id), b_ready=self._clock.wall(), b_but=head)
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
        if outcome.fate in (Fate.STOPPED, Fate.FAILED) or (not gone and outcome.fate is not Fate.DELETED):
            return outcome, []
        ended = self._drop(tx, claim, gone)
        if outcome.fate in (Fate.ANSWERED, Fate.DELETED):
            outcome = Outcome(fate=Fate.RELEASED, usage=outcome.usage, model=outcome.model, calls=outcome.calls)
        return outcome, ended

    def _drop(self, tx: Connection, claim: Claim, gone: list[str]) -> list[Ended]:
        d = self._d
        rows = tx.execute(
            update(d)
            .where(d.c.turn_id == int(claim.turn_id), d.c.message_id.in_(gone), d.c.state == RUNNING)
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

    def _count(self, tx: Connection, claim: Claim, outcome: Outcome) -> None:
        good = len(claim.deliveries) if outcome.fate is Fate.ANSWERED else 0
        bad = len(claim.deliveries) if outcome.fate is Fate.FAILED else 0
        if good or bad:
            self._tally.run(tx, b_orchestrator=int(claim.orchestrator_id), b_good=good, b_bad=bad)

    def _hand_back(self, tx: Connection, claim: Claim, outcome: Outcome, gone: set[str]) -> None:
        self._back.run(tx, b_turn=int(claim.turn_id), b_ready=self._clock.wall() + outcome.delay, b_but=0)
        if outcome.punished:  # the next attempt takes the head alone: it may be what goes wrong
            head = next(one for one in claim.deliveries if one not in gone)
            self._alone.run(tx, b_turn=int(claim.turn_id), b_head=int(head))
        else:
            self._forgive.run(tx, b_head=int(claim.deliveries[0]))

    def _write_turn(self, tx: Connection, claim: Claim, outcome: Outcome) -> None:
        usage = outcome.usage
        self._turn.run(
            tx,
            b_turn=int(claim.turn_id),
            b_state=str(_TURNS[outcome.fate]),
            b_at=self._clock.wall(),
            b_first=outcome.first_text_at,
            b_kind=outcome.error_kind,
            b_error=outcome.error,
            b_model=outcome.model,
            b_stop=outcome.stop_reason,
            b_calls=outcome.calls,
            b_in=usage.input_tokens,
            b_out=usage.output_tokens,
            b_read=usage.cache_read_tokens,
            b_write=usage.cache_write_tokens,
        )

    def _write_reply(self, tx: Connection, claim: Claim, outcome: Outcome) -> None:
        now = self._clock.wall()
        if outcome.fate is Fate.DELETED:
            self._chat.drop_reply(tx, claim.reply_id, now)
            return
        state = _MESSAGES[outcome.fate]
        write = ReplyWrite(
            claim.reply_id,
            outcome.text,
            state,
            claim.epoch,
            outcome.seq,
            now,
            outcome.notice,
            channel_id=claim.place.channel_id,
        )
        self._chat.write_reply(tx, write)


def ended_rows(rows: Iterable[Any]) -> list[Ended]:
    """Rows of (id, orchestrator id, state, reason) as ended deliveries."""
    return [Ended(str(row[0]), str(row[1]), DeliveryState(row[2]), row[3] or "") for row in rows]
