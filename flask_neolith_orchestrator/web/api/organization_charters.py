"""Routes of organizations' charters besides reading and writing them: checking, versions, comparing, going back."""

from __future__ import annotations

from typing import Final

from ...runtime.charters.keeper import Author
from ..calls import Call, Route
from ..shapes import Page
from .audit import asker, tell
from .charter_shapes import (
    ActivateBody,
    CharterVersionView,
    CheckBody,
    CheckView,
    DiffQuery,
    DiffView,
    OrganizationCharterView,
    VersionQuery,
    check_view,
)
from .charters import (
    SCOPE,
    TAG,
    diff_view,
    managed_organization,
    number,
    organization_charter_view,
    version_page,
    version_there,
    version_view,
)


def activate_organization_charter(call: Call) -> OrganizationCharterView:
    """Let an older version hold again: it becomes a new version that says so."""
    organization = managed_organization(call)
    body = call.body(ActivateBody)
    by = Author(call.actor, body.reason, body.expected, body.confirm, asker(call))
    written = call.house.keeper.restore_parent(call.writing(), organization, body.version, by)
    tell(call, None, organization)
    return organization_charter_view(call, written)


def validate_organization_charter(call: Call) -> CheckView:
    """What saving an organization's charter would say, without saving it."""
    organization = managed_organization(call)
    keeper, tx = call.house.keeper, call.reading
    return check_view(call.body(CheckBody), lambda charter: keeper.examine_parent(tx, organization, charter))


def list_organization_charter_versions(call: Call) -> Page[CharterVersionView]:
    """Every version of an organization's charter, the newest first."""
    organization = managed_organization(call)
    asked, versions = call.query(VersionQuery), call.house.charters.parents.versions
    found = versions.page(call.reading, organization, before=asked.cursor, limit=asked.limit + 1)
    return version_page(call, found, asked.limit)


def get_organization_charter_version(call: Call) -> CharterVersionView:
    """One version of an organization's charter."""
    organization = managed_organization(call)
    return version_view(call, version_there(call, call.house.charters.parents, organization, number(call.path["n"])))


def diff_organization_charter(call: Call) -> DiffView:
    """What differs between two versions of an organization's charter."""
    return diff_view(call, call.house.charters.parents, managed_organization(call))


_PATH: Final = "organizations/{id}/charter"
_READ: Final = (TAG, SCOPE)

ROUTES: Final = (
    Route(
        "POST",
        f"{_PATH}/activate",
        activate_organization_charter,
        "Let an older version of an organization's charter hold again",
        *_READ,
        body=ActivateBody,
        answer=OrganizationCharterView,
        writes=True,
    ),
    Route(
        "POST",
        f"{_PATH}/validate",
        validate_organization_charter,
        "Say what saving an organization's charter would say",
        *_READ,
        body=CheckBody,
        answer=CheckView,
    ),
    Route(
        "GET",
        f"{_PATH}/versions",
        list_organization_charter_versions,
        "List the versions of an organization's charter",
        *_READ,
        query=VersionQuery,
        answer=Page[CharterVersionView],
    ),
    Route(
        "GET",
        f"{_PATH}/versions/{{n}}",
        get_organization_charter_version,
        "Read a version of an organization's charter",
        *_READ,
        answer=CharterVersionView,
    ),
    Route(
        "GET",
        f"{_PATH}/diff",
        diff_organization_charter,
        "Compare two versions of an organization's charter",
        *_READ,
        query=DiffQuery,
        answer=DiffView,
    ),
)
