"""Answers on their way to a host that keeps its own chat: written with the answer, told until somebody took them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from ..sql.database import Database
from ..tables.models import Models


@dataclass(frozen=True, slots=True)
class Letter:
    """An answer, or a part of a long one, on its way to the host. Ids of channel and question are the host's.

    `part` counts from 1; `answer_id` is the reply id of the first.
    """

    id: int
    orchestrator_id: str
    reply_id: str
    channel_id: str
    reply_to_id: str | None
    content: str
    state: str
    answer_id: str
    part: int


class Outbox:
    """Answers on their way to the host. Lifetime: app, in one process."""

    def __init__(self, models: Models, database: Database) -> None:
        self._database = database
        self._out = models.table("Outbox")
        self._untold = database.prepare(select(self._out.c.id).where(self._out.c.sent_at.is_(None)).limit(1))

    def waiting(self) -> bool:
        """Whether an answer waits to be told."""
        with self._database.read() as tx:
            return self._untold.run(tx).fetchone() is not None

    def take(self, seconds: float = 30.0) -> list[Letter]:
        """Answers to tell now; they come again after `seconds` unless `sent` is called."""
        out, now = self._out, self._database.clock.wall()
        mine = (out.c.sent_at.is_(None), out.c.claimed_until < now)
        due = select(out.c.id).where(*mine).order_by(out.c.id).limit(100).with_for_update(skip_locked=True)
        with self._database.write() as tx:
            rows = tx.execute(
                update(out).where(out.c.id.in_(due)).values(claimed_until=now + seconds).returning(out)
            ).all()
        letters = [
            Letter(
                row.id,
                str(row.orchestrator_id),
                row.reply_id,
                row.channel_id,
                row.reply_to_id,
                row.content,
                row.state,
                row.answer_id or row.reply_id,
                row.part,
            )
            for row in rows
        ]
        return sorted(letters, key=lambda letter: letter.id)

    def sent(self, letter: Letter, *, fine: bool) -> None:
        """A listener took it, or failed to: then it comes again soon."""
        values: dict[str, Any] = {"sent_at": self._database.clock.wall()} if fine else {"claimed_until": 0.0}
        with self._database.write() as tx:
            tx.execute(update(self._out).where(self._out.c.id == letter.id).values(**values))
