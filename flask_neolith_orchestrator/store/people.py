"""Users, organizations and orchestrators as the other rooms see them: names, handles, snapshots."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, inspect, select, update
from sqlalchemy.orm import Session

from ..core.types import OrchestratorSnapshot, OrchestratorStatus, UserRef
from .models import Models

DisplayName = Callable[[Any], str]
"""Says how a user row of the host is called."""


def default_display_name(user: Any) -> str:
    """The first of display_name, name, username and the e-mail's local part that is there."""
    for attribute in ("display_name", "name", "username"):
        value = getattr(user, attribute, None)
        if isinstance(value, str) and value.strip():
            return value
    email = getattr(user, "email", None)
    if isinstance(email, str) and email:
        return email.partition("@")[0]
    return "Somebody"


class People:
    """Reads who is who. Lifetime: app, in one process; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models, display_name: DisplayName = default_display_name) -> None:
        self.models = models
        self._display_name = display_name
        self._o = models.table("Orchestrator")
        self._m = models.table("OrganizationMember")
        self._users = select(models.user).where(models.user_key.in_(bindparam("keys", expanding=True)))
        config = inspect(models.user).columns["orchestrator_config"]
        self._configs = (
            select(self._o.c.id, config)
            .join(models.user_table, models.user_key == self._o.c.user_id)
            .where(self._o.c.id.in_(bindparam("keys", expanding=True)))
        )
        self._orchestrator = select(self._o).where(self._o.c.id == bindparam("b_id"))

    def name_of(self, user: Any) -> str:
        """How a user object of the host is called."""
        return self._display_name(user)

    def users(self, tx: Connection, keys: Iterable[Any]) -> dict[Any, Any]:
        """The host's user objects by primary key, detached."""
        wanted = list({key for key in keys if key is not None})
        if not wanted:
            return {}
        with Session(bind=tx, join_transaction_mode="rollback_only") as session:
            found = session.scalars(self._users, {"keys": wanted}).all()
            return {session.identity_key(instance=user)[1][0]: user for user in found}

    def names(self, tx: Connection, keys: Iterable[Any]) -> dict[Any, str]:
        """How users are called, by primary key."""
        return {key: self.name_of(user) for key, user in self.users(tx, keys).items()}

    def snapshots(self, tx: Connection, orchestrator_ids: Sequence[str] | None = None) -> list[OrchestratorSnapshot]:
        """Orchestrators (all of them, or those with these ids) as they are now."""
        rows = self._rows(tx, orchestrator_ids)
        users = self.users(tx, [row.user_id for row in rows])
        return [self._snapshot(row, users[row.user_id]) for row in rows if row.user_id in users]

    def _rows(self, tx: Connection, orchestrator_ids: Sequence[str] | None) -> Sequence[Any]:
        statement = select(self._o).order_by(self._o.c.id)
        if orchestrator_ids is None:
            return tx.execute(statement).all()
        keys = [int(one) for one in orchestrator_ids if one.isdecimal() and len(one) < 19]
        if len(keys) == 1:  # the hot path
            return tx.execute(self._orchestrator, {"b_id": keys[0]}).all()
        return tx.execute(statement.where(self._o.c.id.in_(keys))).all()

    def _snapshot(self, row: Any, user: Any) -> OrchestratorSnapshot:
        return OrchestratorSnapshot(
            id=str(row.id),
            handle=row.handle,
            role=row.role,
            discipline=row.discipline,
            status=OrchestratorStatus(row.status),
            user=UserRef(str(row.user_id), self.name_of(user)),
            organization_id=str(row.organization_id),
            capabilities=tuple(row.capabilities or ()),
            config=_mapping(user.orchestrator_config) if user.is_orchestrator else {},
        )

    def snapshot(self, tx: Connection, orchestrator_id: str) -> OrchestratorSnapshot | None:
        """One orchestrator, or None."""
        found = self.snapshots(tx, [orchestrator_id])
        return found[0] if found else None

    def user_id(self, tx: Connection, orchestrator_id: str) -> str:
        """The id of the user that an orchestrator is."""
        row = tx.execute(self._orchestrator, {"b_id": int(orchestrator_id)}).one()
        return str(row.user_id)

    def daemon_values(self, tx: Connection, orchestrator_ids: Sequence[str], name: str) -> dict[str, Any]:
        """One value of `orchestrator_config["daemon"]`, for those orchestrators that have it."""
        rows = tx.execute(self._configs, {"keys": [int(one) for one in orchestrator_ids]})
        found = {str(row[0]): _mapping(_mapping(row[1]).get("daemon")) for row in rows}
        return {key: values[name] for key, values in found.items() if values.get(name) is not None}

    def orchestrator_id(self, tx: Connection, user_id: str) -> str | None:
        """The orchestrator that a user is, or None."""
        key = self.models.parse_user_id(user_id)
        if key is None:
            return None
        found = tx.execute(select(self._o.c.id).where(self._o.c.user_id == key)).scalar()
        return None if found is None else str(found)

    def organizations_of(self, tx: Connection, user_id: str) -> dict[str, str]:
        """The organizations a user belongs to, with the role in each; an orchestrator belongs to its own."""
        key = self.models.parse_user_id(user_id)
        if key is None:
            return {}
        m, o = self._m, self._o
        rows = tx.execute(select(m.c.organization_id, m.c.role).where(m.c.user_id == key)).all()
        roles = {str(row[0]): row[1] for row in rows}
        own = tx.execute(select(o.c.organization_id).where(o.c.user_id == key)).scalar()
        if own is not None:
            roles.setdefault(str(own), "member")
        return roles

    def set_status(self, tx: Connection, orchestrator_id: str, status: OrchestratorStatus) -> bool:
        """Write presence; True if that changed it (whoever changed it tells everybody)."""
        o = self._o
        changed = tx.execute(
            update(o).where(o.c.id == int(orchestrator_id), o.c.status != str(status)).values(status=str(status))
        )
        return bool(changed.rowcount)


def _mapping(value: object) -> Mapping[str, Any]:
    if isinstance(value, str):  # a host may keep JSON as text
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}
