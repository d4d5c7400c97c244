"""Who may see and manage what. What somebody may not see does not exist for them: 404, not 403."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

from ..core.errors import Forbidden, NotFound
from ..core.types import OrchestratorSnapshot
from ..runtime.state import State
from ..store.people.roster import Roster
from .auth import Identity
from .shapes import own_id

MOST_MANAGED: Final = 10_000
"""Orchestrators over whose deliveries and numbers one look goes at the most."""


class Rights:
    """What one asker may. Lifetime: one request; reads in the request's own transaction."""

    def __init__(self, state: State, tx: Any, identity: Identity) -> None:
        self._state = state
        self._tx = tx
        self._identity = identity
        self._decided: dict[str, bool] = {}

    @cached_property
    def roles(self) -> dict[str, str]:
        """The asker's organizations, with the role in each."""
        return self._state.house.people.organizations_of(self._tx, self._identity.user_id)

    def manages_organization(self, organization_id: str) -> bool:
        """Whether the asker manages everything in an organization."""
        if organization_id not in self._decided:
            decided = self._state.house.chat.can_manage(self._identity.user_id, organization_id)
            self._decided[organization_id] = bool(decided)
        return self._decided[organization_id]

    def sees_organization(self, organization_id: str) -> bool:
        """Whether the asker sees who is in an organization."""
        return organization_id in self.roles or self.manages_organization(organization_id)

    def manages(self, orchestrator: OrchestratorSnapshot) -> bool:
        """Whether the asker manages an orchestrator: it is the asker itself, or in an organization it manages."""
        return orchestrator.user.id == self._identity.user_id or self.manages_organization(orchestrator.organization_id)

    def orchestrator(self, orchestrator_id: str) -> OrchestratorSnapshot:
        """An orchestrator that the asker sees, else NotFound."""
        found = self._state.house.people.snapshot(self._tx, own_id(orchestrator_id))
        if found is None or not (self.sees_organization(found.organization_id) or self.manages(found)):
            raise NotFound
        return found

    def managed(self, orchestrator_id: str) -> OrchestratorSnapshot:
        """An orchestrator that the asker manages, else Forbidden, or NotFound where it cannot even be seen."""
        found = self.orchestrator(orchestrator_id)
        if not self.manages(found):
            raise Forbidden
        return found

    @cached_property
    def managed_organizations(self) -> list[str]:
        """Of the asker's organizations those that they manage."""
        return [one for one in self.roles if self.manages_organization(one)]

    @cached_property
    def own_orchestrator(self) -> str | None:
        """The orchestrator that the asker is, or None."""
        return self._state.house.people.orchestrator_id(self._tx, self._identity.user_id)

    def manages_anything(self) -> bool:
        """Whether there is anything that the asker manages, be it only itself."""
        return bool(self.managed_organizations) or self.own_orchestrator is not None

    def managed_ids(self) -> list[str]:
        """All orchestrators that the asker manages in its own organizations, and itself."""
        people = self._state.house.people
        found = Roster(self._state.models).page(self._tx, list(self.roles), after=None, limit=MOST_MANAGED)
        return [one.id for one in people.snapshots(self._tx, found) if self.manages(one)]
