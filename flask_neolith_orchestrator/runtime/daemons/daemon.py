"""One orchestrator's daemon in this process: a state machine, an ear and a voice, and no thread while idle."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from ...core.errors import NeolithError, Superseded, WrongTransition
from ...core.events import DAEMON_EVENTS
from ...core.types import (
    DaemonErrorRecord,
    DaemonStatus,
    HealthStatus,
    IncomingMessage,
    OrchestratorAction,
    OrchestratorDaemonConfig,
    OrchestratorSnapshot,
    OutgoingMessage,
)
from ..arrival.intake import Accepted
from ..broadcast.listeners import Context, Done, Emitter, Handler
from .life import Life

KEPT_ERRORS = 50
"""Errors kept per daemon; older ones are forgotten."""

_MOVES: Mapping[DaemonStatus, frozenset[DaemonStatus]] = {
    DaemonStatus.STOPPED: frozenset({DaemonStatus.INITIALIZING, DaemonStatus.ERROR}),
    DaemonStatus.INITIALIZING: frozenset({DaemonStatus.RUNNING, DaemonStatus.STOPPED, DaemonStatus.ERROR}),
    DaemonStatus.RUNNING: frozenset({DaemonStatus.STOPPING, DaemonStatus.ERROR}),
    DaemonStatus.STOPPING: frozenset({DaemonStatus.STOPPED, DaemonStatus.ERROR}),
    DaemonStatus.ERROR: frozenset({DaemonStatus.INITIALIZING, DaemonStatus.STOPPED, DaemonStatus.STOPPING}),
}
_WRONG: Mapping[DaemonStatus, str] = {
    DaemonStatus.STOPPED: "This daemon is stopped; start it first.",
    DaemonStatus.INITIALIZING: "This daemon is starting; wait until it runs.",
    DaemonStatus.RUNNING: "This daemon runs already.",
    DaemonStatus.STOPPING: "This daemon is stopping; wait until it has stopped.",
    DaemonStatus.ERROR: "This daemon has failed; start it afresh.",
}


class Keeper(Protocol):
    """What a daemon asks of those who keep it: the manager's side."""

    context: Context

    def wish_start(self, daemon: OrchestratorDaemon) -> None: ...
    def wish_stop(self, daemon: OrchestratorDaemon) -> None: ...
    def bounce(self, daemon: OrchestratorDaemon) -> None: ...
    def accept(self, daemon: OrchestratorDaemon, message: IncomingMessage) -> Accepted: ...
    def speak(self, daemon: OrchestratorDaemon, response: OutgoingMessage) -> Mapping[str, Any]: ...
    def act(self, daemon: OrchestratorDaemon, action: OrchestratorAction) -> Mapping[str, Any]: ...
    def health(self, daemon: OrchestratorDaemon) -> HealthStatus: ...
    def relay(self, daemon: OrchestratorDaemon, event: str, done: Done | None, arguments: Mapping[str, Any]) -> int: ...
    def heard(self, event: str) -> bool: ...


class OrchestratorDaemon:
    """What runs one orchestrator inside this process. Lifetime: from its first start until the process ends.

    Safe for all threads. `start` and `stop` wait for each other, so the end state is what was asked last.
    """

    __slots__ = (
        "_emitter",
        "_errors",
        "_guard",
        "_keeper",
        "_state",
        "auto_respond",
        "beat_at",
        "busy",
        "heartbeat_interval",
        "life",
        "limit",
        "next_beat",
        "orchestrator",
        "overrides",
        "started_at",
        "verbose",
    )

    def __init__(self, orchestrator: OrchestratorSnapshot, keeper: Keeper, *, limit: int, heartbeat: float) -> None:
        self.orchestrator = orchestrator
        self.limit = limit
        self.heartbeat_interval = heartbeat
        self.auto_respond = True
        self.verbose = False
        self.life = Life()
        self.started_at: float | None = None  # monotonic
        self.beat_at: float | None = None  # wall
        self.next_beat = 0.0
        self.busy = False
        self.overrides: OrchestratorDaemonConfig | None = None
        self._state = DaemonStatus.STOPPED
        self._keeper = keeper
        self._guard = threading.Lock()
        self._emitter: Emitter | None = None
        self._errors: deque[DaemonErrorRecord] | None = None

    def configure(self, config: OrchestratorDaemonConfig) -> None:
        """Values that win over the app's settings and the orchestrator's own, in this process."""
        self.overrides = config

    @property
    def id(self) -> str:
        """The orchestrator's id."""
        return self.orchestrator.id

    def start(self) -> None:
        """Start it, as a person's wish: it survives logouts. Harmless while it runs.

        Raises OrchestratorModeOff, UnsupportedDatabase, or StartFailed with the cause.
        """
        self._keeper.wish_start(self)

    def stop(self) -> None:
        """Stop it, as a person's wish: it holds until a person's start or a fresh login. Harmless when stopped.

        Running turns get DAEMON_STOP_TIMEOUT to end; what is not done goes back to the inbox.
        """
        self._keeper.wish_stop(self)

    def restart(self) -> None:
        """Stop and start it in this process; whether it is wanted does not change."""
        self._keeper.bounce(self)

    def move(self, status: DaemonStatus) -> None:
        """Enter a state (for those who hold `life`).

        Raises WrongTransition with a sentence of its own, and Superseded where the calling thread has lost `life`.
        """
        self.check_held()
        if status is self._state:
            return
        if status not in _MOVES[self._state]:
            raise WrongTransition(_WRONG[self._state])
        self._state = status

    def check_held(self) -> None:
        """Raise Superseded in a thread that hung for so long that `life` was taken from it."""
        if not self.life.held:
            raise Superseded

    def quiesce(self) -> None:
        """Take no new work, while the process ends; what is wanted and what the row says do not change."""
        if self._state is DaemonStatus.RUNNING:
            self._state = DaemonStatus.STOPPING

    def handle_message(self, message: IncomingMessage) -> Accepted:
        """Apply the wake rules and accept the message durably, in a transaction of its own.

        Returns what became of it, with the reason. Raises OpenTransaction where the caller's own session has
        begun to write on SQLite.
        """
        return self._keeper.accept(self, message)

    def send_response(self, response: OutgoingMessage) -> Mapping[str, Any]:
        """Post a message as this orchestrator; returns it as the wire shows it."""
        return self._keeper.speak(self, response)

    def execute_action(self, action: OrchestratorAction) -> Mapping[str, Any]:
        """Do something as this orchestrator. Raises ActionError for an unknown type or a bad payload."""
        return self._keeper.act(self, action)

    def get_status(self) -> DaemonStatus:
        """Its state in this process."""
        return self._state

    def is_running(self) -> bool:
        """Whether it runs in this process."""
        return self._state is DaemonStatus.RUNNING

    def get_health_status(self) -> HealthStatus:
        """How it is, with counts over all processes."""
        return self._keeper.health(self)

    @property
    def errors(self) -> tuple[DaemonErrorRecord, ...]:
        """The last errors, oldest first."""
        return tuple(self._errors or ())

    def note_error(self, at: float, error: BaseException) -> None:
        """Keep an error for people to look at; only sentences of ours are kept whole."""
        if self._errors is None:
            self._errors = deque(maxlen=KEPT_ERRORS)
        message = str(error) if isinstance(error, NeolithError) else ""
        self._errors.append(DaemonErrorRecord(at, type(error).__name__, message))

    def on(self, event: str, handler: Handler) -> Handler:
        """Call `handler` with keyword arguments at each `event` (see core.events.DAEMON_EVENTS)."""
        return self._events().on(event, handler)

    def once(self, event: str, handler: Handler) -> Handler:
        """As `on`, for the next event only."""
        return self._events().once(event, handler)

    def off(self, event: str, handler: Handler) -> None:
        """Call `handler` no more."""
        if self._emitter is not None:
            self._emitter.off(event, handler)

    def emit(self, event: str, done: Done | None = None, **arguments: Any) -> int:
        """Tell this daemon's listeners and, through the manager, the manager's; returns how many there are."""
        count = 0 if self._emitter is None else self._emitter.emit(event, done=done, **arguments)
        return count + self._keeper.relay(self, event, done, arguments)

    @property
    def has_listeners(self) -> bool:
        """Whether anybody has ever listened to this daemon itself."""
        return self._emitter is not None

    def listens(self, event: str) -> bool:
        """Whether telling `event` is worth what it costs to know its arguments."""
        return self._keeper.heard(event) or (self._emitter is not None and self._emitter.heard(event))

    @property
    def listener_problems(self) -> list[str]:
        """Which of its listeners hang or failed."""
        return [] if self._emitter is None else self._emitter.problems

    def close(self) -> None:
        """Forget all listeners."""
        if self._emitter is not None:
            self._emitter.close()

    def _events(self) -> Emitter:
        with self._guard:  # not `life`: whoever listens does not wait for a stop that takes its time
            if self._emitter is None:
                self._emitter = Emitter(DAEMON_EVENTS, self._keeper.context)
            return self._emitter

    def __repr__(self) -> str:
        return f"<OrchestratorDaemon {self.orchestrator.handle} {self._state}>"
