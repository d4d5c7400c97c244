"""Messages as the wire shows them: camelCase, ids as text, times as ISO 8601 UTC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Connection, Select, bindparam, func, select

from ..people.people import People
from ..sql.prepared import Prepared
from ..tables.models import Models
from ..turns.parking import WAITS


def iso(at: float | None) -> str | None:
    """Epoch seconds as ISO 8601 UTC with milliseconds."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Thread(NamedTuple):
    """What a root message shows of its thread: how many replies, and the last one."""

    replies: int
    id: int
    author_id: Any
    state: str
    created_at: float


class Views:
    """Shows messages. Lifetime: app, in one process; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models, people: People, to_html: Callable[[str], str]) -> None:
        self._people = people
        self._to_html = to_html
        self._models = models
        m, r = models.table("Message"), models.table("Reaction")
        # made once: to build such a statement costs several times what running it does
        keys: BindParameter[Any] = bindparam("keys", expanding=True)
        self._columns = m.columns.keys()
        self._by_id = Prepared(select(m).where(m.c.id.in_(keys)).order_by(m.c.id))
        reacted = select(r.c.message_id, r.c.emoji, r.c.user_id).where(r.c.message_id.in_(keys)).order_by(r.c.id)
        self._reacted = Prepared(reacted)
        answers = func.count().filter(m.c.continuation_of.is_(None))  # one of several messages is one
        counts = (
            select(m.c.parent_id, answers.label("count"), func.max(m.c.id).label("last"))
            .where(m.c.parent_id.in_(keys), m.c.deleted_at.is_(None))
            .group_by(m.c.parent_id)
            .subquery()
        )
        last = select(counts.c.parent_id, counts.c.count, m.c.id, m.c.author_id, m.c.state, m.c.created_at)
        self._asked = Prepared(self._asked_statement(models, keys))
        self._last = Prepared(last.join(counts, counts.c.last == m.c.id))

    @staticmethod
    def _asked_statement(models: Models, keys: BindParameter[Any]) -> Select[Any]:
        t, s = models.table("Turn"), models.table("Step")
        said = s.alias("said")
        last = select(func.max(said.c.n)).where(said.c.turn_id == t.c.id, said.c.kind == "model").scalar_subquery()
        return (
            select(t.c.reply_id, t.c.id, t.c.requester_id, s.c.id, s.c.name, s.c.state, s.c.expires_at, s.c.asks)
            .join(s, s.c.turn_id == t.c.id)
            .where(t.c.reply_id.in_(keys), t.c.state == "parked")
            .where(s.c.kind == "tool", s.c.expires_at.is_not(None), s.c.n > last)
            .order_by(t.c.id, s.c.n)
        )

    def _add_approvals(self, tx: Connection, shown: Sequence[dict[str, Any]]) -> None:
        """What an answer waits for, without the arguments of its calls: everybody in the channel sees this."""
        rows = list(self._asked.run(tx, keys=[one["id"] for one in shown]))
        people = {row[2]: self._models.parse_user_id(row[2]) for row in rows}
        names = self._people.names(tx, people.values())
        for one in shown:
            mine = [row for row in rows if row[0] == one["id"]]
            if mine:
                asked = mine[0][2]
                one["approval"] = {
                    "turnId": str(mine[0][1]),
                    "state": "waiting",
                    "requester": {"id": asked, "name": names.get(people[asked], "")},
                    "expiresAt": iso(min(row[6] for row in mine)),
                    "tools": [{"id": str(row[3]), "name": row[4], "state": row[5], "asks": row[7]} for row in mine],
                }

    def messages(self, tx: Connection, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Messages by id, in the order of their ids; those that are not there are left out."""
        rows = self._by_id.run(tx, keys=[int(one) for one in ids])
        return self.show(tx, [SimpleNamespace(**dict(zip(self._columns, row, strict=True))) for row in rows])

    def show(self, tx: Connection, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """Rows of neolith_message as the wire shows them."""
        keys = {row.author_id for row in rows if row.author_id is not None}
        threads = self._threads(tx, [row.id for row in rows if row.parent_id is None])
        for last in threads.values():
            keys |= {last.author_id} - {None}
        authors = self._authors(tx, keys)
        reactions = self._reactions(tx, [row.id for row in rows])
        shown = [self._message(row, authors, threads.get(row.id), reactions.get(row.id, {})) for row in rows]
        parked = [one for one in shown if one["notice"] == WAITS]
        if parked:
            self._add_approvals(tx, parked)
        return shown

    def _message(
        self, row: Any, authors: dict[Any, dict[str, Any]], last: _Thread | None, reactions: dict[str, list[str]]
    ) -> dict[str, Any]:
        gone = row.deleted_at is not None
        content = "" if gone else row.content
        shown = {
            "id": str(row.id),
            "channelId": str(row.channel_id),
            "threadId": None if row.parent_id is None else str(row.parent_id),
            "replyToId": None if row.reply_to_id is None else str(row.reply_to_id),
            "author": self._author(row, authors),
            "content": content,
            "html": self._to_html(content),
            "state": row.state,
            "notice": row.notice,
            "epoch": row.epoch,
            "seq": row.seq,
            "createdAt": iso(row.created_at),
            "editedAt": iso(row.edited_at),
            "deleted": gone,
            "clientId": row.client_id,
            "continues": None if row.continuation_of is None else str(row.continuation_of),
            "versions": row.versions,
            "approval": None,
            "reactions": [{"emoji": emoji, "userIds": users} for emoji, users in sorted(reactions.items())],
        }
        if row.parent_id is None:
            shown["replyCount"] = 0 if last is None else last.replies
            shown["lastReply"] = None if last is None else self._last_reply(last, authors)
        return shown

    def _author(self, row: Any, authors: dict[Any, dict[str, Any]]) -> dict[str, Any]:
        known = authors.get(row.author_id)
        return known or {"id": None, "name": row.author_name or "Somebody", "handle": None, "isOrchestrator": False}

    def _last_reply(self, last: _Thread, authors: dict[Any, dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": str(last.id),
            "author": authors.get(last.author_id),
            "state": last.state,
            "at": iso(last.created_at),
        }

    def _authors(self, tx: Connection, keys: set[Any]) -> dict[Any, dict[str, Any]]:
        return {
            key: {"id": str(key), "name": name, "handle": handle, "isOrchestrator": handle is not None}
            for key, (name, handle) in self._people.authors(tx, keys).items()
        }

    def _threads(self, tx: Connection, roots: Sequence[int]) -> dict[int, _Thread]:
        if not roots:
            return {}
        return {row[0]: _Thread(*row[1:]) for row in self._last.run(tx, keys=list(roots))}

    def _reactions(self, tx: Connection, ids: Sequence[int]) -> dict[int, dict[str, list[str]]]:
        found: dict[int, dict[str, list[str]]] = {}
        for message_id, emoji, user_id in self._reacted.run(tx, keys=list(ids)):
            found.setdefault(message_id, {}).setdefault(emoji, []).append(str(user_id))
        return found
