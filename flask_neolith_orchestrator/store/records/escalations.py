"""What somebody is to be told of: noted with what caused it, told at most once for each cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    union,
    update,
)

from ...core.handles import fold
from ..people.people import People
from ..sql.database import Database
from ..sql.inserts import insert_into
from ..tables.columns import WAITING
from ..tables.models import Models

LOOK_BACK = 3_600.0
"""Seconds for which a process that begins looks for what went wrong before: others may have died of it."""

APPROVAL = 300.0
"""Seconds after which a call that waits for somebody's approval has waited too long."""


@dataclass(frozen=True, slots=True)
class Noted:
    """One thing to tell."""

    id: int
    orchestrator_id: str
    cause: str
    message_id: str | None
    detail: str
    at: float


@dataclass(frozen=True, slots=True)
class Cause:
    """What has gone wrong: the arguments of `note`."""

    orchestrator_id: str
    cause: str
    key: str
    message_id: str | None
    detail: str


class Escalations:
    """Notes and finds what is to be told. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database, people: People) -> None:
        self._people = people
        self._m = models.table("OrganizationMember")
        self._o = models.table("Orchestrator")
        self._database = database
        self._dialect = database.dialect
        self._e = models.table("Escalation")
        self._d = models.table("Delivery")
        self._t = models.table("Turn")
        self._s = models.table("Step")
        self._tr = models.table("Trigger")
        e = self._e
        self._untold = database.prepare(select(e.c.id).where(e.c.told_at.is_(None)).limit(1))
        self._failed = database.prepare(self._failures())
        self._broke = database.prepare(self._budgets())
        self._parked = database.prepare(self._approvals())

    def note(
        self,
        tx: Connection,
        orchestrator_id: str,
        cause: str,
        key: str,
        *,
        message_id: str | None = None,
        detail: str = "",
    ) -> bool:
        """Note a thing to tell, in the transaction of what caused it; False if this `key` was noted before.

        `cause` is what charters call it: refusal, failure, budget, approval, hours or keyword.
        """
        row = {
            "orchestrator_id": int(orchestrator_id),
            "cause": cause,
            "key": _key(cause, key),
            "message_id": message_id,
            "detail": detail,
            "created_at": self._database.clock.wall(),
        }
        statement = insert_into(self._e, self._dialect).values(row)
        return bool(tx.execute(statement.on_conflict_do_nothing()).rowcount)

    def waiting(self) -> bool:
        """Whether anything is to be told."""
        with self._database.read() as tx:
            return self._untold.run(tx).fetchone() is not None

    def take(self, tx: Connection, most: int = 20) -> list[Noted]:
        """What is to be told now; whoever takes it tells it in the same transaction."""
        e = self._e
        due = select(e.c.id).where(e.c.told_at.is_(None)).order_by(e.c.id).limit(most)
        taken = (
            update(e)
            .where(e.c.id.in_(due.with_for_update(skip_locked=True)), e.c.told_at.is_(None))
            .values(told_at=self._database.clock.wall())
            .returning(e)
        )
        rows = sorted(tx.execute(taken).all(), key=lambda row: row.id)
        return [
            Noted(row.id, str(row.orchestrator_id), row.cause, row.message_id, row.detail, row.created_at)
            for row in rows
        ]

    def find(self, tx: Connection, since: float) -> list[Cause]:
        """What has gone wrong since an instant, of orchestrators that tell somebody: not noted yet."""
        now = self._database.clock.wall()
        found = [
            Cause(
                str(row[0]),
                "refusal" if row[4] else "failure",
                f"turn:{row[3] or row[1]}",
                row[1],
                ("" if row[4] else row[2]) or "",
            )
            for row in self._failed.run(tx, b_since=since)
        ]
        found += [Cause(str(row[0]), "budget", f"{row[2]:.0f}", row[1], "") for row in self._broke.run(tx)]
        found += [
            Cause(str(row[0]), "approval", f"step:{row[2]}", row[1], row[3] or "")
            for row in self._parked.run(tx, b_before=now - APPROVAL)
        ]
        return [one for one in dict.fromkeys(found) if not self._is_noted(tx, one)]

    def recipients(self, tx: Connection, organization_id: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """Users of an organization by handle, name or id, in the order of `names`; and the names of nobody there."""
        m, o = self._m, self._o
        keys = union(*[select(t.c.user_id).where(t.c.organization_id == int(organization_id)) for t in (m, o)])
        found: dict[str, list[str]] = {}
        for key, (name, handle) in self._people.authors(tx, tx.execute(keys).scalars().all()).items():
            for called in {fold(handle or ""), fold(name), str(key)} - {""}:
                found.setdefault(called, []).append(str(key))
        ids = [one for name in names for one in found.get(name, found.get(fold(name), []))]
        return list(dict.fromkeys(ids)), [name for name in names if name not in found and fold(name) not in found]

    def note_all(self, causes: list[Cause]) -> None:
        """Note what was found."""
        with self._database.write() as tx:
            for one in causes:
                self.note(tx, one.orchestrator_id, one.cause, one.key, message_id=one.message_id, detail=one.detail)

    def _is_noted(self, tx: Connection, one: Cause) -> bool:
        e = self._e
        mine = (e.c.orchestrator_id == int(one.orchestrator_id), e.c.key == _key(one.cause, one.key))
        return tx.execute(select(e.c.id).where(*mine)).first() is not None

    def _tells(self, orchestrator_id: ColumnElement[int], *causes: str) -> ColumnElement[bool]:
        tr = self._tr
        kind = tr.c.kind == literal_column("'escalate'")
        return exists().where(tr.c.orchestrator_id == orchestrator_id, kind, tr.c.value.in_(causes))

    def _failures(self) -> Select[Any]:
        d, t = self._d, self._t
        refused = func.coalesce(t.c.stop_reason, "") == "refusal"
        ended = [literal_column(f"'{state}'", String) for state in ("failed", "answered")]
        return (
            select(d.c.orchestrator_id, d.c.message_id, d.c.outcome, d.c.turn_id, refused)
            .select_from(d.outerjoin(t, t.c.id == d.c.turn_id))
            .where(d.c.state.in_(ended), d.c.ended_at > bindparam("b_since"))
            .where(or_(d.c.state == "failed", refused), self._tells(d.c.orchestrator_id, "failure", "refusal"))
        )

    def _budgets(self) -> Select[Any]:
        d = self._d
        return select(d.c.orchestrator_id, d.c.message_id, d.c.ready_at).where(
            d.c.state == WAITING, d.c.held == "budget", self._tells(d.c.orchestrator_id, "budget")
        )

    def _approvals(self) -> Select[Any]:
        d, t, s = self._d, self._t, self._s
        return (
            select(t.c.orchestrator_id, d.c.message_id, s.c.id, s.c.name)
            .join(t, t.c.id == s.c.turn_id)
            .outerjoin(d, d.c.turn_id == t.c.id)
            .where(s.c.state == WAITING, s.c.created_at < bindparam("b_before"))
            .where(self._tells(t.c.orchestrator_id, "approval"))
            .order_by(s.c.id, d.c.id)
        )


def _key(cause: str, key: str) -> str:
    return f"{cause}:{key}"[:300]
