"""The durable inbox, front side: work is accepted in the transaction of the message that asks for it.

Accept only inserts what is not there, with ON CONFLICT DO NOTHING and in a fixed order: no row that others need is
locked or waited for, and the same message accepted twice is one delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Dialect, Insert, bindparam, case, exists, func, literal, select, true
from sqlalchemy.orm import Session

from ...core.types import DeliveryKind, DeliveryState, Place
from ..sql.database import Database
from ..sql.gate import Gate
from ..sql.inserts import insert_into
from ..sql.sqlite_host import begin_immediate
from ..tables.columns import WAITING
from ..tables.models import Models


@dataclass(frozen=True, slots=True)
class Arrival:
    """One orchestrator's share of a message: what becomes a delivery.

    `delay` is in seconds. `held` says what it waits for until the instant `until`, and grows old only afterwards.
    `refusal` is why it will not be answered at all: it is written down, and has ended. `by_machine`: no
    person asked.
    """

    orchestrator_id: str
    place: Place
    dedupe_key: str
    author_id: str
    reason: str
    message_id: str | None = None
    kind: DeliveryKind = DeliveryKind.MESSAGE
    delay: float = 0.0
    held: str | None = None
    until: float | None = None
    refusal: str | None = None
    by_machine: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of an arrival: `fresh` is False for one that had been accepted before.

    `outcome` says why a fresh one was refused.
    """

    delivery_id: str
    orchestrator_id: str
    state: DeliveryState
    fresh: bool
    outcome: str | None = None


_WRITTEN: Final = [
    *("orchestrator_id", "conversation_id", "kind", "dedupe_key", "message_id", "author_id", "reason", "state"),
    *("attempts", "ready_at", "accepted_at", "ended_at", "outcome", "held", "aged_from", "by_machine"),
]


def conversation_key(place: Place) -> str:
    """What names a conversation of one orchestrator."""
    return f"{place.channel_id}/{place.thread_id or ''}"


class Inbox:
    """Accepts work. Lifetime: app, in one process; safe for all threads (each brings its session)."""

    def __init__(self, models: Models, database: Database, *, max_queue: int) -> None:
        self.clock = database.clock
        self._conversation = models.table("Conversation")
        self._delivery = models.table("Delivery")
        self._gate: Gate | None = getattr(database, "gate", None)
        dialect = database.dialect
        self._sqlite = dialect.name == "sqlite"
        self._open = database.prepare(self._open_conversation(dialect))
        self._insert = database.prepare(self._insert_delivery(dialect, max_queue))
        d = self._delivery
        self._find = database.prepare(
            select(d.c.id, d.c.state).where(
                d.c.orchestrator_id == bindparam("b_orchestrator"), d.c.dedupe_key == bindparam("b_key")
            )
        )

    def _open_conversation(self, dialect: Dialect) -> Insert:
        c = self._conversation
        values = {
            "orchestrator_id": bindparam("b_orchestrator", type_=c.c.orchestrator_id.type),
            "key": bindparam("b_key", type_=c.c.key.type),
            "channel_id": bindparam("b_channel", type_=c.c.channel_id.type),
            "thread_id": bindparam("b_thread", type_=c.c.thread_id.type),
            "is_dm": bindparam("b_dm", type_=c.c.is_dm.type),
            "epoch": literal(0),
        }
        # ON CONFLICT alone would wait on Postgres for whoever is just changing the row that is there: a claim, a finish
        there = exists().where(c.c.orchestrator_id == bindparam("b_orchestrator"), c.c.key == bindparam("b_key"))
        statement = insert_into(c, dialect).from_select(list(values), select(*values.values()).where(~there))
        return statement.on_conflict_do_nothing()  # type: ignore[no-any-return]  # per dialect

    def _insert_delivery(self, dialect: Dialect, max_queue: int) -> Insert:
        c, d = self._conversation, self._delivery
        waiting = (
            select(func.count().label("count"))
            .select_from(d)
            .where(d.c.orchestrator_id == bindparam("b_orchestrator"), d.c.state == WAITING)
            .subquery()
        )
        refusal = bindparam("b_refusal", type_=d.c.outcome.type)
        no_room = case((waiting.c.count >= max_queue, literal("queue-full")), else_=None)
        outcome = func.coalesce(refusal, no_room)
        ended = outcome.is_not(None)
        known = d.alias("known")
        twice = exists().where(
            known.c.orchestrator_id == bindparam("b_orchestrator"), known.c.dedupe_key == bindparam("b_dedupe")
        )
        # one row, so that the queue is counted once
        there = c.join(waiting, true())
        source = select(
            bindparam("b_orchestrator", type_=d.c.orchestrator_id.type),
            c.c.id,
            bindparam("b_kind", type_=d.c.kind.type),
            bindparam("b_dedupe", type_=d.c.dedupe_key.type),
            bindparam("b_message", type_=d.c.message_id.type),
            bindparam("b_author", type_=d.c.author_id.type),
            bindparam("b_reason", type_=d.c.reason.type),
            case((ended, literal("refused")), else_=literal("waiting")),
            literal(0),
            bindparam("b_ready", type_=d.c.ready_at.type),
            bindparam("b_accepted", type_=d.c.accepted_at.type),
            case((ended, bindparam("b_accepted", type_=d.c.accepted_at.type)), else_=None),
            outcome,
            bindparam("b_held", type_=d.c.held.type),
            bindparam("b_aged", type_=d.c.aged_from.type),
            bindparam("b_machine", type_=d.c.by_machine.type),
        ).select_from(there)
        source = source.where(c.c.orchestrator_id == bindparam("b_orchestrator"), c.c.key == bindparam("b_key"), ~twice)
        statement = insert_into(d, dialect).from_select(_WRITTEN, source)
        insert: Insert = statement.on_conflict_do_nothing().returning(d.c.id, d.c.state, d.c.outcome)
        return insert

    def accept(self, session: Session, arrivals: Sequence[Arrival]) -> list[Accepted]:
        """Write one delivery for each arrival into the session's transaction; nothing is committed.

        A full queue gives a delivery in state `refused`. On SQLite the session's connection begins to write
        here, unless it has already.
        """
        if not arrivals:
            return []
        tx = session.connection()
        if self._sqlite:
            begin_immediate(tx, self._gate)
        return self.accept_in(tx, arrivals)

    def accept_in(self, tx: Connection, arrivals: Sequence[Arrival]) -> list[Accepted]:
        """The same in a transaction that may already write."""
        ordered = sorted(arrivals, key=lambda one: (int(one.orchestrator_id), one.dedupe_key))
        return [self._accept_one(tx, arrival) for arrival in ordered]

    def _accept_one(self, tx: Connection, arrival: Arrival) -> Accepted:
        orchestrator = int(arrival.orchestrator_id)
        key = conversation_key(arrival.place)
        now = self.clock.wall()
        self._open.run(
            tx,
            b_orchestrator=orchestrator,
            b_key=key,
            b_channel=arrival.place.channel_id,
            b_thread=arrival.place.thread_id,
            b_dm=arrival.place.is_dm,
        )
        row = self._insert.run(
            tx,
            b_orchestrator=orchestrator,
            b_key=key,
            b_kind=str(arrival.kind),
            b_dedupe=arrival.dedupe_key,
            b_message=arrival.message_id,
            b_author=arrival.author_id,
            b_reason=arrival.reason,
            b_ready=now + arrival.delay if arrival.until is None else max(now, arrival.until),
            b_accepted=now,
            b_refusal=arrival.refusal,
            b_held=arrival.held,
            b_aged=arrival.until,
            b_machine=int(arrival.by_machine),
        ).fetchone()
        if row is not None:
            return Accepted(str(row[0]), arrival.orchestrator_id, DeliveryState(row[1]), fresh=True, outcome=row[2])
        found = self._find.run(tx, b_orchestrator=orchestrator, b_key=arrival.dedupe_key).one()
        return Accepted(str(found[0]), arrival.orchestrator_id, DeliveryState(found[1]), fresh=False)
