"""The audit log: deeds are written in the transaction of the deed where there is one, and read by those who manage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, false, func, insert, or_, select

from ...core.deeds import Deed
from ..people.people import People
from ..sql.database import Database
from ..tables.models import Models


@dataclass(frozen=True, slots=True)
class Seen:
    """Which deeds somebody sees: those in these organizations, of these orchestrators, and `own` ones of no place."""

    organizations: Sequence[str] = ()
    orchestrators: Sequence[str] = ()
    own: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of these are asked for. `action` is one, or the beginning of several (`charter.`)."""

    actor: str | None = None
    action: str | None = None
    begin: float | None = None
    end: float | None = None
    before: int | None = None
    limit: int = 50


class Audit:
    """Writes and reads deeds. Lifetime: app, in one process; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models, database: Database, people: People) -> None:
        self._models = models
        self._clock = database.clock
        self._people = people
        self._a = models.table("Audit")
        self._o = models.table("Orchestrator")

    def add(self, tx: Connection, deed: Deed) -> None:
        """Write one down."""
        actor, (kind, subject) = deed.actor, deed.subject or (None, None)
        tx.execute(
            insert(self._a).values(
                at=self._clock.wall(),
                actor_kind=actor.kind,
                actor_id=actor.id,
                actor_name=self._name(tx, actor.id)[:200],
                key_id=actor.key_id,
                action=deed.action,
                orchestrator_id=None if deed.orchestrator_id is None else int(deed.orchestrator_id),
                organization_id=self._organization(tx, deed),
                subject_kind=kind,
                subject_id=subject,
                details=dict(deed.details),
            )
        )

    def _name(self, tx: Connection, user_id: str | None) -> str:
        key = None if user_id is None else self._models.parse_user_id(user_id)
        return "" if key is None else self._people.names(tx, [key]).get(key, "")

    def _organization(self, tx: Connection, deed: Deed) -> int | None:
        if deed.organization_id is not None or deed.orchestrator_id is None:
            return None if deed.organization_id is None else int(deed.organization_id)
        o = self._o
        found: int | None = tx.execute(select(o.c.organization_id).where(o.c.id == int(deed.orchestrator_id))).scalar()
        return found

    def page(self, tx: Connection, seen: Seen, wanted: Wanted) -> list[dict[str, Any]]:
        """Deeds as their rows, newest first."""
        a = self._a
        statement = select(a).where(self._seen(seen), *self._wanted(wanted)).order_by(a.c.id.desc())
        return [dict(row) for row in tx.execute(statement.limit(wanted.limit)).mappings()]

    def _seen(self, seen: Seen) -> ColumnElement[bool]:
        a = self._a
        parts: list[ColumnElement[bool]] = []
        if seen.organizations:
            parts.append(a.c.organization_id.in_([int(one) for one in seen.organizations]))
        if seen.orchestrators:
            parts.append(a.c.orchestrator_id.in_([int(one) for one in seen.orchestrators]))
        if seen.own is not None:
            nowhere = and_(a.c.organization_id.is_(None), a.c.orchestrator_id.is_(None))
            parts.append(and_(a.c.actor_id == seen.own, nowhere))
        return or_(false(), *parts)

    def _wanted(self, wanted: Wanted) -> list[ColumnElement[bool]]:
        a = self._a
        parts: list[ColumnElement[bool]] = []
        if wanted.actor is not None:
            is_kind = wanted.actor in ("cli", "system")
            parts.append(a.c.actor_kind == wanted.actor if is_kind else a.c.actor_id == wanted.actor)
        if wanted.action is not None:
            begins = wanted.action.endswith(".")
            of_kind = a.c.action.startswith(wanted.action, autoescape=True)
            parts.append(of_kind if begins else a.c.action == wanted.action)
        if wanted.begin is not None:
            parts.append(a.c.at >= wanted.begin)
        if wanted.end is not None:
            parts.append(a.c.at < wanted.end)
        if wanted.before is not None:
            parts.append(a.c.id < wanted.before)
        return parts

    def forget(self, tx: Connection, before: float, limit: int = 500) -> int:
        """Forget the oldest deeds that were done before that; how many. The newest one stays, for its key."""
        a = self._a
        newest = select(func.max(a.c.id)).scalar_subquery()
        oldest = select(a.c.id, a.c.at).where(a.c.id < newest).order_by(a.c.id).limit(limit)
        gone = [row.id for row in tx.execute(oldest) if row.at < before]
        return tx.execute(delete(a).where(a.c.id.in_(gone))).rowcount if gone else 0
