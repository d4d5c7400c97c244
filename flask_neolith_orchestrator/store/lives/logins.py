"""Logins of orchestrators. One that has ended is kept for its TTL and never revived."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, select, update

from ..sql.database import Database
from ..sql.inserts import insert_into
from ..tables.models import Models


class Logins:
    """Reads and changes login rows. Lifetime: app, in one process."""

    def __init__(self, models: Models, database: Database) -> None:
        self._clock = database.clock
        self._dialect = database.dialect
        self._l = models.table("Login")

    def record(self, tx: Connection, token: str, orchestrator_id: str) -> bool:
        """Record a login; True if it is new, False if it is known (or has ended)."""
        now = self._clock.wall()
        row = {"token": token, "orchestrator_id": int(orchestrator_id), "started_at": now, "seen_at": now}
        inserted = tx.execute(insert_into(self._l, self._dialect).values(row).on_conflict_do_nothing())
        return bool(inserted.rowcount)

    def is_live(self, tx: Connection, token: str) -> bool:
        """Whether this login is known and has not ended."""
        found = tx.execute(select(self._l.c.ended_at).where(self._l.c.token == token)).first()
        return found is not None and found[0] is None

    def ended_of(self, tx: Connection, tokens: Sequence[str]) -> set[str]:
        """Those of `tokens` that have ended (unknown ones have not)."""
        return {
            row[0]
            for some in _slices(tokens)
            for row in tx.execute(
                select(self._l.c.token).where(self._l.c.token.in_(some), self._l.c.ended_at.is_not(None))
            )
        }

    def end(self, tx: Connection, token: str, reason: str) -> str | None:
        """End a login; returns its orchestrator's id if that changed anything."""
        row = tx.execute(
            update(self._l)
            .where(self._l.c.token == token, self._l.c.ended_at.is_(None))
            .values(ended_at=self._clock.wall(), reason=reason)
            .returning(self._l.c.orchestrator_id)
        ).first()
        return None if row is None else str(row[0])

    def end_all(self, tx: Connection, orchestrator_id: str, reason: str) -> list[str]:
        """End all logins of an orchestrator; returns their tokens."""
        rows = tx.execute(
            update(self._l)
            .where(self._l.c.orchestrator_id == int(orchestrator_id), self._l.c.ended_at.is_(None))
            .values(ended_at=self._clock.wall(), reason=reason)
            .returning(self._l.c.token)
        )
        return [row[0] for row in rows]

    def live_tokens(self, tx: Connection, orchestrator_id: str) -> list[str]:
        """Logins of an orchestrator that have not ended."""
        rows = tx.execute(
            select(self._l.c.token).where(
                self._l.c.orchestrator_id == int(orchestrator_id), self._l.c.ended_at.is_(None)
            )
        )
        return [row[0] for row in rows]

    def seen(self, tx: Connection, seen: Mapping[str, float]) -> None:
        """Write when logins were last seen."""
        for token, at in seen.items():
            tx.execute(update(self._l).where(self._l.c.token == token, self._l.c.seen_at < at).values(seen_at=at))

    def last_seen(self, tx: Connection, tokens: Sequence[str]) -> dict[str, float]:
        """When these logins were last seen, as far as it has been written."""
        return {
            row[0]: row[1]
            for some in _slices(tokens)
            for row in tx.execute(select(self._l.c.token, self._l.c.seen_at).where(self._l.c.token.in_(some)))
        }

    def prunable(self, tx: Connection, ttl: float) -> bool:
        """Whether there is an ended login whose cookie can no longer come back."""
        return tx.execute(select(self._l.c.token).where(self._prunable(ttl)).limit(1)).first() is not None

    def expired(self, tx: Connection, ttl: float, *, prefix: str = "") -> list[str]:
        """Logins (whose token begins with `prefix`) that have not been seen for `ttl` seconds."""
        limit = self._clock.wall() - ttl
        rows = tx.execute(
            select(self._l.c.token).where(
                self._l.c.ended_at.is_(None), self._l.c.seen_at < limit, self._l.c.token.startswith(prefix)
            )
        )
        return [row[0] for row in rows]

    def unused(self, tx: Connection, seconds: float, *, prefix: str) -> list[str]:
        """Logins that began longer than `seconds` ago and have not been seen since."""
        begun = self._l.c.started_at
        rows = tx.execute(
            select(self._l.c.token).where(
                self._l.c.ended_at.is_(None),
                self._l.c.seen_at == begun,
                begun < self._clock.wall() - seconds,
                self._l.c.token.startswith(prefix),
            )
        )
        return [row[0] for row in rows]

    def prune(self, tx: Connection, ttl: float, *, limit: int = 500) -> None:
        """Forget ended logins whose cookie can no longer come back, as many as a short transaction takes."""
        some = select(self._l.c.token).where(self._prunable(ttl)).limit(limit).with_for_update(skip_locked=True)
        tx.execute(delete(self._l).where(self._l.c.token.in_(some)))

    def _prunable(self, ttl: float) -> ColumnElement[bool]:
        # a cookie that still comes is still valid somewhere: forgotten, its login would begin again
        limit = self._clock.wall() - ttl
        return and_(self._l.c.ended_at < limit, self._l.c.seen_at < limit)


def _slices(tokens: Sequence[str], size: int = 1_000) -> Iterator[list[str]]:
    """Statements take only so many values."""
    for start in range(0, len(tokens), size):
        yield list(tokens[start : start + size])
