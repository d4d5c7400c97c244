"""Organizations, who is in them, and the rows that make users orchestrators, on a transaction the caller brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from ..sql.database import Database
from ..sql.inserts import insert_into
from ..tables.models import Models


@dataclass(frozen=True, slots=True)
class NewOrchestrator:
    """What becomes a row of neolith_orchestrator; `handle` is folded already."""

    user_id: str
    organization_id: str
    handle: str
    role: str
    discipline: str
    capabilities: Sequence[str]
    daemon_endpoint: str | None


class Organizations:
    """Writes organizations and orchestrators. Lifetime: app, in one process; safe for all threads."""

    def __init__(self, models: Models, database: Database) -> None:
        self._models = models
        self._dialect = database.dialect
        self._organization = models.table("Organization")
        self._member = models.table("OrganizationMember")
        self._orchestrator = models.table("Orchestrator")

    def create(self, tx: Connection, name: str, slug: str) -> str | None:
        """A new organization's id; None if the slug is taken."""
        table = self._organization
        statement = insert_into(table, self._dialect).values(name=name, slug=slug)
        made = tx.execute(statement.on_conflict_do_nothing().returning(table.c.id)).scalar()
        return None if made is None else str(made)

    def exists(self, tx: Connection, organization_id: str) -> bool:
        """Whether there is such an organization."""
        table = self._organization
        return tx.execute(select(table.c.id).where(table.c.id == int(organization_id))).first() is not None

    def put_member(self, tx: Connection, organization_id: str, user_id: str, role: str) -> None:
        """Make a user a member with this role, or give a member this role."""
        table = self._member
        statement = insert_into(table, self._dialect).values(
            organization_id=int(organization_id), user_id=self._models.parse_user_id(user_id), role=role
        )
        tx.execute(
            statement.on_conflict_do_update(
                index_elements=[table.c.organization_id, table.c.user_id], set_={"role": role}
            )
        )

    def create_orchestrator(self, tx: Connection, new: NewOrchestrator) -> str | None:
        """A new orchestrator's id; None if the user is one already or the handle is taken."""
        table = self._orchestrator
        values: dict[str, Any] = {
            "user_id": self._models.parse_user_id(new.user_id),
            "organization_id": int(new.organization_id),
            "handle": new.handle,
            "role": new.role,
            "discipline": new.discipline,
            "capabilities": list(new.capabilities),
            "daemon_endpoint": new.daemon_endpoint,
        }
        statement = insert_into(table, self._dialect).values(**values)
        made = tx.execute(statement.on_conflict_do_nothing().returning(table.c.id)).scalar()
        return None if made is None else str(made)
