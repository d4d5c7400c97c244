"""Routes of channels and direct messages, and who is in them."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from ..calls import Call, Route
from ..shapes import Body, Line, OwnId, Page, Query, UserId, Wire, own_id
from .messages import AuthorView

TAG: Final = "channels"

People = Annotated[list[UserId], Field(max_length=500)]


class MemberView(Wire):
    """Somebody in a channel. `status` is an orchestrator's presence, null for a person."""

    user_id: str
    name: str
    handle: str | None
    is_orchestrator: bool
    orchestrator_id: str | None
    status: str | None


class LastMessageView(Wire):
    """The newest message of a channel, in a thread or not."""

    id: str
    thread_id: str | None
    author: AuthorView
    at: str


class ChannelView(Wire):
    """A channel or direct message. `members` is only there for direct messages."""

    id: str
    name: str | None
    topic: str
    kind: str = Field(examples=["channel", "dm", "external"])
    organization_id: str | None
    member_count: int
    members: list[MemberView] | None = None
    unread: int = Field(description="messages of others that one has not read, 100 at the most")
    mentions: int = Field(description="those of them that name one or answer one")
    last_read_id: str | None
    last_message: LastMessageView | None


class ChannelBody(Body):
    """A new channel (`organizationId`, `name`, `topic`, `memberIds`), or a direct message (`userIds` alone).

    The same people always have the same direct message.
    """

    organization_id: OwnId | None = None
    name: Annotated[Line, Field(min_length=1, max_length=100)] | None = None
    topic: Annotated[Line, Field(max_length=500)] = ""
    member_ids: People = []
    user_ids: Annotated[list[UserId], Field(min_length=1, max_length=50)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> ChannelBody:
        if self.user_ids is not None:
            if self.model_fields_set - {"user_ids"}:
                raise ValueError("a direct message takes userIds and nothing else")
        elif self.organization_id is None or self.name is None:
            raise ValueError("organizationId and name are needed, or userIds for a direct message")
        return self


class MemberBody(Body):
    """Whom to add."""

    user_id: UserId


class ReadBody(Body):
    """Up to which message one has read."""

    message_id: OwnId


class ReadView(Wire):
    """Where the mark is now, and what is new behind it."""

    channel_id: str
    last_read_id: str | None
    unread: int
    mentions: int


class MemberQuery(Query):
    """Whom to remove."""

    user_id: UserId


def list_channels(call: Call) -> dict[str, Any]:
    """The channels and direct messages that the asker is in."""
    return {"items": call.house.chat.channels(call.actor), "next": None}


def create_channel(call: Call) -> dict[str, Any]:
    """Make a channel, or open a direct message."""
    body = call.body(ChannelBody)
    if body.user_ids is not None:
        return call.house.chat.open_dm(call.actor, body.user_ids)
    return call.house.chat.create_channel(
        call.actor,
        organization_id=body.organization_id or "",
        name=body.name or "",
        topic=body.topic,
        member_ids=body.member_ids,
    )


def list_members(call: Call) -> dict[str, Any]:
    """Who is in a channel; for its members."""
    return {"items": call.house.chat.members(call.actor, own_id(call.path["id"])), "next": None}


def add_member(call: Call) -> dict[str, Any]:
    """Put somebody into a channel; harmless twice. Answers who is in it then."""
    channel = own_id(call.path["id"])
    call.house.chat.add_member(call.actor, channel, call.body(MemberBody).user_id, key_id=call.identity.key_id)
    return list_members(call)


def remove_member(call: Call) -> None:
    """Leave a channel, or take somebody else out of it."""
    user_id, key_id = call.query(MemberQuery).user_id, call.identity.key_id
    call.house.chat.remove_member(call.actor, own_id(call.path["id"]), user_id, key_id=key_id)


def read_channel(call: Call) -> dict[str, Any]:
    """Say up to which message one has read a channel. The mark never goes back; one's other browsers hear of it."""
    return call.house.chat.read(call.actor, own_id(call.path["id"]), call.body(ReadBody).message_id)


ROUTES: Final = (
    Route("GET", "channels", list_channels, "List my channels", TAG, "channels:read", answer=Page[ChannelView]),
    Route(
        "POST",
        "channels",
        create_channel,
        "Make a channel or open a direct message",
        TAG,
        "channels:write",
        body=ChannelBody,
        answer=ChannelView,
        status=201,
        writes=True,
    ),
    Route(
        "PUT",
        "channels/{id}/read",
        read_channel,
        "Say what I have read",
        TAG,
        "channels:write",
        body=ReadBody,
        answer=ReadView,
        writes=True,
    ),
    Route(
        "GET",
        "channels/{id}/members",
        list_members,
        "List the members of a channel",
        TAG,
        "channels:read",
        answer=Page[MemberView],
    ),
    Route(
        "POST",
        "channels/{id}/members",
        add_member,
        "Add a member to a channel",
        TAG,
        "channels:write",
        body=MemberBody,
        answer=Page[MemberView],
        writes=True,
    ),
    Route(
        "DELETE",
        "channels/{id}/members",
        remove_member,
        "Leave a channel, or remove a member",
        TAG,
        "channels:write",
        query=MemberQuery,
        status=204,
        writes=True,
    ),
)
