"""Changes of daemons over time, one row each, written in the transaction that changes the daemon's row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select

from ...core.availability import Availability, Change, availability
from ..sql.database import Database
from ..tables.models import Models

MOST: Final = 2_000
"""Changes of one daemon that an availability is computed from at the most."""


class History:
    """Writes and reads changes. Lifetime: app, in one process; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models, database: Database) -> None:
        self._clock = database.clock
        self._h = models.table("History")
        self._w = models.table("Daemon")

    def add(
        self,
        tx: Connection,
        orchestrator_ids: Sequence[str],
        event: str,
        *,
        reason: str | None = None,
        error: str | None = None,
        restarts: int | None = None,
        at: float | None = None,
    ) -> None:
        """Write the same change of some daemons, by one statement; `at` is when, if that was not now."""
        when = self._clock.wall() if at is None else at
        told = {"at": when, "event": event, "reason": reason, "error": error, "restarts": restarts}
        if orchestrator_ids:
            tx.execute(insert(self._h), [{"orchestrator_id": int(one), **told} for one in orchestrator_ids])

    def page(
        self, tx: Connection, orchestrator_id: str, begin: float, end: float, *, before: int | None, limit: int
    ) -> list[Change]:
        """Changes from `begin` until `end`, newest first."""
        h = self._h
        statement = select(h).where(h.c.orchestrator_id == int(orchestrator_id), h.c.at >= begin, h.c.at < end)
        if before is not None:
            statement = statement.where(h.c.id < before)
        return [_change(row) for row in tx.execute(statement.order_by(h.c.id.desc()).limit(limit))]

    def last(self, tx: Connection, orchestrator_id: str, before: float) -> Change | None:
        """The last change before a time: what the daemon was then.

        Of one that has run for longer than changes are kept, its row says since when.
        """
        h, w = self._h, self._w
        mine = (h.c.orchestrator_id == int(orchestrator_id), h.c.at < before)
        row = tx.execute(select(h).where(*mine).order_by(h.c.id.desc()).limit(1)).first()
        if row is not None:
            return _change(row)
        runs = (w.c.orchestrator_id == int(orchestrator_id), w.c.state == "running", w.c.started_at < before)
        since = tx.execute(select(w.c.started_at).where(*runs)).scalar()
        return None if since is None else Change("0", since, "started")

    def availabilities(self, tx: Connection, orchestrator_id: str, spans: Sequence[float]) -> list[Availability]:
        """For the last so many seconds each, up to now; of more than MOST changes, since the oldest of these."""
        now = self._clock.wall()
        changes = self.page(tx, orchestrator_id, now - max(spans), now, before=None, limit=MOST)[::-1]
        oldest = changes[0].at if changes else now
        # of what lies before too many changes nothing is said
        first = None if len(changes) == MOST else self.last(tx, orchestrator_id, oldest)
        found = []
        for span in spans:
            earlier = [one for one in changes if one.at < now - span]
            begun = earlier[-1] if earlier else first
            found.append(availability(begun, changes[len(earlier) :], now - span, now))
        return found

    def forget(self, tx: Connection, before: float, limit: int = 500) -> int:
        """Forget the oldest changes before that; how many. The newest one stays, for its key."""
        h = self._h
        newest = select(func.max(h.c.id)).scalar_subquery()
        oldest = select(h.c.id, h.c.at).where(h.c.id < newest).order_by(h.c.id).limit(limit)
        gone = [row.id for row in tx.execute(oldest) if row.at < before]
        return tx.execute(delete(h).where(h.c.id.in_(gone))).rowcount if gone else 0


def _change(row: Any) -> Change:
    return Change(
        id=str(row.id),
        at=row.at,
        event=row.event,
        reason=row.reason,
        error=row.error,
        restarts=row.restarts,
    )
