"""Sessions of conversations: which one a turn belongs to, and the summary that one carries.

A turn pays one prepared statement: the first one of a conversation opens its session, each later one reads it. When
a session was last used is written down only now and then (see `SLACK`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, ScalarSelect, Select, and_, bindparam, case, insert, null, or_, select, update

from ...core.sessions import Session, SessionState
from ...core.types import Place
from ..sql.database import Database
from ..tables.models import Models

SLACK: Final = 0.02
"""The share of the idle time by which `last_at` may be behind: so rarely does a turn pay for writing it."""

WRITING: Final = 180.0
"""Seconds for which whoever writes a session's summary keeps others from doing so."""

_CARRIED: Final = ("since", "summary", "summary_sources", "summary_upto", "summary_model", "summary_at")


@dataclass(frozen=True, slots=True)
class Job:
    """What whoever writes a session's summary must know. `user_id` is the orchestrator's user."""

    session: Session
    place: Place
    conversation_id: str
    orchestrator_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Written:
    """A summary to be kept: what it was made from, and when the newest of that was written."""

    text: str
    sources: Sequence[str]
    upto: float
    model: str


class Sessions:
    """Reads and writes sessions. Lifetime: app, in one process; safe for all threads. `idle` is in seconds."""

    def __init__(self, models: Models, database: Database, idle: float) -> None:
        self._clock = database.clock
        self.idle = idle
        self._s = s = models.table("Session")
        self._c = models.table("Conversation")
        self._o = models.table("Orchestrator")
        opened = insert(s).values(
            conversation_id=bindparam("b_conversation"),
            orchestrator_id=bindparam("b_orchestrator"),
            channel_id=bindparam("b_channel"),
            thread_id=bindparam("b_thread"),
            since=bindparam("b_since"),
            started_at=bindparam("b_at"),
            last_at=bindparam("b_at"),
            state=str(SessionState.OPEN),
            revision=0,
        )
        self._open = database.prepare(opened.returning(s.c.id))
        read = self._read()
        latest = read.where(s.c.conversation_id == bindparam("b_conversation")).order_by(s.c.id.desc()).limit(1)
        self._latest = database.prepare(latest)
        self._one = database.prepare(read.where(s.c.id == bindparam("b_id")))

    def _read(self) -> Select[Any]:
        s = self._s
        return select(
            s.c.id,
            s.c.since,
            s.c.carried_until,
            s.c.summary,
            s.c.summary_sources,
            s.c.summary_at,
            s.c.revision,
            s.c.state,
            s.c.last_at,
            s.c.closed_at,
        )

    def begin(self, tx: Connection, conversation: int, orchestrator: int, place: Place, *, first: bool) -> Session:
        """The session of a turn that begins now: the open one, or a new one after a pause or a close.

        `first` says that the conversation had no turn before, so that there is nothing to look for.
        """
        now = self._clock.wall()
        row = None if first else self._latest.run(tx, b_conversation=conversation).fetchone()
        if row is None or row[7] == SessionState.CLOSED:
            since = 0.0 if row is None else row[9]
            key = self._open.run(
                tx,
                b_conversation=conversation,
                b_orchestrator=orchestrator,
                b_channel=place.channel_id,
                b_thread=place.thread_id,
                b_since=since,
                b_at=now,
            ).scalar_one()
            return Session(str(key), since)
        if now - row[8] > self.idle:
            return self._carry(tx, row[0], now)
        if now - row[8] > self.idle * SLACK:
            tx.execute(update(self._s).where(self._s.c.id == self._free(row[0])).values(last_at=now))
        return _session(row)

    def of(self, tx: Connection, session_id: int) -> Session | None:
        """A session as it is now."""
        row = self._one.run(tx, b_id=session_id).fetchone()
        return None if row is None else _session(row)

    def _free(self, key: int) -> ScalarSelect[Any]:
        """The row, unless a transaction has it that may be the host's: a claim waits for nobody."""
        return select(self._s.c.id).where(self._s.c.id == key).with_for_update(skip_locked=True).scalar_subquery()

    def _carry(self, tx: Connection, before: int, now: float) -> Session:
        """Another session after a pause. It takes the summary along, unless somebody is just changing a source."""
        s = self._s
        rested = tx.execute(update(s).where(s.c.id == self._free(before)).values(state=str(SessionState.IDLE)))
        carried: list[Any] = [s.c[name] for name in _CARRIED]
        if not rested.rowcount:
            carried = [null() if column.name in ("summary", "summary_sources") else column for column in carried]
        source = select(
            *(s.c.conversation_id, s.c.orchestrator_id, s.c.channel_id, s.c.thread_id, s.c.id),
            s.c.last_at + self.idle * SLACK,
            *(bindparam("b_state", "open"), bindparam("b_started", now), bindparam("b_last", now)),
            bindparam("b_revision", 0),
            *carried,
        ).where(s.c.id == before)
        names = ["conversation_id", "orchestrator_id", "channel_id", "thread_id", "carried_from", "carried_until"]
        names += ["state", "started_at", "last_at", "revision", *_CARRIED]
        key = tx.execute(insert(s).from_select(names, source, include_defaults=False).returning(s.c.id)).scalar_one()
        return _session(self._one.run(tx, b_id=key).one())

    def close(self, tx: Connection, session_id: str, by: str) -> bool:
        """End a session for good; False if it was closed before, or is not the newest of its conversation."""
        s = self._s
        newer = s.alias("newer")
        later = select(newer.c.id).where(newer.c.conversation_id == s.c.conversation_id, newer.c.id > s.c.id).exists()
        closed = tx.execute(
            update(s)
            .where(s.c.id == int(session_id), s.c.state != str(SessionState.CLOSED), ~later)
            .values(state=str(SessionState.CLOSED), closed_at=self._clock.wall(), closed_by=by)
        )
        return bool(closed.rowcount)

    def job(self, tx: Connection, session_id: str) -> Job | None:
        """What is needed to summarise a session; None where it is not open any more."""
        s, c, o = self._s, self._c, self._o
        row = tx.execute(
            select(c.c.channel_id, c.c.thread_id, c.c.is_dm, c.c.id, o.c.id, o.c.user_id)
            .select_from(s)
            .join(c, c.c.id == s.c.conversation_id)
            .join(o, o.c.id == s.c.orchestrator_id)
            .where(s.c.id == int(session_id), s.c.state == str(SessionState.OPEN))
        ).first()
        session = None if row is None else self.of(tx, int(session_id))
        if row is None or session is None:
            return None
        return Job(session, Place(row[0], row[1], bool(row[2])), str(row[3]), str(row[4]), str(row[5]))

    def reserve(self, tx: Connection, session: Session) -> bool:
        """Take the writing of a session's summary; False if somebody has it, or something has changed."""
        s, now = self._s, self._clock.wall()
        taken = tx.execute(
            update(s)
            .where(self._same(session), or_(s.c.busy_until.is_(None), s.c.busy_until < now))
            .values(busy_until=now + WRITING)
        )
        return bool(taken.rowcount)

    def give_up(self, tx: Connection, session: Session) -> None:
        """Leave it to others: the summary could not be written."""
        tx.execute(update(self._s).where(self._same(session)).values(busy_until=None))

    def keep(self, tx: Connection, session: Session, written: Written) -> bool:
        """Keep a summary; False, and nothing is written, if anything has changed since `session` was read."""
        s = self._s
        kept = tx.execute(
            update(s)
            .where(self._same(session), s.c.state == str(SessionState.OPEN))
            .values(
                summary=written.text,
                summary_sources=_listed(written.sources),
                summary_upto=case((s.c.summary_upto > written.upto, s.c.summary_upto), else_=written.upto),
                summary_model=written.model,
                summary_at=self._clock.wall(),
                revision=s.c.revision + 1,
                busy_until=None,
            )
        )
        return bool(kept.rowcount)

    def _same(self, session: Session) -> Any:
        return and_(self._s.c.id == int(session.id), self._s.c.revision == session.revision)


def source_changed(tx: Connection, models: Models, message_id: int) -> None:
    """A message was edited, deleted or written anew: no summary that tells of it is kept.

    To be called in the transaction of the change. The rows are always written, so that whoever sums up the same lines
    at the same time, in another transaction, finds that something has changed.
    """
    m, s = models.table("Message"), models.table("Session")
    row = tx.execute(select(m.c.channel_id, m.c.parent_id, m.c.created_at).where(m.c.id == message_id)).first()
    if row is None:
        return
    # of a line of the main line a thread may have begun
    main = or_(s.c.thread_id.is_(None), s.c.thread_id == str(message_id))
    told = and_(s.c.summary_upto.is_not(None), s.c.summary_upto >= row.created_at)
    tx.execute(
        update(s)
        .where(s.c.channel_id == str(row.channel_id))
        .where(main if row.parent_id is None else s.c.thread_id == str(row.parent_id))
        .values(
            revision=s.c.revision + 1,
            busy_until=None,
            summary=case((told, null()), else_=s.c.summary),
            summary_sources=case((told, null()), else_=s.c.summary_sources),
        )
    )


def _listed(sources: Iterable[str]) -> str:
    return "\n".join(sources)


def _session(row: Sequence[Any]) -> Session:
    summary, sources = row[3], row[4]
    return Session(
        id=str(row[0]),
        since=row[1],
        carried_until=row[2],
        summary=summary,
        sources=frozenset(sources.split("\n")) if summary and sources else frozenset(),
        is_stale=summary is None and row[5] is not None,
        revision=row[6],
    )
