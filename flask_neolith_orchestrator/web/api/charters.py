"""Routes of charters: who an orchestrator is, version by version. For those who may manage it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...chat.charter_changes import as_text, changes
from ...core.errors import Forbidden, NotFound, StartFailed
from ...core.types import OrchestratorSnapshot
from ...runtime.charters.keeper import Author
from ...store.people.charter_versions import CharterVersion
from ...store.people.charters import Charters, OrganizationCharters
from ..calls import Call, Route
from ..shapes import Page, own_id
from .audit import asker, tell
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
    by = Author(call.actor, body.reason, body.version, _may_confirm(call, one, confirm=body.confirm), asker(call))
    return _saved(call, call.house.keeper.save(call.writing(), one, body.charter, by))


def activate_charter(call: Call) -> CharterView:
    """Let an older version hold again: it becomes a new version that says so."""
    one = call.rights.managed(call.path["id"])
    body = call.body(ActivateBody)
    by = Author(call.actor, body.reason, body.expected, _may_confirm(call, one, confirm=body.confirm), asker(call))
    return _saved(call, call.house.keeper.restore(call.writing(), one, body.version, by))


def validate_charter(call: Call) -> CheckView:
    """What saving a charter would say, without saving it."""
    one = call.rights.managed(call.path["id"])
    keeper, tx = call.house.keeper, call.writing()
    return check_view(call.body(CheckBody), lambda charter: keeper.examine(tx, one, charter))


def list_charter_versions(call: Call) -> Page[CharterVersionView]:
    """Every version of the charter, the newest first."""
    one = call.rights.managed(call.path["id"])
    asked = call.query(VersionQuery)
    found = call.house.charters.own.versions.page(call.reading, one.id, before=asked.cursor, limit=asked.limit + 1)
    return version_page(call, found, asked.limit)


def get_charter_version(call: Call) -> CharterVersionView:
    """One version of the charter."""
    one = call.rights.managed(call.path["id"])
    return version_view(call, version_there(call, call.house.charters.own, one.id, number(call.path["n"])))


def diff_charter(call: Call) -> DiffView:
    """What differs between two versions of the charter."""
    one = call.rights.managed(call.path["id"])
    return diff_view(call, call.house.charters.own, one.id)


def get_organization_charter(call: Call) -> OrganizationCharterView:
    """The charter that an organization's orchestrators are within; for its owners and admins."""
    organization = managed_organization(call)
    found = call.house.charters.parents.current(call.reading, organization)
    return organization_charter_view(call, found)


def put_organization_charter(call: Call) -> OrganizationCharterView:
    """Write a new version of an organization's charter and make it the active one."""
    organization = managed_organization(call)
    body = call.body(CharterBody)
    by = Author(call.actor, body.reason, body.version, body.confirm, asker(call))
    written = call.house.keeper.save_parent(call.writing(), organization, body.charter, by)
    tell(call, None, organization)
    return organization_charter_view(call, written)


def organization_charter_view(call: Call, found: CharterVersion) -> OrganizationCharterView:
    """An organization's charter as the wire shows it."""
    return OrganizationCharterView(organization_id=found.owner_id, **version_fields(found, _author(call, found)))


def managed_organization(call: Call) -> str:
    """The organization of the path, which the asker manages. Raises Forbidden or NotFound."""
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


def number(text: str) -> int:
    """A version's number from a path."""
    found = int(own_id(text))
    if found >= 2**31:
        raise NotFound
    return found


def version_there(call: Call, kept: Charters | OrganizationCharters, owner_id: str, version: int) -> CharterVersion:
    """One version. Raises NotFound."""
    found = kept.versions.get(call.reading, owner_id, version)
    if found is None:
        raise NotFound
    return found


def version_view(call: Call, version: CharterVersion) -> CharterVersionView:
    """One version as the wire shows it."""
    return CharterVersionView(**version_fields(version, _author(call, version)))


def version_page(call: Call, found: Sequence[CharterVersion], limit: int) -> Page[CharterVersionView]:
    """Versions as a page, of which one more than `limit` was looked for."""
    names = _names(call, [version.author_id for version in found])
    items = [CharterVersionView(**version_fields(one, names.get(one.author_id or ""))) for one in found[:limit]]
    return Page[CharterVersionView](items=items, next=str(items[-1].version) if len(found) > limit else None)


def diff_view(call: Call, kept: Charters | OrganizationCharters, owner_id: str) -> DiffView:
    """What differs between the two versions that are asked for. Raises NotFound."""
    asked = call.query(DiffQuery)
    old = version_there(call, kept, owner_id, asked.from_)
    new = kept.versions.active(call.reading, owner_id)
    if asked.to is not None:
        new = version_there(call, kept, owner_id, asked.to)
    found = changes(old.charter, new.charter)
    shown = [change_view(change) for change in found]
    return DiffView(from_=old.version, to=new.version, changes=shown, text=as_text(found))


def _author(call: Call, version: CharterVersion) -> str | None:
    return _names(call, [version.author_id]).get(version.author_id or "")


def _names(call: Call, user_ids: Sequence[str | None]) -> dict[str, str]:
    people = call.house.people
    keys = {one: people.models.parse_user_id(one) for one in user_ids if one is not None}
    names = people.names(call.reading, keys.values())
    return {one: names[key] for one, key in keys.items() if key in names}


def _saved(call: Call, version: CharterVersion) -> CharterView:
    book, orchestrator_id = call.house.charters, version.owner_id
    call.house.reception.after_commit(call.session, lambda: book.refresh(orchestrator_id))
    tell(call, orchestrator_id)
    return _view(call, version)


def _view(call: Call, version: CharterVersion) -> CharterView:
    one = call.rights.orchestrator(version.owner_id)
    try:
        in_force = call.house.charters.of(call.reading, one).model_dump(mode="json", exclude_unset=True)
    except StartFailed:
        in_force = None
    return CharterView(
        orchestrator_id=one.id,
        parent_version=one.parent_version,
        in_force=in_force,
        **version_fields(version, _author(call, version)),
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
