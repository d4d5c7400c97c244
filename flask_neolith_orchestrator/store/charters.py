"""Versions of an orchestrator's charter. They are the truth; the user's `vp_config["charter"]` mirrors the active one.

A host may write `vp_config` itself: what it wrote there becomes a new version when the charter is next read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, func, inspect, select, update

from ..core.errors import Conflict, NotFound
from .database import Database
from .inbox import insert_into
from .models import Models

BY_HOST: Final = "changed in the user's configuration"
"""The reason of versions that the host's own code made by writing `vp_config`."""


@dataclass(frozen=True, slots=True)
class CharterVersion:
    """One version. `version` counts from 1 per orchestrator; 0 is the empty charter of one that has none yet."""

    orchestrator_id: str
    version: int = 0
    charter: Mapping[str, Any] = field(default_factory=dict)
    author_id: str | None = None
    reason: str = ""
    created_at: float | None = None


class Charters:
    """Reads and changes charters. Lifetime: app, in one process; safe for all threads (each brings its tx)."""

    def __init__(self, models: Models, database: Database) -> None:
        self._clock = database.clock
        self._dialect = database.dialect
        self._v = models.table("CharterVersion")
        self._o = models.table("Orchestrator")
        self._user_key = models.user_key
        self._config = inspect(models.user).columns["orchestrator_config"]

    def current(self, tx: Connection, orchestrator_id: str) -> CharterVersion:
        """The charter that holds now. `tx` may write: what the host changed becomes a version here.

        Raises NotFound for an unknown orchestrator.
        """
        active = self._active(tx, orchestrator_id)
        if self._mirrored(self._config_of(tx, orchestrator_id)) in (None, active.charter):
            return active
        # somebody changed the mirror: look again with the user's row locked, so that only one writes the version
        config = self._config_of(tx, orchestrator_id, lock=True)
        active = self._active(tx, orchestrator_id)
        charter = self._mirrored(config)
        if charter is None or charter == active.charter:
            return active
        return self._write(tx, orchestrator_id, charter, author_id=None, reason=BY_HOST)

    def activate(
        self,
        tx: Connection,
        orchestrator_id: str,
        charter: Mapping[str, Any],
        *,
        author_id: str | None,
        reason: str = "",
        expected: int | None = None,
    ) -> CharterVersion:
        """Write a new version and make it the active one, with its mirror, in this transaction.

        `expected` is the version that the author has read: Conflict if another one holds by now. The same
        charter again is no new version. Raises NotFound for an unknown orchestrator.
        """
        config = self._config_of(tx, orchestrator_id, lock=True)
        present = self.current(tx, orchestrator_id)
        if expected is not None and expected != present.version:
            msg = f"The charter is at version {present.version} by now, not {expected}. Read it again."
            raise Conflict(msg)
        wanted = _plain(charter)
        if wanted == present.charter:
            return present
        written = self._write(tx, orchestrator_id, wanted, author_id=author_id, reason=reason)
        self._mirror(tx, orchestrator_id, {**config, "charter": wanted})
        return written

    def _active(self, tx: Connection, orchestrator_id: str) -> CharterVersion:
        v = self._v
        row = tx.execute(select(v).where(v.c.orchestrator_id == int(orchestrator_id), v.c.active)).first()
        return CharterVersion(orchestrator_id) if row is None else _version(row)

    def _config_of(self, tx: Connection, orchestrator_id: str, *, lock: bool = False) -> dict[str, Any]:
        o = self._o
        statement = select(self._config).join(o, o.c.user_id == self._user_key).where(o.c.id == int(orchestrator_id))
        if lock:
            statement = statement.with_for_update(of=self._user_key.table)
        row = tx.execute(statement).first()
        if row is None:
            raise NotFound
        return _mapping(row[0])

    @staticmethod
    def _mirrored(config: Mapping[str, Any]) -> dict[str, Any] | None:
        """What the mirror shows; None for something that is no charter and can become no version."""
        charter = config.get("charter")
        if charter is None:
            return {}
        return _plain(charter) if isinstance(charter, Mapping) else None

    def _mirror(self, tx: Connection, orchestrator_id: str, config: Mapping[str, Any]) -> None:
        o = self._o
        who = select(o.c.user_id).where(o.c.id == int(orchestrator_id)).scalar_subquery()
        tx.execute(update(self._user_key.table).where(self._user_key == who).values({self._config.name: dict(config)}))

    def _write(
        self, tx: Connection, orchestrator_id: str, charter: dict[str, Any], *, author_id: str | None, reason: str
    ) -> CharterVersion:
        v = self._v
        mine = v.c.orchestrator_id == int(orchestrator_id)
        last = tx.execute(select(func.max(v.c.version)).where(mine)).scalar() or 0
        tx.execute(update(v).where(mine, v.c.active).values(active=False))
        row = tx.execute(
            insert_into(v, self._dialect)
            .values(
                orchestrator_id=int(orchestrator_id),
                version=last + 1,
                charter=charter,
                author_id=author_id,
                reason=reason,
                active=True,
                created_at=self._clock.wall(),
            )
            .on_conflict_do_nothing()
            .returning(v)
        ).first()
        if row is None:
            msg = "Somebody else changed the charter at the same moment. Read it again."
            raise Conflict(msg)
        return _version(row)


def _plain(charter: Mapping[str, Any]) -> dict[str, Any]:
    """As it will be read back from JSON, so that comparing means something."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(charter)))
    return plain


def _mapping(value: object) -> dict[str, Any]:
    if isinstance(value, str):  # a host may keep JSON as text
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return dict(value) if isinstance(value, Mapping) else {}


def _version(row: Any) -> CharterVersion:
    return CharterVersion(
        orchestrator_id=str(row.orchestrator_id),
        version=row.version,
        charter=row.charter,
        author_id=row.author_id,
        reason=row.reason,
        created_at=row.created_at,
    )
