"""Routes of charters: who an orchestrator is, version by version. For those who may manage it."""

from __future__ import annotations

from typing import Final

from ...chat.charter_changes import as_text, changes
from ...core.errors import Forbidden, NotFound, StartFailed
from ...core.types import OrchestratorSnapshot
from ...runtime.charters.keeper import Author
from ...store.people.charter_versions import CharterVersion
from ..calls import Call, Route
from ..shapes import Page, own_id
from .charter_shapes import (
    ActivateBody,
    CharterBody,
    CharterVersionView,
    CharterView,
    CheckBody,
    CheckView,
    DiffQuery,
    DiffView,
    OrganizationCharterView,
    VersionQuery,
    change_view,
    check_view,
    version_fields,
)

TAG: Final = "orchestrators"
SCOPE: Final = "orchestrators:manage"


def get_charter(call: Call) -> CharterView:
    """The charter that holds now; for those who may manage the orchestrator."""
    one = call.rights.managed(call.path["id"])
    return _view(call, call.house.charters.current(call.writing(), one.id))


def put_charter(call: Call) -> CharterView:
    """Write a new version of the charter and make it the active one."""
    one = call.rights.managed(call.path["id"])
    body = call.body(CharterBody)
    by = Author(call.actor, body.reason, body.version, _may_confirm(call, one, confirm=body.confirm))
    return _saved(call, call.house.keeper.save(call.writing(), one, body.charter, by))


def activate_charter(call: Call) -> CharterView:
    """Let an older version hold again: it becomes a new version that says so."""
    one = call.rights.managed(call.path["id"])
    body = call.body(ActivateBody)
    by = Author(call.actor, body.reason, body.expected, _may_confirm(call, one, confirm=body.confirm))
    return _saved(call, call.house.keeper.restore(call.writing(), one, body.version, by))


def validate_charter(call: Call) -> CheckView:
    """What saving a charter would say, without saving it."""
    one = call.rights.managed(call.path["id"])
    return check_view(call.house.keeper.examine(call.writing(), one, call.body(CheckBody).charter))


def list_charter_versions(call: Call) -> Page[CharterVersionView]:
    """Every version of the charter, the newest first."""
    one = call.rights.managed(call.path["id"])
    asked = call.query(VersionQuery)
    found = call.house.charters.own.versions.page(call.reading, one.id, before=asked.cursor, limit=asked.limit + 1)
    items = [CharterVersionView(**version_fields(version)) for version in found[: asked.limit]]
    return Page[CharterVersionView](items=items, next=str(items[-1].version) if len(found) > asked.limit else None)


def get_charter_version(call: Call) -> CharterVersionView:
    """One version of the charter."""
    one = call.rights.managed(call.path["id"])
    return CharterVersionView(**version_fields(_version(call, one, _number(call.path["n"]))))


def diff_charter(call: Call) -> DiffView:
    """What differs between two versions of the charter."""
    one = call.rights.managed(call.path["id"])
    asked = call.query(DiffQuery)
    old = _version(call, one, asked.from_)
    new = call.house.charters.own.versions.active(call.reading, one.id)
    if asked.to is not None:
        new = _version(call, one, asked.to)
    found = changes(old.charter, new.charter)
    shown = [change_view(change) for change in found]
    return DiffView(from_=old.version, to=new.version, changes=shown, text=as_text(found))


def get_organization_charter(call: Call) -> OrganizationCharterView:
    """The charter that an organization's orchestrators are within; for its owners and admins."""
    organization = _managed_organization(call)
    found = call.house.charters.parents.current(call.reading, organization)
    return OrganizationCharterView(organization_id=organization, **version_fields(found))


def put_organization_charter(call: Call) -> OrganizationCharterView:
    """Write a new version of an organization's charter and make it the active one."""
    organization = _managed_organization(call)
    body = call.body(CharterBody)
    by = Author(call.actor, body.reason, body.version, body.confirm)
    written = call.house.keeper.save_parent(call.writing(), organization, body.charter, by)
    return OrganizationCharterView(organization_id=organization, **version_fields(written))


def _managed_organization(call: Call) -> str:
    organization = own_id(call.path["id"])
    if not call.rights.sees_organization(organization):
        raise NotFound
    if not call.rights.manages_organization(organization):
        raise Forbidden
    if not call.house.charters.parents.is_there(call.reading, organization):
        raise NotFound
    return organization


def _may_confirm(call: Call, one: OrchestratorSnapshot, *, confirm: bool) -> bool:
    """An orchestrator may write its own charter, and cannot by itself let itself do more than before."""
    itself = one.user.id == call.actor and not call.rights.manages_organization(one.organization_id)
    if confirm and itself:
        raise Forbidden("An orchestrator cannot confirm that its own charter becomes less safe.")
    return confirm


def _number(text: str) -> int:
    found = int(own_id(text))
    if found >= 2**31:
        raise NotFound
    return found


def _version(call: Call, one: OrchestratorSnapshot, version: int) -> CharterVersion:
    found = call.house.charters.own.versions.get(call.reading, one.id, version)
    if found is None:
        raise NotFound
    return found


def _saved(call: Call, version: CharterVersion) -> CharterView:
    book, orchestrator_id = call.house.charters, version.owner_id
    call.house.reception.after_commit(call.session, lambda: book.refresh(orchestrator_id))
    return _view(call, version)


def _view(call: Call, version: CharterVersion) -> CharterView:
    one = call.rights.orchestrator(version.owner_id)
    try:
        in_force = call.house.charters.of(call.reading, one).model_dump(mode="json", exclude_unset=True)
    except StartFailed:
        in_force = None
    return CharterView(
        orchestrator_id=one.id, parent_version=one.parent_version, in_force=in_force, **version_fields(version)
    )


_PATH: Final = "orchestrators/{id}/charter"
_PARENT: Final = "organizations/{id}/charter"
_READ: Final = "Read the charter"
_WRITE: Final = "Write a new version of the charter"

ROUTES: Final = (
    # reading writes too: a charter that the host changed becomes a version when it is read
    Route("GET", _PATH, get_charter, _READ, TAG, SCOPE, answer=CharterView, writes=True),
    Route("PUT", _PATH, put_charter, _WRITE, TAG, SCOPE, body=CharterBody, answer=CharterView, writes=True),
    Route(
        "POST",
        f"{_PATH}/activate",
        activate_charter,
        "Let an older version of the charter hold again",
        TAG,
        SCOPE,
        body=ActivateBody,
        answer=CharterView,
        writes=True,
    ),
    Route(
        "POST",
        f"{_PATH}/validate",
        validate_charter,
        "Say what saving a charter would say",
        TAG,
        SCOPE,
        body=CheckBody,
        answer=CheckView,
        writes=True,
    ),
    Route(
        "GET",
        f"{_PATH}/versions",
        list_charter_versions,
        "List the charter's versions",
        TAG,
        SCOPE,
        query=VersionQuery,
        answer=Page[CharterVersionView],
    ),
    Route(
        "GET",
        f"{_PATH}/versions/{{n}}",
        get_charter_version,
        "Read a version of the charter",
        TAG,
        SCOPE,
        answer=CharterVersionView,
    ),
    Route(
        "GET",
        f"{_PATH}/diff",
        diff_charter,
        "Compare two versions of the charter",
        TAG,
        SCOPE,
        query=DiffQuery,
        answer=DiffView,
    ),
    Route(
        "GET",
        _PARENT,
        get_organization_charter,
        "Read an organization's charter",
        TAG,
        SCOPE,
        answer=OrganizationCharterView,
    ),
    Route(
        "PUT",
        _PARENT,
        put_organization_charter,
        "Write a new version of an organization's charter",
        TAG,
        SCOPE,
        body=CharterBody,
        answer=OrganizationCharterView,
        writes=True,
    ),
)
