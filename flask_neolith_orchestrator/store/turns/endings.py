"""An attempt at its end: what became of it, and the row of its turn and of its answer that say so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Integer, Table, Update, bindparam, func, update

from ...core.ports import Parts, ReplyWrite
from ...core.types import Claim, DeliveryState, MessageState, TurnState, Usage
from ..sql.database import Database
from ..tables.models import Models
from .replies import Replies


class Fate(StrEnum):
    """What becomes of an attempt."""

    ANSWERED = "answered"
    STOPPED = "stopped"  # by a person: the partial text stays
    DELETED = "deleted"  # the question is gone
    RETRY = "retry"  # the model's trouble or a crash: tried again after `delay`
    RELEASED = "released"  # this process or daemon stops: handed back unpunished
    PARKED = "parked"  # waits until a person has decided on its calls
    FAILED = "failed"
    REFUSED = "refused"  # not for want of trying: it may not be answered now, nor before it would be too old


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `delay` (seconds) and `punished` (uses up an attempt) are for RETRY.

    `held` says what its deliveries wait for, where it is not their turn. One that is REFUSED without a text leaves no
    answer behind: people have been told already. `tried` are models that did not answer, as JSON;
    `parts`, once it is written, the answer's further messages; `charter_version` is the charter that it ran, where it
    came so far.
    """

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
    held: str | None = None
    tried: str | None = None
    parts: Parts = field(default_factory=Parts)
    charter_version: int | None = None

    @property
    def leaves_nothing(self) -> bool:
        """Whether the answer's row is taken off the screen."""
        return self.fate is Fate.DELETED or (self.fate is Fate.REFUSED and not self.text)


@dataclass(frozen=True, slots=True)
class Ended:
    """A delivery that has come to its end."""

    delivery_id: str
    orchestrator_id: str
    state: DeliveryState
    reason: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Deliveries that a turn has answered and failed."""

    answered: int = 0
    failed: int = 0


NOTHING = Tally()


@dataclass(frozen=True, slots=True)
class Kept:
    """A turn that the transaction has settled, and whose slot it keeps; what it has `done` is counted there."""

    claim: Claim
    done: Tally = NOTHING


def added(slot: Table) -> dict[str, Any]:
    """A slot's figures with a tally added, given as `b_answered` and `b_failed`.

    They stand in the slot since the turn has it for itself: turns that end at once would wait for each other's commit
    in a row that is their orchestrator's.
    """
    return {
        "answered": slot.c.answered + bindparam("b_answered", type_=Integer),
        "failed": slot.c.failed + bindparam("b_failed", type_=Integer),
    }


def tally(claim: Claim, outcome: Outcome, ended: Sequence[Ended]) -> Tally:
    """What a turn, as it was settled, adds to its orchestrator's figures."""
    count = max(1, len(claim.messages)) if claim.resumed else len(ended)
    if outcome.fate is Fate.ANSWERED:
        return Tally(answered=count)
    return Tally(failed=count) if outcome.fate is Fate.FAILED else NOTHING


def failed(outcome: Outcome, why: str) -> Outcome:
    """The outcome as a failure: what there is of the answer stays, with a sentence of what happened beside it."""
    if outcome.text.strip():
        return replace(outcome, fate=Fate.FAILED, notice=why)
    return replace(outcome, fate=Fate.FAILED, text=why, notice=None)


_TURNS = {
    Fate.ANSWERED: TurnState.DONE,
    Fate.STOPPED: TurnState.INTERRUPTED,
    Fate.DELETED: TurnState.CANCELLED,
    Fate.RETRY: TurnState.INTERRUPTED,
    Fate.RELEASED: TurnState.INTERRUPTED,
    Fate.PARKED: TurnState.PARKED,
    Fate.FAILED: TurnState.FAILED,
    Fate.REFUSED: TurnState.FAILED,
}
_MESSAGES = {
    Fate.ANSWERED: MessageState.FINAL,
    Fate.STOPPED: MessageState.INTERRUPTED,
    Fate.RETRY: MessageState.INTERRUPTED,
    Fate.RELEASED: MessageState.INTERRUPTED,
    Fate.PARKED: MessageState.INTERRUPTED,
    Fate.FAILED: MessageState.FAILED,
    Fate.REFUSED: MessageState.FAILED,
}
OVER = (Fate.ANSWERED, Fate.STOPPED, Fate.FAILED, Fate.REFUSED)
"""After these nothing more comes of a turn, unless a person has it tried again."""


class Endings:
    """Writes a turn and its answer at the end of an attempt. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database, replies: Replies) -> None:
        self._replies = replies
        self._clock = database.clock
        self._turn = database.prepare(self._turn_statement(models.table("Turn")))

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
                tried=bindparam("b_tried"),
                stop_reason=bindparam("b_stop"),
                charter_version=func.coalesce(bindparam("b_charter", type_=Integer), t.c.charter_version),
                calls=t.c.calls + bindparam("b_calls"),
                input_tokens=t.c.input_tokens + bindparam("b_in"),
                output_tokens=t.c.output_tokens + bindparam("b_out"),
                cache_read_tokens=t.c.cache_read_tokens + bindparam("b_read"),
                cache_write_tokens=t.c.cache_write_tokens + bindparam("b_write"),
            )
        )

    def write(self, tx: Connection, claim: Claim, outcome: Outcome) -> Outcome:
        """Write both, within the transaction that holds the fence; the outcome with what the answer has become."""
        self._write_turn(tx, claim, outcome)
        parts = self._write_reply(tx, claim, outcome)
        return replace(outcome, parts=parts) if parts.ids or parts.gone else outcome

    def _write_turn(self, tx: Connection, claim: Claim, outcome: Outcome) -> None:
        usage = outcome.usage
        self._turn.run(
            tx,
            b_turn=int(claim.turn_id),
            b_state=str(_TURNS[outcome.fate]),
            b_at=None if outcome.fate is Fate.PARKED else self._clock.wall(),
            b_first=outcome.first_text_at,
            b_kind=outcome.error_kind,
            b_error=outcome.error,
            b_model=outcome.model,
            b_tried=outcome.tried,
            b_stop=outcome.stop_reason,
            b_charter=outcome.charter_version,
            b_calls=outcome.calls,
            b_in=usage.input_tokens,
            b_out=usage.output_tokens,
            b_read=usage.cache_read_tokens,
            b_write=usage.cache_write_tokens,
        )

    def _write_reply(self, tx: Connection, claim: Claim, outcome: Outcome) -> Parts:
        if outcome.leaves_nothing:
            self._replies.drop(tx, claim)
            return Parts()
        write = ReplyWrite(
            claim.reply_id,
            outcome.text,
            _MESSAGES[outcome.fate],
            claim.epoch,
            outcome.seq,
            self._clock.wall(),
            outcome.notice,
            channel_id=claim.place.channel_id,
        )
        return self._replies.end(tx, claim, write, over=outcome.fate in OVER)


def ended_rows(rows: Iterable[Any]) -> list[Ended]:
    """Rows of (id, orchestrator id, state, reason) as ended deliveries."""
    return [Ended(str(row[0]), str(row[1]), DeliveryState(row[2]), row[3] or "") for row in rows]
