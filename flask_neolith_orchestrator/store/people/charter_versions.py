"""Versions of charters, of orchestrators and of organizations: numbered from 1 for each owner, only ever added to.

One version of an owner is active. An older one that shall hold again is written once more as a new version that says
so: what a turn recorded, and what somebody has read, goes on meaning the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select, update

from ...core.errors import Conflict
from ..sql.database import Database
from ..sql.inserts import insert_into
from ..tables.models import Models


@dataclass(frozen=True, slots=True)
class CharterVersion:
    """One version. `version` counts from 1 per owner; 0 is the empty charter of one that has none yet.

    `owner_id` is the orchestrator's id, or the organization's. `charter` is as its author wrote it.
    """

    owner_id: str
    version: int = 0
    charter: Mapping[str, Any] = field(default_factory=dict)
    author_id: str | None = None
    reason: str = ""
    created_at: float | None = None
    active: bool = True


class Versions:
    """The versions of one kind of owner: `table` has a column `owner`. Lifetime: app; safe for all threads."""

    def __init__(self, models: Models, database: Database, table: str, owner: str) -> None:
        self._clock = database.clock
        self._dialect = database.dialect
        self._v = models.table(table)
        self._owner = self._v.c[owner]
        mine = self._owner == bindparam("b_owner")
        self._active = database.prepare(select(*self._columns()).where(mine, self._v.c.active))

    def _columns(self) -> list[Any]:
        v = self._v
        return [self._owner, v.c.version, v.c.charter, v.c.author_id, v.c.reason, v.c.created_at, v.c.active]

    def active(self, tx: Connection, owner_id: str) -> CharterVersion:
        """The version that holds; version 0 where there is none."""
        row = self._active.run(tx, b_owner=int(owner_id)).fetchone()
        return CharterVersion(owner_id) if row is None else _version(row)

    def get(self, tx: Connection, owner_id: str, version: int) -> CharterVersion | None:
        """One version, or None; version 0 is the empty charter."""
        if version == 0:
            return CharterVersion(owner_id, active=False)
        row = tx.execute(self._all(owner_id).where(self._v.c.version == version)).first()
        return None if row is None else _version(row)

    def page(self, tx: Connection, owner_id: str, *, before: int | None, limit: int) -> list[CharterVersion]:
        """Versions older than `before`, the newest first."""
        statement = self._all(owner_id).order_by(self._v.c.version.desc()).limit(limit)
        if before is not None:
            statement = statement.where(self._v.c.version < before)
        return [_version(row) for row in tx.execute(statement)]

    def add(
        self, tx: Connection, owner_id: str, charter: dict[str, Any], *, author_id: str | None, reason: str
    ) -> CharterVersion:
        """Write the next version and make it the active one. Raises Conflict where another writer was quicker."""
        v, mine = self._v, self._owner == int(owner_id)
        last = tx.execute(select(func.max(v.c.version)).where(mine)).scalar() or 0
        tx.execute(update(v).where(mine, v.c.active).values(active=False))
        row = tx.execute(
            insert_into(v, self._dialect)
            .values(
                {
                    self._owner.name: int(owner_id),
                    "version": last + 1,
                    "charter": charter,
                    "author_id": author_id,
                    "reason": reason,
                    "active": True,
                    "created_at": self._clock.wall(),
                }
            )
            .on_conflict_do_nothing()
            .returning(*self._columns())
        ).first()
        if row is None:
            msg = "Somebody else changed the charter at the same moment. Read it again."
            raise Conflict(msg)
        return _version(row)

    def _all(self, owner_id: str) -> Select[Any]:
        return select(*self._columns()).where(self._owner == int(owner_id))


def expect(present: CharterVersion, expected: int | None) -> None:
    """Raise Conflict if `present` is not the version that an author has read (None: whichever)."""
    if expected is not None and expected != present.version:
        msg = f"The charter is at version {present.version} by now, not {expected}. Read it again."
        raise Conflict(msg)


def plain(charter: Mapping[str, Any]) -> dict[str, Any]:
    """As it will be read back from JSON, so that comparing means something."""
    found: dict[str, Any] = json.loads(json.dumps(dict(charter)))
    return found


def _version(row: Any) -> CharterVersion:
    owner, version, charter, author, reason, at, active = row
    return CharterVersion(str(owner), version, charter, author, reason, at, bool(active))
