"""Routes of charters: who an orchestrator is, version by version. For those who may manage it."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, JsonValue

from ..chat.charter_reading import load_charter
from ..core.errors import Invalid, StartFailed
from ..core.types import OrchestratorSnapshot
from ..store.charters import CharterVersion
from ..store.views import iso
from .calls import Call, Route
from .shapes import Body, Line, Wire, printable

TAG: Final = "orchestrators"

MAX_DEPTH: Final = 8
"""How deep a charter may be nested."""


def _bounded(charter: dict[str, JsonValue]) -> dict[str, JsonValue]:
    _walk(charter, depth=0)
    return charter


def _walk(value: JsonValue, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        for key, inner in value.items():
            printable(key)
            _walk(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _walk(inner, depth + 1)
    else:
        _storable(value)


def _storable(value: object) -> None:
    """Refuse what some database cannot keep."""
    if isinstance(value, str):
        printable(value)
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError("a finite number is expected")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError("a smaller number is expected")


class CharterBody(Body):
    """A new charter. `version` is the one that was read: if another one holds by now, nothing is written (409)."""

    charter: Annotated[dict[str, JsonValue], Field(max_length=50), AfterValidator(_bounded)]
    version: Annotated[int, Field(ge=0, le=2**31 - 1)]
    reason: Annotated[Line, Field(max_length=500)] = ""


class CharterView(Wire):
    """A version of a charter. Version 0 is the empty charter of an orchestrator that has none yet."""

    orchestrator_id: str
    version: int
    charter: dict[str, Any]
    author_id: str | None
    reason: str
    created_at: str | None


def get_charter(call: Call) -> CharterView:
    """The charter that holds now; for those who may manage the orchestrator."""
    one = call.rights.managed(call.path["id"])
    return charter_view(call.house.charters.current(call.writing(), one.id))


def put_charter(call: Call) -> CharterView:
    """Write a new version of the charter and make it the active one."""
    one = call.rights.managed(call.path["id"])
    body = call.body(CharterBody)
    _refuse_unusable(one, body.charter)
    tx = call.writing()
    call.house.charters.current(tx, one.id)
    written = call.house.charters.activate(
        tx, one.id, body.charter, author_id=call.actor, reason=body.reason, expected=body.version
    )
    return charter_view(written)


def _refuse_unusable(one: OrchestratorSnapshot, charter: dict[str, JsonValue]) -> None:
    """A charter that no daemon could start with is not saved."""
    try:
        load_charter(replace(one, config={**one.config, "charter": charter}))
    except StartFailed as error:
        raise Invalid(str(error)) from error


def charter_view(version: CharterVersion) -> CharterView:
    """A version as the wire shows it."""
    return CharterView(
        orchestrator_id=version.orchestrator_id,
        version=version.version,
        charter=dict(version.charter),
        author_id=version.author_id,
        reason=version.reason,
        created_at=iso(version.created_at),
    )


_PATH: Final = "orchestrators/{id}/charter"

ROUTES: Final = (
    # reading writes too: a charter that the host changed becomes a version when it is read
    Route("GET", _PATH, get_charter, "Read the charter", TAG, "orchestrators:manage", answer=CharterView, writes=True),
    Route(
        "PUT",
        _PATH,
        put_charter,
        "Write a new version of the charter",
        TAG,
        "orchestrators:manage",
        body=CharterBody,
        answer=CharterView,
        writes=True,
    ),
)
