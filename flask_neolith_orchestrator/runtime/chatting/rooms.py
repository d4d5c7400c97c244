"""Channels and direct messages: a channel is seen, read and written by its members only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from ...core.deeds import Actor
from ...core.errors import Conflict, Forbidden, Invalid, NotFound
from ...store.chat.rooms import Room, dm_key
from . import checks
from .marks import ChatMarks

MOST_IN_DM = 9
"""People in a direct message, with the one who opens it."""

MOST_INVITED = 500
"""People whom a new channel can be given at once."""


class ChatRooms(ChatMarks):
    """The channels of `Chat`. Lifetime: app, in one process; safe for all threads."""

    def channels(self, actor: str) -> list[dict[str, Any]]:
        """The channels and direct messages somebody is in: {id, name, topic, kind, organizationId, memberCount}.

        A direct message also has its `members`, as `members()` shows them. What is new to the actor is in `unread` and
        `mentions` (both at most 100), `lastReadId` and `lastMessage`.
        """
        tx = self._reading()
        return self._marked(tx, actor, self._parts.rooms.of(tx, actor))

    def rooms_of(self, actor: str) -> set[str]:
        """The ids of the channels that somebody is in."""
        return self._parts.rooms.ids_of(self._reading(), actor)

    def create_channel(
        self, actor: str, *, organization_id: str, name: str, topic: str = "", member_ids: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Make a channel of one of the actor's organizations, with the actor and `member_ids` in it.

        Raises Conflict if the name is taken, NotFound for an organization the actor is not in or a member who is not.
        """
        name, topic = checks.channel_name(name), checks.topic(topic)
        invited = checks.user_ids("memberIds", member_ids, MOST_INVITED)
        tx = self._reading()
        organization = checks.row_id(organization_id, "organization")
        if organization not in self._organizations(tx, actor):
            raise NotFound("There is no such organization.")
        self._require_belonging(tx, organization, invited)
        tx = self._writing()
        channel = self._parts.rooms.create(tx, organization, name, topic, self._now())
        if channel is None:
            raise Conflict(f"There is a channel named {name} already.")
        self._join(tx, channel, [actor, *invited])
        return self._marked(tx, actor, [self._parts.rooms.view(tx, channel)], only=channel)[0]

    def open_dm(self, actor: str, user_ids: Sequence[str]) -> dict[str, Any]:
        """The direct message of the actor and these people, made if there is none yet.

        Raises NotFound for whoever shares no organization with the actor.
        """
        others = [one for one in checks.user_ids("userIds", user_ids, MOST_IN_DM) if one != actor]
        if not 1 <= len(others) < MOST_IN_DM:
            raise Invalid(f"userIds must name 1 to {MOST_IN_DM - 1} other people.")
        tx = self._reading()
        self._require_acquainted(tx, actor, others)
        key = dm_key([actor, *others])
        found = self._parts.rooms.find_dm(tx, key)
        if found is None:
            tx = self._writing()
            found = self._parts.rooms.open_dm(tx, key, self._now())
            self._join(tx, found, [actor, *others])
        return self._marked(tx, actor, [self._parts.rooms.view(tx, found)], only=found)[0]

    def members(self, actor: str, channel_id: str) -> list[dict[str, Any]]:
        """Who is in a channel: {userId, name, handle, isOrchestrator, orchestratorId, status}."""
        tx = self._reading()
        return self._parts.rooms.members(tx, self._room(tx, actor, channel_id).id)

    def add_member(self, actor: str, channel_id: str, user_id: str, *, key_id: str | None = None) -> None:
        """Add somebody of the channel's organization; harmless if they are in it. `key_id`: the actor's API key."""
        tx = self._reading()
        room = self._changeable(self._room(tx, actor, channel_id))
        self._require_belonging(tx, room.organization_id, [user_id])
        if self._join(self._writing(), room.id, [user_id]) and user_id != actor:
            self._record_member(Actor.user(actor, key_id), "channel.member-added", room, user_id)

    def admit(self, user_id: str, channel_id: str) -> None:
        """Let a user of the organization into a channel, whoever asks: for the host's own code, not for requests."""
        tx = self._reading()
        room = self._parts.rooms.any_room(tx, checks.row_id(channel_id, "channel"))
        if room is None:
            raise NotFound("There is no such channel.")
        room = self._changeable(room)
        self._require_belonging(tx, room.organization_id, [user_id])
        self._join(self._writing(), room.id, [user_id])

    def remove_member(self, actor: str, channel_id: str, user_id: str, *, key_id: str | None = None) -> None:
        """Leave a channel, or take somebody else out of it, which is for those who manage its organization."""
        tx = self._reading()
        room = self._changeable(self._room(tx, actor, channel_id))
        if user_id != actor and not (room.organization_id and self.can_manage(actor, room.organization_id)):
            raise Forbidden("Only an owner or admin of the organization may take somebody else out of a channel.")
        if self._parts.rooms.room(tx, room.id, user_id) is None:
            raise NotFound("There is no such member.")
        if self._parts.rooms.leave(self._writing(), room.id, user_id):
            self._tell_membership(room.id, [user_id], joined=False)
            if user_id != actor:
                self._record_member(Actor.user(actor, key_id), "channel.member-removed", room, user_id)

    def _record_member(self, actor: Actor, action: str, room: Room, user_id: str) -> None:
        details, subject = {"userId": user_id}, ("channel", room.id)
        self._record(actor, action, organization_id=room.organization_id, subject=subject, details=details)

    def _changeable(self, room: Room) -> Room:
        if room.is_dm:
            raise Conflict("The people of a direct message do not change; open another one.")
        return room

    def _require_belonging(self, tx: Any, organization_id: str | None, user_ids: Sequence[str]) -> None:
        known = self._parts.rooms.belonging(tx, organization_id, user_ids) if organization_id else frozenset()
        if not known.issuperset(user_ids):
            raise NotFound("There is no such user in this organization.")

    def _require_acquainted(self, tx: Any, actor: str, others: Iterable[str]) -> None:
        strangers = set(others)
        for organization in self._organizations(tx, actor):
            strangers -= self._parts.rooms.belonging(tx, organization, strangers)
        if strangers:
            raise NotFound("There is no such user.")

    def _join(self, tx: Any, channel_id: str, user_ids: Sequence[str]) -> list[str]:
        joined = self._parts.rooms.join(tx, channel_id, user_ids)
        self._tell_membership(channel_id, joined, joined=True)
        return joined

    def _tell_membership(self, channel_id: str, user_ids: Sequence[str], *, joined: bool) -> None:
        told = self._parts.on_membership
        if told is not None:
            for user_id in user_ids:
                self._after_commit(partial(told, channel_id, user_id, joined))
