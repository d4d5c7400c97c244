"""Routes of sessions: what an orchestrator remembers of a conversation, for those who are in the place."""

from __future__ import annotations

from typing import Any, Final, Literal

from ..calls import Call, Route
from ..shapes import Limit, OwnId, Page, Query, Wire, own_id

TAG: Final = "sessions"


class SummaryView(Wire):
    """What a model made of the older messages of a session; it stands in for them when the orchestrator is asked."""

    text: str
    message_ids: list[str]
    model: str | None
    at: str | None


class SessionView(Wire):
    """A stretch of one orchestrator's conversation. `summaryStale`: its summary was thrown away, as a source changed.

    `carriedFrom` is the session before it, which went idle and left it its summary.
    """

    id: str
    orchestrator_id: str
    channel_id: str
    thread_id: str | None
    state: Literal["open", "idle", "closed"]
    started_at: str
    last_at: str
    closed_at: str | None
    closed_by: str | None
    carried_from: str | None
    summary: SummaryView | None
    summary_stale: bool


class SessionTurnView(Wire):
    """One answer of a session: who asked it, by which messages, and which message it is."""

    id: str
    state: str
    requester_id: str
    message_ids: list[str]
    reply_id: str | None
    started_at: str
    ended_at: str | None


class SessionWithTurns(SessionView):
    """A session and its newest turns, the oldest of them first."""

    turns: list[SessionTurnView]


class SessionQuery(Query):
    """Which sessions: of one channel, of one orchestrator; `before` pages towards older ones."""

    channel_id: OwnId | None = None
    orchestrator_id: OwnId | None = None
    before: OwnId | None = None
    limit: Limit = 50


def list_sessions(call: Call) -> dict[str, Any]:
    """Sessions of the channels that one is in, the newest first; `next` leads to older ones."""
    asked = call.query(SessionQuery)
    items, older = call.house.chat.sessions(
        call.actor,
        channel_id=asked.channel_id,
        orchestrator_id=asked.orchestrator_id,
        before=asked.before,
        limit=asked.limit,
    )
    return {"items": items, "next": older}


def get_session(call: Call) -> dict[str, Any]:
    """A session with its summary and its turns."""
    return call.house.chat.session(call.actor, own_id(call.path["id"]))


def close_session(call: Call) -> dict[str, Any]:
    """End a session: what was said in it is in no later prompt. Any member of the place may; harmless twice."""
    return call.house.chat.close_session(call.actor, own_id(call.path["id"]))


def sessions_of_message(call: Call) -> dict[str, Any]:
    """The sessions that a message is a line of: one for each orchestrator that talks there."""
    return {"items": call.house.chat.sessions_of(call.actor, own_id(call.path["id"])), "next": None}


_READ: Final = "messages:read"

ROUTES: Final = (
    Route("GET", "sessions", list_sessions, "List sessions", TAG, _READ, query=SessionQuery, answer=Page[SessionView]),
    Route("GET", "sessions/{id}", get_session, "Show a session", TAG, _READ, answer=SessionWithTurns),
    Route(
        "POST",
        "sessions/{id}/close",
        close_session,
        "Close a session",
        TAG,
        "messages:write",
        answer=SessionWithTurns,
        writes=True,
    ),
    Route(
        "GET",
        "messages/{id}/session",
        sessions_of_message,
        "Find a message's session",
        TAG,
        _READ,
        answer=Page[SessionView],
    ),
)
