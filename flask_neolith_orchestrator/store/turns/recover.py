"""What a dead process left behind is handed back: its turns interrupted, its deliveries waiting again."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from ...core.cancel import StopReason
from ...core.ports import ChatStore, ReplyDraft, ReplyWrite
from ...core.types import DeliveryKind, MessageState, Place
from ..sql.database import Database
from ..tables.models import Models
from .endings import Ended, ended_rows
from .leases import Leases, Orphan
from .parking import Parking
from .replies import KEPT, UNWRITTEN, Replies

DEAD_LETTER = "I could not answer this: every attempt broke off. Somebody who looks after me can try it again."
EXPIRED = "This waited too long for an answer, so I left it. Please ask me again if it still matters."


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery changed: whose turn, which answer's row, which deliveries ended by it."""

    orchestrator_id: str
    turn_id: str | None
    reply_id: str | None
    ended: tuple[Ended, ...] = ()


class Recovery:
    """Ends turns that nobody works on any more. Lifetime: app, in one process."""

    def __init__(
        self,
        models: Models,
        database: Database,
        chat: ChatStore,
        leases: Leases,
        parking: Parking,
        *,
        max_attempts: int,
    ) -> None:
        self._database = database
        self._chat = chat
        self._leases = leases
        self._parking = parking
        self._replies = Replies(models, database, chat)
        self._max_attempts = max_attempts
        self._d = models.table("Delivery")
        self._c = models.table("Conversation")
        self._t = models.table("Turn")
        self._o = models.table("Orchestrator")

    def take_over(self, orphan: Orphan, *, punished: bool = True) -> Recovered | None:
        """Hand an orphan's turn back, in one transaction; None if somebody else did, or its owner came back.

        The next attempt takes the head alone, so that one poison message does not bury its neighbours; unless it is
        not `punished`: then the turn is as it was before this attempt. Raises LostRace where the owner renewed
        meanwhile.
        """
        return self._database.run(lambda tx: self._take_over(tx, orphan, punished=punished))

    def _take_over(self, tx: Connection, orphan: Orphan, *, punished: bool) -> Recovered | None:
        if not self._leases.release(tx, orphan):
            return None
        head = tx.execute(
            select(self._d.c.id, self._d.c.attempts)
            .where(self._d.c.turn_id == orphan.turn_id, self._d.c.state == "running")
            .order_by(self._d.c.id)
        ).first()
        ended = self._cancelled(tx, orphan)
        dead = False
        if head is not None and not ended:
            ended = self._hand_back(tx, orphan, head, punished=punished)
            dead = bool(ended)
        reply = self._end_turn(tx, orphan, dead=dead)
        return Recovered(str(orphan.orchestrator_id), str(orphan.turn_id), reply, tuple(ended))

    def _cancelled(self, tx: Connection, orphan: Orphan) -> list[Ended]:
        """A turn that a person had stopped is over, although its process died before it could say so."""
        asked = tx.execute(select(self._t.c.cancel_requested).where(self._t.c.id == orphan.turn_id)).scalar()
        if asked != StopReason.PERSON:
            return []
        d = self._d
        rows = tx.execute(
            update(d)
            .where(d.c.turn_id == orphan.turn_id, d.c.state.in_(("running", "parked")))
            .values(state="cancelled", ended_at=self._database.clock.wall(), outcome=str(asked))
            .returning(d.c.id, d.c.orchestrator_id, d.c.state, d.c.outcome)
        )
        return ended_rows(rows)

    def _hand_back(self, tx: Connection, orphan: Orphan, head: tuple[int, int], *, punished: bool) -> list[Ended]:
        d = self._d
        mine = (d.c.turn_id == orphan.turn_id, d.c.state == "running")
        if not punished:
            tx.execute(update(d).where(d.c.id == head[0]).values(attempts=head[1] - 1))
            tx.execute(update(d).where(*mine).values(state="waiting"))
            return []
        tx.execute(update(d).where(*mine, d.c.id != head[0]).values(state="waiting", turn_id=None))
        if head[1] < self._max_attempts:
            tx.execute(update(d).where(*mine).values(state="waiting"))
            return []
        rows = tx.execute(
            update(d)
            .where(d.c.turn_id == orphan.turn_id, d.c.state.in_(("running", "parked")))
            .values(state="failed", ended_at=self._database.clock.wall(), outcome="dead-letter")
            .returning(d.c.id, d.c.orchestrator_id, d.c.state, d.c.outcome)
        )
        return ended_rows(rows)

    def _end_turn(self, tx: Connection, orphan: Orphan, *, dead: bool) -> str | None:
        t = self._t
        now = self._database.clock.wall()
        state = "failed" if dead else "interrupted"
        row = tx.execute(
            update(t)
            .where(t.c.id == orphan.turn_id, t.c.epoch == orphan.epoch)
            .values(state=state, ended_at=now, error_kind="process-died")
            .returning(t.c.reply_id, t.c.regenerates, t.c.cancel_requested)
        ).first()
        if row is None or row[0] is None:
            return None
        if row[1] is not None:
            stopped = KEPT if row[2] == StopReason.PERSON else None
            self._replies.touch(tx, row[0], orphan.epoch + 1, f"{UNWRITTEN} {DEAD_LETTER}" if dead else stopped)
        else:
            self._break_off(tx, str(row[0]), orphan.epoch + 1, DEAD_LETTER if dead else None)
        return str(row[0])

    def _break_off(self, tx: Connection, reply: str, epoch: int, why: str | None) -> None:
        """Leave what there is of an answer, and say beside it why there will be no more; `why` None: it goes on."""
        state = MessageState.INTERRUPTED if why is None else MessageState.FAILED
        begun = why is not None and self._replies.says(tx, reply)
        text, notice = (None, why) if begun else (why, None)
        self._chat.write_reply(tx, ReplyWrite(reply, text, state, epoch, 0, self._database.clock.wall(), notice))

    def expire(self, delivery_id: str) -> Recovered | None:
        """End a delivery that waited too long, with a short notice; None if it waits no more."""
        d, c = self._d, self._c
        now = self._database.clock.wall()
        with self._database.write() as tx:
            mine = select(d.c.conversation_id).where(d.c.id == int(delivery_id)).scalar_subquery()
            tx.execute(select(c.c.id).where(c.c.id == mine).with_for_update(key_share=True))  # first, as claims do
            row = tx.execute(
                update(d)
                .where(d.c.id == int(delivery_id), d.c.state == "waiting")
                .values(state="expired", ended_at=now, outcome="too-old")
                .returning(d.c.id, d.c.orchestrator_id, d.c.state, d.c.outcome, d.c.turn_id, d.c.message_id, d.c.kind)
            ).first()
            if row is None:
                return None
            place = tx.execute(
                select(c.c.channel_id, c.c.thread_id, c.c.is_dm, c.c.epoch)
                .join(d, d.c.conversation_id == c.c.id)
                .where(d.c.id == row[0])
            ).one()
            reply = self._expired_reply(tx, row[4], str(row[1]), row[5], place)
            ended = ended_rows([row[:4]])
            if row[6] == DeliveryKind.RESUME:
                ended += self._parking.abandon(tx, [row[4]], "expired", "too-old")
            return Recovered(str(row[1]), None if row[4] is None else str(row[4]), reply, tuple(ended))

    def _user_of(self, tx: Connection, orchestrator_id: str) -> str:
        o = self._o
        return str(tx.execute(select(o.c.user_id).where(o.c.id == int(orchestrator_id))).scalar_one())

    def _expired_reply(
        self,
        tx: Connection,
        turn_id: int | None,
        orchestrator_id: str,
        message_id: str | None,
        place: tuple[object, ...],
    ) -> str | None:
        now = self._database.clock.wall()
        channel, thread, is_dm, epoch = place
        newer = int(str(epoch)) + 1
        if turn_id is not None:
            return self._expired_turn(tx, turn_id, message_id, newer)
        if message_id is not None and not self._chat.present(tx, [message_id]):
            return None
        at = Place(str(channel), None if thread is None else str(thread), bool(is_dm))
        draft = ReplyDraft(orchestrator_id, self._user_of(tx, orchestrator_id), at, message_id, 0, now)
        reply = self._chat.open_reply(tx, draft)
        self._chat.write_reply(tx, ReplyWrite(reply, EXPIRED, MessageState.FAILED, newer, 0, now, "too-old"))
        return reply

    def _expired_turn(self, tx: Connection, turn_id: int, message_id: str | None, epoch: int) -> str | None:
        t = self._t
        now = self._database.clock.wall()
        row = tx.execute(
            update(t)
            .where(t.c.id == turn_id, t.c.state == "interrupted")
            .values(state="failed", ended_at=now, error_kind="too-old")
            .returning(t.c.reply_id, t.c.regenerates)
        ).first()
        if row is None:
            return None
        reply = str(row[0])
        if row[1] is not None:
            self._replies.touch(tx, reply, epoch, f"{UNWRITTEN} {EXPIRED}")
        elif message_id is not None and not self._chat.present(tx, [message_id]):
            self._chat.drop_reply(tx, reply, now)  # deleted while its process died: nobody waits for words
        else:
            text, notice = (None, EXPIRED) if self._replies.says(tx, reply) else (EXPIRED, "too-old")
            self._chat.write_reply(tx, ReplyWrite(reply, text, MessageState.FAILED, epoch, 0, now, notice))
        return reply
