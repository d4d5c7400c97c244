"""Turns as they are listed: with what they waited for, cost, and where, as far as the viewer may read there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, func, select, text

from ..people.people import People
from ..tables.models import Models
from ..tables.runs import DEAD

_DEAD: Final = ("failed", "expired")
_UNANSWERED: Final = (*_DEAD, "refused", "cancelled")


class TurnList:
    """Reads turns for people. Lifetime: app; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models, people: People) -> None:
        self._models = models
        self._people = people
        self._t, self._d = models.table("Turn"), models.table("Delivery")
        self._c, self._l = models.table("Conversation"), models.table("Ledger")
        self._m, self._ch = models.table("Message"), models.table("Channel")
        self._cm = models.table("ChannelMember")

    def page(
        self, tx: Connection, orchestrator_id: str, *, states: Sequence[str], before: int | None, limit: int
    ) -> list[dict[str, Any]]:
        """An orchestrator's turns as their rows, newest first."""
        t = self._t
        statement = select(t).where(t.c.orchestrator_id == int(orchestrator_id))
        if states:
            statement = statement.where(t.c.state.in_(list(states)))
        if before is not None:
            statement = statement.where(t.c.id < before)
        return [dict(row) for row in tx.execute(statement.order_by(t.c.id.desc()).limit(limit)).mappings()]

    def told(self, tx: Connection, rows: Sequence[Mapping[str, Any]], viewer_id: str) -> list[dict[str, Any]]:
        """The rows with what belongs to them, by a few statements however many they are.

        Added: queued_at, reason, kind, cost, unpriced, channel, requester_name, notice. `channel`, `notice` and
        `reply_id` are None where the viewer may not read that channel.
        """
        asked, spent = self._asked(tx, rows), self._spent(tx, rows)
        places = self._places(tx, {row["conversation_id"] for row in rows}, viewer_id)
        replies = {row["reply_id"] for row in rows if places.get(row["conversation_id"]) is not None}
        notices = self._notices(tx, replies - {None})
        names = self.names(tx, {row["requester_id"] for row in rows})
        nothing = {"queued_at": None, "reason": None, "kind": "message"}
        free = {"cost": 0.0, "unpriced": 0}
        found = []
        for row in rows:
            place = places.get(row["conversation_id"])
            reply = row["reply_id"] if place is not None and row["reply_id"] in notices else None
            more = {"channel": place, "reply_id": reply, "notice": notices.get(reply)}
            name = {"requester_name": names.get(row["requester_id"], "")}
            found.append({**row, **asked.get(row["id"], nothing), **spent.get(row["id"], free), **more, **name})
        return found

    def deliveries(self, tx: Connection, rows: Sequence[Mapping[str, Any]], viewer_id: str) -> list[dict[str, Any]]:
        """Deliveries' rows with what belongs to them: author_name, channel, error_kind, error, retryable.

        `channel` is None where the viewer may not read; the error is the last one of its turn, else how it ended.
        """
        t = self._t
        columns = (t.c.id, t.c.state, t.c.error_kind, t.c.error)
        mine = {row["turn_id"] for row in rows} - {None}
        turns = {row.id: row for row in tx.execute(select(*columns).where(t.c.id.in_(mine)))}
        places = self._places(tx, {row["conversation_id"] for row in rows}, viewer_id)
        names = self.names(tx, {row["author_id"] for row in rows})
        found = []
        for row in rows:
            turn = turns.get(row["turn_id"])
            ended = row["outcome"] if row["state"] in _UNANSWERED else None
            kind = ended or (None if turn is None or row["state"] == "answered" else turn.error_kind)
            lies = row["kind"] == "resume" and (turn is None or turn.state != "failed")
            more = {"author_name": names.get(row["author_id"], ""), "channel": places.get(row["conversation_id"])}
            error = {"error_kind": kind, "error": None if kind is None or turn is None else turn.error}
            found.append({**row, **more, **error, "retryable": row["state"] in _DEAD and not lies})
        return found

    def dead(self, tx: Connection, orchestrator_ids: Sequence[str] | None) -> dict[str, int]:
        """How many failed and expired deliveries orchestrators have (None: all of them), by orchestrator id."""
        d = self._d
        statement = select(d.c.orchestrator_id, func.count()).where(text(DEAD)).group_by(d.c.orchestrator_id)
        if orchestrator_ids is not None:
            statement = statement.where(d.c.orchestrator_id.in_([int(one) for one in orchestrator_ids]))
        return {str(row[0]): row[1] for row in tx.execute(statement)}

    def names(self, tx: Connection, user_ids: Collection[str]) -> dict[str, str]:
        """How users are called, by their id as text."""
        keys = {one: self._models.parse_user_id(one) for one in user_ids}
        names = self._people.names(tx, [key for key in keys.values() if key is not None])
        return {one: names.get(key, "") for one, key in keys.items()}

    def _asked(self, tx: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
        d = self._d
        columns = (d.c.turn_id, d.c.kind, d.c.reason, d.c.accepted_at)
        mine = (d.c.turn_id.in_([row["id"] for row in rows]), d.c.kind != "resume")
        found: dict[int, dict[str, Any]] = {}
        for row in tx.execute(select(*columns).where(*mine).order_by(d.c.id)):
            first = found.setdefault(row[0], {"kind": row[1], "reason": row[2], "queued_at": row[3]})
            first["queued_at"] = min(first["queued_at"], row[3])
        return found

    def _spent(self, tx: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
        led = self._l
        unpriced = func.count().filter(led.c.cost.is_(None), led.c.state == "settled")
        mine = (led.c.turn_id.in_([row["id"] for row in rows]), led.c.purpose == "answer")
        columns = (led.c.turn_id, func.coalesce(func.sum(led.c.cost).filter(led.c.state == "settled"), 0.0), unpriced)
        found = tx.execute(select(*columns).where(*mine).group_by(led.c.turn_id))
        return {row[0]: {"cost": row[1], "unpriced": row[2]} for row in found}

    def places(self, tx: Connection, conversation_ids: Collection[int], viewer_id: str) -> dict[int, dict[str, Any]]:
        """Where conversations are, by conversation: only what the viewer may read."""
        return self._places(tx, conversation_ids, viewer_id)

    def _places(self, tx: Connection, ids: Collection[int], viewer_id: str) -> dict[int, dict[str, Any]]:
        c, ch, cm = self._c, self._ch, self._cm
        viewer = self._models.parse_user_id(viewer_id)
        rows = tx.execute(select(c.c.id, c.c.channel_id, c.c.thread_id).where(c.c.id.in_(list(ids)))).all()
        keys = {int(row[1]) for row in rows if row[1].isascii() and row[1].isdecimal() and len(row[1]) < 19}
        mine = (cm.c.user_id == viewer, ch.c.id.in_(keys), ch.c.kind != "external")
        joined = select(ch.c.id, ch.c.name, ch.c.kind).join(cm, cm.c.channel_id == ch.c.id).where(*mine)
        seen = {str(row[0]): {"name": row[1], "kind": row[2]} for row in (tx.execute(joined) if keys else ())}
        return {row[0]: {"id": row[1], "thread_id": row[2], **seen[row[1]]} for row in rows if row[1] in seen}

    def _notices(self, tx: Connection, reply_ids: Collection[str]) -> dict[str | None, str | None]:
        """What is said beside answers that are there, by the answers' ids."""
        m = self._m
        keys = [int(one) for one in reply_ids if one.isascii() and one.isdecimal() and len(one) < 19]
        rows = tx.execute(select(m.c.id, m.c.notice).where(m.c.id.in_(keys), m.c.deleted_at.is_(None)))
        return {str(row[0]): row[1] for row in rows}
