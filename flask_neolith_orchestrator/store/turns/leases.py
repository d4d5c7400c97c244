"""Leases and the sweep: who still holds what, what a dead process left behind, and what waits too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    exists,
    func,
    literal,
    literal_column,
    select,
    true,
    tuple_,
    update,
)

from ..sql.database import Database
from ..sql.inserts import insert_into
from ..sql.oldest import among, oldest
from ..tables.columns import RUNNING, WAITING
from ..tables.models import Models
from .claims import LostRace

ROOM = 128
"""Conversations for which the sweep rings at one time: twice what a process has threads for by default."""

OVERDUE = 100
"""Deliveries that one look for old ones gives."""


@dataclass(frozen=True, slots=True)
class Held:
    """A slot of this node, as a renewal found it. `cancel` is the reason why its turn was asked to end."""

    turn_id: str
    epoch: int
    cancel: str | None


@dataclass(frozen=True, slots=True)
class Orphan:
    """A slot whose lease has run out or whose process is dead."""

    orchestrator_id: int
    n: int
    turn_id: int
    epoch: int
    lease_until: float


class Leases:
    """Renewals and sweeps of one node. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database, *, node_id: str, lease: float, renew: float) -> None:
        self._database = database
        self._node = node_id
        self._lease = lease
        self._renew = renew
        self._d = models.table("Delivery")
        self._c = models.table("Conversation")
        self._t = models.table("Turn")
        self._s = models.table("Slot")
        self._w = models.table("Daemon")
        self._prepare(database)

    def _prepare(self, database: Database) -> None:
        d, t, s = self._d, self._t, self._s
        now = database.now()
        self._renewal = database.prepare(self._renewal_statement(database))
        self._held = database.prepare(
            select(s.c.turn_id, s.c.epoch, t.c.cancel_requested)
            .join(t, t.c.id == s.c.turn_id)
            .where(s.c.node_id == bindparam("b_node"))
        )
        # a node that could not write for a while gives the owner one interval to renew, as it could not either
        self._expired = database.prepare(
            select(s.c.orchestrator_id, s.c.n, s.c.turn_id, s.c.epoch, s.c.lease_until).where(
                s.c.node_id.is_not(None),
                s.c.node_id != bindparam("b_node"),
                s.c.lease_until < now,
            )
        )
        self._ready = database.prepare(self._ready_statement(database))
        self._overdue = database.prepare(
            select(d.c.id)
            .where(
                d.c.state == WAITING, d.c.accepted_at < bindparam("b_before")
            )  # the index's; what is held is younger
            .where(func.coalesce(d.c.aged_from, d.c.accepted_at) < bindparam("b_before"))
            .order_by(d.c.accepted_at)
            .limit(OVERDUE)
        )

    def _ready_statement(self, database: Database) -> Any:
        """From one orchestrator for whom something waits to the next, and then some heads of each: what else waits is
        not looked at, however much it is.
        """
        d, c, w, now = self._d, self._c, self._w, database.now()
        first = select(func.min(d.c.orchestrator_id).label("id")).where(d.c.state == WAITING)
        asked = first.cte("asked", recursive=True)
        following = select(func.min(d.c.orchestrator_id)).where(d.c.state == WAITING, d.c.orchestrator_id > asked.c.id)
        asked = asked.union_all(select(following.scalar_subquery()).where(asked.c.id.is_not(None)))
        earlier = d.alias("earlier")
        heads = (
            select(literal_column("1").label("one"))
            .select_from(d.join(c, c.c.id == d.c.conversation_id))
            .where(
                *among(database, d.c.orchestrator_id, w.c.orchestrator_id), d.c.state == WAITING, d.c.ready_at <= now
            )
            .where(c.c.turn_id.is_(None))
            .where(
                ~exists().where(
                    earlier.c.conversation_id == d.c.conversation_id,
                    earlier.c.state.in_((WAITING, RUNNING)),
                    earlier.c.id < d.c.id,
                )
            )
            .order_by(*oldest(database, d.c.orchestrator_id, d.c.id))
            .limit(bindparam("b_most"))
            .correlate(w)
            .subquery("heads")
        )
        count = select(func.count()).select_from(heads).scalar_subquery()
        return (
            select(w.c.orchestrator_id, count)
            .join(asked, asked.c.id == w.c.orchestrator_id)
            .where(w.c.wanted == "running", w.c.state != "error")
        )

    def _renewal_statement(self, database: Database) -> Any:
        s = self._s
        mine: ColumnElement[bool] = s.c.node_id == bindparam("b_node")
        if database.dialect.name == "postgresql":
            # a finish that waits for a row the host has locked must not make the other leases wait as well
            free = select(s.c.orchestrator_id, s.c.n).where(mine).with_for_update(skip_locked=True)
            mine = tuple_(s.c.orchestrator_id, s.c.n).in_(free)
        return update(s).where(mine).values(lease_until=database.now() + self._lease)

    def renew(self) -> list[Held]:
        """Extend every lease of this node by one statement; what it still holds, and what was asked to end."""
        with self._database.write(urgent=True) as tx:
            self._renewal.run(tx, b_node=self._node)
            rows = self._held.run(tx, b_node=self._node).fetchall()
        return [Held(str(row[0]), row[1], row[2]) for row in rows]

    def expired(self) -> list[Orphan]:
        """Slots of other nodes whose lease has run out, once this node itself could write for a while."""
        if self._database.writable_for() < self._renew:
            return []
        with self._database.read() as tx:
            rows = self._expired.run(tx, b_node=self._node).fetchall()
        return [Orphan(*row) for row in rows]

    def held_by(self, node_ids: list[str]) -> list[Orphan]:
        """Slots of nodes that are known to be dead."""
        if not node_ids:
            return []
        s = self._s
        statement = select(s.c.orchestrator_id, s.c.n, s.c.turn_id, s.c.epoch, s.c.lease_until).where(
            s.c.node_id.in_(node_ids)
        )
        with self._database.read() as tx:
            return [Orphan(*row) for row in tx.execute(statement)]

    def find(self, turn_id: str) -> Orphan | None:
        """The slot that holds a turn, if one does."""
        s = self._s
        statement = select(s.c.orchestrator_id, s.c.n, s.c.turn_id, s.c.epoch, s.c.lease_until)
        with self._database.read() as tx:
            row = tx.execute(statement.where(s.c.turn_id == int(turn_id))).first()
        return None if row is None else Orphan(*row)

    def release(self, tx: Connection, orphan: Orphan) -> bool:
        """Take an orphan's slot away and raise the fence; False if that has been done.

        Raises LostRace (roll back) if the owner came back and renewed its lease meanwhile.
        """
        s, c = self._s, self._c
        # conversation first, slot second: the order in which claims and finishes lock them; one that is locked is
        # just being finished
        which = (c.c.turn_id == orphan.turn_id, c.c.epoch == orphan.epoch)
        if tx.execute(select(c.c.id).where(*which).with_for_update(skip_locked=True, key_share=True)).first() is None:
            return False
        fenced = tx.execute(update(c).where(*which).values(turn_id=None, epoch=c.c.epoch + 1))
        if not fenced.rowcount:
            return False
        freed = tx.execute(
            update(s)
            .where(
                s.c.orchestrator_id == orphan.orchestrator_id,
                s.c.n == orphan.n,
                s.c.turn_id == orphan.turn_id,
                s.c.lease_until == orphan.lease_until,
            )
            .values(node_id=None, conversation_id=None, turn_id=None, epoch=None, lease_until=None)
        )
        if not freed.rowcount:
            raise LostRace
        return True

    def ready(self) -> dict[str, int]:
        """Orchestrators that are wanted and have ready conversations, with how many: at the least one each, but not
        many more than `ROOM` in all, so that it costs no more where much more waits.
        """
        with self._database.read() as tx:
            found = self._heads(tx, 1)
            most = ROOM // len(found) if found else 0
            return self._heads(tx, most) if most > 1 else found

    def _heads(self, tx: Connection, most: int) -> dict[str, int]:
        return {str(row[0]): row[1] for row in self._ready.run(tx, b_most=most) if row[1]}

    def waiting(self, tx: Connection) -> list[str]:
        """Orchestrators for whom anything waits."""
        statement = select(self._d.c.orchestrator_id).distinct().where(self._d.c.state == WAITING)
        return [str(row[0]) for row in tx.execute(statement)]

    def overdue(self, max_age: float) -> list[str]:
        """Deliveries that have waited longer than `max_age` seconds, some at a time."""
        with self._database.read() as tx:
            rows = self._overdue.run(tx, b_before=self._database.clock.wall() - max_age).fetchall()
        return [str(row[0]) for row in rows]

    def slots_of(self, orchestrator_id: str) -> int:
        """How many of an orchestrator's slots are taken, over all nodes."""
        s = self._s
        statement = select(func.count()).where(s.c.orchestrator_id == int(orchestrator_id), s.c.node_id.is_not(None))
        with self._database.read() as tx:
            return int(tx.execute(statement).scalar_one())

    def slots_taken(self, orchestrator_ids: Sequence[str]) -> dict[str, int]:
        """As `slots_of`, for several that have any."""
        s = self._s
        mine = s.c.orchestrator_id.in_([int(one) for one in orchestrator_ids])
        statement = select(s.c.orchestrator_id, func.count()).where(mine, s.c.node_id.is_not(None))
        with self._database.read() as tx:
            return {str(row[0]): row[1] for row in tx.execute(statement.group_by(s.c.orchestrator_id))}

    def make_slots(self, tx: Connection, orchestrator_id: str, count: int) -> None:
        """Let no process take more than `count` slots from now on, and have as many rows."""
        self.make_slots_of(tx, [orchestrator_id], count)

    def make_slots_of(self, tx: Connection, orchestrator_ids: Sequence[str], count: int) -> None:
        """As `make_slots` for many whose daemon rows are there, by two statements.

        Rows are made at an orchestrator's first start, or when it may have more; none is ever taken away.
        """
        s, w = self._s, self._w
        keys = [int(one) for one in orchestrator_ids]
        number = select(literal(0).label("n")).cte("number", recursive=True)
        number = number.union_all(select(number.c.n + 1).where(number.c.n + 1 < count))
        # rows are made from 0 on, so who has the last has all
        last = exists().where(s.c.orchestrator_id == w.c.orchestrator_id, s.c.n == count - 1)
        missing = (
            select(w.c.orchestrator_id, number.c.n)
            .join(number, true())
            .where(w.c.orchestrator_id.in_(keys), ~last)
            .order_by(w.c.orchestrator_id, number.c.n)
        )
        made = insert_into(s, self._database.dialect).from_select(["orchestrator_id", "n"], missing)
        tx.execute(made.on_conflict_do_nothing())
        tx.execute(update(w).where(w.c.orchestrator_id.in_(keys), w.c.slots != count).values(slots=count))
