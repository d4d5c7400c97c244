"""The nouns of the domain: enums and frozen dataclasses that travel between rooms.

Ids are strings everywhere outside `store/` (a user id is `str(primary key)`). Times are seconds since the
epoch, UTC, as floats, unless a name says otherwise; on the wire they become ISO 8601.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from .sessions import Session


class OrchestratorStatus(StrEnum):
    """Presence: what everybody sees."""

    OFFLINE = "OFFLINE"  # stopped
    ONLINE = "ONLINE"  # running, at least one slot free
    BUSY = "BUSY"  # running, all slots taken
    ERROR = "ERROR"  # gave up; a person's start begins afresh


class DaemonStatus(StrEnum):
    """Life of one daemon: stopped -> initializing -> running -> stopping -> stopped, and error from any."""

    STOPPED = "stopped"
    INITIALIZING = "initializing"
    RUNNING = "running"
    STOPPING = "stopping"
    ERROR = "error"


class Wanted(StrEnum):
    """Whether an orchestrator should be running."""

    RUNNING = "running"
    STOPPED = "stopped"


class Cause(StrEnum):
    """By whose wish an orchestrator is wanted or not."""

    LOGIN = "login"
    PERSON = "person"


class DeliveryKind(StrEnum):
    """Why there is work."""

    MESSAGE = "message"
    REGENERATE = "regenerate"
    RESUME = "resume"
    SCHEDULED = "scheduled"


class DeliveryState(StrEnum):
    """A delivery waits, is being worked on, lies with its parked turn, or has ended in exactly one of five ways."""

    WAITING = "waiting"
    RUNNING = "running"
    PARKED = "parked"
    ANSWERED = "answered"
    FAILED = "failed"
    EXPIRED = "expired"
    REFUSED = "refused"
    CANCELLED = "cancelled"


ENDED_DELIVERY_STATES = frozenset(
    {
        DeliveryState.ANSWERED,
        DeliveryState.FAILED,
        DeliveryState.EXPIRED,
        DeliveryState.REFUSED,
        DeliveryState.CANCELLED,
    }
)


class TurnState(StrEnum):
    """One answer in the making."""

    RUNNING = "running"  # a slot works on it
    PARKED = "parked"  # waits for an approval, holds neither slot nor lease
    DONE = "done"
    INTERRUPTED = "interrupted"  # broke off: stopped by a person, or waits for its next attempt
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"  # a newer version of the answer took its place


class MessageState(StrEnum):
    """What a message on the screen is."""

    FINAL = "final"
    STREAMING = "streaming"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class UserRef:
    """A user, as far as the outside may know."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class OrchestratorSnapshot:
    """An orchestrator as it was when this was read. `id` is the orchestrator's own id, not its user's.

    The versions are those of its own charter and of its organization's; `parent_at` is when that was written, as a
    version of a transaction that was rolled back is a version of another one later.
    """

    id: str
    handle: str
    role: str
    discipline: str
    status: OrchestratorStatus
    user: UserRef
    organization_id: str = ""
    capabilities: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    charter_version: int = 0
    parent_version: int = 0
    parent_at: float | None = None


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A message that may be for an orchestrator. `timestamp` is epoch seconds or an aware datetime."""

    id: str
    content: str
    channel_id: str
    author_id: str
    timestamp: float | datetime
    thread_id: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message of an orchestrator on its way out."""

    content: str
    channel_id: str
    reply_to_id: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class OrchestratorAction:
    """Something an orchestrator does: send_message, react, update_status, join_channel, leave_channel."""

    type: str
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OrchestratorDaemonConfig:
    """What one daemon is made from. `heartbeat_interval` is in milliseconds; None means the app's setting."""

    orchestrator: Any
    max_concurrent_conversations: int | None = None
    heartbeat_interval: int | None = None
    auto_respond: bool | None = None
    verbose: bool | None = None


@dataclass(frozen=True, slots=True)
class DaemonErrorRecord:
    """One error of a daemon, kept for people to look at."""

    at: float
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """How one daemon is. `uptime` is in milliseconds; `last_heartbeat` is epoch seconds or None."""

    status: DaemonStatus
    uptime: float | None
    active_conversations: int
    total_messages_processed: int
    last_heartbeat: float | None
    errors: tuple[DaemonErrorRecord, ...] = ()
    queued: int = 0
    failed: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class DaemonState:
    """A daemon as the database knows it, over all processes: the row that everybody agrees on."""

    orchestrator: OrchestratorSnapshot
    status: DaemonStatus
    wanted: Wanted
    cause: Cause
    health: HealthStatus
    started_at: float | None = None
    restart_count: int = 0
    last_error: str | None = None
    dead_letters: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation happens. `thread_id` is None on a channel's main line and in a DM."""

    channel_id: str
    thread_id: str | None = None
    is_dm: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in a channel, as the wake rules see them. `orchestrator_id` is None for a person."""

    user_id: str
    name: str
    handle: str | None = None
    orchestrator_id: str | None = None


@dataclass(frozen=True, slots=True)
class Wake:
    """The decision that a message is, or is not, for one orchestrator, always with its reason."""

    orchestrator_id: str
    wakes: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a history, oldest first in any sequence of them.

    `attachments` are names and types, and `reactions` emoji with their numbers, as they are to be read.
    """

    message_id: str
    author_id: str
    author_name: str
    author_handle: str | None
    content: str
    at: float
    by_self: bool = False
    is_orchestrator: bool = False
    attachments: tuple[str, ...] = ()
    reactions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one turn: everything a worker needs to know, and the fence (`epoch`).

    `deliveries` are the members of the turn in order; `messages` their message ids (empty for other kinds).
    `attempt` counts every try from 1; `failures` only those that count against `max_attempts`, this one included.
    A turn that is `resumed` has lain parked: the first of its deliveries is the one that resumes it, and `kind` and
    `messages` are of the others.
    `regenerates` is the turn whose answer, already in the row `reply_id`, is written anew.
    """

    turn_id: str
    orchestrator_id: str
    conversation_id: str
    slot: int
    epoch: int
    place: Place
    deliveries: tuple[str, ...]
    messages: tuple[str, ...]
    requester_id: str
    reply_id: str
    attempt: int
    failures: int
    kind: DeliveryKind = DeliveryKind.MESSAGE
    resumed: bool = False
    session: Session | None = None
    regenerates: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call, by kind."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
