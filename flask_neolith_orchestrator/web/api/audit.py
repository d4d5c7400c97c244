"""The route of the audit log: who did what, for those who manage what it was done to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from ...core.deeds import Actor, Deed
from ...core.errors import NotFound
from ...store.chat.views import iso
from ...store.records.audit import Seen, Wanted
from ..calls import Call, Route
from ..shapes import Limit, Line, OwnId, Page, Wire
from .span import SpanQuery, seconds

TAG: Final = "audit"


class ActorView(Wire):
    """Who did it. `kind` is user, key (of the user with this id and name), cli or system."""

    kind: str = Field(examples=["user"])
    id: str | None
    name: str
    key_id: str | None


class OrchestratorName(Wire):
    """An orchestrator; `name` is its present one, null where it is gone."""

    id: str
    name: str | None


class SubjectView(Wire):
    """What it was done to besides."""

    kind: str = Field(examples=["delivery"])
    id: str


class DeedView(Wire):
    """One deed. `details` never hold a message's text, a prompt or a key."""

    id: str
    at: str
    actor: ActorView
    action: str = Field(examples=["orchestrator.started"])
    organization_id: str | None
    orchestrator: OrchestratorName | None
    subject: SubjectView | None
    details: dict[str, Any]


class AuditQuery(SpanQuery):
    """Which deeds, newest first. `actor` is a user's id, cli or system; `action` one, or a beginning such as
    `charter.`; without either id they are those of all that the asker manages.
    """

    orchestrator_id: OwnId | None = None
    organization_id: OwnId | None = None
    actor: Annotated[Line, Field(min_length=1, max_length=255)] | None = None
    action: Annotated[str, Field(pattern=r"^[a-z.-]{1,40}$")] | None = None
    cursor: OwnId | None = None
    limit: Limit = 50


def list_deeds(call: Call) -> Page[DeedView]:
    """Deeds to what the asker manages, and the asker's own that belong to no organization."""
    asked = call.query(AuditQuery)
    wanted = Wanted(
        asked.actor,
        asked.action,
        seconds(asked.from_),
        seconds(asked.to),
        None if asked.cursor is None else int(asked.cursor),
        asked.limit + 1,
    )
    rows = call.house.stores.records.audit.page(call.reading, _seen(call, asked), wanted)
    ids = {str(row["orchestrator_id"]) for row in rows if row["orchestrator_id"] is not None}
    names = {one.id: one.user.name for one in call.house.people.snapshots(call.reading, sorted(ids))} if ids else {}
    items = [_view(row, names) for row in rows[: asked.limit]]
    return Page[DeedView](items=items, next=items[-1].id if len(rows) > asked.limit else None)


def _seen(call: Call, asked: AuditQuery) -> Seen:
    rights = call.rights
    if asked.orchestrator_id is not None:
        one = rights.orchestrator(asked.orchestrator_id)
        if not rights.manages(one) or asked.organization_id not in (None, one.organization_id):
            raise NotFound
        return Seen(orchestrators=[one.id])
    if asked.organization_id is not None:
        if not rights.manages_organization(asked.organization_id):
            raise NotFound
        return Seen(organizations=[asked.organization_id])
    own = rights.own_orchestrator
    return Seen(rights.managed_organizations, [] if own is None else [own], call.actor)


def _view(row: Mapping[str, Any], names: Mapping[str, str]) -> DeedView:
    one, kind = row["orchestrator_id"], row["subject_kind"]
    return DeedView(
        id=str(row["id"]),
        at=iso(row["at"]) or "",
        actor=ActorView(kind=row["actor_kind"], id=row["actor_id"], name=row["actor_name"], key_id=row["key_id"]),
        action=row["action"],
        organization_id=None if row["organization_id"] is None else str(row["organization_id"]),
        orchestrator=None if one is None else OrchestratorName(id=str(one), name=names.get(str(one))),
        subject=None if kind is None else SubjectView(kind=kind, id=row["subject_id"]),
        details=row["details"],
    )


def asker(call: Call) -> Actor:
    """Who asks, as the audit log keeps it."""
    return Actor.user(call.actor, call.identity.key_id)


def record(call: Call, action: str, **more: Any) -> None:
    """Write a deed of the asker down, in the request's own transaction."""
    deed = Deed(asker(call), action, **more)
    call.house.stores.records.audit.add(call.writing(), deed)
    tell(call, deed.orchestrator_id, deed.organization_id)


def tell(call: Call, orchestrator_id: str | None, organization_id: str | None = None) -> None:
    """After the commit, those who manage it hear that there is a new deed."""
    news = call.house.news
    call.house.reception.after_commit(
        call.session, lambda: news.deed(orchestrator_id=orchestrator_id, organization_id=organization_id)
    )


ROUTES: Final = (
    Route(
        "GET",
        "audit",
        list_deeds,
        "List deeds",
        TAG,
        "audit:read",
        query=AuditQuery,
        answer=Page[DeedView],
    ),
)
