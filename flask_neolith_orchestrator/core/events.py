"""Names of everything that is told: to Python listeners, and to browsers.

Listeners get snake_case keyword arguments; later versions may add some. Wire payloads are camelCase dicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DAEMON_EVENTS: Final = (
    "started",  # ()
    "stopped",  # (reason)
    "error",  # (error)
    "message:processed",  # (message)
    "message:error",  # (message, error)
    "message:send",  # (response)
    "action:execute",  # (action)
    "status:changed",  # (status)
    "heartbeat",  # (health)
)
"""What `daemon.on(...)` can be given."""

MANAGER_EVENTS: Final = (
    "daemon:started",  # (orchestrator_id, orchestrator)
    "daemon:stopped",  # (orchestrator_id, reason)
    "daemon:error",  # (orchestrator_id, error)
    "daemon:restarted",  # (orchestrator_id, restart_count)
    "daemon:failed",  # (orchestrator_id, error): gave up
    "daemon:health",  # (orchestrator_id, health)
    "daemon:start-error",  # (orchestrator_id, error)
    "daemon:stop-error",  # (orchestrator_id, error)
    "daemon:restart-error",  # (orchestrator_id, error)
    "daemon:health-error",  # (orchestrator_id, error)
    "daemon:status-changed",  # (orchestrator_id, status)
    "daemon:message-processed",  # (orchestrator_id, message)
    "daemon:message-error",  # (orchestrator_id, message, error)
    "daemon:message-send",  # (orchestrator_id, response)
    "daemon:action",  # (orchestrator_id, action)
    "daemon:heartbeat",  # (orchestrator_id, health)
    "escalation",  # (orchestrator_id, cause, detail, message_id, user_ids, link): people were told of something
    "delivery:ended",  # (orchestrator_id, delivery_id, state, reason)
    "approval:requested",  # (orchestrator_id, turn_id, message_id, requester_id, tools)
    "approval:decided",  # (orchestrator_id, turn_id, message_id, decided_by, states)
    "auto-start-error",  # (orchestrator_id, error)
    "budget:threshold",  # (orchestrator_id, scope, scope_id, period, percent, until): 50, 75, 90, or 100: calls refused
)
"""What `manager.on(...)` can be given."""

RELAYED: Final[Mapping[str, str]] = {
    "error": "daemon:error",
    "message:processed": "daemon:message-processed",
    "message:error": "daemon:message-error",
    "message:send": "daemon:message-send",
    "action:execute": "daemon:action",
    "status:changed": "daemon:status-changed",
    "heartbeat": "daemon:heartbeat",
}
"""Daemon events that the manager tells under a name of its own; `started` and `stopped` it tells itself."""

WIRE_EVENTS: Final = (
    "presence:snapshot",
    "presence",
    "daemon:status",
    "daemon:health",
    "message",
    "message:delta",
    "message:reset",
    "message:done",
    "message:updated",
    "message:deleted",
    "reaction",
    "budget:threshold",
    "approval:requested",
    "approval:decided",
    "delivery:waiting",
    "channel:activity",
    "channel:read",
    "channel:added",
    "channel:removed",
    "delivery:dead",
    "audit:added",
)
"""What the server says on the Socket.IO namespace `/neolith`."""


def channel_room(channel_id: str) -> str:
    """The room of everybody who has joined a channel."""
    return f"channel:{channel_id}"


def activity_room(channel_id: str) -> str:
    """The room of all members' sockets, whether they have joined the channel or not: that something was said there."""
    return f"activity:{channel_id}"


def organization_room(organization_id: str) -> str:
    """The room of an organization's members: presence and daemon events."""
    return f"org:{organization_id}"


def watch_room(organization_id: str) -> str:
    """The room of those of an organization who look at a dashboard: how busy its daemons are, as it changes."""
    return f"watch:{organization_id}"


def login_room(token: str) -> str:
    """The room of all sockets of one login; cut when the login ends."""
    return f"login:{token}"


def user_room(user_id: str) -> str:
    """The room of all sockets of one user."""
    return f"user:{user_id}"
