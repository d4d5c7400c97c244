"""Routes of messages: reading, posting, editing, reactions, Stop."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from ...core.steps import Asks
from ..calls import Call, Route
from ..shapes import Body, Limit, Line, OwnId, Page, Query, Text, Wire, own_id

TAG: Final = "messages"

Content = Annotated[Text, Field(min_length=1, max_length=1_000_000)]
"""A message's text; NEOLITH_MAX_MESSAGE_LENGTH says how long one may really be."""


class AuthorView(Wire):
    """Who wrote a message. `id` is null for somebody who is not a user (any more)."""

    id: str | None
    name: str
    handle: str | None
    is_orchestrator: bool


class LastReplyView(Wire):
    """The newest message of a thread."""

    id: str
    author: AuthorView | None
    state: str
    at: str


class ReactionView(Wire):
    """One emoji on a message, and whose it is."""

    emoji: str
    user_ids: list[str]


class AskedView(Wire):
    """A call that somebody is asked about, by the tool's name. Its arguments are not for everybody.

    `asks` says whose word it waits for: the requester's, or that of those who manage the orchestrator.
    """

    id: str
    name: str
    state: str = Field(examples=["waiting"])
    asks: Asks


class PersonView(Wire):
    """A user."""

    id: str
    name: str


class ApprovalView(Wire):
    """What an answer waits for: `requester` decides, by `turns/<turnId>/approve` or `deny`, until `expiresAt`."""

    turn_id: str
    state: Literal["waiting"]
    requester: PersonView
    expires_at: str
    tools: list[AskedView]


class WorkView(Wire):
    """What becomes of a message at one orchestrator. `position` counts what waits before it; null unless it waits.

    `reason` of one that waits: offline, again, busy, queue, hours, budget, or null where it begins any moment.
    """

    delivery_id: str
    message_id: str | None
    orchestrator_id: str
    state: str = Field(examples=["waiting"])
    position: int | None
    reason: str | None


class MessageView(Wire):
    """A message. `html` is the sanitised Markdown of `content`; `epoch` and `seq` count what was streamed of it.

    `continues` is the first message of an answer that has several; `versions` counts an answer's former versions.
    """

    id: str
    channel_id: str
    thread_id: str | None
    reply_to_id: str | None
    author: AuthorView
    content: str
    html: str
    state: Literal["final", "streaming", "interrupted", "failed"]
    notice: str | None
    epoch: int
    seq: int
    created_at: str
    edited_at: str | None
    deleted: bool
    client_id: str | None
    continues: str | None
    versions: int
    reactions: list[ReactionView]
    approval: ApprovalView | None = None
    reply_count: int | None = None
    last_reply: LastReplyView | None = None
    work: list[WorkView] | None = Field(None, description="only where one message was posted or asked for")


class StopView(Wire):
    """What Stop found: the answer is stopping, was stopped before it began, or was over already."""

    state: Literal["stopping", "stopped", "over"]
    message: MessageView | None


class MessageQuery(Query):
    """Which messages: the main line, or a thread with its root; `before` leads to older ones, `after` to newer ones."""

    thread_id: OwnId | None = None
    before: OwnId | None = None
    after: OwnId | None = None
    limit: Limit = 50


class MessageBody(Body):
    """A new message. The same `clientId` twice is the same message."""

    content: Content
    thread_id: OwnId | None = None
    client_id: Annotated[Line, Field(min_length=1, max_length=100)] | None = None
    reply_to_id: OwnId | None = None


class EditBody(Body):
    """The new text of a message."""

    content: Content


def list_messages(call: Call) -> dict[str, Any]:
    """Messages of a channel, oldest first; `next` leads to older ones, or to newer ones where `after` was given."""
    asked = call.query(MessageQuery)
    items, beyond = call.house.chat.messages(
        call.actor,
        own_id(call.path["id"]),
        thread_id=asked.thread_id,
        before=asked.before,
        after=asked.after,
        limit=asked.limit,
    )
    return {"items": items, "next": beyond}


def post_message(call: Call) -> dict[str, Any]:
    """Post a message; whoever it mentions is woken."""
    body = call.body(MessageBody)
    call.house.front.rates.post(call.actor)
    posted = call.house.chat.post(
        call.actor,
        own_id(call.path["id"]),
        body.content,
        thread_id=body.thread_id,
        client_id=body.client_id,
        reply_to_id=body.reply_to_id,
    )
    return {**posted.message, "work": posted.work}


def edit_message(call: Call) -> dict[str, Any]:
    """Change one's own message; a mention that was added wakes once."""
    return call.house.chat.edit(call.actor, own_id(call.path["id"]), call.body(EditBody).content)


def delete_message(call: Call) -> dict[str, Any]:
    """Delete a message: its author may, and who manages the organization."""
    return call.house.chat.delete(call.actor, own_id(call.path["id"]))


def react(call: Call) -> dict[str, Any]:
    """Put one's emoji on a message; harmless twice."""
    return call.house.chat.react(call.actor, own_id(call.path["id"]), call.path["emoji"])


def unreact(call: Call) -> dict[str, Any]:
    """Take one's emoji off a message; harmless twice."""
    return call.house.chat.unreact(call.actor, own_id(call.path["id"]), call.path["emoji"])


def stop_message(call: Call) -> dict[str, Any]:
    """Stop an answer, by its own id or its question's: who asked may, and who manages the orchestrator."""
    return call.house.chat.stop(call.actor, own_id(call.path["id"]))


def get_message(call: Call) -> dict[str, Any]:
    """One message, with what becomes of it at those whom it woke."""
    return call.house.chat.message(call.actor, own_id(call.path["id"]))


def _changing(method: str, path: str, handler: Any, summary: str, **more: Any) -> Route:
    more.setdefault("answer", MessageView)
    return Route(method, path, handler, summary, TAG, "messages:write", writes=True, **more)


_MESSAGES: Final = "channels/{id}/messages"
_REACTION: Final = "messages/{id}/reactions/{emoji}"

ROUTES: Final = (
    Route(
        "GET",
        _MESSAGES,
        list_messages,
        "Read a channel or a thread",
        TAG,
        "messages:read",
        query=MessageQuery,
        answer=Page[MessageView],
    ),
    _changing("POST", _MESSAGES, post_message, "Post a message", body=MessageBody, status=201),
    Route("GET", "messages/{id}", get_message, "Read a message", TAG, "messages:read", answer=MessageView),
    _changing("PATCH", "messages/{id}", edit_message, "Edit a message", body=EditBody),
    _changing("DELETE", "messages/{id}", delete_message, "Delete a message"),
    _changing("PUT", _REACTION, react, "Add a reaction"),
    _changing("DELETE", _REACTION, unreact, "Remove a reaction"),
    _changing("POST", "messages/{id}/stop", stop_message, "Stop an answer", answer=StopView),
)
