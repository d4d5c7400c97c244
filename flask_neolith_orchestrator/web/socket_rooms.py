"""The rooms of channels: which sockets hear that something is said there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from flask_socketio import join_room, leave_room

from ..core.events import activity_room
from ..runtime.state import State


@runtime_checkable
class RoomKeeper(Protocol):
    """A channel whose rooms have sockets in them, on this and other processes."""

    def enter_channel(self, user_id: str, channel_id: str) -> None:
        """Let every socket of a user hear that something is said in a channel."""
        ...

    def leave_channel(self, user_id: str, channel_id: str) -> None:
        """Take every socket of a user out of a channel's rooms."""
        ...

    def hear(self) -> None:
        """Listen to what other processes say about rooms; harmless twice."""
        ...


@dataclass(frozen=True, slots=True)
class Rooms:
    """Who is a member hears what goes on, and who is not any more hears no more. Lifetime: app."""

    channel: RoomKeeper

    def __call__(self, channel_id: str, user_id: str, joined: bool) -> None:
        """Somebody has come into a channel, or has gone."""
        if joined:
            self.channel.enter_channel(user_id, channel_id)
        else:
            self.channel.leave_channel(user_id, channel_id)


def enter_channels(state: State, user_id: str) -> None:
    """Let the socket of this event hear that something is said in any of its user's channels.

    Whoever is removed between the look and the room has not been taken out of it: so there is a second look.
    """
    rooms = _rooms_of(state, user_id)
    for one in rooms:
        join_room(activity_room(one))
    for one in rooms - _rooms_of(state, user_id):
        leave_room(activity_room(one))


def _rooms_of(state: State, user_id: str) -> set[str]:
    found = state.house.chat.rooms_of(user_id)
    state.house.session().rollback()  # the next look is at what is committed by then
    return found
