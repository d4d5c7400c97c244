"""Routes of API keys: made, listed and revoked by a person who has logged in, never by a key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, Field

from ...core.errors import Conflict, Invalid, NotFound
from ...store.chat.views import iso
from ...store.people.keys import ApiKey, Scope
from ..auth import key_room
from ..calls import Call, Route
from ..shapes import Body, Line, Page, Wire, own_id
from .audit import record

TAG: Final = "keys"

MOST_KEYS: Final = 50
"""Keys of one user that open something at one time."""


class KeyView(Wire):
    """An API key without its secret."""

    id: str
    prefix: str = Field(examples=["nlk_0123456789abcdef"])
    label: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    used_at: str | None


class NewKeyView(KeyView):
    """A key that was just made. `key` is shown this once: only a hash of it is kept."""

    key: str


class KeyBody(Body):
    """What the key may do, and until when (null: until it is revoked)."""

    label: Annotated[Line, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)]
    expires_at: AwareDatetime | None = None


def list_keys(call: Call) -> Page[KeyView]:
    """The asker's own keys, newest first."""
    keys = call.house.keys.owned_by(call.reading, call.actor)
    return Page[KeyView](items=[KeyView(**_shown(one)) for one in keys], next=None)


def create_key(call: Call) -> NewKeyView:
    """Make a key for oneself."""
    body = call.body(KeyBody)
    expires_at = None if body.expires_at is None else _future(body.expires_at, call.house.clock.wall())
    tx = call.writing()
    if call.house.keys.count_live(tx, call.actor) >= MOST_KEYS:
        msg = f"You have {MOST_KEYS} keys already; revoke one first."
        raise Conflict(msg)
    text, key = call.house.keys.create(tx, call.actor, label=body.label, scopes=body.scopes, expires_at=expires_at)
    _record(call, "key.created", key)
    return NewKeyView(key=text, **_shown(key))


def _record(call: Call, action: str, key: ApiKey) -> None:
    """Once for each organization of the owner: a key works in all of them."""
    details = {"prefix": key.prefix, "label": key.label, "scopes": sorted(key.scopes)}
    for organization in call.rights.roles or (None,):
        record(call, action, organization_id=organization, subject=("key", key.id), details=details)


def _future(at: datetime, now: float) -> float:
    try:
        expires = at.timestamp()
    except (OverflowError, ValueError):
        expires = 0.0
    if expires <= now:
        raise Invalid("expiresAt must be a time to come.")
    return expires


def revoke_key(call: Call) -> None:
    """Revoke one of one's own keys; harmless twice. Sockets that it opened are cut."""
    found = call.house.keys.revoke(call.writing(), call.actor, own_id(call.path["id"]))
    if found is None:
        raise NotFound
    key, changed = found
    if changed:
        _record(call, "key.revoked", key)
    call.house.reception.after_commit(call.session, lambda: call.house.channel.cut(key_room(key.id)))


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "prefix": key.prefix,
        "label": key.label,
        "scopes": sorted(key.scopes),
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
        "used_at": iso(key.used_at),
    }


ROUTES: Final = (
    Route("GET", "keys", list_keys, "List my API keys", TAG, answer=Page[KeyView]),
    Route("POST", "keys", create_key, "Make an API key", TAG, body=KeyBody, answer=NewKeyView, status=201, writes=True),
    Route("DELETE", "keys/{id}", revoke_key, "Revoke an API key", TAG, status=204, writes=True),
)
