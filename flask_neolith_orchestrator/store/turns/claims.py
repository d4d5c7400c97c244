"""The inbox, back side: claim a turn in one short transaction (`leases` renews it, `settle` finishes it).

Every write is fenced by the conversation's epoch: a claim raises it, and a writer with an older one finds no
row to change and so writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, case, exists, func, literal_column, or_, select, update

from ...core.types import Claim, DeliveryKind, Place
from ..sql.database import Database
from ..sql.oldest import among, mostly, oldest
from ..tables.columns import PARKED, RUNNING, WAITING
from ..tables.models import Models
from .beginnings import Asked, Beginnings
from .endings import Kept, added

Record = Sequence[Any]

MEMBERS = 50
"""Deliveries of one turn at the most."""

HOURS = "hours"
"""What a delivery is held for that came outside of working hours."""

LAST = 2
"""So many of a delivery's attempts are made without others in their last attempts beside it in the process."""


class LostRace(Exception):
    """Another process was quicker. A control signal: the transaction is rolled back and the claim tried again."""


class NoSlot(Exception):
    """All slots are taken. A control signal: the transaction is rolled back."""


class Claims:
    """Claims of one node. Lifetime: app, in one process; safe for all threads."""

    def __init__(
        self,
        models: Models,
        database: Database,
        beginnings: Beginnings,
        *,
        node_id: str,
        lease: float,
        max_age: float = 1e9,
        max_attempts: int = 5,
    ) -> None:
        self._beginnings = beginnings
        self._node = node_id
        self._d = models.table("Delivery")
        self._c = models.table("Conversation")
        self._s = models.table("Slot")
        self._w = models.table("Daemon")
        self._o = models.table("Orchestrator")
        self._lease = lease
        self._max_age = max_age
        self._suspect = max(1, max_attempts - LAST)
        self._prepare_members(database)
        self._prepare_slots(database)

    def _prepare_members(self, database: Database) -> None:
        d, c = self._d, self._c
        self._pick = database.prepare(self._pick_statement(database))
        self._members = database.prepare(
            select(d.c.id, d.c.author_id, d.c.kind, d.c.message_id, d.c.attempts, d.c.turn_id, d.c.held)
            .where(*among(database, d.c.conversation_id, bindparam("b_conversation")), d.c.state == WAITING)
            .order_by(*oldest(database, d.c.conversation_id, d.c.id))
            .limit(MEMBERS)
        )
        self._mark = database.prepare(
            update(d)
            .where(
                d.c.conversation_id == bindparam("b_conversation"),
                d.c.state == WAITING,
                d.c.author_id == bindparam("b_author"),
                d.c.id >= bindparam("b_first"),
                d.c.id <= bindparam("b_last"),
            )
            # an attempt is the head's: its neighbours do not share its fate
            .values(
                state="running",
                held=None,
                turn_id=bindparam("b_turn"),
                attempts=d.c.attempts + case((d.c.id == bindparam("b_first"), 1), else_=0),
            )
        )
        self._lying = database.prepare(
            select(d.c.id, d.c.message_id, d.c.kind)
            .where(d.c.turn_id == bindparam("b_turn"), d.c.state == PARKED)
            .order_by(d.c.id)
        )
        self._hold = database.prepare(
            update(c)
            .where(c.c.id == bindparam("b_conversation"), c.c.turn_id.is_(None), c.c.epoch == bindparam("b_before"))
            .values(turn_id=bindparam("b_turn"), epoch=bindparam("b_epoch"))
        )

    def _prepare_slots(self, database: Database) -> None:
        s, w = self._s, self._w
        now = database.now()
        allowed = select(w.c.slots).where(w.c.orchestrator_id == bindparam("b_orchestrator"))
        free = (
            select(s.c.n)
            .where(
                s.c.orchestrator_id == bindparam("b_orchestrator"),
                s.c.node_id.is_(None),
                s.c.n < bindparam("b_limit"),
                s.c.n < allowed.scalar_subquery(),  # this process may not know yet that there are fewer
            )
            .order_by(s.c.n)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        self._take = database.prepare(
            update(s)
            .where(s.c.orchestrator_id == bindparam("b_orchestrator"), s.c.n == free.scalar_subquery())
            .values(
                node_id=bindparam("b_node"),
                conversation_id=bindparam("b_conversation"),
                turn_id=bindparam("b_turn"),
                epoch=bindparam("b_epoch"),
                lease_until=now + self._lease,
            )
            .returning(s.c.n)
        )
        self._keep = database.prepare(
            update(s)
            .where(
                s.c.orchestrator_id == bindparam("b_orchestrator"),
                s.c.n == bindparam("b_n"),
                s.c.turn_id == bindparam("b_over"),
            )
            .values(added(s))
            .values(
                conversation_id=bindparam("b_conversation"),
                turn_id=bindparam("b_turn"),
                epoch=bindparam("b_epoch"),
                lease_until=now + self._lease,
            )
        )

    def _pick_statement(self, database: Database) -> Any:
        d, c, w, o = self._d, self._c, self._w, self._o
        now = database.now()
        earlier = d.alias("earlier")
        return (
            select(d.c.id, c.c.id, c.c.epoch, c.c.channel_id, c.c.thread_id, c.c.is_dm, o.c.user_id)
            .join(c, c.c.id == d.c.conversation_id)
            .join(o, o.c.id == bindparam("b_orchestrator"))
            .where(
                *among(database, d.c.orchestrator_id, bindparam("b_orchestrator")),
                d.c.state == WAITING,
                mostly(database, d.c.ready_at <= now),
                # what is too old is the sweep's, even at a start after long
                mostly(database, func.coalesce(d.c.aged_from, d.c.accepted_at) > now - self._max_age),
                c.c.turn_id.is_(None),
                ~exists().where(
                    earlier.c.conversation_id == d.c.conversation_id,
                    earlier.c.state.in_((WAITING, RUNNING)),
                    earlier.c.id < d.c.id,
                ),
                exists().where(
                    w.c.orchestrator_id == bindparam("b_orchestrator"), w.c.wanted == "running", w.c.state != "error"
                ),
                or_(d.c.attempts < self._suspect, ~self._runs_suspect()),
            )
            .order_by(*oldest(database, d.c.orchestrator_id, d.c.id))
            .limit(literal_column("1"))  # as a parameter it is taken for a tenth of all, and planned anew at each claim
            # not so strong a lock that an open transaction of the host's, which has accepted more, would keep it
            .with_for_update(of=c, skip_locked=True, key_share=True)
        )

    def _runs_suspect(self) -> Any:
        """Whether this node works on a turn that is in its last attempts: processes may have died of it.

        Else all that runs beside a poison message would begin again with it each time, and share its fate.
        """
        s, suspect = self._s, self._d.alias("suspect")
        return exists().where(
            s.c.node_id == bindparam("b_node"),
            suspect.c.turn_id == s.c.turn_id,
            suspect.c.state == RUNNING,
            suspect.c.attempts > self._suspect,
        )

    def claim(self, tx: Connection, orchestrator_id: str, *, limit: int, over: Kept | None = None) -> Claim | None:
        """The orchestrator's oldest ready conversation, if a slot below `limit` is free; else None.

        `over` is a turn that this transaction has settled without giving its slot back: the slot is kept.
        Raises LostRace (roll back and try again) where another process was quicker, and NoSlot (roll back).
        """
        orchestrator = int(orchestrator_id)
        picked = self._pick.run(tx, b_orchestrator=orchestrator, b_node=self._node).fetchone()
        if picked is None:
            return None
        head_id, conversation, before, channel, thread, is_dm, user = picked
        waiting = self._members.run(tx, b_conversation=conversation).fetchall()
        members = _membership(waiting, head_id)
        place = Place(channel, thread, bool(is_dm))
        asked = Asked(orchestrator, str(user), conversation, place, before + 1, members[0][1], members[-1][3])
        return self._start(tx, asked, members, limit, over)

    def _start(self, tx: Connection, asked: Asked, members: list[Record], limit: int, over: Kept | None) -> Claim:
        head, conversation, epoch = members[0], asked.conversation, asked.epoch
        begun = self._beginnings.first(tx, asked) if head[5] is None else self._beginnings.again(tx, head[5], asked)
        slot = self._slot(tx, asked, begun.id, limit, over)
        held = self._hold.run(tx, b_conversation=conversation, b_before=epoch - 1, b_turn=begun.id, b_epoch=epoch)
        if not held.rowcount:
            raise LostRace
        self._mark_members(tx, conversation, members, begun.id)
        resumed = head[2] == "resume"  # it stands for those that lie with its turn
        work: Sequence[Record] = [(one[0], one[3], one[2]) for one in members]
        if resumed:
            work = self._lying.run(tx, b_turn=begun.id).fetchall()
        return Claim(
            turn_id=str(begun.id),
            orchestrator_id=str(asked.orchestrator),
            conversation_id=str(conversation),
            slot=slot,
            epoch=epoch,
            place=asked.place,
            deliveries=tuple(str(row[0]) for row in ([head, *work] if resumed else work)),
            messages=tuple(row[1] for row in work if row[1] is not None),
            requester_id=head[1],
            reply_id=begun.reply,
            attempt=begun.attempt,
            failures=head[4] + 1,
            kind=DeliveryKind(work[0][2]),
            resumed=resumed,
            session=begun.session,
            regenerates=begun.regenerates,
        )

    def _slot(self, tx: Connection, asked: Asked, turn: int, limit: int, over: Kept | None) -> int:
        fields = {
            "b_orchestrator": asked.orchestrator,
            "b_conversation": asked.conversation,
            "b_turn": turn,
            "b_epoch": asked.epoch,
        }
        if over is not None:
            before, done = over.claim, over.done
            counts = {"b_answered": done.answered, "b_failed": done.failed}
            if not self._keep.run(tx, b_n=before.slot, b_over=int(before.turn_id), **counts, **fields).rowcount:
                raise LostRace
            return before.slot
        taken = self._take.run(tx, b_limit=limit, b_node=self._node, **fields).fetchone()
        if taken is None:
            raise NoSlot
        return int(taken[0])

    def _mark_members(self, tx: Connection, conversation: int, members: list[Record], turn: int) -> None:
        head = members[0]
        marked = self._mark.run(
            tx,
            b_conversation=conversation,
            b_author=head[1],
            b_first=head[0],
            b_last=members[-1][0],
            b_turn=turn,
        )
        if marked.rowcount != len(members):
            raise LostRace


def _membership(waiting: Sequence[Record], head_id: int) -> list[Record]:
    """The head and those directly behind it by the same author; for a turn that was begun, its own members.

    What waited for working hours is caught up with in one turn for each person: others' lines may lie between.
    """
    rows = [row for row in waiting if row[0] >= head_id]
    if not rows or rows[0][0] != head_id:
        raise LostRace
    head = rows[0]
    if head[5] is not None:
        return [row for row in rows if row[5] == head[5]]
    members = [head]
    for row in rows[1:]:
        if row[1] != head[1] and row[6] == head[6] == HOURS:
            continue
        if row[5] is not None or row[1] != head[1] or row[2] != head[2] or row[6] != head[6] or head[2] != "message":
            break
        members.append(row)
    return members
