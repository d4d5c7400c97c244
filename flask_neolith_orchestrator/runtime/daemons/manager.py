"""The daemons of one app in one process: the public door to starting, stopping and watching them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...core.cancel import StopReason
from ...core.errors import NotAnOrchestrator
from ...core.events import MANAGER_EVENTS, RELAYED
from ...core.ports import Actions
from ...core.types import (
    DaemonState,
    DaemonStatus,
    HealthStatus,
    IncomingMessage,
    OrchestratorAction,
    OrchestratorSnapshot,
    OutgoingMessage,
)
from ...settings import Settings
from ...store.stores import Stores
from ...store.turns.endings import Ended
from ..arrival.intake import Accepted, Intake
from ..broadcast.listeners import Context, Done, Emitter, Handler
from .daemon import OrchestratorDaemon
from .lives import BATCH, Lives
from .statuses import Statuses

log = logging.getLogger("flask_neolith_orchestrator")


class OrchestratorDaemonManager:
    """Owns the daemons of one app in one process. Lifetime: app, in one process. Safe for all threads."""

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        lives: Lives,
        statuses: Statuses,
        *,
        context: Context,
        ensure_started: Callable[[], None],
    ) -> None:
        self.context = context
        self._stores = stores
        self._settings = settings
        self.lives = lives
        self._statuses = statuses
        self._ensure_started = ensure_started
        self._lock = threading.Lock()
        self._daemons: dict[str, OrchestratorDaemon] = {}
        self._emitter = Emitter(MANAGER_EVENTS, context)
        self.intake: Intake
        self.actions: Actions
        self.ring: Callable[[str], None]
        self.cancel_turn: Callable[[str, StopReason], bool]
        self.readiness: Callable[[], Mapping[str, Mapping[str, Any]]]
        self.liveness: Callable[[], Mapping[str, Any]]
        self.logged_in: Callable[[str], None]
        self.logged_out: Callable[[str], None]

    def start_daemon(self, orchestrator: object) -> OrchestratorDaemon:
        """Start an orchestrator's daemon as a person's wish; harmless while it runs.

        Takes an id, a row or a snapshot. Raises NotAnOrchestrator, OrchestratorModeOff, UnsupportedDatabase or
        StartFailed with the cause.
        """
        daemon = self.daemon_for(orchestrator)
        daemon.start()
        return daemon

    def stop_daemon(self, orchestrator: object) -> None:
        """Stop it as a person's wish: it holds until a person's start or a fresh login."""
        self.daemon_for(orchestrator).stop()

    def restart_daemon(self, orchestrator: object) -> OrchestratorDaemon:
        """Stop and start it in this process."""
        daemon = self.daemon_for(orchestrator)
        daemon.restart()
        return daemon

    def stop_all_daemons(self) -> None:
        """Stop every daemon of this process, each as a person's wish; one that fails does not save the others."""
        for daemon in self.all():
            if daemon.get_status() is not DaemonStatus.STOPPED:
                try:
                    daemon.stop()
                except Exception as error:
                    log.exception("A daemon could not be stopped", extra={"action": "stop-error"})
                    self._emitter.emit("daemon:stop-error", orchestrator_id=daemon.id, error=error)

    def daemon_for(self, orchestrator: object) -> OrchestratorDaemon:
        """The one daemon object of an orchestrator in this process, made if need be. Raises NotAnOrchestrator."""
        orchestrator_id = self._id_of(orchestrator)
        with self._lock:
            found = self._daemons.get(orchestrator_id)
        if found is not None:
            return found
        self._statuses.check_schema()
        return self._made(self.lives.crew.snapshot(orchestrator_id))

    def daemons_for(self, orchestrator_ids: Sequence[str]) -> list[OrchestratorDaemon]:
        """As `daemon_for`, for many at once; unknown ids are left out."""
        with self._lock:
            missing = [one for one in orchestrator_ids if one not in self._daemons]
        if missing:
            with self._stores.database.read() as tx:
                for start in range(0, len(missing), BATCH):
                    self.daemons_of(self._stores.people.snapshots(tx, missing[start : start + BATCH]))
        with self._lock:
            return [self._daemons[one] for one in orchestrator_ids if one in self._daemons]

    def daemons_of(self, snapshots: Sequence[OrchestratorSnapshot]) -> list[OrchestratorDaemon]:
        """The daemons of orchestrators that have just been read, made if need be."""
        with self._lock:
            known = [self._daemons.get(snapshot.id) for snapshot in snapshots]
        return [found or self._made(snapshot) for found, snapshot in zip(known, snapshots, strict=True)]

    def _made(self, snapshot: OrchestratorSnapshot) -> OrchestratorDaemon:
        interval = self._settings.heartbeat_interval / 1000
        limit = self._settings.max_concurrent_conversations
        made = OrchestratorDaemon(snapshot, self, limit=limit, heartbeat=interval)
        with self._lock:
            return self._daemons.setdefault(snapshot.id, made)

    def wish_start(self, daemon: OrchestratorDaemon) -> None:
        """`daemon.start`."""
        self.lives.check_allowed()
        self._ensure_started()
        self.lives.wish_start(daemon)

    def wish_stop(self, daemon: OrchestratorDaemon) -> None:
        """`daemon.stop`."""
        self.lives.wish_stop(daemon)

    def bounce(self, daemon: OrchestratorDaemon) -> None:
        """`daemon.restart`."""
        self.lives.check_allowed()
        self._ensure_started()
        try:
            self.lives.bounce(daemon)
        except Exception as error:
            self._emitter.emit("daemon:restart-error", orchestrator_id=daemon.id, error=error)
            raise
        count = self._statuses.restarts(daemon.id)
        self._emitter.emit("daemon:restarted", orchestrator_id=daemon.id, restart_count=count)

    def on_user_login(self, user: object) -> None:
        """A login outside of Flask-Login: of a user's id or row, or of an orchestrator's row or snapshot."""
        models = self._stores.models
        if isinstance(user, OrchestratorSnapshot):
            user_id = user.user.id
        elif isinstance(user, models.Orchestrator):
            user_id = str(user.user_id)
        else:
            user_id = models.user_id(user) if isinstance(user, models.user) else id_of(user)
        self.logged_in(user_id)

    def _id_of(self, orchestrator: object) -> str:
        """As `id_of`; a user stands for the orchestrator that it is, never for one with the same number."""
        if not isinstance(orchestrator, self._stores.models.user):
            return id_of(orchestrator)
        with self._stores.database.read() as tx:
            found = self._stores.people.orchestrator_id(tx, self._stores.models.user_id(orchestrator))
        if found is None:
            raise NotAnOrchestrator
        return found

    def on_user_logout(self, user_id: str) -> None:
        """End all logins of a user."""
        self.logged_out(str(user_id))

    def get_daemon(self, orchestrator: object) -> OrchestratorDaemon | None:
        """The daemon of an orchestrator in this process, if there is one."""
        orchestrator_id = self._id_of(orchestrator)
        with self._lock:
            return self._daemons.get(orchestrator_id)

    def is_daemon_running(self, orchestrator: object) -> bool:
        """Whether it runs in this process."""
        daemon = self.get_daemon(orchestrator)
        return daemon is not None and daemon.is_running()

    def get_running_daemons(self) -> list[OrchestratorDaemon]:
        """Those that run in this process."""
        return [daemon for daemon in self.all() if daemon.is_running()]

    def get_daemon_status(self, orchestrator: object) -> DaemonState | None:
        """How it is over all processes; None if there is no such orchestrator."""
        return next(iter(self._statuses.states([self._id_of(orchestrator)], self._local())), None)

    def get_all_daemon_statuses(self) -> list[DaemonState]:
        """How every orchestrator is, over all processes."""
        return self._statuses.states(None, self._local())

    def get_daemon_statuses(self, orchestrator_ids: Sequence[str]) -> list[DaemonState]:
        """How some orchestrators are, over all processes; unknown ids are left out."""
        return self._statuses.states(orchestrator_ids, self._local())

    def restarts(self, orchestrator_id: str) -> int:
        """How often it was restarted, over all processes."""
        return self._statuses.restarts(orchestrator_id)

    def health(self, daemon: OrchestratorDaemon) -> HealthStatus:
        """How one daemon of this process is."""
        return self._statuses.states([daemon.id], self._local())[0].health

    def all(self) -> list[OrchestratorDaemon]:
        """Every daemon object of this process, running or not."""
        return list(self._local().values())

    def _local(self) -> Mapping[str, OrchestratorDaemon]:
        with self._lock:
            return dict(self._daemons)

    def accept(self, daemon: OrchestratorDaemon, message: IncomingMessage) -> Accepted:
        """`daemon.handle_message`."""
        if not daemon.auto_respond:
            return Accepted(None, "auto-respond-off")
        return self.intake.accept_own(message, daemon.id)

    def speak(self, daemon: OrchestratorDaemon, response: OutgoingMessage) -> Mapping[str, Any]:
        """`daemon.send_response`."""
        payload = {"content": response.content, "channel_id": response.channel_id, "reply_to_id": response.reply_to_id}
        return self.act(daemon, OrchestratorAction("send_message", payload))

    def act(self, daemon: OrchestratorDaemon, action: OrchestratorAction) -> Mapping[str, Any]:
        """`daemon.execute_action`."""
        done = self.actions.perform(daemon.orchestrator, action)
        daemon.emit("action:execute", action=action)
        return done

    def on(self, event: str, handler: Handler) -> Handler:
        """Call `handler` with keyword arguments at each `event` (see core.events.MANAGER_EVENTS)."""
        return self._emitter.on(event, handler)

    def once(self, event: str, handler: Handler) -> Handler:
        """As `on`, for the next event only."""
        return self._emitter.once(event, handler)

    def off(self, event: str, handler: Handler) -> None:
        """Call `handler` no more."""
        self._emitter.off(event, handler)

    def emit(self, event: str, **arguments: Any) -> int:
        """Tell the manager's listeners; returns how many there are."""
        return self._emitter.emit(event, **arguments)

    def relay(self, daemon: OrchestratorDaemon, event: str, done: Done | None, arguments: Mapping[str, Any]) -> int:
        """A daemon's event, told by the manager; returns how many listen here."""
        name = RELAYED.get(event)
        return 0 if name is None else self._emitter.emit(name, done=done, orchestrator_id=daemon.id, **arguments)

    def hears(self, event: str) -> bool:
        """Whether anybody listens to the manager's `event`."""
        return self._emitter.heard(event)

    def heard(self, event: str) -> bool:
        """Whether anybody listens to a daemon's `event` here."""
        return event in RELAYED and self._emitter.heard(RELAYED[event])

    def ended(self, deliveries: Sequence[Ended]) -> None:
        """Deliveries have come to their end."""
        for one in deliveries:
            self._emitter.emit(
                "delivery:ended",
                orchestrator_id=one.orchestrator_id,
                delivery_id=one.delivery_id,
                state=one.state,
                reason=one.reason,
            )
        self.intake.ended()

    def listeners_health(self) -> Mapping[str, Any]:
        """Which listeners hang or failed: that harms nobody else, and whoever misses an event wants to know."""
        problems = [*self._emitter.problems, *(one for daemon in self.all() for one in daemon.listener_problems)]
        return {"ok": True, "detail": "; ".join(problems[:10])}

    @property
    def handlers(self) -> tuple[tuple[str, Handler, bool], ...]:
        """The manager's listeners: event, handler, and whether only for the next one."""
        return self._emitter.handlers

    def close(self) -> None:
        """Forget all listeners. Safe twice."""
        for daemon in self.all():
            daemon.close()
        self._emitter.close()


def id_of(orchestrator: object) -> str:
    """The orchestrator's id of an id, a row, a snapshot or a daemon. Raises NotAnOrchestrator for anything else."""
    found = orchestrator if isinstance(orchestrator, int | str) else getattr(orchestrator, "id", None)
    if found is None or isinstance(found, bool):
        raise NotAnOrchestrator
    return str(found)
