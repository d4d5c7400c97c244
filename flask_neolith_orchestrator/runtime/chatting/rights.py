"""What the bundled chat is made of, and who may see and manage what in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...core.cancel import StopReason
from ...core.deeds import Actor, Deed
from ...core.errors import NotFound
from ...core.events import channel_room
from ...core.ports import Channel
from ...settings import Settings
from ...store.chat.external import External
from ...store.chat.messages import Messages, Stored
from ...store.chat.rooms import Room, Rooms
from ...store.chat.session_views import SessionViews
from ...store.people.people import People
from ...store.records.audit import Audit
from ...store.sql import host
from ...store.sql.database import Database
from ...store.turns.endings import Ended
from ...store.turns.parking import Decided, Parking
from ...store.turns.turns import Turns
from ..arrival.reception import Reception
from ..money.rates import Rates
from . import checks

MANAGING_ROLES = ("owner", "admin")
"""Roles of an organization's members that may manage what belongs to it."""


class Tells(Protocol):
    """Who tells of decisions."""

    def decided(self, done: Decided, by: str | None) -> None:
        """Calls were decided, and that is committed."""
        ...


@dataclass(frozen=True, slots=True)
class ChatParts:
    """What `Chat` works with. Lifetime: app, in one process.

    `session` gives the host's session; nothing here commits it. The callables run after its commit:
    `cancel_turn(turn_id, reason)` ends a turn that runs in this process, `ended(deliveries)` tells of deliveries
    that will not be answered, `on_membership(channel_id, user_id, joined)` says that somebody is in a channel or no
    longer. `can_manage(user_id, organization_id)` is the host's word on who manages, instead of our roles.
    """

    session: Callable[[], Any]
    settings: Settings
    database: Database
    people: People
    rooms: Rooms
    messages: Messages
    sessions: SessionViews
    turns: Turns
    reception: Reception
    channel: Channel
    parking: Parking
    approvals: Tells
    cancel_turn: Callable[[str, StopReason], object]
    ended: Callable[[Sequence[Ended]], None]
    on_membership: Callable[[str, str, bool], None] | None = None
    can_manage: Callable[[str, str], bool] | None = None
    external: External | None = None
    rates: Rates | None = None
    audit: Audit | None = None


class ChatDoor:
    """Finds what somebody may see, raises NotFound for everything else, and tells after the commit."""

    def __init__(self, parts: ChatParts) -> None:
        self._parts = parts

    def require_member(self, actor: str, channel_id: str) -> None:
        """Raise NotFound unless the user is in the channel."""
        self._room(self._reading(), actor, channel_id)

    def can_manage(self, user_id: str, organization_id: str) -> bool:
        """Whether a user manages an organization: its owner or an admin, or whoever the host says."""
        decide = self._parts.can_manage
        if decide is not None:
            return decide(user_id, organization_id)
        return self._organizations(self._reading(), user_id).get(organization_id) in MANAGING_ROLES

    def _reading(self) -> Any:
        return host.reading(self._parts.session())

    def _writing(self) -> Any:
        return host.writing(self._parts.session(), self._parts.database)

    def _now(self) -> float:
        return self._parts.database.clock.wall()

    def _organizations(self, tx: Any, user_id: str) -> dict[str, str]:
        if self._parts.rooms.key(user_id) is None:
            return {}
        return self._parts.people.organizations_of(tx, user_id)

    def _room(self, tx: Any, actor: str, channel_id: object) -> Room:
        room = self._parts.rooms.room(tx, checks.row_id(channel_id, "channel"), actor)
        if room is None:
            raise NotFound("There is no such channel.")
        return room

    def _message(self, tx: Any, actor: str, message_id: object) -> tuple[Stored, Room]:
        found = self._parts.messages.get(tx, checks.row_id(message_id, "message"))
        room = None if found is None else self._parts.rooms.room(tx, found.channel_id, actor)
        if found is None or room is None:
            raise NotFound("There is no such message.")
        return found, room

    def _record(self, actor: Actor, action: str, **more: Any) -> None:
        """Write a deed down, in the host's transaction."""
        if self._parts.audit is not None:
            self._parts.audit.add(self._writing(), Deed(actor, action, **more))

    def _after_commit(self, effect: Callable[[], None]) -> None:
        self._parts.reception.after_commit(self._parts.session(), effect)

    def _tell(self, event: str, channel_id: str, payload: Mapping[str, Any]) -> None:
        self._after_commit(lambda: self._parts.channel.emit(event, payload, channel_room(channel_id)))
