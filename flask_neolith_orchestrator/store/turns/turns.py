"""Turns while they run, and what people ask of them: checkpoints, Stop, deletion, a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, or_, select, text, update

from ...core.cancel import StopReason
from ...core.ports import ChatStore, ReplyWrite
from ...core.types import Claim, DeliveryKind, MessageState
from ..inbox.queue import Queue
from ..sql.database import Database
from ..tables.models import Models
from ..tables.runs import DEAD
from .endings import Ended, ended_rows
from .parking import Parking
from .regeneration import Regenerations
from .replies import KEPT, Replies


class Stopped(StrEnum):
    """What a stop found."""

    RUNNING = "running"  # asked to end: its worker ends it
    WAITING = "waiting"  # had not begun, or waited for its next attempt: cancelled
    OVER = "over"  # had ended already


@dataclass(frozen=True, slots=True)
class StopResult:
    """What a stop did: to which turn, answered where, and which deliveries it ended."""

    found: Stopped
    turn_id: str | None = None
    reply_id: str | None = None
    ended: tuple[Ended, ...] = ()


@dataclass(frozen=True, slots=True)
class Deleted:
    """What the deletion of questions did: deliveries ended, turns asked to end, answers taken off the screen."""

    ended: tuple[Ended, ...]
    asked: tuple[str, ...]
    replies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """What a message id stands for: the turn that answers it or that it answers, and who asked."""

    orchestrator_id: str
    requester_id: str
    turn_id: int | None
    deliveries: tuple[int, ...]


_OPEN = ("waiting", "running", "parked")


class Turns:
    """Reads and changes turns. Lifetime: app, in one process."""

    def __init__(self, models: Models, database: Database, chat: ChatStore, parking: Parking) -> None:
        self._database = database
        self._parking = parking
        self._chat = chat
        self._replies = Replies(models, database, chat)
        self.regenerations = Regenerations(models, database)
        self.queue = Queue(models, database)
        self._t = models.table("Turn")
        self._d = models.table("Delivery")
        self._c = models.table("Conversation")
        c = self._c
        # locked, so that a finish cannot commit between this look and the write
        self._fence = database.prepare(
            select(c.c.id)
            .where(
                c.c.id == bindparam("b_conversation"),
                c.c.epoch == bindparam("b_epoch"),
                c.c.turn_id == bindparam("b_turn"),
            )
            .with_for_update(key_share=True)
        )

    def checkpoint(self, claim: Claim, text: str, seq: int) -> bool:
        """Keep the text so far; False if the fence has moved (nothing is written).

        What is written anew has its row only at its finish.
        """
        if claim.regenerates is not None:
            return True
        with self._database.write() as tx:
            row = self._fence.run(
                tx, b_conversation=int(claim.conversation_id), b_epoch=claim.epoch, b_turn=int(claim.turn_id)
            ).fetchone()
            if row is None:
                return False
            now = self._database.clock.wall()
            write = ReplyWrite(claim.reply_id, text, MessageState.STREAMING, claim.epoch, seq, now)
            self._chat.write_reply(tx, write)
            return True

    def targets(self, tx: Connection, message_id: str) -> list[Target]:
        """The turns behind a message: the one that writes it (the last, if it was written anew), else its answers'."""
        t, d = self._t, self._d
        turn = tx.execute(select(t).where(t.c.reply_id == message_id).order_by(t.c.id.desc()).limit(1)).first()
        if turn is not None:
            return [Target(str(turn.orchestrator_id), turn.requester_id, turn.id, self._members(tx, turn.id))]
        # a stop locks them one after the other: in the order in which all others lock conversations
        rows = tx.execute(select(d).where(d.c.message_id == message_id).order_by(d.c.conversation_id)).all()
        return [Target(str(row.orchestrator_id), row.author_id, row.turn_id, (row.id,)) for row in rows]

    def _members(self, tx: Connection, turn_id: int) -> tuple[int, ...]:
        rows = tx.execute(select(self._d.c.id).where(self._d.c.turn_id == turn_id).order_by(self._d.c.id))
        return tuple(row[0] for row in rows)

    def stop(self, tx: Connection, target: Target, reason: StopReason) -> StopResult:
        """Ask a running turn to end; cancel one that waits, with all its lines. Harmless for one that is over.

        What the target says may be old: what counts is where its deliveries are now.
        """
        t, d = self._t, self._d
        self._hold(tx, d.c.id.in_(target.deliveries))
        now = tx.execute(select(d.c.turn_id).where(d.c.id.in_(target.deliveries), d.c.state.in_(_OPEN))).all()
        turn_ids = {row[0] for row in now if row[0] is not None}
        asked = tx.execute(
            update(t)
            .where(t.c.id.in_(turn_ids), t.c.state == "running")
            .values(cancel_requested=str(reason))
            .returning(t.c.id, t.c.reply_id)
        ).all()
        begun = turn_ids - {row[0] for row in asked}
        rows = tx.execute(
            update(d)
            .where(
                or_(
                    and_(d.c.id.in_(target.deliveries), d.c.state == "waiting"),
                    and_(d.c.turn_id.in_(begun), d.c.state.in_(("waiting", "parked"))),
                )
            )
            .values(state="cancelled", ended_at=self._database.clock.wall(), outcome=str(reason))
            .returning(d.c.id, d.c.orchestrator_id, d.c.state, d.c.outcome)
        ).all()
        closed = tx.execute(select(t).where(t.c.id.in_(begun)).order_by(t.c.id)).all() if rows else []
        for turn in closed:
            self._close(tx, turn)
        self._parking.withdraw(tx, begun)
        if not asked and not rows:
            return StopResult(Stopped.OVER, *self._reply_of(tx, target))
        found = Stopped.RUNNING if asked else Stopped.WAITING
        turns = [(str(row.id), row.reply_id) for row in (*asked, *closed)]
        turn_id, reply_id = turns[0] if turns else (None, None)
        return StopResult(found, turn_id, reply_id, tuple(ended_rows(rows)))

    def _reply_of(self, tx: Connection, target: Target) -> tuple[str | None, str | None]:
        t = self._t
        row = tx.execute(select(t.c.id, t.c.reply_id).where(t.c.id == target.turn_id)).first()  # perhaps forgotten
        return (None, None) if row is None else (str(row.id), row.reply_id)

    def _hold(self, tx: Connection, which: ColumnElement[bool]) -> None:
        """Keep claims and finishes of these deliveries' conversations out: all lock the conversation first."""
        c, d = self._c, self._d
        theirs = select(d.c.conversation_id).where(which)
        tx.execute(select(c.c.id).where(c.c.id.in_(theirs)).order_by(c.c.id).with_for_update(key_share=True))

    def _close(self, tx: Connection, turn: Any) -> None:
        """A turn that waited for its next attempt ends here."""
        now = self._database.clock.wall()
        tx.execute(update(self._t).where(self._t.c.id == turn.id).values(state="cancelled", ended_at=now))
        if turn.regenerates is not None:
            self._replies.touch(tx, turn.reply_id, turn.epoch, KEPT)
        elif turn.reply_id is not None:
            write = ReplyWrite(turn.reply_id, None, MessageState.INTERRUPTED, turn.epoch, 0, now)
            self._chat.write_reply(tx, write)

    def question_deleted(self, tx: Connection, message_ids: Sequence[str]) -> Deleted:
        """Messages are gone: cancel what waits for them, ask the turns that hold them to end."""
        t, d = self._t, self._d
        mine = d.c.message_id.in_(list(message_ids))
        self._hold(tx, mine)
        at_work = exists().where(t.c.id == d.c.turn_id, t.c.state == "running")
        rows = tx.execute(
            update(d)
            .where(mine, or_(d.c.state == "waiting", and_(d.c.state == "parked", ~at_work)))
            .values(state="cancelled", ended_at=self._database.clock.wall(), outcome="deleted")
            .returning(d.c.id, d.c.orchestrator_id, d.c.state, d.c.outcome, d.c.turn_id)
        ).all()
        dropped, replies = self._drop_begun(tx, {row[4] for row in rows if row[4] is not None})
        holding = select(d.c.turn_id).where(mine, d.c.state.in_(("running", "parked")))
        asked = tx.execute(
            update(t)
            .where(t.c.id.in_(holding), t.c.state == "running", t.c.cancel_requested.is_(None))
            .values(cancel_requested=str(StopReason.DELETED))
            .returning(t.c.id)
        ).all()
        return Deleted((*ended_rows(rows), *dropped), tuple(str(row[0]) for row in asked), replies)

    def _drop_begun(self, tx: Connection, turn_ids: set[int]) -> tuple[list[Ended], tuple[str, ...]]:
        """Turns that waited, for their next attempt or parked, and have nobody left to answer: their answers go too."""
        t, d = self._t, self._d
        open_ones = select(d.c.turn_id).where(
            d.c.turn_id.in_(turn_ids), d.c.state.in_(_OPEN), d.c.kind != DeliveryKind.RESUME
        )
        now = self._database.clock.wall()
        rows = tx.execute(
            update(t)
            .where(t.c.id.in_(turn_ids), t.c.state.in_(("interrupted", "parked")), t.c.id.not_in(open_ones))
            .values(state="cancelled", ended_at=now)
            .returning(t.c.reply_id, t.c.regenerates, t.c.epoch, t.c.id)
        ).all()
        for row in rows:
            if row[1] is not None:  # what was answered before is still an answer
                self._replies.touch(tx, row[0], row[2], None)
        replies = tuple(str(row[0]) for row in rows if row[0] is not None and row[1] is None)
        for reply in replies:
            self._chat.drop_reply(tx, reply, now)
        return self._parking.abandon(tx, [row[3] for row in rows], "cancelled", "deleted"), replies

    def view(self, tx: Connection, turn_id: str) -> dict[str, Any] | None:
        """A turn's row with its deliveries, or None."""
        if not turn_id.isdecimal() or len(turn_id) > 18:
            return None
        row = tx.execute(select(self._t).where(self._t.c.id == int(turn_id))).mappings().first()
        if row is None:
            return None
        members = tx.execute(select(self._d).where(self._d.c.turn_id == int(turn_id)).order_by(self._d.c.id)).mappings()
        return {**row, "deliveries": [dict(one) for one in members]}

    def deliveries(
        self,
        tx: Connection,
        *,
        states: Sequence[str] = (),
        orchestrator_ids: Sequence[str] | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """Deliveries, newest first."""
        d = self._d
        statement = select(d).order_by(d.c.id.desc()).limit(limit)
        if states:
            statement = statement.where(d.c.state.in_(list(states)))
        if states and set(states) <= {"failed", "expired"}:
            statement = statement.where(text(DEAD))  # the words of the index: few have failed, and many have not
        if orchestrator_ids is not None:
            statement = statement.where(d.c.orchestrator_id.in_([int(one) for one in orchestrator_ids]))
        if before is not None:
            statement = statement.where(d.c.id < before)
        return [dict(row) for row in tx.execute(statement).mappings()]

    def about(self, tx: Connection, message_id: str) -> list[dict[str, Any]]:
        """The deliveries of a message itself, one for each orchestrator that it woke."""
        d = self._d
        rows = tx.execute(select(d).where(d.c.message_id == message_id, d.c.kind == "message").order_by(d.c.id))
        return [dict(row) for row in rows.mappings()]

    def delivery(self, tx: Connection, delivery_id: str) -> dict[str, Any] | None:
        """One delivery's row, or None."""
        if not delivery_id.isdecimal() or len(delivery_id) > 18:
            return None
        row = tx.execute(select(self._d).where(self._d.c.id == int(delivery_id))).mappings().first()
        return None if row is None else dict(row)

    def retry(self, tx: Connection, delivery_id: str) -> bool:
        """Give a delivery that has failed or expired its attempts back; True if it waits again.

        In its own turn, unless that has answered others meanwhile, works for them, or its row was deleted.
        """
        d, t = self._d, self._t
        now = self._database.clock.wall()
        self._hold(tx, d.c.id == int(delivery_id))
        failed = or_(d.c.state == "failed", d.c.state == "expired")
        row = tx.execute(
            select(t.c.reply_id, t.c.epoch, t.c.regenerates, t.c.id)
            .join(d, d.c.turn_id == t.c.id)
            .where(d.c.id == int(delivery_id), failed, t.c.state == "failed", t.c.reply_id.is_not(None))
        ).first()
        own = row is not None and bool(self._chat.present(tx, [row[0]]))
        if row is not None and own and self._parking.lay_again(tx, row[3]):
            return True
        if own and row is not None and row[2] is None:
            self._replies.single(tx, ReplyWrite(row[0], None, MessageState.FAILED, row[1], 0, now))
        changed = tx.execute(
            update(d)
            .where(d.c.id == int(delivery_id), failed, d.c.kind != DeliveryKind.RESUME)
            .values(state="waiting", attempts=0, ready_at=now, accepted_at=now, ended_at=None, outcome=None)
            .values(held=None, aged_from=None)
            .values({} if own else {"turn_id": None})
        )
        return bool(changed.rowcount)
