"""What is forgotten by age, a small batch per transaction: ended deliveries with their turns and these turns' steps,
told letters, and conversations with nothing left in them. Messages are history and stay.

The newest row of a table always stays. SQLite gives a new row the highest key + 1: so no key ever comes again, and a
writer from before, with its claim, finds nothing that it could take for its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, exists, func, or_, select, text
from sqlalchemy.exc import OperationalError

from ...core.types import DeliveryState
from ..sql.database import Database
from ..tables.models import Models
from ..tables.talk import FORGETS

BATCH = 500
"""Rows of one transaction at the most: milliseconds."""

LOCK_NOT_AVAILABLE = "55P03"
"""What Postgres says (by any driver of it) where a lock is somebody else's."""


@dataclass(frozen=True, slots=True)
class Walk:
    """A step of the walk over all conversations: how many were forgotten, and where to go on (None: at the start).

    `kept_out` says that others were writing just then, so that nothing could be looked at.
    """

    forgotten: int
    after: int | None
    kept_out: bool = False


class Retention:
    """Forgets what is old, one batch per call. Lifetime: app, in one process; several processes may do it at once."""

    def __init__(self, models: Models, database: Database) -> None:
        self._database = database
        self._c = models.table("Conversation")
        self._d = models.table("Delivery")
        self._t = models.table("Turn")
        self._step = models.table("Step")
        self._s = models.table("Session")
        self._out = models.table("Outbox")

    def deliveries(self, state: DeliveryState, keep: float) -> int:
        """Forget deliveries that ended as `state` longer than `keep` seconds ago; how many.

        A turn goes with the last of its deliveries: one that is still there can be tried again, and needs it.
        """
        d = self._d
        old = self._old_deliveries(state, keep)
        found = self._found(self.find_deliveries(state, keep))
        if not found:
            return 0
        with self._database.write() as tx:
            mine = select(d.c.id).where(d.c.id.in_(found), old).with_for_update(skip_locked=True)
            rows = tx.execute(delete(d).where(d.c.id.in_(mine)).returning(d.c.turn_id)).all()
            self._forget_turns(tx, sorted({row[0] for row in rows if row[0] is not None}))
        return len(rows)

    def find_deliveries(self, state: DeliveryState, keep: float) -> Select[int]:
        """The look for a batch, by the index of what has ended."""
        d, t = self._d, self._t
        newest_turn = select(func.max(t.c.id)).scalar_subquery()
        return (
            select(d.c.id)
            .where(
                self._old_deliveries(state, keep),
                d.c.id < _newest(d),
                # the newest turn stays, and so do those that would take it with them
                or_(d.c.turn_id.is_(None), d.c.turn_id < newest_turn),
            )
            .order_by(d.c.ended_at)
            .limit(BATCH)
        )

    def _old_deliveries(self, state: DeliveryState, keep: float) -> ColumnElement[bool]:
        return and_(self._d.c.state == str(state), self._d.c.ended_at < self._database.clock.wall() - keep)

    def _forget_turns(self, tx: Connection, turn_ids: list[int]) -> None:
        """Those of whose deliveries none is left. None will ever be added: members are marked at the first claim."""
        if not turn_ids:
            return
        d, t = self._d, self._t
        # another process may be forgetting other deliveries of the same turn: one of both sees that it is the last
        tx.execute(select(t.c.id).where(t.c.id.in_(turn_ids)).order_by(t.c.id).with_for_update())
        left = exists().where(d.c.turn_id == t.c.id)
        gone = tx.execute(delete(t).where(t.c.id.in_(turn_ids), ~left).returning(t.c.id)).scalars().all()
        if gone:  # SQLite does not take them along by itself
            tx.execute(delete(self._step).where(self._step.c.turn_id.in_(gone)))

    def letters(self, keep: float) -> int:
        """Forget answers that were told to the host longer than `keep` seconds ago; how many."""
        out = self._out
        old = out.c.sent_at < self._database.clock.wall() - keep
        found = self._found(self.find_letters(keep))
        if not found:
            return 0
        with self._database.write() as tx:
            mine = select(out.c.id).where(out.c.id.in_(found), old).with_for_update(skip_locked=True)
            return tx.execute(delete(out).where(out.c.id.in_(mine))).rowcount

    def find_letters(self, keep: float) -> Select[int]:
        """The look for a batch, by the index of when they were told."""
        out = self._out
        old = out.c.sent_at < self._database.clock.wall() - keep
        return select(out.c.id).where(old, out.c.id < _newest(out)).order_by(out.c.sent_at).limit(BATCH)

    def conversations(self, after: int) -> Walk:
        """Look at the next conversations behind the key `after`, and forget those with nothing left in them.

        The next message in that place begins one anew.
        """
        c = self._c
        with self._database.read() as tx:
            rows = tx.execute(self.find_conversations(after)).all()
        empty = [row[0] for row in rows[:-1] if row[1]]  # the last one is looked at with the next page, or the newest
        following = int(rows[-1][0]) - 1 if len(rows) == BATCH else None
        if not empty:
            return Walk(0, following)
        try:
            with self._database.write() as tx:
                self._keep_others_out(tx)
                mine = select(c.c.id).where(c.c.id.in_(empty), self._is_empty())
                tx.execute(delete(self._s).where(self._s.c.conversation_id.in_(mine)))
                gone = tx.execute(delete(c).where(c.c.id.in_(empty), self._is_empty())).rowcount
        except OperationalError as error:
            if LOCK_NOT_AVAILABLE not in (getattr(error.orig, "sqlstate", None), getattr(error.orig, "pgcode", None)):
                raise
            return Walk(0, after, kept_out=True)
        return Walk(gone, following)

    def find_conversations(self, after: int) -> Select[int, bool]:
        """The look at a page, by the primary key."""
        c = self._c
        return select(c.c.id, self._is_empty()).where(c.c.id > after).order_by(c.c.id).limit(BATCH)

    def _is_empty(self) -> ColumnElement[bool]:
        c, d, t, s = self._c, self._d, self._t, self._s
        work, turns = exists().where(d.c.conversation_id == c.c.id), exists().where(t.c.conversation_id == c.c.id)
        # a closed session keeps what was said before it out of every prompt, for as long as that can be read
        closed = exists().where(s.c.conversation_id == c.c.id, text(f"({FORGETS})"))
        return and_(c.c.turn_id.is_(None), ~work, ~turns, ~closed)

    def _keep_others_out(self, tx: Connection) -> None:
        """`accept` opens a conversation and then writes into it, without a lock on its row: not between the two.

        On Postgres that holds this lock until the end of the host's transaction, and we do not wait for it; on SQLite
        the transaction has the whole database for itself.
        """
        if self._database.dialect.name == "postgresql":
            tx.exec_driver_sql(f"LOCK TABLE {self._c.fullname} IN SHARE ROW EXCLUSIVE MODE NOWAIT")

    def _found(self, look: Select[int]) -> list[int]:
        with self._database.read() as tx:
            return list(tx.execute(look).scalars())


def _newest(table: Table) -> ColumnElement[int]:
    newest = table.alias("newest")
    return select(func.max(newest.c.id)).scalar_subquery()
