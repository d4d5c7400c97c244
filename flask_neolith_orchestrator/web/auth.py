"""Who is asking: a user whom flask-login knows by the cookie, or an API key in the Authorization header.

A request that shows a key of ours is judged by that key alone: the cookie is not looked at, not even when the
key is refused, and so nobody can forge such a request from another site.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from flask import current_app, request
from flask_login import current_user

from ..core.errors import Forbidden
from ..runtime.state import State
from ..store.people.keys import ApiKey
from ..store.people.roster import Roster
from .problem import unauthenticated

log = logging.getLogger("flask_neolith_orchestrator")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking. Lifetime: one request. `scopes` None means all: a person in a browser has no scopes."""

    user_id: str
    user: Any
    scopes: frozenset[str] | None = None
    key_id: str | None = None

    @property
    def via_key(self) -> bool:
        """Whether an API key stands for the user."""
        return self.key_id is not None

    def may(self, scope: str | None) -> bool:
        """Whether the scope is granted; None is a route that no key may use."""
        return self.scopes is None or scope in self.scopes

    def require(self, scope: str | None) -> None:
        """Raise Forbidden unless the scope is granted."""
        if not self.may(scope):
            msg = "An API key cannot do this." if scope is None else f"This API key lacks the scope {scope}."
            raise Forbidden(msg)


def key_room(key_id: str) -> str:
    """The room of all sockets that an API key opened; cut when the key is revoked."""
    return f"key:{key_id}"


def shown_key() -> str | None:
    """The API key that this request shows, or None. Other kinds of Authorization are the host's."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token.startswith("nlk_") else None


def identify(state: State) -> Identity:
    """Who is asking. Raises a 401 problem when nobody knows."""
    token = shown_key()
    if token is not None:
        return by_key(state, token)
    identity = by_cookie(state)
    if identity is None:
        raise unauthenticated()
    return identity


def by_cookie(state: State) -> Identity | None:
    """The user whom flask-login knows, or None."""
    if not hasattr(current_app, "login_manager") or not current_user.is_authenticated:
        return None
    user = current_user._get_current_object()  # noqa: SLF001 -- werkzeug's documented way to what a proxy stands for
    user_id = Roster(state.models).user_id_of(user)
    return None if user_id is None else Identity(user_id, user)


def by_key(state: State, token: str) -> Identity:
    """The owner of a key, as far as the key allows. Raises a 401 problem for a key that opens nothing."""
    house = state.house
    session = house.session()
    key = house.keys.find(session.connection(), token)
    return _owner(state, key)


def by_key_id(state: State, key_id: str) -> Identity:
    """The same for a key that was shown before on this connection: it may have been revoked since."""
    house = state.house
    return _owner(state, house.keys.by_id(house.session().connection(), key_id))


def _owner(state: State, key: ApiKey | None) -> Identity:
    if key is None:
        raise unauthenticated("This API key does not exist, has expired or was revoked.")
    house = state.house
    session = house.session()
    user = Roster(state.models).user(session, key.user_id)
    if user is None or not getattr(user, "is_active", True):
        raise unauthenticated("The owner of this API key is not active.")
    try:
        if house.keys.touch(session.connection(), key):
            session.commit()  # at once: what the request does may need the database for itself
    except Exception:
        session.rollback()
        log.warning("The last use of an API key was not written", exc_info=True, extra={"action": "key-touch-failed"})
    return Identity(key.user_id, user, key.scopes, key.id)
