"""Sessions as people see them: state, summary, turns; and which session a message belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, Select, case, func, or_, select, union

from ...core.sessions import SessionState
from ..sql.database import Database
from ..tables.models import Models
from ..turns.sessions import Sessions
from .views import iso

TURNS: Final = 100
"""Turns of one session that are shown, the newest."""


class SessionViews:
    """Shows sessions. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database, sessions: Sessions) -> None:
        self._clock = database.clock
        self._sessions = sessions
        self._s = models.table("Session")
        self._t = models.table("Turn")
        self._d = models.table("Delivery")

    def _read(self) -> Select[Any]:
        s, t = self._s, self._t
        turn = select(t.c.started_at).where(t.c.session_id == s.c.id).order_by(t.c.id.desc()).limit(1)
        return select(s, turn.scalar_subquery().label("turn_at"))

    def get(self, tx: Connection, session_id: str) -> dict[str, Any] | None:
        """One session as the wire shows it."""
        row = tx.execute(self._read().where(self._s.c.id == int(session_id))).mappings().first()
        return None if row is None else self._show(row)

    def page(
        self,
        tx: Connection,
        channel_ids: Sequence[str],
        *,
        orchestrator_id: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Sessions of these channels, the newest first, and what to give as `before` for older ones."""
        s = self._s
        statement = self._read().where(s.c.channel_id.in_(channel_ids)).order_by(s.c.id.desc()).limit(limit + 1)
        if orchestrator_id is not None:
            statement = statement.where(s.c.orchestrator_id == int(orchestrator_id))
        if before is not None:
            statement = statement.where(s.c.id < int(before))
        rows = tx.execute(statement).mappings().all()
        shown = [self._show(row) for row in rows[:limit]]
        return shown, shown[-1]["id"] if len(rows) > limit else None

    def of_message(
        self, tx: Connection, message_id: str, channel_id: str, thread_id: str | None, at: float
    ) -> list[dict[str, Any]]:
        """The sessions (one of each orchestrator at the most) that a message is a line of, the oldest first.

        Those of the turns that it was asked or answered in; else those that had begun where and when it was written.
        """
        t, d, s = self._t, self._d, self._s
        asked = select(t.c.session_id).join(d, d.c.turn_id == t.c.id).where(d.c.message_id == message_id)
        written = select(t.c.session_id).where(t.c.reply_id == message_id)
        found = [row[0] for row in tx.execute(union(asked, written)) if row[0] is not None]
        if not found:
            threads = (
                s.c.thread_id == thread_id if thread_id else or_(s.c.thread_id.is_(None), s.c.thread_id == message_id)
            )
            begun = case((s.c.carried_until.is_not(None), s.c.carried_until), else_=s.c.since)
            there = select(func.max(s.c.id)).where(
                s.c.channel_id == channel_id, threads, begun < at, or_(s.c.closed_at.is_(None), s.c.closed_at >= at)
            )
            found = [row[0] for row in tx.execute(there.group_by(s.c.conversation_id))]
        rows = tx.execute(self._read().where(s.c.id.in_(found)).order_by(s.c.id)).mappings()
        return [self._show(row) for row in rows]

    def close(self, tx: Connection, session_id: str, by: str) -> bool:
        """End a session for good; False if it was closed before, or another one has followed it."""
        return self._sessions.close(tx, session_id, by)

    def turns(self, tx: Connection, session_id: str) -> list[dict[str, Any]]:
        """The newest turns of a session, the oldest of them first."""
        t, d = self._t, self._d
        mine = select(t).where(t.c.session_id == int(session_id)).order_by(t.c.id.desc()).limit(TURNS)
        turns = tx.execute(mine).mappings().all()[::-1]
        asked: dict[int, list[str]] = {}
        members = select(d.c.turn_id, d.c.message_id).where(d.c.turn_id.in_([turn["id"] for turn in turns]))
        for turn_id, message_id in tx.execute(members.order_by(d.c.id)):
            if message_id is not None:
                asked.setdefault(turn_id, []).append(message_id)
        return [
            {
                "id": str(turn["id"]),
                "state": turn["state"],
                "requesterId": turn["requester_id"],
                "messageIds": asked.get(turn["id"], []),
                "replyId": turn["reply_id"],
                "startedAt": iso(turn["started_at"]),
                "endedAt": iso(turn["ended_at"]),
            }
            for turn in turns
        ]

    def _show(self, row: RowMapping) -> dict[str, Any]:
        last = max(row["last_at"], row["turn_at"] or 0.0)
        return {
            "id": str(row["id"]),
            "orchestratorId": str(row["orchestrator_id"]),
            "channelId": row["channel_id"],
            "threadId": row["thread_id"],
            "state": str(self._state(row, last)),
            "startedAt": iso(row["started_at"]),
            "lastAt": iso(last),
            "closedAt": iso(row["closed_at"]),
            "closedBy": row["closed_by"],
            "carriedFrom": None if row["carried_from"] is None else str(row["carried_from"]),
            "summary": _summary(row),
            "summaryStale": row["summary"] is None and row["summary_at"] is not None,
        }

    def _state(self, row: RowMapping, last: float) -> SessionState:
        state = SessionState(row["state"])
        if state is SessionState.OPEN and self._clock.wall() - last > self._sessions.idle:
            return SessionState.IDLE
        return state


def _summary(row: RowMapping) -> dict[str, Any] | None:
    if row["summary"] is None:
        return None
    sources = (row["summary_sources"] or "").split("\n")
    return {
        "text": row["summary"],
        "messageIds": [one for one in sources if one],
        "model": row["summary_model"],
        "at": iso(row["summary_at"]),
    }
