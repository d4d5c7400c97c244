"""What people have read: marks per channel, and how much is new to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...chat.mentions import Directory, find_mentions
from ...core.errors import NotFound
from ...core.events import user_room
from ...core.types import Member
from ...store.chat.marks import QUOTES, Fresh, Marked
from ..broadcast.activity import tell_activity
from . import checks
from .rights import ChatDoor

MOST: Final = 100
"""Unread messages that are counted; so many means: so many or more."""

NOTHING: Final = Marked(None, None, ())


class ChatMarks(ChatDoor):
    """The read marks of `Chat`. Lifetime: app, in one process; safe for all threads."""

    def read(self, actor: str, channel_id: str, message_id: str) -> dict[str, Any]:
        """Say that the actor has read a channel up to a message: {channelId, lastReadId, unread, mentions}.

        A mark never goes back. The actor's other browsers hear of it.
        """
        tx = self._reading()
        room = self._room(tx, actor, channel_id)
        found = self._parts.messages.get(tx, checks.row_id(message_id, "message in this channel"))
        if found is None or found.channel_id != room.id:
            raise NotFound("There is no such message in this channel.")
        moved = self._parts.rooms.marks.advance(self._writing(), room.id, actor, found.id)
        (shown,) = self._marked(self._reading(), actor, [{"id": room.id}], only=room.id)
        told = {"channelId": room.id, **{name: shown[name] for name in ("lastReadId", "unread", "mentions")}}
        if moved:
            self._after_commit(lambda: self._parts.channel.emit("channel:read", told, user_room(actor)))
        return told

    def _tell_activity(self, tx: Any, shown: Mapping[str, Any], reply_to: str | None) -> None:
        """Members who do not look at the channel hear that there is something; a look at them only where one is named.

        An orchestrator that is called by its handle hears of it otherwise.
        """
        text, named = shown["content"], frozenset[str]()
        if any(sign in text for sign in QUOTES):
            members = self._parts.rooms.members(tx, shown["channelId"])
            there = Directory([Member(one["userId"], one["name"], one["handle"]) for one in members])
            named = there.match(find_mentions(text))
        channel = self._parts.channel
        self._after_commit(lambda: tell_activity(channel, shown, mentions=named, reply_to=reply_to))

    def _marked(
        self, tx: Any, actor: str, channels: Sequence[dict[str, Any]], *, only: str | None = None
    ) -> list[dict[str, Any]]:
        """Channels with what is new in them to somebody: unread, mentions, lastReadId, lastMessage."""
        if self._parts.rooms.key(actor) is None:
            return [{**one, **_shown(NOTHING, None)} for one in channels]
        marks = self._parts.rooms.marks
        handle = marks.handle_of(tx, actor)
        found = marks.of(tx, actor, only, any_mention=handle is not None)
        me: Directory | None = None
        if any(fresh.text is not None for one in found.values() for fresh in one.fresh):
            key = self._parts.rooms.key(actor)
            me = Directory([Member(actor, self._parts.people.names(tx, [key]).get(key, ""), handle)])
        return [{**one, **_shown(found.get(one["id"], NOTHING), me)} for one in channels]


def _shown(marked: Marked, me: Directory | None) -> Mapping[str, Any]:
    unread = mentions = 0
    for one in marked.fresh:
        if unread >= MOST:
            break
        called = one.answers or _names(one, me)
        mentions += called
        unread += one.here or called
    return {"unread": unread, "mentions": mentions, "lastReadId": marked.read_id, "lastMessage": marked.last}


def _names(one: Fresh, me: Directory | None) -> bool:
    return one.text is not None and me is not None and bool(me.match(find_mentions(one.text)))
