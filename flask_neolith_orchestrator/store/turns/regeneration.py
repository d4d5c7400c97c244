"""Answers that are written anew: a turn and a delivery of their own, and the version before them until the finish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exists, func, insert, or_, select, update

from ...core.ports import ReplyWrite
from ...core.types import DeliveryKind, MessageState, Place, TurnState
from ..inbox.inbox import Arrival
from ..sql.database import Database
from ..tables.models import Models
from .volumes import BundledVolumes

_OPEN = ("waiting", "running", "parked")
_TURN_OF = {
    MessageState.FINAL: TurnState.DONE,
    MessageState.INTERRUPTED: TurnState.INTERRUPTED,
    MessageState.FAILED: TurnState.FAILED,
}


@dataclass(frozen=True, slots=True)
class Current:
    """The turn whose work an answer is now, and what it answered where."""

    turn_id: int
    orchestrator_id: str
    conversation_id: int
    requester_id: str
    reply_id: str
    session_id: int | None
    place: Place
    question_id: str | None


class Regenerations:
    """Begins new versions, and shows and restores former ones. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database) -> None:
        self._database = database
        self._volumes = BundledVolumes(models)
        self._t = models.table("Turn")
        self._d = models.table("Delivery")
        self._c = models.table("Conversation")
        self._m = models.table("Message")
        self._v = models.table("MessageVersion")

    def current(self, tx: Connection, reply_id: str) -> Current | None:
        """Whose work an answer is; None for what is no answer, or whose turn has been forgotten."""
        t, c, d = self._t, self._c, self._d
        whose = or_(t.c.regenerates.is_(None), t.c.state == "done")  # a version that was never finished is nobody's
        row = tx.execute(
            select(t, c.c.channel_id, c.c.thread_id, c.c.is_dm)
            .join(c, c.c.id == t.c.conversation_id)
            .where(t.c.reply_id == reply_id, t.c.state != "superseded", whose)
            .order_by(t.c.id.desc())
            .limit(1)
        ).first()
        if row is None:
            return None
        asked = select(d.c.message_id).where(d.c.turn_id == row.id, d.c.message_id.is_not(None))
        question = tx.execute(asked.order_by(d.c.id.desc()).limit(1)).scalar()
        place = Place(row.channel_id, row.thread_id, bool(row.is_dm))
        return Current(
            row.id,
            str(row.orchestrator_id),
            row.conversation_id,
            row.requester_id,
            reply_id,
            row.session_id,
            place,
            question,
        )

    def is_open(self, tx: Connection, reply_id: str) -> bool:
        """Whether somebody works on an answer, or will: its first version or a new one."""
        t, d = self._t, self._d
        working = exists().where(d.c.turn_id == t.c.id, d.c.state.in_(_OPEN))
        found = select(t.c.id).where(t.c.reply_id == reply_id, working).limit(1)
        return tx.execute(found).first() is not None

    def answers(self, tx: Connection, question_id: str) -> list[str]:
        """The answers to a message, by the ids of their rows, the oldest first."""
        t, d = self._t, self._d
        asked = select(d.c.turn_id).where(d.c.message_id == question_id, d.c.turn_id.is_not(None))
        rows = tx.execute(select(t.c.reply_id).where(t.c.id.in_(asked), t.c.reply_id.is_not(None)).order_by(t.c.id))
        return list(dict.fromkeys(row[0] for row in rows))

    def lock(self, tx: Connection, conversation_id: int) -> None:
        """Keep claims, finishes and other requests of the conversation out: all lock it first."""
        c = self._c
        tx.execute(select(c.c.id).where(c.c.id == conversation_id).with_for_update(key_share=True))

    def arrival(self, tx: Connection, now: Current, author_id: str) -> Arrival:
        """The piece of work that a new version is: behind everything else of the conversation."""
        t = self._t
        made = select(func.count()).where(t.c.regenerates == now.turn_id, t.c.reply_id == now.reply_id)
        return Arrival(
            orchestrator_id=now.orchestrator_id,
            place=now.place,
            dedupe_key=f"regen:{now.turn_id}:{tx.execute(made).scalar_one() + 1}",
            author_id=author_id,
            reason="regenerate",
            message_id=now.question_id,
            kind=DeliveryKind.REGENERATE,
        )

    def begin(self, tx: Connection, now: Current, author_id: str, delivery_id: str) -> None:
        """Give the accepted delivery its turn, so that whoever claims it knows the answer's row and leaves it alone."""
        t, d = self._t, self._d
        turn = tx.execute(insert(t).values(self._turn(now, author_id)).returning(t.c.id)).scalar_one()
        tx.execute(update(d).where(d.c.id == int(delivery_id)).values(turn_id=turn))

    def _turn(self, now: Current, author_id: str) -> Mapping[str, Any]:
        counts = ("charter_version", "calls", "input_tokens", "output_tokens", "cache_read_tokens")
        return {
            "orchestrator_id": int(now.orchestrator_id),
            "conversation_id": now.conversation_id,
            "requester_id": author_id,
            "reply_id": now.reply_id,
            "session_id": now.session_id,
            "regenerates": now.turn_id,
            "state": str(TurnState.INTERRUPTED),  # as one that waits for its next attempt
            "epoch": 0,
            "attempt": 0,
            "started_at": self._database.clock.wall(),
            **dict.fromkeys((*counts, "cache_write_tokens"), 0),
        }

    def versions(self, tx: Connection, reply_id: str) -> Sequence[Mapping[str, Any]]:
        """Former versions, the oldest first: {n, content, parts, state, turn_id, created_at}."""
        v = self._v
        rows = tx.execute(select(v).where(v.c.message_id == reply_id).order_by(v.c.n)).mappings()
        return [dict(row) for row in rows]

    def restore(self, tx: Connection, reply_id: str, n: int) -> tuple[str, ...] | None:
        """Let version `n` be the answer again, and keep what it is now; None if there is no such version.

        Returns the ids of further messages that are new or gone by that.
        """
        v, m, t = self._v, self._m, self._t
        found = tx.execute(select(v).where(v.c.message_id == reply_id, v.c.n == n)).first()
        row = tx.execute(select(m.c.epoch, m.c.seq).where(m.c.id == int(reply_id), m.c.deleted_at.is_(None))).first()
        if found is None or row is None:
            return None
        now = self.current(tx, reply_id)
        at = self._database.clock.wall()
        self._volumes.keep_version(tx, reply_id, None if now is None else str(now.turn_id), at)
        state = MessageState(found.state)
        changed = update(m).where(m.c.id == int(reply_id)).values(content=found.content, state=found.state, notice=None)
        tx.execute(changed)
        if now is not None:
            tx.execute(update(t).where(t.c.id == now.turn_id).values(state=str(TurnState.SUPERSEDED)))
        if found.turn_id is not None:
            tx.execute(update(t).where(t.c.id == found.turn_id).values(state=str(_TURN_OF[state])))
        write = ReplyWrite(reply_id, found.content, state, row.epoch, row.seq, at)
        parts = self._volumes.write_parts(tx, write, found.parts)
        return (*parts.ids, *parts.gone)
