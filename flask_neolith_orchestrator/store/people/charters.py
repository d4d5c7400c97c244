"""The charters of orchestrators and of organizations. Their versions are the truth (`charter_versions`).

The user's `vp_config["charter"]` mirrors the active version of an orchestrator's. A host may write `vp_config` itself:
what it wrote there becomes a new version when the charter is next read by `current`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, inspect, or_, select, update

from ...core.errors import NotFound
from ..sql.database import Database
from ..tables.models import Models
from .charter_versions import CharterVersion, Versions, expect, plain

BY_HOST: Final = "changed in the user's configuration"
"""The reason of versions that the host's own code made by writing `vp_config`."""


class Charters:
    """Reads and changes orchestrators' charters. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database) -> None:
        self.versions = Versions(models, database, "CharterVersion", "orchestrator_id")
        self._o = models.table("Orchestrator")
        self._user_key = models.user_key
        self._config = inspect(models.user).columns["orchestrator_config"]

    def current(self, tx: Connection, orchestrator_id: str) -> CharterVersion:
        """The charter that holds now. `tx` may write: what the host changed becomes a version here.

        Raises NotFound for an unknown orchestrator.
        """
        active = self.versions.active(tx, orchestrator_id)
        if mirrored(self._config_of(tx, orchestrator_id)) in (None, active.charter):
            return active
        # somebody changed the mirror: look again with the user's row locked, so that only one writes the version
        config = self._config_of(tx, orchestrator_id, lock=True)
        active = self.versions.active(tx, orchestrator_id)
        charter = mirrored(config)
        if charter is None or charter == active.charter:
            return active
        return self.versions.add(tx, orchestrator_id, charter, author_id=None, reason=BY_HOST)

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
        expect(present, expected)
        wanted = plain(charter)
        if wanted == present.charter:
            return present
        written = self.versions.add(tx, orchestrator_id, wanted, author_id=author_id, reason=reason)
        self._mirror(tx, orchestrator_id, {**config, "charter": wanted})
        return written

    def _config_of(self, tx: Connection, orchestrator_id: str, *, lock: bool = False) -> dict[str, Any]:
        o = self._o
        statement = select(self._config).join(o, o.c.user_id == self._user_key).where(o.c.id == int(orchestrator_id))
        if lock:
            statement = statement.with_for_update(of=self._user_key.table)
        row = tx.execute(statement).first()
        if row is None:
            raise NotFound
        return _mapping(row[0])

    def _mirror(self, tx: Connection, orchestrator_id: str, config: Mapping[str, Any]) -> None:
        o = self._o
        who = select(o.c.user_id).where(o.c.id == int(orchestrator_id)).scalar_subquery()
        tx.execute(update(self._user_key.table).where(self._user_key == who).values({self._config.name: dict(config)}))


class OrganizationCharters:
    """Reads and changes organizations' charters, the parents of their orchestrators'. Lifetime as `Charters`."""

    def __init__(self, models: Models, database: Database) -> None:
        self.versions = Versions(models, database, "OrganizationCharter", "organization_id")
        self._organization = models.table("Organization")

    def is_there(self, tx: Connection, organization_id: str) -> bool:
        """Whether there is such an organization."""
        table = self._organization
        return tx.execute(select(table.c.id).where(table.c.id == int(organization_id))).first() is not None

    def find(self, tx: Connection, name: str) -> str | None:
        """The id of an organization that is called by its id or slug, or None."""
        table = self._organization
        called = table.c.slug == name
        if name.isascii() and name.isdecimal() and len(name) < 19:
            called = or_(called, table.c.id == int(name))
        found = tx.execute(select(table.c.id).where(called)).scalar()
        return None if found is None else str(found)

    def current(self, tx: Connection, organization_id: str) -> CharterVersion:
        """The charter that holds now."""
        return self.versions.active(tx, organization_id)

    def activate(
        self,
        tx: Connection,
        organization_id: str,
        charter: Mapping[str, Any],
        *,
        author_id: str | None,
        reason: str = "",
        expected: int | None = None,
    ) -> CharterVersion:
        """Write a new version and make it the active one; as `Charters.activate`, without a mirror."""
        table = self._organization
        locked = select(table.c.id).where(table.c.id == int(organization_id)).with_for_update()
        if tx.execute(locked).first() is None:
            raise NotFound
        present = self.current(tx, organization_id)
        expect(present, expected)
        wanted = plain(charter)
        if wanted == present.charter:
            return present
        return self.versions.add(tx, organization_id, wanted, author_id=author_id, reason=reason)


def mirrored(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the mirror shows; None for something that is no charter and can become no version."""
    charter = config.get("charter")
    if charter is None:
        return {}
    return plain(charter) if isinstance(charter, Mapping) else None


def _mapping(value: object) -> dict[str, Any]:
    if isinstance(value, str):  # a host may keep JSON as text
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return dict(value) if isinstance(value, Mapping) else {}
