"""Orchestrators as they are listed, counted and edited by people; and which user a user object is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ...core.errors import Conflict, Invalid
from ...core.handles import fold, valid_handle
from ..tables.models import Models

_EDITABLE: Final = frozenset({"handle", "role", "discipline", "capabilities", "daemon_endpoint"})


class Roster:
    """Reads and changes rows of orchestrators. Lifetime: app; safe for all threads (each brings its transaction)."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._o = models.table("Orchestrator")
        self._d = models.table("Delivery")

    def user_id_of(self, user: object) -> str | None:
        """The id (`str(primary key)`, never `get_id()`) of one of the host's user objects; None for anything else."""
        if not isinstance(user, self._models.user):
            return None
        (key,) = self._models.user.__mapper__.primary_key_from_instance(user)
        return None if key is None else str(key)

    def user(self, session: Session, user_id: str) -> Any:
        """The host's user with this id, or None."""
        key = self._models.parse_user_id(user_id)
        return None if key is None else session.get(self._models.user, key)

    def page(self, tx: Connection, organization_ids: Collection[str], *, after: str | None, limit: int) -> list[str]:
        """Ids of the orchestrators of some organizations, in order, behind `after`."""
        o = self._o
        statement = select(o.c.id).where(o.c.organization_id.in_([int(one) for one in organization_ids]))
        if after is not None:
            statement = statement.where(o.c.id > int(after))
        return [str(row[0]) for row in tx.execute(statement.order_by(o.c.id).limit(limit))]

    def endpoints(self, tx: Connection, orchestrator_ids: Collection[str]) -> dict[str, str | None]:
        """The addresses that were stored for external daemons, by orchestrator. Nothing here ever calls them."""
        o = self._o
        mine = o.c.id.in_([int(one) for one in orchestrator_ids])
        return {str(row[0]): row[1] for row in tx.execute(select(o.c.id, o.c.daemon_endpoint).where(mine))}

    def edit(self, tx: Connection, orchestrator_id: str, changes: Mapping[str, Any]) -> None:
        """Write some of handle, role, discipline, capabilities and daemon_endpoint.

        Raises Invalid for what cannot be a handle, and Conflict for one that another orchestrator of the same
        organization has; the transaction cannot be used any further then.
        """
        values = dict(changes)
        if not _EDITABLE.issuperset(values):
            msg = f"These cannot be edited: {sorted(values.keys() - _EDITABLE)}"
            raise ValueError(msg)
        if "handle" in values:
            if not valid_handle(values["handle"]):
                msg = "A handle has 1 to 64 letters or digits, with single _ - . between them."
                raise Invalid(msg)
            values["handle"] = fold(values["handle"])
        if not values:
            return
        o = self._o
        try:
            tx.execute(update(o).where(o.c.id == int(orchestrator_id)).values(**values))
        except IntegrityError as error:
            msg = f"Another orchestrator of this organization is called @{values.get('handle', '')} already."
            raise Conflict(msg) from error

    def deliveries_by_state(self, tx: Connection, orchestrator_ids: Sequence[str]) -> dict[str, int]:
        """How many deliveries of some orchestrators are in each state."""
        d = self._d
        rows = tx.execute(
            select(d.c.state, func.count())
            .where(d.c.orchestrator_id.in_([int(one) for one in orchestrator_ids]))
            .group_by(d.c.state)
        )
        return {row[0]: row[1] for row in rows}
