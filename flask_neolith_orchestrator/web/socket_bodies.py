"""What clients send over Socket.IO, event by event."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ..runtime.chatting.approvals import Decision
from .api.messages import Content
from .api.turns import DecisionBody
from .shapes import Body, Line, OwnId


class ChannelBody(Body):
    """Which channel."""

    channel_id: OwnId


class SendBody(Body):
    """A message. The same `clientId` twice is the same message."""

    channel_id: OwnId
    content: Content
    thread_id: OwnId | None = None
    client_id: Annotated[Line, Field(min_length=1, max_length=100)] | None = None
    reply_to_id: OwnId | None = None


class AnswerBody(Body):
    """An answer, or its question."""

    message_id: OwnId


class DecideBody(DecisionBody):
    """A decision on calls of a turn that waits for approval."""

    turn_id: OwnId
    decision: Decision


class WatchBody(Body):
    """Nothing: one watches all that one may."""
