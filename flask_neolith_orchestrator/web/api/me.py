"""The route that says who one is, and whether one may manage anything: what a page needs before it shows itself."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from ...store.records.organization_names import organization_names
from ..calls import Call, Route
from ..shapes import Wire

TAG: Final = "me"


class MyOrganizationView(Wire):
    """An organization that one is in. `manages`: may one manage what belongs to it."""

    id: str
    name: str
    role: str = Field(examples=["owner"])
    manages: bool


class MeView(Wire):
    """Who asks. `manages`: is there anything that one may manage, be it only oneself."""

    id: str
    name: str
    handle: str | None
    is_orchestrator: bool
    orchestrator_id: str | None
    organizations: list[MyOrganizationView]
    manages: bool


def get_me(call: Call) -> MeView:
    """Who asks, and what they may manage."""
    rights, house, tx = call.rights, call.house, call.reading
    own = house.people.orchestrator_id(tx, call.actor)
    one = None if own is None else house.people.snapshot(tx, own)
    names = organization_names(call.state.models, tx, list(rights.roles))
    organizations = [
        MyOrganizationView(id=key, name=names.get(key, ""), role=role, manages=rights.manages_organization(key))
        for key, role in rights.roles.items()
    ]
    return MeView(
        id=call.actor,
        name=house.people.name_of(call.identity.user),
        handle=None if one is None else one.handle,
        is_orchestrator=one is not None,
        orchestrator_id=own,
        organizations=organizations,
        manages=rights.manages_anything(),
    )


ROUTES: Final = (Route("GET", "me", get_me, "Show who I am", TAG, "orchestrators:read", answer=MeView),)
