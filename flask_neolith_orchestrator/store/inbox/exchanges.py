"""What has lately been said between two machines, and what waits for working hours: rare looks at the inbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, literal_column, select, update

from ..sql.database import Database
from ..tables.models import Models

LOOP: Final = "loop-guard"
"""The outcome of a delivery that was refused because two have answered each other too often."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What two have asked each other in a stretch of time, and how often that was refused."""

    count: int
    refused: int


class Exchanges:
    """Counts what machines ask machines. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database) -> None:
        self._clock = database.clock
        self._d = models.table("Delivery")

    def between(self, tx: Connection, one: tuple[str, str], other: tuple[str | None, str], seconds: float) -> Exchange:
        """What the orchestrators `one` and `other` (an id, and the id of the user that it is) have asked each other.

        `other` may be a bot, which has no orchestrator's id. Two messages at the same instant may not see each other.
        """
        d, since = self._d, self._clock.wall() - seconds
        ways = [(one[0], other[1])] + ([(other[0], one[1])] if other[0] is not None else [])
        count = refused = 0
        for orchestrator_id, author_id in ways:
            rows = tx.execute(
                select(d.c.outcome, func.count())
                .where(d.c.by_machine == literal_column("1"), d.c.orchestrator_id == int(orchestrator_id))
                .where(d.c.author_id == author_id, d.c.accepted_at > since)
                .group_by(d.c.outcome)
            ).all()
            count += sum(row[1] for row in rows if row[0] != LOOP)
            refused += sum(row[1] for row in rows if row[0] == LOOP)
        return Exchange(count, refused)

    def said_before(self, tx: Connection, delivery_id: str) -> bool:
        """Whether an earlier delivery of the same conversation waits, or waited, for the same opening."""
        mine, d = self._d.alias("mine"), self._d
        found = tx.execute(
            select(d.c.id)
            .join(mine, mine.c.conversation_id == d.c.conversation_id)
            .where(mine.c.id == int(delivery_id), d.c.id < mine.c.id)
            .where(d.c.held == mine.c.held, d.c.aged_from == mine.c.aged_from)
            .limit(1)
        )
        return found.first() is not None

    def hold_until(self, tx: Connection, orchestrator_id: str, held: str, until: float | None) -> int:
        """What is held for this reason now waits until another instant, or is let go; returns how much it was."""
        d = self._d
        values: dict[str, Any] = {"ready_at": self._clock.wall(), "aged_from": self._clock.wall()}
        if until is not None:
            values = {"ready_at": until, "aged_from": until}
        # `held` stays: it says why the lines of several people lie between each other
        changed = tx.execute(
            update(d)
            .where(d.c.orchestrator_id == int(orchestrator_id), d.c.state == literal_column("'waiting'"))
            .where(d.c.held == held)
            .values(**values)
        )
        return changed.rowcount
