"""Answers of several messages, and former versions of answers, in our own tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from ...core.ports import Parts, ReplyWrite
from ..tables.models import Models
from .sessions import source_changed


class BundledVolumes:
    """Implements `core.ports.Volumes` on our own tables. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._m = models.table("Message")
        self._v = models.table("MessageVersion")

    def write_parts(self, tx: Connection, write: ReplyWrite, texts: Sequence[str]) -> Parts:
        """Let an answer go on with these further messages, each a reply to the one before."""
        m = self._m
        kept = self._further(tx, write.reply_id)
        root = tx.execute(
            select(m.c.channel_id, m.c.author_id, m.c.parent_id).where(
                m.c.id == int(write.reply_id), m.c.deleted_at.is_(None)
            )
        ).first()
        if root is None:
            return Parts()
        ids: list[int] = []
        for place, text in enumerate(texts):
            row = {"content": text, "state": str(write.state), "epoch": write.epoch, "seq": 0}
            if place < len(kept):
                ids.append(kept[place])
                tx.execute(update(m).where(m.c.id == kept[place]).values(row))
                continue
            row |= {"reply_to_id": ids[-1] if ids else int(write.reply_id), "continuation_of": int(write.reply_id)}
            made = insert(m).values(row | root._asdict() | {"created_at": write.at}).returning(m.c.id)
            ids.append(tx.execute(made).scalar_one())
        return Parts(tuple(map(str, ids)), self.drop_parts(tx, kept[len(ids) :], write.at))

    def drop_parts(self, tx: Connection, keys: Sequence[int], at: float) -> tuple[str, ...]:
        """Take further messages away; returns their ids."""
        m = self._m
        if keys:
            tx.execute(update(m).where(m.c.id.in_(keys)).values(deleted_at=at, content="", state="final"))
        return tuple(map(str, keys))

    def keep_version(self, tx: Connection, reply_id: str, turn_id: str | None, at: float) -> None:
        """Keep what the answer is now, unless it says nothing."""
        m, v = self._m, self._v
        now = tx.execute(select(m.c.content, m.c.state).where(m.c.id == int(reply_id))).first()
        if now is None or not now.content.strip():
            return
        n = tx.execute(select(func.coalesce(func.max(v.c.n), 0) + 1).where(v.c.message_id == reply_id)).scalar_one()
        row: dict[str, Any] = {
            "message_id": reply_id,
            "n": n,
            "content": now.content,
            "parts": self.texts(tx, reply_id),
            "state": now.state,
            "turn_id": None if turn_id is None else int(turn_id),
            "created_at": at,
        }
        tx.execute(insert(v).values(row))
        tx.execute(update(m).where(m.c.id == int(reply_id)).values(versions=n))
        source_changed(tx, self._models, int(reply_id))

    def texts(self, tx: Connection, reply_id: str) -> list[str]:
        """What the further messages of an answer say, in order."""
        m = self._m
        rows = tx.execute(select(m.c.content).where(m.c.id.in_(self._further(tx, reply_id))).order_by(m.c.id))
        return [row[0] for row in rows]

    def touch_reply(self, tx: Connection, reply_id: str, epoch: int, notice: str | None) -> None:
        """Leave an answer as it is, with a notice."""
        m = self._m
        mine = (m.c.id == int(reply_id), m.c.epoch <= epoch, m.c.deleted_at.is_(None))
        tx.execute(update(m).where(*mine).values(epoch=epoch, notice=notice))

    def forget(self, tx: Connection, reply_id: str, at: float) -> tuple[str, ...]:
        """An answer is deleted: so are its further messages, whose ids are returned, and all its versions."""
        tx.execute(delete(self._v).where(self._v.c.message_id == reply_id))
        return self.drop_parts(tx, self._further(tx, reply_id), at)

    def _further(self, tx: Connection, reply_id: str) -> list[int]:
        m = self._m
        rows = tx.execute(
            select(m.c.id).where(m.c.continuation_of == int(reply_id), m.c.deleted_at.is_(None)).order_by(m.c.id)
        )
        return [row[0] for row in rows]
